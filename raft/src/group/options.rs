//! How a group is run: who we are in it, and openraft's configuration for it.

use std::sync::Arc;

use openraft::{Config, ConfigError, SnapshotPolicy};
use ranch_proto::versions::ClusterVersion;
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
    /// What the ranch has agreed to write.
    pub version: ClusterVersion,
}

/// openraft's configuration, the same for all groups of a node.
///
/// Snapshots are triggered by the flush of the state store, never by openraft, and nor is the log
/// purged by it ([`GroupCore::purge`](super::GroupCore::purge)); heartbeats of all groups are
/// sent by one ticker of the node, so that they leave together. How long to wait before
/// a replica that is away is tried again, the network says.
///
/// # Errors
/// When the timers contradict each other.
pub fn config(timers: Timers, log_keep_entries: u64) -> Result<Arc<Config>, ConfigError> {
    let config = Config {
        cluster_name: "ranch".to_owned(),
        heartbeat_interval: pace_ms(timers),
        election_timeout_min: timers.election_min_ms,
        election_timeout_max: timers.election_max_ms,
        enable_heartbeat: false,
        enable_pre_vote: Some(true),
        // A restarted leader may lack what a successor committed: it must be elected again.
        enable_leader_restore: Some(false),
        // Breaks the deadlock of a bridge partition; at least twice the longest election.
        quorum_loss_probe_interval: Some(timers.election_max_ms * 2),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        replication_lag_threshold: log_keep_entries,
        max_payload_entries: 64,
        install_snapshot_timeout: 60_000,
        ..Config::default()
    };
    config.validate().map(Arc::new)
}

/// What openraft takes for the heartbeat interval. It sends none itself, but derives from it how
/// often a group looks at its clock (13/64 of it) and how long a heartbeat may take. The longest
/// that openraft accepts beside the election timeout, or nearly, wakes an idle node least.
fn pace_ms(timers: Timers) -> u64 {
    timers.heartbeat_ms.max(timers.election_min_ms * 4 / 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(heartbeat_ms: u64, election_min_ms: u64, election_max_ms: u64) -> Option<u64> {
        let timers = Timers { heartbeat_ms, election_min_ms, election_max_ms };
        config(timers, 100).ok().map(|config| config.heartbeat_interval)
    }

    #[test]
    fn the_pace_leaves_room_for_the_election_timeout() {
        assert_eq!(made(100, 300, 600), Some(240));
        assert_eq!(made(50, 150, 300), Some(120));
        assert_eq!(made(100, 200, 400), Some(160));
        assert_eq!(made(300, 200, 400), None, "timers that contradict each other are refused");
    }
}
