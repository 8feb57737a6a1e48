//! One group's log as openraft writes it.
//!
//! openraft awaits all of this inside its core, so nothing here may wait for the disk, except
//! `save_vote`, whose contract it is. Truncation and purge return once they hold in memory and
//! are queued: a crash before they are on disk brings the old entries back, and that is the state
//! of a process which crashed a moment earlier, before the call. Whatever is reported as on disk
//! later was queued later, so it never survives without them.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use ranch_proto::keys;
use tokio::sync::oneshot;

use super::crash_point::crash_point;
use super::error::LogError;
use super::group_state::GroupState;
use super::promise::Promise;
use super::queue::{QueueClosed, Write};
use super::reader::GroupLogReader;
use super::record::{self, RecordHash};
use super::store::LogStore;
use super::tail::{Cached, Tail};
use crate::types::{Entry, LogId, Proposal, TypeConfig, Vote};

/// Room made for records at a time; appends share it until it is used up.
const RECORDS_ROOM: usize = 16 << 10;
/// Bytes before each record that say its length.
const LENGTH: usize = 4;

/// The log of one group. One at a time writes it: openraft's core.
pub struct GroupLog {
    store: LogStore,
    state: Arc<GroupState>,
    /// Where records are encoded, reused from append to append.
    records: BytesMut,
    staged: Vec<Cached>,
}

impl GroupLog {
    pub(super) fn new(store: LogStore, state: Arc<GroupState>) -> Self {
        let records = BytesMut::with_capacity(RECORDS_ROOM);
        Self { store, state, records, staged: Vec::new() }
    }

    /// Whom the replica has promised to follow, from now on.
    #[must_use]
    pub fn promise(&self) -> Promise {
        Promise::of(&self.state)
    }

    fn closed(&self) -> LogError {
        LogError::Closed { group: self.state.id }
    }

    /// Queues a write. The tail must be that of this group, so that the order is that of memory.
    fn queue(&self, tail: &Tail, write: Write) -> Result<(), LogError> {
        if tail.removed {
            return Err(self.closed());
        }
        self.store.shared().queue.push(write).map_err(|QueueClosed| self.closed())
    }

    /// Encodes entries behind each other into `records` and lists them in `staged`.
    fn stage(&mut self, entries: impl Iterator<Item = Entry>) -> Result<(), LogError> {
        self.staged.clear();
        self.records.clear();
        let mut prior = self.state.tail.lock().last_hash();
        let mut expected = None;
        for entry in entries {
            let index = entry.log_id.index;
            if let Some(expected) = expected.filter(|&expected| expected != index) {
                return Err(self.out_of_order(expected, index));
            }
            expected = Some(index + 1);
            let start = self.records.len();
            self.records.put_u32_le(0);
            record::encode_entry(&mut self.records, &entry, prior);
            let hash = RecordHash::of(&self.records[start + LENGTH..]);
            prior = Some(hash);
            let bytes = self.records.len() - start - LENGTH;
            // An entry is at most some MiB: openraft's messages would not carry more.
            self.records[start..start + LENGTH].copy_from_slice(&(bytes as u32).to_le_bytes());
            self.staged.push(Cached { entry, bytes, hash, append: 0 });
        }
        Ok(())
    }

    fn out_of_order(&self, expected: u64, found: u64) -> LogError {
        LogError::OutOfOrder { group: self.state.id, expected, found }
    }

    /// Finds out which record the next one follows, when memory no longer knows. One row is read,
    /// and only after a truncation to before what is cached. What cannot be read leaves a gap in
    /// the chain; whoever reads the entry finds out what is wrong with it.
    fn find_last_hash(&self, tail: &mut Tail) {
        let Some(index) = tail.unhashed() else { return };
        let key = keys::log_entry(self.state.id, index);
        if let Ok(Some(record)) = self.store.shared().engine.get(&key) {
            tail.set_last_hash(RecordHash::of(&record));
        }
    }

    /// Queues what is staged and adds it to the tail.
    fn submit(&mut self, done: IOFlushed<TypeConfig>) -> Result<(), LogError> {
        let records = self.records.split().freeze();
        share_payloads(&mut self.staged, &records);
        let first = self.staged.first().map(|cached| cached.entry.log_id.index);
        let mut tail = self.state.tail.lock();
        if let (Some(first), Some(expected)) = (first, tail.next_index())
            && first != expected
        {
            return Err(self.out_of_order(expected, first));
        }
        let first = first.unwrap_or(tail.end());
        let indexes = first..first + self.staged.len() as u64;
        let number = tail.next_append();
        let group = Arc::clone(&self.state);
        self.queue(&tail, Write::Append { group, number, indexes, records, done })?;
        self.store.shared().counters.appended(self.staged.len());
        self.store.shared().cache.grow(tail.append(&mut self.staged));
        Ok(())
    }
}

/// Lets the entries' payloads share the encoded records' memory. Otherwise an entry of a few
/// bytes in the cache may hold on to the whole network message it came in.
fn share_payloads(staged: &mut [Cached], records: &bytes::Bytes) {
    let mut end = 0;
    for cached in staged {
        end += LENGTH + cached.bytes;
        if let EntryPayload::Normal(Proposal(payload)) = &mut cached.entry.payload {
            // A normal payload is the end of its record: see `record::encode_entry`.
            let shared = records.slice(end - payload.len()..end);
            debug_assert_eq!(*payload, shared, "a payload must end its record");
            *payload = shared;
        }
    }
}

impl RaftLogStorage<TypeConfig> for GroupLog {
    type LogReader = GroupLogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = self.state.tail.lock();
        Ok(LogState { last_purged_log_id: tail.purged(), last_log_id: tail.last() })
    }

    async fn get_log_reader(&mut self) -> GroupLogReader {
        GroupLogReader::new(Arc::clone(self.store.shared()), Arc::clone(&self.state))
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, saved) = oneshot::channel();
        let group = Arc::clone(&self.state);
        self.state.promise(*vote);
        {
            let tail = self.state.tail.lock();
            self.queue(&tail, Write::Vote { group, vote: *vote, done })?;
        }
        Ok(saved.await.map_err(|_| self.closed())?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.state.set_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.state.committed())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.store.shared().queue.admit().await;
        self.stage(entries.into_iter())?;
        Ok(self.submit(callback)?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let mut tail = self.state.tail.lock();
        let (removed, freed) = tail.truncate(last_log_id);
        self.store.shared().cache.shrink(freed);
        if !removed.is_empty() {
            let group = Arc::clone(&self.state);
            self.queue(&tail, Write::Truncate { group, removed })?;
            self.find_last_hash(&mut tail);
        }
        drop(tail);
        crash_point("log_truncate_queued");
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let mut tail = self.state.tail.lock();
        if let Some((removed, freed)) = tail.purge(log_id) {
            self.store.shared().cache.shrink(freed);
            let group = Arc::clone(&self.state);
            self.queue(&tail, Write::Purge { group, removed, upto: log_id })?;
        }
        drop(tail);
        crash_point("log_purge_queued");
        Ok(())
    }
}
