//! Handing a group's leadership to another replica without an election that clients would feel.
//!
//! openraft's own transfer takes everything for granted: it panics for a target that lacks
//! entries, refuses writes from then on, and never takes that back. So the target's match is
//! waited for first, with proposals held back for a moment, and only then it is asked. When the
//! target does not take over all the same, openraft's silence makes the followers elect another.

use std::time::Duration;

use openraft::ServerState;
use ranch_proto::{GroupId, ReplicaId};

use super::core::GroupCore;
use super::hold::Hold;

/// Longest that proposals are held back for the target to catch up.
const MATCH_LIMIT: Duration = Duration::from_millis(50);
/// Longest that they are held back for the next leader to be known; it takes a vote.
const HELD_LIMIT: Duration = Duration::from_millis(100);
/// Longest until somebody must have taken over: an election, if the target did not.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(2);
/// A replica further behind than this is not waited for.
const CLOSE: u64 = 512;

/// Why leadership stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    /// Only the leader can hand over.
    #[error("this replica does not lead group {group}")]
    NotLeader {
        /// The group.
        group: GroupId,
    },
    /// Learners cannot lead.
    #[error("node {} does not vote in group {group}", to.node())]
    NoVoter {
        /// The group.
        group: GroupId,
        /// Who was to lead.
        to: ReplicaId,
    },
    /// Members or leader are being changed already.
    #[error("the members or the leader of group {group} are changing; try again in a moment")]
    Busy {
        /// The group.
        group: GroupId,
    },
    /// The replica lacks entries.
    #[error(
        "node {} is {entries} entries behind in group {group}; try again when it has caught up",
        to.node()
    )]
    Behind {
        /// The group.
        group: GroupId,
        /// Who was to lead.
        to: ReplicaId,
        /// How many.
        entries: u64,
    },
    /// The replica was asked and did not win.
    #[error("node {} did not take over group {group} in time", to.node())]
    NotTaken {
        /// The group.
        group: GroupId,
        /// Who was to lead.
        to: ReplicaId,
    },
}

/// Hands over, and returns when `to` is known to lead.
pub(super) async fn hand_over(
    core: &GroupCore,
    hold: &Hold,
    to: ReplicaId,
) -> Result<(), HandOverError> {
    let group = core.group();
    check(core, to)?;
    let entries = lag(core, to);
    if entries > CLOSE {
        return Err(HandOverError::Behind { group, to, entries });
    }
    let pause = hold.begin().ok_or(HandOverError::Busy { group })?;
    let until = tokio::time::Instant::now() + MATCH_LIMIT;
    let settled = tokio::time::timeout_at(until, async {
        pause.quiet().await;
        let wait = core.raft().wait(Some(MATCH_LIMIT));
        let settled = wait.metrics(
            |now| {
                let matched = now.replication.as_ref().and_then(|all| all.get(&to.0));
                let matched = matched.copied().flatten().map(|id| id.index);
                let applied = now.last_applied.as_ref().map(|id| id.index);
                matched >= now.last_log_index && applied == now.last_log_index
            },
            "the next leader to hold everything",
        );
        settled.await.is_ok()
    });
    if !settled.await.unwrap_or(false) {
        return Err(HandOverError::Behind { group, to, entries: lag(core, to).max(1) });
    }
    check(core, to)?;
    let not_taken = HandOverError::NotTaken { group, to };
    core.raft().trigger().transfer_leader(to.0).await.map_err(|_| not_taken.clone())?;
    let mut taken = next_leader(core, HELD_LIMIT).await;
    drop(pause);
    if taken.is_none() {
        taken = next_leader(core, TAKE_OVER_LIMIT).await;
    }
    if taken == Some(to.0) { Ok(()) } else { Err(not_taken) }
}

/// Waits until this replica knows another leader.
async fn next_leader(core: &GroupCore, limit: Duration) -> Option<u64> {
    let wait = core.raft().wait(Some(limit));
    let other = wait.metrics(
        |now| now.state != ServerState::Leader && now.current_leader.is_some(),
        "the next leader",
    );
    other.await.ok()?.current_leader
}

/// Whether this replica may hand over to that one at all.
fn check(core: &GroupCore, to: ReplicaId) -> Result<(), HandOverError> {
    let group = core.group();
    let metrics = core.metrics();
    if metrics.state != ServerState::Leader {
        return Err(HandOverError::NotLeader { group });
    }
    let membership = metrics.membership_config.membership();
    if membership.get_joint_config().len() > 1 {
        return Err(HandOverError::Busy { group });
    }
    if membership.voter_ids().any(|id| id == to.0) {
        return Ok(());
    }
    Err(HandOverError::NoVoter { group, to })
}

/// How many entries `to` lacks, as far as this leader knows.
fn lag(core: &GroupCore, to: ReplicaId) -> u64 {
    let metrics = core.metrics();
    let matched = metrics.replication.as_ref().and_then(|all| all.get(&to.0)).copied();
    let matched = matched.flatten().map_or(0, |id| id.index);
    metrics.last_log_index.unwrap_or(0).saturating_sub(matched)
}
