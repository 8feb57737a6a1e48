//! What can go wrong with the state of a node. Each is a sentence for the operator, with the
//! remedy where there is one; none is ever shown to a client.

use std::io;
use std::path::PathBuf;

use ranch_proto::keys::KeyError;
use ranch_proto::value::ValueError;
use ranch_proto::versions::Span;

use crate::convert::Incomplete;
use crate::damage;
use crate::state::snapshot::SnapshotFault;

/// Why state could not be opened, read, applied or replaced.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The database is open elsewhere.
    #[error(
        "the state in {path} is in use by another process: stop that one first, \
         or give this node a data_dir of its own"
    )]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// Files are missing or damaged.
    #[error(
        "the state in {path} is damaged ({detail}); a node with others sets it aside by itself \
         and is refilled by them; a single one needs its backup"
    )]
    Corrupt {
        /// Where.
        path: PathBuf,
        /// What the database said.
        detail: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "the state in {path} has format {found}, this program knows format {known}: \
         start the version that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// Where.
        path: PathBuf,
        /// As found in the version file.
        found: String,
        /// The only one known here.
        known: u32,
    },
    /// A file operation failed.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was tried, in the infinitive.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database refused an operation.
    #[error("the state database failed to {action}: {source}")]
    Engine {
        /// What was tried, in the infinitive.
        action: &'static str,
        /// What the database said.
        source: rocksdb::Error,
    },
    /// A key that is none.
    #[error("malformed key of a {what} row in the state database: {source}")]
    Key {
        /// Kind of row.
        what: &'static str,
        /// What is wrong.
        source: KeyError,
    },
    /// A value that does not decode.
    #[error("malformed {what} row in the state database: {source}")]
    Value {
        /// Kind of row.
        what: &'static str,
        /// What is wrong.
        source: ValueError,
    },
    /// A row of this crate's own encodings that does not decode.
    #[error("malformed {what} row in the state database")]
    Row {
        /// Kind of row.
        what: &'static str,
    },
    /// A stored message without a part it needs.
    #[error("malformed {what} row in the state database: {source}")]
    Incomplete {
        /// Kind of row.
        what: &'static str,
        /// What is missing.
        source: Incomplete,
    },
    /// A header without its body, or the other way round.
    #[error("a scroll in the state database has a header but no text")]
    HalfScroll,
    /// A tenant has other scrolls than its totals say.
    #[error("tenant {tenant} has other scrolls in the state database than its totals say")]
    Uncounted {
        /// The tenant.
        tenant: String,
    },
    /// A log entry that is not one.
    #[error("log entry {index} does not decode: {source}")]
    MalformedEntry {
        /// Its index.
        index: u64,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// A log entry written by a newer version.
    #[error(
        "log entry {index} was written at cluster version {found}, and this binary can do {known}: \
         run the version the other machines run"
    )]
    UnknownEntryVersion {
        /// Its index.
        index: u64,
        /// Its version.
        found: u32,
        /// Those known here.
        known: Span,
    },
    /// The ranch has gone beyond what this binary can, or never came so far.
    #[error(
        "this ranch is at cluster version {found}, and this binary can do {known}: run the version \
         the other machines run"
    )]
    ClusterVersion {
        /// As the directory has it.
        found: u32,
        /// Those known here.
        known: Span,
    },
    /// Entries to apply came out of order.
    #[error("log entry {found} cannot be applied after entry {applied}")]
    OutOfOrder {
        /// The last index applied.
        applied: u64,
        /// The index offered.
        found: u64,
    },
    /// A received snapshot was refused.
    #[error("the snapshot was refused: {0}")]
    Snapshot(#[from] SnapshotFault),
    /// A thread of this crate ended without an answer.
    #[error("the thread that was to {action} ended early")]
    ThreadLost {
        /// What it was to do.
        action: &'static str,
    },
}

impl StateError {
    /// What the replica has lost by this, as "its state was …"; `None` where nothing is lost.
    #[must_use]
    pub fn loss(&self) -> Option<&'static str> {
        match self {
            Self::Corrupt { .. } => Some("its state was damaged"),
            Self::Engine { source, .. } if damage::is_read_failure(source) => {
                Some("its state was damaged")
            }
            _ => None,
        }
    }

    /// Builds the error of a failed database call.
    pub(crate) fn engine(action: &'static str) -> impl FnOnce(rocksdb::Error) -> Self {
        move |source| Self::Engine { action, source }
    }

    /// Builds the error of a failed file operation.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl From<StateError> for io::Error {
    fn from(error: StateError) -> Self {
        Self::other(error)
    }
}
