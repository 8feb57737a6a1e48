//! How a group is run: who we are in it, and openraft's configuration for it.

use std::sync::Arc;

use openraft::{Config, ConfigError, SnapshotPolicy};
use ranch_proto::{GroupId, ReplicaId};

/// Raft's clocks, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Between heartbeats of a leader.
    pub heartbeat_ms: u64,
    /// Least time without a leader before a follower stands for election.
    pub election_min_ms: u64,
    /// Most time before it does.
    pub election_max_ms: u64,
}

/// One replica of one group.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// The group.
    pub group: GroupId,
    /// This node's replica of it.
    pub replica: ReplicaId,
    /// As made by [`config`].
    pub config: Arc<Config>,
    /// Commands that may wait to be proposed; beyond it askers hear `Overloaded`.
    pub queue: usize,
}

/// openraft's configuration, the same for all groups of a node.
///
/// Snapshots are triggered by the flush of the state store, never by openraft; heartbeats of all
/// groups are sent by one ticker of the node, so that they leave together.
///
/// # Errors
/// When the timers contradict each other.
pub fn config(timers: Timers, log_keep_entries: u64) -> Result<Arc<Config>, ConfigError> {
    let config = Config {
        cluster_name: "ranch".to_owned(),
        heartbeat_interval: timers.heartbeat_ms,
        election_timeout_min: timers.election_min_ms,
        election_timeout_max: timers.election_max_ms,
        enable_heartbeat: false,
        enable_pre_vote: Some(true),
        // A restarted leader may lack what a successor committed: it must be elected again.
        enable_leader_restore: Some(false),
        // Breaks the deadlock of a bridge partition; at least twice the longest election.
        quorum_loss_probe_interval: Some(timers.election_max_ms * 2),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: log_keep_entries,
        purge_batch_size: 256,
        replication_lag_threshold: log_keep_entries,
        max_payload_entries: 64,
        install_snapshot_timeout: 60_000,
        backoff: "100ms".to_owned(),
        ..Config::default()
    };
    config.validate().map(Arc::new)
}
