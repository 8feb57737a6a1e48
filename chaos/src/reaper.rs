//! Sees to it that no process outlives the harness, also when the harness itself is killed.
//!
//! A shell stands by with a pipe to the harness. It is told of every process group started and
//! ended; when the pipe closes, for whatever reason, it kills the groups still alive, thaws what is
//! frozen, and removes the directory it was told of.
//!
//! A process that writes to a frozen file system cannot be killed, nor can its world end: if the
//! harness dies while it stalls a disk, somebody outside must thaw it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use crate::error::HarnessError;

const SCRIPT: &str = r#"
alive=" "
dir=
watcher=
# Processes that see a file system below the directory.
seeing() { grep -lsF " $dir/" /proc/[0-9]*/mountinfo; }
# Thaws those file systems, in the world they are in. Most are not frozen, which is no harm.
thaw() {
    for mounts in $(seeing); do
        while read -r _ _ _ _ mount _; do
            case "$mount" in
                "$dir"/*) nsenter --mount="${mounts%/*}/ns/mnt" fsfreeze --unfreeze "$mount" ;;
            esac
        done <"$mounts"
    done
}
while read -r verb pid; do
    case "$verb" in
        removes) dir=$pid ;;
        watches) (read -r _ <"$pid"; thaw) & watcher=$! ;;
        started) alive="$alive$pid " ;;
        ended)
            kept=" "
            for one in $alive; do [ "$one" = "$pid" ] || kept="$kept$one "; done
            alive=$kept ;;
    esac
done
for pid in $alive; do kill -s KILL -- "-$pid" 2>/dev/null; done
# Without its mount points nobody could thaw them any more, so they are removed after that.
tries=100
while [ -n "$watcher" ] && [ -n "$(seeing)" ] && [ "$tries" -gt 0 ]; do
    thaw
    sleep 0.1
    tries=$((tries - 1))
done
[ -z "$watcher" ] || kill "$watcher"
# Whoever still writes there is about to end.
tries=100
while [ -n "$dir" ] && [ -e "$dir" ] && [ "$tries" -gt 0 ]; do
    rm -rf -- "$dir" || sleep 0.1
    tries=$((tries - 1))
done
"#;

/// The shell that stands by.
#[derive(Debug)]
pub struct Reaper {
    shell: Child,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Reaper {
    /// Starts the shell, in a process group of its own so that Ctrl-C does not reach it.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn start() -> Result<Self, HarnessError> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(HarnessError::io("starting the shell that cleans up"))?;
        let pipe = Mutex::new(shell.stdin.take());
        Ok(Self { shell, pipe })
    }

    /// Takes note of a process group to kill in the end.
    pub fn started(&self, pid: u32) {
        self.tell("started", &pid);
    }

    /// Takes note that a process group is gone, so its number may belong to somebody else.
    pub fn ended(&self, pid: u32) {
        self.tell("ended", &pid);
    }

    /// Takes note of the one directory to remove in the end.
    pub fn removes(&self, dir: &Path) {
        self.tell("removes", &dir.display());
    }

    /// Has it thaw what is frozen below the directory to remove as soon as the process that holds
    /// this FIFO open has ended.
    pub fn watches(&self, fifo: &Path) {
        self.tell("watches", &fifo.display());
    }

    fn tell(&self, verb: &str, what: &dyn std::fmt::Display) {
        let mut pipe = self.pipe.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(pipe) = pipe.as_mut() {
            // A shell that is gone cannot be told; the owner's own Drop still ends its processes.
            let _ = writeln!(pipe, "{verb} {what}");
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let pipe = self.pipe.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(pipe.take());
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().unwrap()
    }

    #[tokio::test]
    async fn kills_what_is_alive_and_spares_what_it_was_told_is_gone() {
        let (mut kept, mut other, mut reported) = (sleeper(), sleeper(), sleeper());
        let reaper = Reaper::start().unwrap();
        for child in [&kept, &other, &reported] {
            reaper.started(child.id());
        }
        reaper.ended(reported.id());
        drop(reaper);
        for child in [&mut kept, &mut other] {
            let gone = async || child.try_wait().unwrap();
            let status = crate::wait::until("the kill", Duration::from_secs(5), gone).await;
            assert!(!status.unwrap().success());
        }
        assert!(reported.try_wait().unwrap().is_none(), "told it was gone, yet killed");
        reported.kill().unwrap();
        reported.wait().unwrap();
    }
}
