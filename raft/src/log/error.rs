//! Why a log store cannot be opened, read or written, each with what to do about it.

use std::io;
use std::path::PathBuf;

use ranch_proto::GroupId;

use super::engine::EngineError;
use super::record::RecordError;
use super::watermark::WatermarkFault;
use crate::types::LogId;

/// The remedy for a log that has lost what it had acknowledged, or can no longer be read. The node
/// does this by itself while a majority does without it.
const REFILL: &str = "a node with others sets it aside by itself and is refilled by them; a single \
                      one needs its backup";

/// A failure of the log store.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process, or another store of this one, has the directory open.
    #[error(
        "the log in {path} is in use by another process: stop that one first, or give this node \
         a data directory of its own"
    )]
    InUse {
        /// The log directory.
        path: PathBuf,
    },
    /// The log ends before what it had acknowledged.
    #[error(
        "the log in {path} has been rolled back: it ends at sequence number {found}, but \
         everything up to {expected} had been acknowledged as stored, so acknowledged entries \
         are missing; {REFILL}"
    )]
    RolledBack {
        /// The log directory.
        path: PathBuf,
        /// Sequence number the log ends at.
        found: u64,
        /// Sequence number it had reached.
        expected: u64,
    },
    /// The watermark file cannot be believed.
    #[error("the watermark file {path} {fault}; {REFILL}")]
    Watermark {
        /// The watermark file.
        path: PathBuf,
        /// What is wrong with it.
        fault: WatermarkFault,
    },
    /// Written by a version with another format.
    #[error(
        "the log in {path} has format {found}, and this version knows only format {known}: run \
         the version of ranch that wrote it"
    )]
    UnknownFormat {
        /// The log directory.
        path: PathBuf,
        /// The format found; 0 when the directory holds a database that is no log of a ranch.
        found: u32,
        /// The format this version reads and writes.
        known: u32,
    },
    /// A record of the log is not as it was written.
    #[error("{row} in the log in {path} is damaged: {fault}; {REFILL}")]
    Damaged {
        /// The log directory.
        path: PathBuf,
        /// Which record.
        row: DamagedRow,
        /// What is wrong with it.
        fault: RecordError,
    },
    /// Entries are missing between two that are there.
    #[error(
        "the log of group {group} in {path} has a hole: entry {expected} is missing, the next \
         one is {found:?}; {REFILL}"
    )]
    Hole {
        /// The log directory.
        path: PathBuf,
        /// The group.
        group: GroupId,
        /// The first index missing.
        expected: u64,
        /// The index found instead, if any.
        found: Option<u64>,
    },
    /// Entries known to be committed are not in the log.
    #[error(
        "group {group} has committed up to {committed}, but its log in {path} ends at {last:?}; \
         {REFILL}"
    )]
    CommittedMissing {
        /// The log directory.
        path: PathBuf,
        /// The group.
        group: GroupId,
        /// The last entry committed.
        committed: LogId,
        /// The last entry present.
        last: Option<LogId>,
    },
    /// A write that would leave a hole. Nothing was written.
    #[error("group {group} appends entry {found} where {expected} must follow")]
    OutOfOrder {
        /// The group.
        group: GroupId,
        /// The index that must follow.
        expected: u64,
        /// The index given.
        found: u64,
    },
    /// The store has been closed, or the group removed from it. Nothing was written.
    #[error("the log of group {group} is closed")]
    Closed {
        /// The group.
        group: GroupId,
    },
    /// The database failed.
    #[error("{action} the log in {path}: {source}")]
    Engine {
        /// The log directory.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The database's own words.
        source: EngineError,
    },
    /// The database's files are damaged.
    #[error("the log in {path} cannot be read: {source}; {REFILL}")]
    Corrupt {
        /// The log directory.
        path: PathBuf,
        /// The database's own words.
        source: EngineError,
    },
    /// The file system failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The operating system's words.
        source: io::Error,
    },
}

/// A record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamagedRow {
    /// The store's own format row.
    Format,
    /// A group's vote.
    Vote(GroupId),
    /// How far a group's log has been purged.
    Purged(GroupId),
    /// How far a group has committed.
    Committed(GroupId),
    /// An entry, by its index.
    Entry(GroupId, u64),
    /// A row whose key stands for nothing.
    Key,
}

impl std::fmt::Display for DamagedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Format => f.write_str("the format row"),
            Self::Vote(group) => write!(f, "the vote of group {group}"),
            Self::Purged(group) => write!(f, "the purge mark of group {group}"),
            Self::Committed(group) => write!(f, "the commit mark of group {group}"),
            Self::Entry(group, index) => write!(f, "entry {index} of group {group}"),
            Self::Key => f.write_str("a key"),
        }
    }
}

impl LogError {
    /// What the replica has lost by this, as "its log was …"; `None` where nothing is lost and
    /// something else is to be done.
    #[must_use]
    pub fn loss(&self) -> Option<&'static str> {
        match self {
            Self::Watermark { fault: WatermarkFault::UnknownVersion { .. }, .. }
            | Self::Damaged { fault: RecordError::UnknownVersion { .. }, .. }
            | Self::InUse { .. }
            | Self::UnknownFormat { .. }
            | Self::OutOfOrder { .. }
            | Self::Closed { .. }
            | Self::Engine { .. }
            | Self::Io { .. } => None,
            Self::RolledBack { .. } => Some("its log had been rolled back"),
            Self::Watermark { .. } => Some("the watermark of its log was lost"),
            Self::Damaged { .. } | Self::Corrupt { .. } => Some("its log was damaged"),
            Self::Hole { .. } => Some("entries of its log were missing"),
            Self::CommittedMissing { .. } => Some("committed entries of its log were missing"),
        }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::OutOfOrder { .. } => io::ErrorKind::InvalidInput,
            LogError::Engine { .. } | LogError::Io { .. } | LogError::Closed { .. } => {
                io::ErrorKind::Other
            }
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
