//! What every group has: the openraft handle, its read barrier and its account of itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ForwardToLeader, InitializeError, RaftError};
use openraft::{EmptyNode, Raft, RaftMetrics, RaftNetworkFactory, ServerState};
use ranch_proto::schema::{GroupStatus, ReplicaProgress};
use ranch_proto::{GroupId, NodeId, ReplicaId, ShardError};

use super::barrier::{Barrier, Followers, Leadership, confirm_by_heartbeats};
use super::options::GroupOptions;
use crate::log::{GroupLog, Promise};
use crate::state::{SnapshotHandle, StateMachine};
use crate::types::TypeConfig;

/// A log of fewer entries is sent to a new learner as it is, and no snapshot.
const LEARNER_ENTRIES: u64 = 64;
/// Entries are purged so many at a time: each time is a write to the log.
const PURGE_ENTRIES: u64 = 256;

/// The openraft handle of a group.
pub type RaftHandle = Raft<TypeConfig, StateMachine>;

/// Why a group cannot be run or changed.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// openraft stopped, or could not start, because of its storage.
    #[error("group {group} cannot run: {detail}")]
    Fatal {
        /// The group.
        group: GroupId,
        /// openraft's own words.
        detail: String,
    },
    /// A change of members was refused; trying again later may help.
    #[error("the members of group {group} cannot be changed now: {detail}")]
    Members {
        /// The group.
        group: GroupId,
        /// openraft's own words.
        detail: String,
    },
}

/// A running replica. Cheap to clone.
#[derive(Clone)]
pub struct GroupCore {
    group: GroupId,
    replica: ReplicaId,
    raft: RaftHandle,
    promise: Promise,
    barrier: Barrier,
}

impl GroupCore {
    /// Builds the replica from its stores; it does nothing until [`GroupCore::run`].
    ///
    /// # Errors
    /// When the stores cannot be read.
    pub async fn build<N>(
        options: &GroupOptions,
        log: GroupLog,
        machine: StateMachine,
        network: N,
    ) -> Result<Self, GroupError>
    where
        N: RaftNetworkFactory<TypeConfig> + Followers,
        N::Network: openraft::network::NetSnapshot<TypeConfig, SnapshotData = SnapshotHandle>,
    {
        let config = Arc::clone(&options.config);
        let (promise, followers) = (log.promise(), network.clone());
        let progress = Arc::clone(machine.progress());
        let built = Raft::build(options.replica.0, config, network, log, machine).await;
        let group = options.group;
        let raft = built.map_err(|fatal| GroupError::Fatal { group, detail: fatal.to_string() })?;
        let replica = options.replica;
        let (leads, promised) = (raft.clone(), promise.clone());
        let leadership =
            Leadership { replica, raft: leads, promise: promised, progress, followers };
        let barrier = Barrier::start(group, leadership);
        Ok(Self { group, replica, raft, promise, barrier })
    }

