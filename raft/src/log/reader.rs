//! One group's log as it is read: by replication, by apply, and at start.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use openraft::{OptionalSend, RaftLogReader};
use ranch_proto::keys;

use super::error::{DamagedRow, LogError};
use super::group_state::GroupState;
use super::record::Chain;
use super::recovery::engine_failed;
use super::store::Shared;
use crate::types::{Entry, TypeConfig, Vote};

/// Reads a group's log; cheap to clone.
#[derive(Clone)]
pub struct GroupLogReader {
    shared: Arc<Shared>,
    state: Arc<GroupState>,
}

impl GroupLogReader {
    pub(super) fn new(shared: Arc<Shared>, state: Arc<GroupState>) -> Self {
        Self { shared, state }
    }

    /// Reads the entries of `range` that exist; with `bytes_max` as many as fit, but one at least.
    async fn read(&self, range: Range<u64>, bytes_max: Option<usize>) -> io::Result<Vec<Entry>> {
        loop {
            let mut plan = self.state.tail.lock().plan(range.clone(), bytes_max);
            if plan.disk.is_empty() {
                self.shared.counters.read(plan.cached.len(), 0);
                return Ok(plan.cached);
            }
            let read = self.read_disk(plan.disk.clone(), bytes_max).await;
            if !self.state.tail.lock().still(&plan) {
                // A truncation or purge came between: what was read may be of two logs.
                continue;
            }
            let mut entries = read?;
            self.shared.counters.read(plan.cached.len(), entries.len());
            entries.append(&mut plan.cached);
            return Ok(entries);
        }
    }

    /// Reads from the database, off the async threads: this is the way of those who lag behind.
    async fn read_disk(
        &self,
        indexes: Range<u64>,
        bytes_max: Option<usize>,
    ) -> io::Result<Vec<Entry>> {
        let reader = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let scanned = reader.scan(indexes.clone(), bytes_max);
            // What a purge or truncation took away meanwhile is not missing.
            if let Err(error) = &scanned
                && reader.holds(&indexes)
            {
                reader.shared.note_damage(error);
            }
            scanned
        });
        Ok(read.await.map_err(io::Error::other)??)
    }

    fn holds(&self, indexes: &Range<u64>) -> bool {
        self.state.tail.lock().plan(indexes.clone(), None).disk == *indexes
    }

    fn scan(&self, indexes: Range<u64>, bytes_max: Option<usize>) -> Result<Vec<Entry>, LogError> {
        let path = || self.shared.path.clone();
        let group = self.state.id;
        let (from, to) = keys::log_entry_bounds(group, indexes.start, indexes.end);
        let mut entries = Vec::new();
        let mut expected = indexes.start;
        let mut bytes = 0;
        let mut full = false;
        let mut fault = None;
        let mut chain = Chain::default();
        let scanned = self.shared.engine.scan(&from, &to, &mut |key, value| {
            bytes += value.len();
            full = !entries.is_empty() && bytes_max.is_some_and(|max| bytes > max);
            if full {
                return false;
            }
            if key != keys::log_entry(group, expected) {
                return false;
            }
            match chain.follow(&Bytes::copy_from_slice(value), expected) {
                Ok(entry) => entries.push(entry),
                Err(found) => fault = Some(found),
            }
            expected += 1;
            fault.is_none()
        });
        scanned.map_err(|source| engine_failed(&self.shared.path, "reading", source))?;
        if let Some(fault) = fault {
            let row = DamagedRow::Entry(group, expected - 1);
            return Err(LogError::Damaged { path: path(), row, fault });
        }
        if expected != indexes.end && !full {
            return Err(LogError::Hole { path: path(), group, expected, found: None });
        }
        Ok(entries)
    }

    /// The indexes of a range that can exist at all.
    fn indexes<RB: RangeBounds<u64>>(range: &RB) -> Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => index.saturating_add(1),
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        start..end
    }

    /// Reads on behind the first part of a stream.
    async fn read_on(self, at: Range<u64>) -> io::Result<Option<(Vec<Entry>, (Self, Range<u64>))>> {
        let entries = self.read(at.clone(), Some(self.shared.options.read_bytes_max)).await?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(None);
        };
        if first.log_id.index != at.start {
            let found = Some(first.log_id.index);
            let path = self.shared.path.clone();
            let group = self.state.id;
            Err(LogError::Hole { path, group, expected: at.start, found })?;
        }
        let next = last.log_id.index + 1..at.end;
        Ok(Some((entries, (self, next))))
    }
}

impl RaftLogReader<TypeConfig> for GroupLogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read(Self::indexes(&range), None).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.state.tail.lock().vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let mut entries = self.read(start..end, Some(self.shared.options.read_bytes_max)).await?;
        if entries.first().is_some_and(|first| first.log_id.index != start) {
            // The first ones were purged meanwhile. openraft sends what it gets right behind
            // `start`, so a later part would leave a hole at the follower; nothing is sent as a
            // heartbeat, and the leader then sees that it needs a snapshot.
            entries.clear();
        }
        Ok(entries)
    }

    /// In parts of limited size: what is to be applied after a restart may not fit in memory.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let range = Self::indexes(&range);
        let first = self.read(range.clone(), Some(self.shared.options.read_bytes_max)).await;
        let (first, rest) = match first {
            Ok(entries) => {
                let next = entries.last().map_or(range.end, |last| last.log_id.index + 1);
                (entries.into_iter().map(Ok).collect(), next..range.end)
            }
            Err(error) => (vec![Err(error)], 0..0),
        };
        let rest = stream::try_unfold((self.clone(), rest), |(reader, at)| reader.read_on(at));
        let rest = rest.map_ok(|part| stream::iter(part.into_iter().map(Ok))).try_flatten();
        stream::iter(first).chain(rest)
    }
}
