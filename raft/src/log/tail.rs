//! What memory knows of one group's log: its bounds, its vote, and its newest entries.
//!
//! This is the truth readers are bounded by. The database follows it through the write queue, so
//! for a moment it may still hold entries that were truncated or purged here, or lack entries
//! that were appended here; neither is ever seen, because
//! - nothing outside `first..end` is read, and
//! - an entry leaves the cache only once the very append that brought it is on disk, so whatever
//!   is not cached is in the database, and is what was appended last at that index.

use std::collections::VecDeque;
use std::ops::Range;

use super::marks::Marks;
use super::record::RecordHash;
use crate::types::{Entry, LogId, Vote};

/// An entry in memory.
#[derive(Debug)]
pub(super) struct Cached {
    /// The entry. Its payload shares memory with the record that is written.
    pub(super) entry: Entry,
    /// Length of its record.
    pub(super) bytes: usize,
    /// Hash of its record.
    pub(super) hash: RecordHash,
    /// Number of the append that brought it, within the group.
    pub(super) append: u64,
}

impl Cached {
    fn cost(&self) -> usize {
        self.bytes + size_of::<Self>()
    }
}

/// The bounds and newest entries of a group's log.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) vote: Option<Vote>,
    /// The group was removed: nothing may be written any more.
    pub(super) removed: bool,
    purged: Option<LogId>,
    /// The log holds the indexes `first..end`.
    first: u64,
    end: u64,
    last: Option<LogId>,
    /// Hash of the last entry's record, if there is an entry and it is known.
    last_hash: Option<RecordHash>,
    /// Grows with each truncation and purge, so that a slow reader sees that one came between.
    shape: u64,
    /// Appends so far.
    appends: u64,
    /// The entries `end - cache.len()..end`.
    cache: VecDeque<Cached>,
    cached_bytes: usize,
    marks: Marks,
}

/// How to read a range of a log.
#[derive(Debug)]
pub(super) struct Plan {
    /// To be compared after the database was read.
    pub(super) shape: u64,
    /// Indexes to read from the database, before those in `cached`.
    pub(super) disk: Range<u64>,
    /// Entries from memory.
    pub(super) cached: Vec<Entry>,
}

/// What a group's rows say when the store is opened.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) committed: Option<LogId>,
    /// Indexes of the first entry and of the one past the last.
    pub(super) entries: Range<u64>,
    /// The last entry, or what was purged when there is none.
    pub(super) last: Option<LogId>,
    /// Hash of the last entry's record.
    pub(super) last_hash: Option<RecordHash>,
}

impl Tail {
    pub(super) fn recovered(found: &Recovered) -> Self {
        Self {
            vote: found.vote,
            purged: found.purged,
            first: found.entries.start,
            end: found.entries.end,
            last: found.last,
            last_hash: found.last_hash,
            ..Self::default()
        }
    }

    /// The last log id purged.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The last entry's log id, or the last purged one.
    pub(super) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Hash of the last entry's record; `None` when there is no entry, or it is not known.
    pub(super) fn last_hash(&self) -> Option<RecordHash> {
        self.last_hash
    }

    /// Makes the hash of the last entry's record known.
    pub(super) fn set_last_hash(&mut self, hash: RecordHash) {
        self.last_hash = Some(hash);
    }

    /// The index of the last entry, if its record's hash is not known.
    pub(super) fn unhashed(&self) -> Option<u64> {
        (self.last_hash.is_none() && self.first < self.end).then(|| self.end - 1)
    }

    /// The index past the last entry.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of this group in the cache.
    pub(super) fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// The last entry that must go for the rest to have about so many bytes.
    pub(super) fn surplus(&self, bytes: u64) -> Option<u64> {
        self.marks.surplus(bytes)
    }

    /// Whether anything is known of the group.
    pub(super) fn has_data(&self) -> bool {
        !self.removed && (self.vote.is_some() || self.last.is_some())
    }

    /// The index the next entry must have; `None` for a log that may begin anywhere.
    pub(super) fn next_index(&self) -> Option<u64> {
        (self.last.is_some() || self.first < self.end).then_some(self.end)
    }

    /// The number the next append will have.
    pub(super) fn next_append(&self) -> u64 {
        self.appends + 1
    }

