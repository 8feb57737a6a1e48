//! The log writer: the one thread that writes the log of all groups of a node.
//!
//! It takes whatever is queued, makes one batch of it, one fsync, publishes the watermark, and
//! only then tells anyone. The longer an fsync takes the more writes share the next one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use openraft::storage::IOFlushed;
use prost::Message;
use ranch_proto::keys;
use tokio::sync::oneshot;

use super::crash_point::crash_point;
use super::engine::EngineWriter;
use super::group_state::GroupState;
use super::queue::Write;
use super::record;
use super::store::Shared;
use super::watermark::Watermark;
use crate::convert::{log_id_to_wire, vote_to_wire};
use crate::types::{TypeConfig, Vote};

/// Up to so many indexes are deleted one by one. A range tombstone is one row, but every read of
/// its neighbourhood pays for it until a compaction has taken it away.
const POINT_DELETES_MAX: u64 = 128;

/// What to tell whom once a batch is on disk.
enum Completion {
    Appended { group: Arc<GroupState>, number: u64, done: IOFlushed<TypeConfig> },
    Voted { group: Arc<GroupState>, vote: Vote, done: oneshot::Sender<()> },
    Removed { done: oneshot::Sender<()> },
    Truncated,
    Purged,
}

/// The state of the thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    engine: Box<dyn EngineWriter>,
    watermark: Watermark,
    scratch: BytesMut,
    completions: Vec<Completion>,
    /// Bytes of the queue that the batch takes up.
    taken_bytes: usize,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        engine: Box<dyn EngineWriter>,
        watermark: Watermark,
    ) -> Self {
        let scratch = BytesMut::with_capacity(256);
        Self { shared, engine, watermark, scratch, completions: Vec::new(), taken_bytes: 0 }
    }

    /// Writes until the queue is closed and drained, then saves the commit marks.
    pub(super) fn run(mut self, finished: oneshot::Sender<()>) {
        let guard = AbortOnPanic { path: self.shared.path.clone() };
        let mut writes = Vec::new();
        while self.shared.queue.take(&mut writes) {
            for write in writes.drain(..) {
                self.stage(write);
                if self.engine.size() >= self.shared.options.batch_bytes_max {
                    self.commit();
                }
            }
            if !self.completions.is_empty() {
                self.commit();
            }
        }
        self.save_commit_marks();
        if let Err(error) = self.watermark.sync() {
            die("syncing", self.watermark.path(), &error);
        }
        // Lets go of the database first: whoever waits may want to open it again.
        drop(self);
        drop(guard);
        // The handle may be gone already; then nobody waits.
        let _ = finished.send(());
    }

    /// Adds a write to the batch.
    fn stage(&mut self, write: Write) {
        self.taken_bytes += write.bytes();
        let completion = match write {
            Write::Append { group, number, indexes, records, done } => {
                self.stage_entries(&group, indexes.start, records);
                if !indexes.is_empty() {
                    group.written_end.store(indexes.end, Relaxed);
                }
                self.stage_commit_mark(&group);
                Completion::Appended { group, number, done }
            }
            Write::Vote { group, vote, done } => {
                crash_point("log_before_vote");
                self.put_record(&keys::log_vote(group.id), &vote_to_wire(&vote));
                Completion::Voted { group, vote, done }
            }
            Write::Truncate { group, removed } => {
                crash_point("log_before_truncate");
                self.delete_entries(&group, removed.start, removed.end);
                group.written_end.store(removed.start, Relaxed);
                Completion::Truncated
            }
            Write::Purge { group, removed, upto } => {
                crash_point("log_before_purge");
                self.put_record(&keys::log_purged(group.id), &log_id_to_wire(&upto));
                self.delete_entries(&group, removed.start, removed.end);
                group.written_end.fetch_max(upto.index + 1, Relaxed);
                self.stage_commit_mark(&group);
                Completion::Purged
            }
            Write::Remove { group, done } => {
                let (from, to) = keys::log_bounds(group.id);
                self.engine.delete_range(&from, &to);
                Completion::Removed { done }
            }
        };
        self.completions.push(completion);
    }

    fn stage_entries(&mut self, group: &GroupState, first: u64, mut records: Bytes) {
        let mut index = first;
        while records.has_remaining() {
            let length = records.get_u32_le() as usize;
            self.engine.put(&keys::log_entry(group.id, index), &records[..length]);
            records.advance(length);
            index += 1;
        }
    }

    /// Lets the newest commit mark ride along, but never past the entries written by then: a
    /// mark beyond the log's end would say after a restart that committed entries are missing.
    fn stage_commit_mark(&mut self, group: &GroupState) -> bool {
        let mark = group.unsaved_commit_mark();
        if let Some(mark) = &mark {
            self.put_record(&keys::log_committed(group.id), &log_id_to_wire(mark));
        }
        mark.is_some()
    }

    fn put_record<M: Message>(&mut self, key: &[u8], message: &M) {
        self.scratch.clear();
        record::encode(&mut self.scratch, message);
        self.engine.put(key, &self.scratch);
    }

    fn delete_entries(&mut self, group: &GroupState, from: u64, to: u64) {
        if to.saturating_sub(from) <= POINT_DELETES_MAX {
            for index in from..to {
                self.engine.delete(&keys::log_entry(group.id, index));
            }
        } else {
            let (from, to) = keys::log_entry_bounds(group.id, from, to);
            self.engine.delete_range(&from, &to);
        }
    }

    /// Writes the batch, makes it durable, and tells everybody in order.
    fn commit(&mut self) {
        crash_point("log_before_write");
        let bytes = self.engine.size();
        let begun = Instant::now();
        let sequence = match self.engine.commit() {
            Ok(sequence) => sequence,
            Err(error) => die("writing", &self.shared.path, &error),
        };
        let took = begun.elapsed();
        crash_point("log_after_write");
        if let Err(error) = self.watermark.publish(sequence) {
            die("writing", self.watermark.path(), &error);
        }
        self.shared.durable.store(sequence, Relaxed);
        crash_point("log_after_watermark");
        self.shared.counters.batch(took, self.completions.len() as u64, bytes as u64);
        for completion in self.completions.drain(..) {
            complete(completion);
        }
        self.shared.queue.release(std::mem::take(&mut self.taken_bytes));
        self.shared.evict();
    }

    /// Saves the marks that no write has carried yet; for an orderly end.
    fn save_commit_marks(&mut self) {
        let groups: Vec<Arc<GroupState>> = self.shared.groups.lock().values().cloned().collect();
        let staged = groups.iter().filter(|group| self.stage_commit_mark(group)).count();
        if staged > 0 {
            self.commit();
        }
    }
}

