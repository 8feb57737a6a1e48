//! What the handles of one group and the log writer share.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use ranch_proto::GroupId;

use super::tail::{Recovered, Tail};
use crate::types::{LogId, Vote};

/// One group of a store.
pub(super) struct GroupState {
    pub(super) id: GroupId,
    /// Held while a write is queued, so that the queue's order is that of memory.
    pub(super) tail: Mutex<Tail>,
    /// The index past the last entry the log writer has put into a batch. Only it writes this.
    pub(super) written_end: AtomicU64,
    /// Number of the last append that is on disk.
    durable_append: AtomicU64,
    committed: Mutex<CommitMark>,
    /// The latest vote that was, or is to be, stored.
    promised: Mutex<Option<Vote>>,
}

#[derive(Default)]
struct CommitMark {
    latest: Option<LogId>,
    saved: Option<LogId>,
}

impl GroupState {
    pub(super) fn new(id: GroupId, found: &Recovered) -> Self {
        Self {
            id,
            tail: Mutex::new(Tail::recovered(found)),
            written_end: AtomicU64::new(found.entries.end),
            durable_append: AtomicU64::new(0),
            committed: Mutex::new(CommitMark { latest: found.committed, saved: found.committed }),
            promised: Mutex::new(found.vote),
        }
    }

    /// Number of the last append that is on disk.
    pub(super) fn durable_append(&self) -> u64 {
        self.durable_append.load(Ordering::Acquire)
    }

    /// Notes that the append of this number and all before it are on disk.
    pub(super) fn mark_durable(&self, number: u64) {
        self.durable_append.store(number, Ordering::Release);
    }

    /// Notes a vote that is about to be stored. Only a later one changes anything.
    pub(super) fn promise(&self, vote: Vote) {
        let mut promised = self.promised.lock();
        if promised.is_none_or(|before| vote >= before) {
            *promised = Some(vote);
        }
    }

    /// The latest vote that was, or is to be, stored.
    pub(super) fn promised(&self) -> Option<Vote> {
        *self.promised.lock()
    }

    /// Remembers how far the group has committed; saved by a later write.
    pub(super) fn set_committed(&self, committed: Option<LogId>) {
        self.committed.lock().latest = committed;
    }

    /// How far the group has committed.
    pub(super) fn committed(&self) -> Option<LogId> {
        self.committed.lock().latest
    }

    /// The newest commit mark, if it is not saved yet and lies within what is written. It counts
    /// as saved from then on.
    pub(super) fn unsaved_commit_mark(&self) -> Option<LogId> {
        let mut mark = self.committed.lock();
        let written_end = self.written_end.load(Ordering::Relaxed);
        if mark.latest == mark.saved {
            return None;
        }
        let latest = mark.latest.filter(|latest| latest.index < written_end)?;
        mark.saved = Some(latest);
        Some(latest)
    }
}
