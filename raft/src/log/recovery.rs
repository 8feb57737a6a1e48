//! What a store finds when it is opened, and whether it may believe it.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use ranch_proto::keys::{self, LogTag};
use ranch_proto::{GroupId, schema as wire};

use super::engine::{EngineError, LogEngine};
use super::error::{DamagedRow, LogError};
use super::record::{self, Chain, RecordError, RecordHash};
use super::tail::Recovered;
use super::watermark::{Watermark, WatermarkFault};
use crate::convert::{log_id_from_wire, vote_from_wire};
use crate::types::{Entry, LogId};

/// The format of keys and rows this version reads and writes.
pub(super) const FORMAT: u32 = 1;
/// Where the store says its format: behind all groups, whose keys begin with four zeros.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// At least so many of a group's newest entries are read and checked when a store is opened.
const CHECKED_ENTRIES: u64 = 4096;

/// Reads an engine that is being opened.
pub(super) struct Recovery<'a> {
    /// The log directory, for messages.
    pub(super) path: &'a Path,
    pub(super) engine: &'a dyn LogEngine,
}

impl Recovery<'_> {
    /// Checks format and watermark. `None` for a store that was never finished being made: it has
    /// acknowledged nothing.
    pub(super) fn check(&self, watermark_path: &Path) -> Result<Option<Watermark>, LogError> {
        let watermark = Watermark::open(watermark_path)?;
        let found = self.engine.sequence();
        let expected = watermark.as_ref().map_or(0, |(_, sequence)| *sequence);
        if found < expected {
            return Err(LogError::RolledBack { path: self.path.to_owned(), found, expected });
        }
        match (self.format()?, watermark) {
            (None, _) if found == 0 => Ok(None),
            (None, _) => Err(self.unknown_format(0)),
            (Some(FORMAT), Some((watermark, _))) => Ok(Some(watermark)),
            (Some(FORMAT), None) => {
                let fault = WatermarkFault::Missing;
                Err(LogError::Watermark { path: watermark_path.to_owned(), fault })
            }
            (Some(other), _) => Err(self.unknown_format(other)),
        }
    }

    fn unknown_format(&self, found: u32) -> LogError {
        LogError::UnknownFormat { path: self.path.to_owned(), found, known: FORMAT }
    }

    fn format(&self) -> Result<Option<u32>, LogError> {
        let Some(row) = self.get(FORMAT_KEY)? else { return Ok(None) };
        let bytes: Result<[u8; 4], _> = row.as_slice().try_into();
        let version = bytes.map_err(|_| self.damaged(DamagedRow::Format, RecordError::TooShort))?;
        Ok(Some(u32::from_be_bytes(version)))
    }

    /// All groups that have rows, each with what they say.
    pub(super) fn groups(&self) -> Result<Vec<(GroupId, Recovered)>, LogError> {
        let mut groups = Vec::new();
        let mut from = keys::log_bounds(GroupId(0)).0;
        while let Some(group) = self.group_at(&from)? {
            groups.push((group, self.group(group)?));
            from = keys::log_bounds(group).1;
        }
        Ok(groups)
    }

    /// The group of the first key from `from` on.
    fn group_at(&self, from: &[u8]) -> Result<Option<GroupId>, LogError> {
        let mut found = None;
        let scanned = self.engine.scan(from, FORMAT_KEY, &mut |key, _| {
            found = Some(keys::read_log(key).map(|(group, ..)| group));
            false
        });
        scanned.map_err(|source| self.failed(source))?;
        let unknown = |_| self.damaged(DamagedRow::Key, RecordError::UnknownKey);
        found.transpose().map_err(unknown)
    }

    fn group(&self, group: GroupId) -> Result<Recovered, LogError> {
        let vote: Option<wire::Vote> = self.row(&keys::log_vote(group), DamagedRow::Vote(group))?;
        let purged = self.log_id(&keys::log_purged(group), DamagedRow::Purged(group))?;
        let committed = self.log_id(&keys::log_committed(group), DamagedRow::Committed(group))?;
        let vote = vote.as_ref().map(vote_from_wire);
        let begin = purged.map_or(0, |purged| purged.index + 1);
        let none = Recovered {
            vote,
            purged,
            committed,
            entries: begin..begin,
            last: purged,
            last_hash: None,
        };
        let found = match self.bounds(group)? {
            None => none,
            Some((first, last, hash)) => {
                if purged.is_some() && first != begin {
                    return Err(self.hole(group, begin, Some(first)));
                }
                let entries = first..last.log_id.index + 1;
                Recovered { entries, last: Some(last.log_id), last_hash: Some(hash), ..none }
            }
        };
        self.check_entries(group, &found)?;
        if let Some(committed) = found.committed.filter(|c| c.index >= found.entries.end) {
            let (path, last) = (self.path.to_owned(), found.last);
            return Err(LogError::CommittedMissing { path, group, committed, last });
        }
        Ok(found)
    }

    /// The first index and the last entry of a group, with the hash of its record.
    fn bounds(&self, group: GroupId) -> Result<Option<(u64, Entry, RecordHash)>, LogError> {
        let (from, to) = keys::log_entry_bounds(group, 0, u64::MAX);
        let mut first = None;
        let scanned = self.engine.scan(&from, &to, &mut |key, _| {
            first = Some(self.index(key));
            false
        });
        scanned.map_err(|source| self.failed(source))?;
        let Some(first) = first.transpose()? else { return Ok(None) };
        let last = self.engine.last(&from, &to).map_err(|source| self.failed(source))?;
        let Some((key, value)) = last else { return Err(self.hole(group, first, None)) };
        let (last, hash) = (self.index(&key)?, RecordHash::of(&value));
        let entry = self.entry(group, (last, &value), &mut Chain::default())?;
        Ok(Some((first, entry, hash)))
    }

    fn index(&self, key: &[u8]) -> Result<u64, LogError> {
        match keys::read_log(key) {
            Ok((_, LogTag::Entry, index)) => Ok(index),
            _ => Err(self.damaged(DamagedRow::Key, RecordError::UnknownKey)),
        }
    }

    /// Reads an entry, which follows what `chain` has come to.
    fn entry(
        &self,
        group: GroupId,
        (index, value): (u64, &[u8]),
        chain: &mut Chain,
    ) -> Result<Entry, LogError> {
        let record = Bytes::copy_from_slice(value);
        let row = DamagedRow::Entry(group, index);
        chain.follow(&record, index).map_err(|fault| self.damaged(row, fault))
    }

    /// Reads the newest entries, and all that are not known to be committed: they are what votes
    /// and elections will be decided by. Older ones are checked whenever they are read.
    fn check_entries(&self, group: GroupId, found: &Recovered) -> Result<(), LogError> {
        let Range { start, end } = found.entries;
        let committed = found.committed.map_or(0, |committed| committed.index);
        let begin = end.saturating_sub(CHECKED_ENTRIES).min(committed).clamp(start, end);
        let (from, to) = keys::log_entry_bounds(group, begin, end);
        let mut expected = begin;
        let mut fault = None;
        let mut chain = Chain::default();
        let scanned = self.engine.scan(&from, &to, &mut |key, value| {
            let checked = self.index(key).and_then(|index| {
                if index != expected {
                    return Err(self.hole(group, expected, Some(index)));
                }
                expected += 1;
                self.entry(group, (index, value), &mut chain)
            });
            fault = checked.err();
            fault.is_none()
        });
        scanned.map_err(|source| self.failed(source))?;
        match fault {
            Some(fault) => Err(fault),
            None if expected != end => Err(self.hole(group, expected, None)),
            None => Ok(()),
        }
    }

    fn log_id(&self, key: &[u8], row: DamagedRow) -> Result<Option<LogId>, LogError> {
        Ok(self.row::<wire::LogId>(key, row)?.as_ref().map(log_id_from_wire))
    }

    fn row<M: Message + Default>(
        &self,
        key: &[u8],
        row: DamagedRow,
    ) -> Result<Option<M>, LogError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let message = record::decode(&Bytes::from(value));
        Ok(Some(message.map_err(|fault| self.damaged(row, fault))?))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        self.engine.get(key).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: EngineError) -> LogError {
        engine_failed(self.path, "reading", source)
    }

    fn damaged(&self, row: DamagedRow, fault: RecordError) -> LogError {
        LogError::Damaged { path: self.path.to_owned(), row, fault }
    }

    fn hole(&self, group: GroupId, expected: u64, found: Option<u64>) -> LogError {
        LogError::Hole { path: self.path.to_owned(), group, expected, found }
    }
}

/// What an engine's failure means for the log in `path`.
pub(super) fn engine_failed(path: &Path, action: &'static str, source: EngineError) -> LogError {
    let path = path.to_owned();
    match source {
        EngineError::Locked { .. } => LogError::InUse { path },
        EngineError::Corrupt { .. } => LogError::Corrupt { path, source },
        EngineError::Failed { .. } => LogError::Engine { path, action, source },
    }
}
