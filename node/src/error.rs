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
        "{path} is damaged ({detail}); move the whole data directory away and start again: the \
         node then comes back empty and is refilled by the others"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
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
        "{dir} had a place in a ranch, but its Raft logs are gone; move the whole directory away \
         and start again: the node then comes back empty and is refilled by the others"
    )]
    LogLost {
        /// The data directory.
        dir: PathBuf,
    },
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
