//! The read barrier of a group: one confirmation of leadership (`ReadIndex`, Raft §6.4 of
//! Ongaro's dissertation) serves all reads that were waiting when it began.
//!
//! A read that arrives while a confirmation is under way waits for the next one, because the
//! running one may have taken its index before a write the reader already knows of.

use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};
use ranch_proto::{GroupId, ShardError};
use tokio::sync::{mpsc, oneshot};

use super::core::{RaftHandle, not_leader};

/// Reads that may wait; beyond it askers hear `Overloaded`.
const QUEUE: usize = 16_384;
/// Most reads of one round.
const ROUND: usize = 4096;
/// A leader that cannot confirm itself for so long sends its readers elsewhere.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(1);

type Waiter = oneshot::Sender<Result<(), ShardError>>;

/// Handle to the barrier's task, which ends with the last handle.
#[derive(Clone)]
pub(super) struct Barrier {
    group: GroupId,
    queue: mpsc::Sender<Waiter>,
}

impl Barrier {
    /// Starts the barrier of a group.
    pub(super) fn start(group: GroupId, raft: RaftHandle) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(serve(raft, waiting));
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

async fn serve(raft: RaftHandle, mut waiting: mpsc::Receiver<Waiter>) {
    let mut round = Vec::with_capacity(ROUND);
    while waiting.recv_many(&mut round, ROUND).await > 0 {
        let result = confirm(&raft).await;
        for waiter in round.drain(..) {
            // A reader that gave up is no concern of ours.
            let _ = waiter.send(result.clone());
        }
    }
}

/// Confirms leadership with a majority and waits until its read index is applied here.
async fn confirm(raft: &RaftHandle) -> Result<(), ShardError> {
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
