//! Asking the other replicas of a group for their promises, before reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use ranch_proto::ReplicaId;
use ranch_proto::link::Lane;
use ranch_proto::schema::{Reply, reply, request};
use ranch_proto::versions::KEPT_TO_SINCE;
use ranch_raft::convert::vote_to_wire;
use ranch_raft::group::Followers;
use ranch_raft::types::{LogId, Vote};
use tokio::sync::oneshot;

use super::Network;

/// What all ways to the other replicas of a group share.
#[derive(Default)]
pub(super) struct Others {
    /// The newest index of which one was told that it is committed.
    told: AtomicU64,
    /// Whose turn it is to ask a replica. One question at a time: a slow one would find thousands,
    /// with heartbeats behind them.
    turns: Mutex<HashMap<ReplicaId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Others {
    /// Notes what is about to be told.
    pub(super) fn tell(&self, committed: Option<&LogId>) {
        self.told.fetch_max(committed.map_or(0, |id| id.index), Ordering::AcqRel);
    }

    fn turn(&self, at: ReplicaId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.turns.lock().entry(at).or_default())
    }
}

impl Followers for Network {
    async fn is_kept_to(&self, leader: Vote, at: ReplicaId) -> bool {
        let turn = self.others.turn(at).lock_owned().await;
        let Some(link) = self.links.get(at.node(), Lane::Control) else { return false };
        if link.protocol().is_none_or(|protocol| protocol < KEPT_TO_SINCE) {
            return false;
        }
        let question = request::Body::IsKeptTo(vote_to_wire(&leader));
        let Ok(sent) = link.send(self.request(at, question)) else { return false };
        let (tell, told) = oneshot::channel();
        // It stays asked when nobody waits for the answer any more.
        tokio::spawn(async move {
            let kept = matches!(sent.await, Ok(Reply { body: Some(reply::Body::IsKeptTo(true)) }));
            drop(turn);
            let _ = tell.send(kept);
        });
        told.await.unwrap_or(false)
    }

    fn told(&self) -> u64 {
        self.others.told.load(Ordering::Acquire)
    }
}
