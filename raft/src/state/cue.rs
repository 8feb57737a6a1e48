//! Cues: a thread that wants the rows as of one index is told when that much is applied and
//! nothing after it, and the machine goes on only when the thread has what it wants.
//!
//! No cue is missed. Who waits is listed before it looks at the database, and the machine looks at
//! the list after it has written: one of the two sees the other.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;

/// Longest a machine waits for a thread that was told: far longer than a snapshot takes.
const HOLD_MAX: Duration = Duration::from_secs(2);
/// Where nobody waits.
const NOBODY: u64 = u64::MAX;

/// Who waits for what.
#[derive(Debug)]
pub(crate) struct Cues {
    /// The lowest index anyone waits for, which the machine looks at with every entry.
    lowest: AtomicU64,
    waiting: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    given: u64,
    waiting: Vec<Listed>,
}

#[derive(Debug)]
struct Listed {
    place: u64,
    index: u64,
    told: SyncSender<Cue>,
}

/// Says that it is time, or over. The machine stands still until it is dropped.
#[derive(Debug)]
pub(crate) struct Cue {
    _hold: SyncSender<()>,
}

/// A place in the list, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    cues: &'a Cues,
    place: u64,
    cue: Receiver<Cue>,
}

impl Waiting<'_> {
    /// Waits for the cue, at most `limit`. Blocks.
    pub(crate) fn wait(&self, limit: Duration) -> Option<Cue> {
        self.cue.recv_timeout(limit).ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut places = self.cues.waiting.lock();
        places.waiting.retain(|one| one.place != self.place);
        self.cues.set_lowest(&places);
    }
}

impl Default for Cues {
    fn default() -> Self {
        Self { lowest: AtomicU64::new(NOBODY), waiting: Mutex::default() }
    }
}

impl Cues {
    /// Lists someone who wants the rows as of `index`. To be done before looking what is applied.
    pub(crate) fn list(&self, index: u64) -> Waiting<'_> {
        let (told, cue) = sync_channel(1);
        let mut places = self.waiting.lock();
        let place = places.given;
        places.given += 1;
        places.waiting.push(Listed { place, index, told });
        self.set_lowest(&places);
        Waiting { cues: self, place, cue }
    }

    /// Whether someone wants the rows as they are before the entry at `index`.
    pub(crate) fn ends_before(&self, index: u64) -> bool {
        self.lowest.load(Relaxed).checked_add(1) == Some(index)
    }

    /// Whether someone waits for `last` or less. To be asked after `last` was written.
    pub(crate) fn wants(&self, last: u64) -> bool {
        // The lock is what orders this after a listing that came before the write.
        self.waiting.lock().waiting.iter().any(|one| one.index <= last)
    }

    /// Tells all who wait for `last` or less, and waits until each has its snapshot. Those who
    /// wanted less see for themselves that they came too late. Blocks.
    pub(crate) fn reached(&self, last: u64) {
        let mut due = Vec::new();
        {
            let mut places = self.waiting.lock();
            places.waiting.retain(|one| {
                let later = one.index > last;
                if !later {
                    due.push(one.told.clone());
                }
                later
            });
            self.set_lowest(&places);
        }
        for told in due {
            let (hold, released) = sync_channel(1);
            // Who has given up waiting needs no cue.
            if told.try_send(Cue { _hold: hold }).is_ok()
                && matches!(released.recv_timeout(HOLD_MAX), Err(RecvTimeoutError::Timeout))
            {
                tracing::warn!("who was to look at the rows of entry {last} took too long");
            }
        }
    }

    fn set_lowest(&self, places: &Places) {
        let lowest = places.waiting.iter().map(|one| one.index).min();
        self.lowest.store(lowest.unwrap_or(NOBODY), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_once_and_the_machine_stands_still_meanwhile() {
        let cues = Cues::default();
        assert!(!cues.wants(NOBODY - 1) && !cues.ends_before(0));
        let (early, late) = (cues.list(5), cues.list(9));
        assert!(cues.ends_before(6) && !cues.ends_before(10) && !cues.wants(4) && cues.wants(5));
        std::thread::scope(|scope| {
            let waiting = &cues;
            let held = scope.spawn(move || {
                let cue = early.wait(Duration::from_secs(10)).expect("it is told");
                assert!(!waiting.wants(5), "nobody else waits for it");
                drop(cue);
            });
            cues.reached(5);
            held.join().unwrap();
        });
        assert!(cues.ends_before(10) && late.wait(Duration::ZERO).is_none());
        drop(late);
        assert!(!cues.ends_before(10), "who has gone is forgotten");
        cues.reached(20);
        assert!(!cues.wants(NOBODY - 1));
    }
}
