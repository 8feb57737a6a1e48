//! How far a group's state has come: what is applied, and what of that is on disk.
//!
//! `durable` never passes `applied` and never goes back. The log may be purged up to `durable`
//! only, since state has no write-ahead log of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use ranch_proto::ids::{GroupId, ReplicaId};
use tokio::sync::watch;

use crate::state::cue::Cues;
use crate::types::{LogId, SnapshotMeta, StoredMembership};

/// Shared between a state machine, its readers and the store that flushes it.
#[derive(Debug)]
pub struct Progress {
    group: GroupId,
    index: AtomicU64,
    watch: watch::Sender<u64>,
    applied: Mutex<SnapshotMeta>,
    durable: Mutex<SnapshotMeta>,
    snapshot: Mutex<Option<SnapshotMeta>>,
    cues: Cues,
}

impl Progress {
    /// Begins with what was found on disk.
    pub(crate) fn new(group: GroupId, found: SnapshotMeta) -> Self {
        let index = index_of(&found);
        Self {
            group,
            index: AtomicU64::new(index),
            watch: watch::Sender::new(index),
            applied: Mutex::new(found.clone()),
            durable: Mutex::new(found),
            snapshot: Mutex::new(None),
            cues: Cues::default(),
        }
    }

    /// The group concerned.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Index of the last entry applied and visible to readers; 0 before the first.
    pub fn applied(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    /// Changes whenever [`Progress::applied`] does.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.watch.subscribe()
    }

    /// Index of the last entry whose effects are on disk; 0 when there is none.
    pub fn durable_applied(&self) -> u64 {
        index_of(&self.durable.lock())
    }

    /// Who waits for an index to be applied, and for nothing after it.
    pub(crate) fn cues(&self) -> &Cues {
        &self.cues
    }

    /// Whether something applied is not on disk yet.
    pub(crate) fn is_ahead_of_disk(&self) -> bool {
        let durable = self.durable.lock().last_log_id;
        self.applied.lock().last_log_id > durable
    }

    /// Whether a replica votes, as far as has been applied.
    pub fn is_voter(&self, replica: ReplicaId) -> bool {
        self.applied.lock().last_membership.voter_ids().any(|voter| voter == replica.0)
    }

    pub(crate) fn applied_meta(&self) -> SnapshotMeta {
        self.applied.lock().clone()
    }

    pub(crate) fn durable_meta(&self) -> SnapshotMeta {
        self.durable.lock().clone()
    }

    /// Publishes a batch that has been written; a membership only when the batch brought one.
    pub(crate) fn advance(&self, last: LogId, membership: Option<StoredMembership>) {
        let index = last.index;
        {
            let mut applied = self.applied.lock();
            applied.last_log_id = Some(last);
            if let Some(membership) = membership {
                applied.last_membership = membership;
            }
        }
        self.publish(index);
    }

    /// Publishes an installed snapshot, which is on disk at once.
    pub(crate) fn install(&self, meta: &SnapshotMeta) {
        *self.applied.lock() = meta.clone();
        *self.durable.lock() = meta.clone();
        *self.snapshot.lock() = Some(meta.clone());
        self.publish(index_of(meta));
    }

    /// Takes note that everything up to `meta` is on disk.
    pub(crate) fn set_durable(&self, meta: SnapshotMeta) {
        let mut durable = self.durable.lock();
        if meta.last_log_id > durable.last_log_id {
            *durable = meta;
        }
    }

    /// The snapshot last built or installed in this run.
    pub(crate) fn snapshot(&self) -> Option<SnapshotMeta> {
        self.snapshot.lock().clone()
    }

    pub(crate) fn set_snapshot(&self, meta: SnapshotMeta) {
        let mut snapshot = self.snapshot.lock();
        if snapshot.as_ref().is_none_or(|old| meta.last_log_id > old.last_log_id) {
            *snapshot = Some(meta);
        }
    }

    fn publish(&self, index: u64) {
        self.index.store(index, Ordering::Release);
        // Nobody waiting is the common case.
        self.watch.send_replace(index);
    }
}

fn index_of(meta: &SnapshotMeta) -> u64 {
    meta.last_log_id.map_or(0, |id| id.index)
}
