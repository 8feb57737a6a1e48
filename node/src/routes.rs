//! Who leads what, as this node's replicas see it, and a bell that rings when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use openraft::async_runtime::WatchReceiver as _;
use parking_lot::Mutex;
use ranch_proto::schema::Route;
use ranch_proto::shards::Routes;
use ranch_proto::{GroupId, NodeId, ReplicaId};
use ranch_raft::GroupCore;
use tokio::sync::watch;

/// The routes of a node and of everyone who follows it.
#[derive(Clone)]
pub(crate) struct RouteBoard {
    routes: Arc<Routes>,
    changes: watch::Sender<u64>,
    known: Arc<Mutex<BTreeMap<GroupId, (Route, Instant)>>>,
    elections: Arc<Mutex<BTreeMap<GroupId, u64>>>,
}

impl RouteBoard {
    pub(crate) fn new() -> Self {
        let changes = watch::Sender::new(0);
        Self { routes: Arc::default(), changes, known: Arc::default(), elections: Arc::default() }
    }

    /// What an embedded router asks.
    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Rings when a route of [`RouteBoard::all`] has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every route this node has seen itself.
    pub(crate) fn all(&self) -> Vec<Route> {
        self.known.lock().values().map(|(route, _)| *route).collect()
    }

    /// Drops what a replica said that is not here any more.
    pub(crate) fn forget(&self, group: GroupId) {
        self.known.lock().remove(&group);
    }

    /// Since when the present leader of `group`, or the lack of one, has been known.
    pub(crate) fn since(&self, group: GroupId) -> Option<Instant> {
        self.known.lock().get(&group).map(|(_, since)| *since)
    }

    /// How often a leader of `group` has begun.
    pub(crate) fn elections(&self, group: GroupId) -> u64 {
        self.elections.lock().get(&group).copied().unwrap_or(0)
    }

    /// Follows a replica's view of its leader until the replica has stopped.
    pub(crate) async fn follow(self, core: GroupCore) {
        let mut metrics = core.raft().server_metrics();
        loop {
            let (term, leader) = {
                let metrics = metrics.borrow_watched();
                (metrics.vote.leader_id.term, metrics.current_leader)
            };
            self.note(core.group(), term, leader.map(|id| ReplicaId(id).node()));
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    fn note(&self, group: GroupId, term: u64, leader: Option<NodeId>) {
        self.routes.learn(group, term, leader);
        let route = Route { group: group.0, term, leader: leader.map_or(0, |node| node.0) };
        let mut known = self.known.lock();
        if known.get(&group).is_some_and(|(before, _)| *before == route) {
            return;
        }
        known.insert(group, (route, Instant::now()));
        if leader.is_some() {
            *self.elections.lock().entry(group).or_default() += 1;
        }
        drop(known);
        self.changes.send_modify(|count| *count += 1);
    }
}