fn complete(completion: Completion) {
    match completion {
        Completion::Appended { group, number, done } => {
            group.mark_durable(number);
            done.io_completed(Ok(()));
            crash_point("log_after_callback");
        }
        Completion::Voted { group, vote, done } => {
            group.tail.lock().vote = Some(vote);
            crash_point("log_after_vote");
            // Whoever asked may have been cancelled; the vote is saved all the same.
            let _ = done.send(());
        }
        Completion::Removed { done } => {
            let _ = done.send(());
        }
        Completion::Truncated => crash_point("log_after_truncate"),
        Completion::Purged => crash_point("log_after_purge"),
    }
}

/// Ends the process because the log can no longer be trusted to be on disk. Never returns, never
/// tries again: after a failed fsync the kernel may have dropped the very pages, and the next one
/// would report success for bytes that are gone.
fn die(action: &str, path: &Path, error: &dyn std::error::Error) -> ! {
    tracing::error!(
        path = %path.display(),
        "{action} the log failed ({error}): this process stops now, so that nothing is \
         acknowledged that is not on disk. Check the disk, then start it again"
    );
    // The log's subscriber may write in the background and never get to it.
    eprintln!("ranch: {action} {} failed: {error}; stopping", path.display());
    std::process::abort()
}

/// A panic in the thread would leave every group waiting for ever.
struct AbortOnPanic {
    path: PathBuf,
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            die("writing", &self.path, &std::io::Error::other("the log writer panicked"));
        }
    }
}
