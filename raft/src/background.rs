//! Threads for work that may wait: whole shards are read, written and hashed beside requests of
//! clients, which may not.

use std::io;
use std::thread;

use rustix::process::{getpriority_process, setpriority_process};

/// Steps of `nice(2)` behind the threads that serve requests: where both want a processor, these
/// get about a tenth of it (a step weighs 1.25, sched(7)). Far enough to be out of the way, and not
/// so far that whoever waits for the end waits for ever.
const STEPS: i32 = 10;

/// Starts a thread that gives way to those which serve requests.
///
/// # Errors
/// When the system has no more threads.
pub fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(move || {
        // On Linux a priority is a thread's own. Without the step the work is done all the same.
        if let Ok(now) = getpriority_process(None) {
            let _ = setpriority_process(None, now + STEPS);
        }
        work();
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

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
}