    /// Lets the replica take part in elections and replication.
    pub fn run(&self) {
        self.raft.run();
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// This node's replica of it.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// openraft's own handle, for the node's network services.
    #[must_use]
    pub fn raft(&self) -> &RaftHandle {
        &self.raft
    }

    /// openraft's metrics as of now, copied: a held reference would block the core.
    #[must_use]
    pub fn metrics(&self) -> RaftMetrics<TypeConfig> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Whether this replica leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// The term and the leader known to this replica.
    #[must_use]
    pub fn leader(&self) -> (u64, Option<NodeId>) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.current_term, metrics.current_leader.map(|id| ReplicaId(id).node()))
    }

    /// Whom this replica has promised to follow.
    #[must_use]
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Waits until this replica's state reflects every write acknowledged before the call.
    ///
    /// # Errors
    /// [`ShardError::NotLeader`] when it does not lead or cannot confirm that it does.
    pub async fn read_barrier(&self) -> Result<(), ShardError> {
        self.barrier.wait().await
    }

    /// As [`GroupCore::read_barrier`], where a majority also answers from its disks, with all it
    /// was sent before: to be asked before anything is given up because others have it.
    ///
    /// # Errors
    /// As [`GroupCore::read_barrier`].
    pub async fn disk_barrier(&self) -> Result<(), ShardError> {
        confirm_by_heartbeats(&self.raft).await
    }

    /// Makes this replica and the others of `members` a new group. Harmless when it exists.
    ///
    /// # Errors
    /// When the replica has stopped.
    pub async fn initialize(&self, members: &[ReplicaId]) -> Result<(), GroupError> {
        let members: BTreeSet<u64> = members.iter().map(|replica| replica.0).collect();
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(GroupError::Fatal { group: self.group, detail: error.to_string() }),
        }
    }

    /// Adds a learner without waiting for it to catch up. It is sent a snapshot and what came
    /// after, not the whole log that is still there: that is more, all of it would be written
    /// twice, and no limit holds for it.
    ///
    /// # Errors
    /// When another change is under way or this replica does not lead.
    pub async fn add_learner(&self, replica: ReplicaId) -> Result<(), GroupError> {
        if let Some(upto) = purgeable(&self.metrics()) {
            // Where it cannot be purged the log is sent.
            let _ = self.raft.trigger().purge_log(upto).await;
        }
        let added = self.raft.add_learner(replica.0, EmptyNode {}, false).await;
        added.map(drop).map_err(|error| self.members_error(&error))
    }

    /// Purges entries whose effects are on disk: all but the last `entries` of them, and those up
    /// to `surplus` that no member lacks, as far as is known here.
    pub async fn purge(&self, entries: u64, surplus: Option<u64>) {
        if let Some(upto) = dispensable(&self.metrics(), entries, surplus) {
            // One that has stopped is reported by its own watcher.
            let _ = self.raft.trigger().purge_log(upto).await;
        }
    }

    /// Makes exactly `voters` the voters; those left out are forgotten, not kept as learners.
    ///
    /// # Errors
    /// When another change is under way or this replica does not lead.
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), GroupError> {
        let changed = self.raft.change_membership(voters, false).await;
        changed.map(drop).map_err(|error| self.members_error(&error))
    }

    /// Forgets learners.
    ///
    /// # Errors
    /// When another change is under way or this replica does not lead.
    pub async fn remove_learners(&self, learners: BTreeSet<u64>) -> Result<(), GroupError> {
        let change = openraft::ChangeMembers::RemoveNodes(learners);
        let changed = self.raft.change_membership(change, false).await;
        changed.map(drop).map_err(|error| self.members_error(&error))
    }

    fn members_error(&self, error: &impl std::fmt::Display) -> GroupError {
        GroupError::Members { group: self.group, detail: error.to_string() }
    }

    /// Waits until this replica has stopped by itself, and says why. Only faults end it.
    pub async fn stopped(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "its metrics ended".to_owned();
            }
        }
    }

    /// Stops the replica, waiting at most `limit`.
    pub async fn shutdown(&self, limit: Duration) {
        if tokio::time::timeout(limit, self.raft.shutdown()).await.is_err() {
            tracing::warn!(group = %self.group, "the group did not stop within {limit:?}");
        }
    }

    /// The replica's account of itself, without what only its state machine knows.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        let metrics = self.metrics();
        let members = metrics.membership_config.membership();
        let state = match (&metrics.running_state, metrics.state) {
            (Err(_), _) => "stopped",
            (Ok(()), ServerState::Leader) => "leader",
            (Ok(()), ServerState::Candidate) => "candidate",
            (Ok(()), ServerState::Learner) => "learner",
            (Ok(()), _) => "follower",
        };
        let progress =
            metrics.replication.iter().flatten().map(|(replica, matched)| ReplicaProgress {
                replica: *replica,
                matched: matched.as_ref().map_or(0, |id| id.index),
            });
        GroupStatus {
            group: self.group.0,
            replica: self.replica.0,
            state: state.to_owned(),
            term: metrics.current_term,
            leader: metrics.current_leader.map_or(0, |id| ReplicaId(id).node().0),
            last_index: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.as_ref().map_or(0, |id| id.index),
            purged: metrics.purged.as_ref().map_or(0, |id| id.index),
            voters: members.voter_ids().collect(),
            learners: members.learner_ids().collect(),
            progress: progress.collect(),
            ..GroupStatus::default()
        }
    }
}

/// openraft's "ask the leader" as ours: nothing was done.
pub(super) fn not_leader(forward: &ForwardToLeader<TypeConfig>, term: u64) -> ShardError {
    ShardError::NotLeader { leader: forward.leader_id.map(|id| ReplicaId(id).node()), term }
}

