//! The read barrier of a group: one confirmation of leadership (`ReadIndex`, Raft §6.4 of
//! Ongaro's dissertation) serves all reads that were waiting when it began.
//!
//! A read that arrives while a confirmation is under way waits for the next one, because the
//! running one may have taken its index before a write the reader already knows of.
//!
//! The first confirmation of a leadership is openraft's: it is there when all that was
//! acknowledged before is applied here. From then on nothing is acknowledged in this leadership
//! that is not applied here first, so there is to find out whether another one has begun, and the
//! followers are asked just that ([`still_leads`]). And what they were told is committed, they may
//! have shown to somebody who does not mind stale answers: a later read here waits for it.
//! openraft would send them heartbeats, which are answered by its core and after all that was
//! appended before is on the follower's disk: reads would be as slow as writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{ReadPolicy, ServerState};
use ranch_proto::{GroupId, ReplicaId, ShardError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::core::{RaftHandle, not_leader};
use crate::log::Promise;
use crate::state::Progress;
use crate::types::Vote;

/// Reads that may wait; beyond it askers hear `Overloaded`.
const QUEUE: usize = 16_384;
/// Most reads of one round.
const ROUND: usize = 4096;
/// A leader that cannot confirm itself for so long sends its readers elsewhere.
const LIMIT: Duration = Duration::from_secs(1);
/// Followers that do not answer for so long are sent heartbeats.
const ASK_LIMIT: Duration = Duration::from_millis(100);
/// After that they are not asked for so long: they may always be too far away.
const REST: Duration = Duration::from_secs(1);

type Waiter = oneshot::Sender<Result<(), ShardError>>;

/// The way to the other replicas of a group.
pub trait Followers: Clone + Send + Sync + 'static {
    /// Asks a replica whether its [`Promise`] [is kept to](Promise::is_kept_to) this leader, at
    /// some moment between the call and its end. `false` when it does not answer, or cannot.
    fn is_kept_to(&self, leader: Vote, at: ReplicaId) -> impl Future<Output = bool> + Send;

    /// The newest index of which any other replica was told that it is committed.
    fn told(&self) -> u64;
}

/// Handle to the barrier's task, which ends with the last handle.
#[derive(Clone)]
pub(super) struct Barrier {
    group: GroupId,
    queue: mpsc::Sender<Waiter>,
}

impl Barrier {
    /// Starts the barrier of a group.
    pub(super) fn start<F: Followers>(group: GroupId, leadership: Leadership<F>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(serve(leadership, waiting));
        Self { group, queue }
    }

    /// Waits for a round that begins after this call.
    pub(super) async fn wait(&self) -> Result<(), ShardError> {
        let (waiter, end) = oneshot::channel();
        self.queue.try_send(waiter).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ShardError::Overloaded {
                detail: format!("{QUEUE} reads wait for group {}", self.group),
            },
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        end.await.unwrap_or_else(|_| Err(stopping()))
    }
}

fn stopping() -> ShardError {
    ShardError::Unavailable { detail: "the replica is stopping".into() }
}

async fn serve<F: Followers>(of: Leadership<F>, mut waiting: mpsc::Receiver<Waiter>) {
    let mut confirmer = Confirmer { of, ready: None, rests: None };
    let mut round = Vec::with_capacity(ROUND);
    while waiting.recv_many(&mut round, ROUND).await > 0 {
        let result = confirmer.confirm().await;
        for waiter in round.drain(..) {
            // A reader that gave up is no concern of ours.
            let _ = waiter.send(result.clone());
        }
    }
}

/// A replica that leads, or may.
pub(super) struct Leadership<F> {
    pub(super) replica: ReplicaId,
    pub(super) raft: RaftHandle,
    pub(super) promise: Promise,
    pub(super) progress: Arc<Progress>,
    pub(super) followers: F,
}

/// Confirms a leadership again and again.
struct Confirmer<F> {
    of: Leadership<F>,
    /// The vote with which it led when all that was acknowledged before was applied here.
    ready: Option<Vote>,
    /// Until when followers are sent heartbeats.
    rests: Option<Instant>,
}

impl<F: Followers> Confirmer<F> {
    /// Confirms leadership with a majority, and that all that was acknowledged or shown before
    /// this call is applied here.
    async fn confirm(&mut self) -> Result<(), ShardError> {
        if self.confirm_by_promises().await {
            return Ok(());
        }
        let Leadership { replica, raft, promise, .. } = &self.of;
        let before = promise.latest();
        confirm_by_heartbeats(raft).await?;
        // Votes are noted before anything is done with them, so one of ours that was there all the
        // while is that of the leadership which was confirmed.
        let ours = |vote: &Vote| vote.committed && vote.leader_id.node_id == replica.0;
        self.ready = before.filter(|vote| ours(vote) && promise.latest() == before);
        Ok(())
    }

