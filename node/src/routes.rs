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
    /// What other nodes say of groups that have no replica here.
    heard: Arc<Mutex<BTreeMap<GroupId, Route>>>,
    elections: Arc<Mutex<BTreeMap<GroupId, u64>>>,
}

impl RouteBoard {
    pub(crate) fn new() -> Self {
        let changes = watch::Sender::new(0);
        let (known, heard, elections) = (Arc::default(), Arc::default(), Arc::default());
        Self { routes: Arc::default(), changes, known, heard, elections }
    }

    /// What an embedded router asks.
    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Rings when a route of [`RouteBoard::all`] has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every route this node has seen itself, and of other groups what their leaders say.
    pub(crate) fn all(&self) -> Vec<Route> {
        let known = self.known.lock();
        let heard = self.heard.lock();
        let foreign = heard.iter().filter(|(group, _)| !known.contains_key(group));
        known.values().map(|(route, _)| *route).chain(foreign.map(|(_, route)| *route)).collect()
    }

    /// The groups a node leads, as far as is seen here.
    pub(crate) fn led_by(&self, node: NodeId) -> Vec<Route> {
        let known = self.known.lock();
        known.values().map(|(route, _)| *route).filter(|route| route.leader == node.0).collect()
    }

    /// Takes in which groups another node says that it leads.
    pub(crate) fn hear(&self, node: NodeId, led: &[Route]) {
        let mut heard = self.heard.lock();
        let before = heard.clone();
        // It has stopped to lead what it does not name any more.
        heard.retain(|group, route| {
            route.leader != node.0 || led.iter().any(|route| route.group == group.0)
        });
        for route in led.iter().filter(|route| route.leader == node.0) {
            let known = heard.entry(GroupId(route.group)).or_insert(*route);
            if route.term >= known.term {
                *known = *route;
            }
        }
        let changed = *heard != before;
        drop(heard);
        if changed {
            for route in led {
                self.routes.learn_route(route);
            }
            self.changes.send_modify(|count| *count += 1);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn route(group: u32, term: u64, leader: u32) -> Route {
        Route { group, term, leader }
    }

    #[test]
    fn leaders_of_groups_that_are_elsewhere_are_heard_of() {
        let board = RouteBoard::new();
        board.note(GroupId(1), 4, Some(NodeId(1)));
        let mut changes = board.changes();
        changes.mark_unchanged();
        board.hear(NodeId(2), &[route(1, 3, 2), route(7, 5, 2), route(8, 5, 2)]);
        assert!(changes.has_changed().unwrap());
        assert_eq!(board.all(), [route(1, 4, 1), route(7, 5, 2), route(8, 5, 2)]);
        assert_eq!(board.routes().leader(GroupId(7)), Some(NodeId(2)));
        assert_eq!(board.led_by(NodeId(1)), [route(1, 4, 1)]);
        changes.mark_unchanged();
        board.hear(NodeId(2), &[route(1, 3, 2), route(7, 5, 2), route(8, 5, 2)]);
        assert!(!changes.has_changed().unwrap(), "nothing new");
        // Another one leads 7 now; the deposed one may go on to say so for a moment.
        board.hear(NodeId(3), &[route(7, 6, 3)]);
        board.hear(NodeId(2), &[route(7, 5, 2)]);
        assert_eq!(board.all(), [route(1, 4, 1), route(7, 6, 3)]);
        assert_eq!(board.routes().leader(GroupId(7)), Some(NodeId(3)));
    }
}
