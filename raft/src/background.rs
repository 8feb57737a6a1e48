//! Threads for work that may wait: whole shards are read, written and hashed beside requests of
//! clients, which may not.

use std::sync::LazyLock;
use std::thread::JoinHandle;
use std::{fs, io, thread};

use rustix::process::{Pid, getpid, getpriority_process, setpriority_process};

/// Steps of `nice(2)` behind the threads that serve requests: where both want a processor, these
/// get about a tenth of it (a step weighs 1.25, sched(7)). Far enough to be out of the way, and not
/// so far that whoever waits for the end, or for a lock they hold, waits for ever.
const STEPS: i32 = 10;
/// What `RocksDB` calls its threads for compactions.
const COMPACTIONS: &str = "rocksdb:low";

/// Of the threads that do not give way, which is that of the process as it was started.
static PRIORITY: LazyLock<i32> = LazyLock::new(|| getpriority_process(Some(getpid())).unwrap_or(0));

/// Starts a thread that gives way to those which serve requests.
///
/// # Errors
/// When the system has no more threads.
pub fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(move || {
        step_behind(None);
        work();
    })
}

/// Has the threads for compactions give way. To be called when a database is open: all of its
/// threads are there then. (`RocksDB` can do so itself, but by 19 steps only, a seventieth.)
pub(crate) fn compactions_behind() {
    for (thread, name) in threads() {
        if name == COMPACTIONS {
            step_behind(Some(thread));
        }
    }
}

/// Has all of this process give way to others on the machine, as [`spawn`] does for a thread.
pub fn process_behind() {
    for (thread, _) in threads() {
        step_behind(Some(thread));
    }
}

/// The threads of this process with their names; none where the system does not tell.
fn threads() -> Vec<(Pid, String)> {
    let listed = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let threads = listed.filter_map(|thread| {
        let id = Pid::from_raw(thread.file_name().to_str()?.parse().ok()?)?;
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        Some((id, name.trim_end().to_owned()))
    });
    threads.collect()
}

/// Puts a thread behind this process's others. On Linux each has a priority of its own, whatever
/// the names of these functions say. Where it cannot be had, the work is done all the same.
fn step_behind(thread: Option<Pid>) {
    let _ = setpriority_process(thread, *PRIORITY + STEPS);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::rocks;

    #[test]
    fn such_a_thread_is_behind_and_the_one_that_starts_it_is_not() {
        let before = getpriority_process(None).unwrap();
        let (told, seen) = mpsc::sync_channel(1);
        let look = move || told.send(getpriority_process(None)).unwrap();
        spawn("behind".into(), look).unwrap();
        let behind = seen.recv().unwrap().unwrap();
        assert_eq!(behind, (before + STEPS).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn compactions_are_behind_and_flushes_are_not() {
        let others = getpriority_process(Some(getpid())).unwrap();
        let place = tempfile::tempdir().unwrap();
        let mut options = rocks::options(rocks::RATE);
        options.create_if_missing(true);
        let _db = rocks::open(&options, place.path()).unwrap();
        let steps = |name: &str| {
            let found = threads().into_iter().filter(|(_, of)| of == name);
            let steps = found.map(|(id, _)| getpriority_process(Some(id)).unwrap() - others);
            steps.collect::<Vec<_>>()
        };
        let (compactions, flushes) = (steps(COMPACTIONS), steps("rocksdb:high"));
        // Less where all of this process is behind others already.
        let behind = (others + STEPS).min(19) - others;
        assert!(!compactions.is_empty() && compactions.iter().all(|steps| *steps == behind));
        assert!(!flushes.is_empty() && flushes.iter().all(|steps| *steps == 0));
    }
}