    async fn confirm_by_promises(&mut self) -> bool {
        let Some(leader) = self.ready else { return false };
        let Some(voters) = self.of.voters() else { return false };
        if self.rests.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let Leadership { promise, progress, followers, .. } = &self.of;
        let told = followers.told();
        let confirmed = async {
            still_leads(leader, &voters, followers).await && has_applied(progress, told).await
        };
        let confirmed = tokio::time::timeout(ASK_LIMIT, confirmed).await;
        if confirmed.is_err() {
            self.rests = Some(Instant::now() + REST);
        }
        // This replica is asked last: it may have voted for another meanwhile.
        confirmed == Ok(true) && promise.latest() == Some(leader)
    }
}

impl<F: Followers> Leadership<F> {
    /// Who votes, by the newest configuration known here, as sets of which each needs a majority;
    /// `None` while this replica does not lead. A later leader was voted for by a majority of one
    /// of these sets, too: configurations change by steps, and this replica has led since.
    fn voters(&self) -> Option<Vec<BTreeSet<u64>>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.running_state.is_ok() && metrics.state == ServerState::Leader;
        leads.then(|| metrics.membership_config.membership().get_joint_config().clone())
    }
}

/// Whether a majority of the voters, the leader among them, has voted for nobody after `leader`
/// when the call began, as far as the others are concerned.
async fn still_leads<F: Followers>(leader: Vote, voters: &[BTreeSet<u64>], followers: &F) -> bool {
    let own = leader.leader_id.node_id;
    let all: BTreeSet<u64> = voters.iter().flatten().copied().collect();
    let others = all.into_iter().filter(|voter| *voter != own);
    let ask = |voter| async move {
        followers.is_kept_to(leader, ReplicaId(voter)).await.then_some(voter)
    };
    let mut asked: FuturesUnordered<_> = others.map(ask).collect();
    let mut keep = BTreeSet::from([own]);
    while !is_majority(voters, &keep) {
        match asked.next().await {
            Some(answer) => keep.extend(answer),
            None => return false,
        }
    }
    true
}

/// Waits until an entry is applied here. `false` when the state machine has ended.
async fn has_applied(progress: &Progress, index: u64) -> bool {
    progress.applied() >= index
        || progress.watch().wait_for(|applied| *applied >= index).await.is_ok()
}

/// Whether these are a majority of each set.
fn is_majority(sets: &[BTreeSet<u64>], these: &BTreeSet<u64>) -> bool {
    !sets.is_empty() && sets.iter().all(|set| set.intersection(these).count() * 2 > set.len())
}

/// Confirms leadership with a majority and waits until its read index is applied here.
pub(super) async fn confirm_by_heartbeats(raft: &RaftHandle) -> Result<(), ShardError> {
    let confirmed = tokio::time::timeout(LIMIT, raft.ensure_linearizable(ReadPolicy::ReadIndex));
    match confirmed.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
            let term = raft.metrics().borrow_watched().current_term;
            Err(not_leader(&forward, term))
        }
        Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
            Err(ShardError::Unavailable { detail: "no majority confirms the leader".into() })
        }
        Ok(Err(RaftError::Fatal(fatal))) => {
            Err(ShardError::Unavailable { detail: format!("the replica has stopped: {fatal}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;

    type LeaderId = openraft::alias::LeaderIdOf<crate::types::TypeConfig>;

    /// Who keeps its promise; the others never answer.
    #[derive(Clone)]
    struct Keepers(Arc<BTreeSet<u64>>);

    impl Followers for Keepers {
        async fn is_kept_to(&self, _leader: Vote, at: ReplicaId) -> bool {
            if !self.0.contains(&at.0) {
                std::future::pending::<()>().await;
            }
            true
        }

        fn told(&self) -> u64 {
            0
        }
    }

    /// Whether replica 1 finds that it leads these voters.
    async fn leads<const N: usize>(voters: [&[u64]; N], keepers: &[u64]) -> bool {
        let leader = Vote { leader_id: LeaderId::new(3, 1), committed: true };
        let voters = voters.map(|set| set.iter().copied().collect());
        let keepers = Keepers(Arc::new(keepers.iter().copied().collect()));
        let leads = still_leads(leader, &voters, &keepers);
        tokio::time::timeout(ASK_LIMIT, leads).await.unwrap_or(false)
    }

    #[tokio::test(start_paused = true)]
    async fn a_majority_of_each_set_is_needed() {
        assert!(leads([&[1]], &[]).await, "alone");
        assert!(leads([&[1, 2, 3]], &[3]).await && !leads([&[1, 2, 3]], &[]).await);
        assert!(!leads([&[1, 2]], &[]).await && leads([&[1, 2]], &[2]).await);
        assert!(!leads([&[1, 2, 3], &[3, 4, 5]], &[2, 3]).await, "only of the first");
        assert!(leads([&[1, 2, 3], &[3, 4, 5]], &[3, 4]).await);
        assert!(!leads([&[2, 3, 4]], &[2]).await, "its own voice does not count any more");
        assert!(leads([&[2, 3, 4]], &[2, 4]).await);
        assert!(!leads([], &[2, 3]).await, "no voters are known");
    }
}
