//! The one queue through which all groups' writes reach the log writer, in order.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use openraft::storage::IOFlushed;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::group_state::GroupState;
use crate::types::{LogId, TypeConfig, Vote};

/// Bytes a write without a body is counted as.
const SMALL: usize = 64;

/// One write of one group.
pub(super) enum Write {
    /// Entries: their records, each after its length as u32 little-endian.
    Append {
        group: Arc<GroupState>,
        number: u64,
        indexes: Range<u64>,
        records: Bytes,
        done: IOFlushed<TypeConfig>,
    },
    Vote {
        group: Arc<GroupState>,
        vote: Vote,
        done: oneshot::Sender<()>,
    },
    Truncate {
        group: Arc<GroupState>,
        removed: Range<u64>,
    },
    Purge {
        group: Arc<GroupState>,
        removed: Range<u64>,
        upto: LogId,
    },
    /// All rows of the group.
    Remove {
        group: Arc<GroupState>,
        done: oneshot::Sender<()>,
    },
}

impl Write {
    /// Bytes this counts against the limits of queue and batch.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append { records, .. } => SMALL + records.len(),
            _ => SMALL,
        }
    }
}

/// The queue has been closed; the write was dropped.
#[derive(Debug)]
pub(super) struct QueueClosed;

/// See the module.
pub(super) struct WriteQueue {
    state: Mutex<State>,
    ready: Condvar,
    /// Bytes queued or being written.
    bytes: AtomicUsize,
    bytes_max: usize,
    room: Notify,
}

#[derive(Default)]
struct State {
    writes: Vec<Write>,
    closed: bool,
    writer_waits: bool,
}

impl WriteQueue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            ready: Condvar::new(),
            bytes: AtomicUsize::new(0),
            bytes_max,
            room: Notify::new(),
        }
    }

    /// Waits until the queue is below its limit. Callers admitted together may exceed it by one
    /// append each, which bounds it all the same: a group has one writer.
    pub(super) async fn admit(&self) {
        while self.is_full() {
            let mut room = std::pin::pin!(self.room.notified());
            // Registered before looking again, so that a release in between is not missed.
            room.as_mut().enable();
            if self.is_full() {
                room.await;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) > self.bytes_max
    }

    /// Bytes queued or being written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Queues a write. Never blocks on the disk.
    pub(super) fn push(&self, write: Write) -> Result<(), QueueClosed> {
        let bytes = write.bytes();
        let mut state = self.state.lock();
        if state.closed {
            return Err(QueueClosed);
        }
        self.bytes.fetch_add(bytes, Relaxed);
        state.writes.push(write);
        if std::mem::take(&mut state.writer_waits) {
            drop(state);
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for writes and moves all of them into `into`, which must be empty. `false` once the
    /// queue is closed and drained.
    pub(super) fn take(&self, into: &mut Vec<Write>) -> bool {
        let mut state = self.state.lock();
        while state.writes.is_empty() {
            if state.closed {
                return false;
            }
            state.writer_waits = true;
            self.ready.wait(&mut state);
        }
        std::mem::swap(&mut state.writes, into);
        true
    }

    /// Gives back the bytes of writes that are done.
    pub(super) fn release(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Relaxed);
        if before > self.bytes_max && before - bytes <= self.bytes_max {
            self.room.notify_waiters();
        }
    }

    /// Refuses further writes. Those queued are still taken. `true` for the first call.
    pub(super) fn close(&self) -> bool {
        let first = !std::mem::replace(&mut self.state.lock().closed, true);
        self.ready.notify_one();
        first
    }
}
