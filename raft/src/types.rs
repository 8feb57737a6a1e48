//! openraft's type configuration for every group of a ranch, and short names for its types.
//!
//! A log entry's payload is opaque bytes (an encoded `ShardEntry` or `MetaEntry`): the log, the
//! network and openraft never look inside, only the state machine does.

use std::fmt;

use bytes::Bytes;
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};
use ranch_proto::schema::{CommandResult, MetaResult};

openraft::declare_raft_types!(
    /// Types of all groups, shards and meta alike.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = u64,
        Node = openraft::EmptyNode,
        AsyncRuntime = openraft::impls::TokioRuntime,
);

/// What a leader proposes: an encoded entry of its group's state machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry gave, in the order of its commands.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Applied {
    /// A blank or membership entry.
    #[default]
    Nothing,
    /// Answers of a shard's commands.
    Commands(Vec<CommandResult>),
    /// Answers of the meta group's commands.
    Meta(Vec<MetaResult>),
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Commands(results) => write!(f, "{} command results", results.len()),
            Self::Meta(results) => write!(f, "{} meta results", results.len()),
        }
    }
}

/// Position of an entry: term, leader and index.
pub type LogId = LogIdOf<TypeConfig>;
/// A vote, committed once its candidate leads.
pub type Vote = VoteOf<TypeConfig>;
/// An entry of a group's log.
pub type Entry = EntryOf<TypeConfig>;
/// A membership and the entry it was decided by.
pub type StoredMembership = StoredMembershipOf<TypeConfig>;
/// Where a snapshot stands.
pub type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
/// The voters and learners of a group.
pub type Membership = openraft::Membership<u64, openraft::EmptyNode>;
