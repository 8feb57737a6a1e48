//! One process of the ranch: how it is started, what it last said, how it is stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ranch_proto::api_key::Secret;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};

use super::super::inherit;

/// Longest a process may take to stop by itself.
const STOP_MAX: Duration = Duration::from_secs(15);
/// A log that has grown past this is put aside, as NAME.log.1, and begun anew.
const LOG_MAX: u64 = 64 << 20;
/// Most of the end of a log that is looked at for the last line.
const TAIL: u64 = 8 << 10;

/// How to start a process.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// As messages name it.
    pub name: String,
    /// The program: this one.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Handed over in the environment, where other users cannot see it.
    pub admin_key: Option<Secret>,
    /// Where its output goes, after what is there.
    pub log: PathBuf,
    /// The socket it listens on, if it is given one.
    pub listener: Option<Arc<TcpListener>>,
}

/// A process that was started.
pub struct RunningChild {
    child: Child,
    /// Open as long as we live, which is how the child knows that we do.
    pipe: Option<Lifeline>,
    log: PathBuf,
    /// Length of the log when it started.
    log_start: u64,
}

/// The other end of a child's standard input.
enum Lifeline {
    Pipe(#[allow(dead_code)] ChildStdin),
    Socket(UnixStream),
}

impl ChildSpec {
    /// Starts the process.
    pub fn start(&self) -> io::Result<RunningChild> {
        let (stdin, socket) = match &self.listener {
            Some(listener) => {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
                inherit::give(&ours, listener)?;
                ours.set_nonblocking(true)?;
                (Stdio::from(OwnedFd::from(theirs)), Some(UnixStream::from_std(ours)?))
            }
            None => (Stdio::piped(), None),
        };
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let log_start = log.metadata()?.len();
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_remove("RANCH_ADMIN_KEY")
            .stdin(stdin)
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        if let Some(key) = &self.admin_key {
            command.env("RANCH_ADMIN_KEY", key.expose());
        }
        let mut child = command.spawn()?;
        // Taken out, or waiting for the child would close it.
        let pipe = child.stdin.take().map(Lifeline::Pipe);
        let pipe = pipe.or(socket.map(Lifeline::Socket));
        Ok(RunningChild { child, pipe, log: self.log.clone(), log_start })
    }
}

impl RunningChild {
    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Waits until a child that was given a socket says that it serves.
    pub async fn serves(&mut self) -> io::Result<()> {
        let Some(Lifeline::Socket(socket)) = &mut self.pipe else { return Ok(()) };
        let mut byte = [0];
        match socket.read(&mut byte).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Why it ended: the last it said, or else its status. What it said before it was killed has
    /// nothing to do with that.
    pub fn last_words(&self, status: ExitStatus) -> String {
        if status.signal().is_some_and(|signal| signal != Signal::ABORT.as_raw()) {
            return status.to_string();
        }
        let line = last_line(&self.log, self.log_start).unwrap_or_default();
        line.unwrap_or_else(|| status.to_string())
    }

    /// Asks it to stop, and makes it stop when it does not in time.
    pub async fn stop(&mut self) {
        let id = self.child.id().map(u32::cast_signed);
        let Some(pid) = id.and_then(Pid::from_raw) else { return };
        // It may have ended this moment, which is what was wanted.
        let _ = kill_process(pid, Signal::TERM);
        // Says the same once more.
        drop(self.pipe.take());
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Keeps the log within twice [`LOG_MAX`]. The process goes on writing to the file it has, at
    /// its end wherever that is, so the file is copied and emptied; what is written between is
    /// lost, which a log of this size can bear.
    pub fn rotate_log(&mut self) -> io::Result<()> {
        self.rotate_log_above(LOG_MAX)
    }

    fn rotate_log_above(&mut self, most: u64) -> io::Result<()> {
        if fs::metadata(&self.log)?.len() <= most {
            return Ok(());
        }
        fs::copy(&self.log, self.log.with_extension("log.1"))?;
        OpenOptions::new().write(true).open(&self.log)?.set_len(0)?;
        self.log_start = 0;
        Ok(())
    }

    /// Ends it at once.
    pub async fn kill(&mut self) {
        // Fails only when there is no such process any more.
        let _ = self.child.kill().await;
    }
}

/// The last error after `start`, which is what the program puts its name before; without any, the
/// last line.
fn last_line(log: &Path, start: u64) -> io::Result<Option<String>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(length.saturating_sub(TAIL))))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = || text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find_map(|line| line.strip_prefix("ranch: "));
    Ok(error.or_else(|| lines().next()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(dir: &Path, script: &str) -> ChildSpec {
        ChildSpec {
            name: "shell".to_owned(),
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            admin_key: Some(Secret::new("pmb-v1-canary")),
            log: dir.join("shell.log"),
            listener: None,
        }
    }

    #[tokio::test]
    async fn the_last_words_are_those_of_this_run() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo one; echo 'ranch: two' >&2; echo three; exit 3";
        let spec = shell(dir.path(), script);
        let mut child = spec.start().unwrap();
        let status = child.ended().await.unwrap();
        assert_eq!((status.code(), child.last_words(status).as_str()), (Some(3), "two"));
        let mut silent = shell(dir.path(), "exit 4").start().unwrap();
        let status = silent.ended().await.unwrap();
        assert_eq!(silent.last_words(status), "exit status: 4");
    }

    #[tokio::test]
    async fn a_long_log_is_put_aside_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo before; read x; echo after; exit 3";
        let mut child = shell(dir.path(), script).start().unwrap();
        while last_line(&child.log, 0).unwrap().as_deref() != Some("before") {
            tokio::task::yield_now().await;
        }
        child.rotate_log_above(100).unwrap();
        assert_eq!(fs::read_to_string(&child.log).unwrap(), "before\n", "still short");
        child.rotate_log_above(3).unwrap();
        drop(child.pipe.take());
        let status = child.ended().await.unwrap();
        assert_eq!(child.last_words(status), "after");
        let aside = fs::read_to_string(dir.path().join("shell.log.1")).unwrap();
        assert_eq!(
            (aside.as_str(), fs::read_to_string(&child.log).unwrap().as_str()),
            ("before\n", "after\n")
        );
    }

    #[tokio::test]
    async fn a_child_is_asked_before_it_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        // Reading standard input keeps it until the signal comes; `up` never writes there.
        let script = "trap 'echo asked; exit 0' TERM; echo ready; while true; do read x; done";
        let mut child = shell(dir.path(), script).start().unwrap();
        while last_line(&child.log, 0).unwrap().as_deref() != Some("ready") {
            tokio::task::yield_now().await;
        }
        child.stop().await;
        assert_eq!(last_line(&child.log, 0).unwrap().as_deref(), Some("asked"));
    }

    #[tokio::test]
    async fn a_child_notices_that_its_parent_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = shell(dir.path(), "read x; echo gone").start().unwrap();
        drop(child.pipe.take());
        let status = child.ended().await.unwrap();
        assert_eq!(child.last_words(status), "gone");
        assert_eq!(status.signal(), None);
    }
}