    /// Adds entries whose order has been checked against [`Self::next_index`]. Returns the bytes
    /// the cache grew by.
    pub(super) fn append(&mut self, entries: &mut Vec<Cached>) -> usize {
        self.appends += 1;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return 0 };
        if self.first == self.end {
            self.first = first.entry.log_id.index;
        }
        self.end = last.entry.log_id.index + 1;
        self.last = Some(last.entry.log_id);
        self.last_hash = Some(last.hash);
        let grown = entries.iter().map(Cached::cost).sum();
        self.cached_bytes += grown;
        for cached in &*entries {
            self.marks.append(cached.entry.log_id.index, cached.bytes);
        }
        let append = self.appends;
        self.cache.extend(entries.drain(..).map(|cached| Cached { append, ..cached }));
        grown
    }

    /// Forgets all entries past `after`. Returns the indexes forgotten and the bytes freed.
    pub(super) fn truncate(&mut self, after: Option<LogId>) -> (Range<u64>, usize) {
        let keep = after.map_or(self.first, |id| id.index + 1).clamp(self.first, self.end);
        let removed = keep..self.end;
        if removed.is_empty() {
            return (removed, 0);
        }
        let gone = usize::try_from(self.end - keep).unwrap_or(usize::MAX);
        let left = self.cache.len().saturating_sub(gone);
        let freed = self.cache.drain(left..).map(|cached| cached.cost()).sum();
        self.cached_bytes -= freed;
        self.end = keep;
        self.marks.truncate(keep);
        self.last = if keep > self.first { after } else { self.purged };
        self.last_hash = self.cache.back().map(|cached| cached.hash);
        self.shape += 1;
        (removed, freed)
    }

    /// Forgets all entries up to `upto`. Returns the indexes forgotten and the bytes freed;
    /// `None` when as much had been purged before.
    pub(super) fn purge(&mut self, upto: LogId) -> Option<(Range<u64>, usize)> {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return None;
        }
        let begin = upto.index + 1;
        let removed = self.first..begin.clamp(self.first, self.end);
        let cache_from = self.cache_from();
        let gone = usize::try_from(removed.end.saturating_sub(cache_from)).unwrap_or(usize::MAX);
        let freed = self.cache.drain(..gone.min(self.cache.len())).map(|c| c.cost()).sum();
        self.cached_bytes -= freed;
        self.purged = Some(upto);
        self.marks.purge(upto.index);
        self.first = begin;
        if self.end <= begin {
            self.end = begin;
            self.last = Some(upto);
            self.last_hash = None;
        }
        self.shape += 1;
        Some((removed, freed))
    }

    /// Forgets everything; only used when the group is removed. Returns the bytes freed.
    pub(super) fn remove(&mut self) -> usize {
        let freed = self.cached_bytes;
        *self = Self { removed: true, shape: self.shape + 1, ..Self::default() };
        freed
    }

    /// Drops oldest entries of the cache until `bytes` are freed, but only entries whose append
    /// has a number up to `durable`. Returns the bytes freed.
    pub(super) fn evict(&mut self, bytes: usize, durable: u64) -> usize {
        let mut freed = 0;
        while freed < bytes && self.cache.front().is_some_and(|cached| cached.append <= durable) {
            freed += self.cache.pop_front().map_or(0, |cached| cached.cost());
        }
        self.cached_bytes -= freed;
        freed
    }

    fn cache_from(&self) -> u64 {
        self.end - self.cache.len() as u64
    }

    /// How to read the entries of `range` that exist. With `bytes_max`, only as many as fit from
    /// the range's beginning, but one at least; a read that begins in the database then ends
    /// where the cache begins.
    pub(super) fn plan(&self, range: Range<u64>, bytes_max: Option<usize>) -> Plan {
        let from = range.start.max(self.first);
        let to = range.end.min(self.end).max(from);
        let cache_from = self.cache_from();
        let disk = from..to.min(cache_from).max(from);
        let mut plan = Plan { shape: self.shape, disk, cached: Vec::new() };
        let cached = from.max(cache_from)..to;
        if cached.is_empty() || (bytes_max.is_some() && !plan.disk.is_empty()) {
            return plan;
        }
        // Both fit: they count entries that are in memory.
        let skip = (cached.start - cache_from) as usize;
        let entries = self.cache.range(skip..(cached.end - cache_from) as usize);
        let count = bytes_max.map_or(entries.len(), |bytes| fitting(entries.clone(), bytes));
        plan.cached.reserve_exact(count);
        plan.cached.extend(entries.take(count).map(|cached| cached.entry.clone()));
        plan
    }

    /// Whether no truncation or purge has come since `plan` was made.
    pub(super) fn still(&self, plan: &Plan) -> bool {
        self.shape == plan.shape
    }
}

fn fitting<'a>(entries: impl Iterator<Item = &'a Cached>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let within = |cached: &&Cached| {
        bytes += cached.bytes;
        bytes <= bytes_max
    };
    entries.take_while(within).count().max(1)
}

#[cfg(test)]
mod tests;
