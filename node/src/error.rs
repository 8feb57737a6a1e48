//! Why a node cannot start or go on. Every message names the thing and the remedy.

use std::path::PathBuf;

use ranch_proto::{GroupId, NodeId};
use ranch_raft::group::GroupError;
use ranch_raft::log::LogError;
use ranch_raft::state::StateError;

/// The one error of running a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address for other machines is taken or not ours.
    #[error(
        "cannot listen on {addr}: {source}; is another node running there? Choose another `addr` \
         for this [[node]] or stop that process"
    )]
    Listen {
        /// As configured.
        addr: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the data directory cannot be read or written.
    #[error("cannot {action} {path}: {source}; check that the directory exists and is writable")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The identity file is not one.
    #[error(
        "{path} is damaged ({detail}); a node with others sets its data aside by itself and is \
         refilled by them; a single one needs its backup"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// What a machine keeps that joined by token is not what it should be.
    #[error("{path} cannot be kept up to date ({detail}): correct it, it is like ranch.toml")]
    Joined {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The identity file is of another version.
    #[error("{path} has version {found}, this binary reads {known}: run the version that wrote it")]
    IdentityVersion {
        /// The file.
        path: PathBuf,
        /// As found.
        found: u32,
        /// The only one known here.
        known: u32,
    },
    /// The data directory belongs to another node.
    #[error(
        "{path} holds the data of node {found}, not of node {expected}; give each [[node]] a \
         data_dir of its own"
    )]
    WrongNode {
        /// The identity file.
        path: PathBuf,
        /// Whose it is.
        found: u32,
        /// Who was started.
        expected: u32,
    },
    /// The Raft logs this node had are gone.
    #[error(
        "{dir} had a place in a ranch, but its Raft logs are gone; a node with others is refilled \
         by them; a single one needs its backup"
    )]
    LogLost {
        /// The data directory.
        dir: PathBuf,
    },
    /// There are Raft logs, but nothing says whose.
    #[error(
        "{dir} has Raft logs but not the identity they belong to; a node with others sets them \
         aside by itself and is refilled by them; a single one needs its backup"
    )]
    IdentityLost {
        /// The data directory.
        dir: PathBuf,
    },
    /// The state is older than what the log still has.
    #[error(
        "the state in {dir} lacks entries of group {group} that its log has no longer; a node \
         with others is refilled by them; a single one needs its backup"
    )]
    StateLost {
        /// The data directory.
        dir: PathBuf,
        /// The group.
        group: GroupId,
    },
    /// An earlier run found damage.
    #[error("the data in {dir} is not to be used: {what}")]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// What was found, as "its log was …".
        what: String,
    },
    /// The other nodes remember more than this one has.
    #[error(
        "this node has lost what it acknowledged, as by a backup that was restored: the others \
         remember more of its log than it has. It stops, and comes back under a new incarnation"
    )]
    RolledBack,
    /// A database does no more work after a failure.
    #[error(
        "a database stopped its work in the background after a failure of the disk; it is opened \
         anew"
    )]
    Stuck,
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state cannot be opened.
    #[error(transparent)]
    State(#[from] StateError),
    /// A group cannot be run.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The configured timers contradict each other.
    #[error("the timers of [cluster] contradict each other: {detail}")]
    Timers {
        /// Which ones and how.
        detail: String,
    },
    /// The founder has no key to let its operator in with.
    #[error("a new ranch needs an admin key: set RANCH_ADMIN_KEY or give --admin-key")]
    NoAdminKey,
    /// The system has no randomness to give.
    #[error("the system gives no random numbers: {source}")]
    Randomness {
        /// What the system said.
        source: getrandom::Error,
    },
    /// The ranch refused this node.
    #[error("the ranch does not take this node in: {reason}")]
    Refused {
        /// In the ranch's words.
        reason: String,
    },
    /// The data directory has a place in a ranch already.
    #[error(
        "{path} says that this is node {node} of a ranch already: start it with `ranch node`, or \
         give another data directory"
    )]
    Settled {
        /// The identity file.
        path: PathBuf,
        /// Which node.
        node: NodeId,
    },
    /// Nobody answered a machine that wants to join.
    #[error(
        "{addr} does not take anybody in at this moment ({detail}): give the address of a node of \
         a ranch that `ranch status` shows well"
    )]
    Unanswered {
        /// The address asked.
        addr: String,
        /// The last that was heard.
        detail: String,
    },
    /// The node has been taken out of the ranch.
    #[error(
        "node {id} has left this ranch and its data has been moved: delete its data directory; to \
         use the machine again, give it a new id"
    )]
    Gone {
        /// The node.
        id: NodeId,
    },
    /// A replica has stopped by itself; the node must not go on without it.
    #[error("the replica of group {group} has stopped: {detail}")]
    ReplicaStopped {
        /// The group.
        group: GroupId,
        /// openraft's words.
        detail: String,
    },
    /// The server for other machines has ended.
    #[error("the server for other machines has ended: {source}")]
    Server {
        /// What it said.
        source: tonic::transport::Error,
    },
}

impl NodeError {
    /// Whether the node would end the same way if it were started again, until an operator has
    /// changed something: it has left, or is not the one it is taken for.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::WrongNode { .. }
                | Self::IdentityVersion { .. }
                | Self::Timers { .. }
                | Self::NoAdminKey
                | Self::Refused { .. }
                | Self::Gone { .. }
        )
    }

    /// What the node has lost by this, as "its log was …"; `None` where nothing is lost.
    pub(crate) fn loss(&self) -> Option<String> {
        match self {
            Self::Identity { .. } => Some("its identity file was damaged".to_owned()),
            Self::IdentityLost { .. } => Some("its identity file was lost".to_owned()),
            Self::LogLost { .. } => Some("its log was lost".to_owned()),
            Self::StateLost { .. } => Some("its state was lost".to_owned()),
            Self::Damaged { what, .. } => Some(what.clone()),
            Self::Log(error) => error.loss().map(str::to_owned),
            Self::State(error) => error.loss().map(str::to_owned),
            _ => None,
        }
    }
}