/// Up to which entry nobody needs the log any more, all members having it and the state being on
/// disk; `None` when that is hardly any.
fn purgeable(metrics: &RaftMetrics<TypeConfig>) -> Option<u64> {
    metrics.replication.as_ref()?;
    let upto = had_by_all(metrics)?;
    (upto >= first(metrics) + LEARNER_ENTRIES).then_some(upto)
}

/// Up to which entry the state is on disk here and all members have the log, as far as this
/// replica knows: one that does not lead knows of itself only. `None` when one has nothing.
fn had_by_all(metrics: &RaftMetrics<TypeConfig>) -> Option<u64> {
    let durable = metrics.snapshot.as_ref()?.index;
    let mut members = metrics.replication.iter().flat_map(|members| members.values());
    members.try_fold(durable, |upto, matching| Some(upto.min(matching.as_ref()?.index)))
}

/// The first entry of the log.
fn first(metrics: &RaftMetrics<TypeConfig>) -> u64 {
    metrics.purged.as_ref().map_or(0, |id| id.index + 1)
}

/// Up to which entry the log is to be purged; see [`GroupCore::purge`].
fn dispensable(
    metrics: &RaftMetrics<TypeConfig>,
    entries: u64,
    surplus: Option<u64>,
) -> Option<u64> {
    let durable = metrics.snapshot.as_ref()?.index;
    let first = first(metrics);
    let many = durable.checked_sub(entries).filter(|upto| *upto + 1 >= first + PURGE_ENTRIES);
    let large = surplus.min(had_by_all(metrics)).filter(|upto| *upto >= first);
    many.max(large)
}

#[cfg(test)]
mod tests {
    use openraft::testing::log_id;

    use super::*;

    #[test]
    fn the_log_that_all_have_goes_before_a_learner_comes() {
        let mut metrics = RaftMetrics::<TypeConfig>::new_initial(1);
        assert_eq!(purgeable(&metrics), None, "nothing is on disk");
        metrics.snapshot = Some(log_id::<TypeConfig>(1, 1, 900));
        assert_eq!(purgeable(&metrics), None, "it does not lead");
        metrics.replication = Some([].into());
        assert_eq!(purgeable(&metrics), Some(900), "it is the only member");
        let matching = [
            (1, Some(log_id::<TypeConfig>(1, 1, 950))),
            (2, Some(log_id::<TypeConfig>(1, 1, 800))),
        ];
        metrics.replication = Some(matching.into());
        assert_eq!(purgeable(&metrics), Some(800), "another is behind");
        metrics.purged = Some(log_id::<TypeConfig>(1, 1, 780));
        assert_eq!(purgeable(&metrics), None, "hardly any");
        metrics.replication = Some([(2, None)].into());
        assert_eq!(purgeable(&metrics), None, "one has nothing yet");
    }

    #[test]
    fn of_a_log_on_disk_some_entries_are_kept_and_some_bytes() {
        let mut metrics = RaftMetrics::<TypeConfig>::new_initial(1);
        assert_eq!(dispensable(&metrics, 0, Some(9)), None, "nothing is on disk");
        metrics.snapshot = Some(log_id::<TypeConfig>(1, 1, 900));
        metrics.purged = Some(log_id::<TypeConfig>(1, 1, 99));
        assert_eq!(dispensable(&metrics, 1000, None), None);
        assert_eq!(dispensable(&metrics, 545, None), Some(355));
        assert_eq!(dispensable(&metrics, 546, None), None, "too few at a time");
        assert_eq!(dispensable(&metrics, 1000, Some(99)), None, "they are gone");
        assert_eq!(dispensable(&metrics, 1000, Some(100)), Some(100));
        assert_eq!(dispensable(&metrics, 1000, Some(950)), Some(900), "not on disk yet");
        let behind = |index| Some([(2, Some(log_id::<TypeConfig>(1, 1, index)))].into());
        metrics.replication = behind(300);
        assert_eq!(dispensable(&metrics, 1000, Some(500)), Some(300), "a member is behind");
        assert_eq!(dispensable(&metrics, 200, Some(500)), Some(700), "too far");
        metrics.replication = behind(50);
        assert_eq!(dispensable(&metrics, 1000, Some(500)), None);
        metrics.purged = None;
        assert_eq!(dispensable(&metrics, 1000, Some(500)), Some(50));
        metrics.replication = Some([(2, None)].into());
        assert_eq!(dispensable(&metrics, 1000, Some(500)), None, "a member has nothing");
    }
}
