//! The seam between the router and whatever carries its requests to a node: links over the
//! network, or the node the router is embedded in.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::directory::SharedDirectory;
use crate::ids::{GroupId, NodeId};
use crate::refusal::ShardError;
use crate::schema::{NodeStatusReply, Reply, Request, Route};

/// Leaders as far as one process knows, by group. Only a higher term replaces an entry.
#[derive(Debug, Default)]
pub struct Routes {
    leaders: parking_lot::RwLock<Vec<(u64, Option<NodeId>)>>,
}

impl Routes {
    /// The leader of `group`, if one is known.
    #[must_use]
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.leaders.read().get(group.0 as usize).and_then(|route| route.1)
    }

    /// Takes note of a leader; knowledge of an older term is ignored, and so is "nobody" from
    /// the same term.
    pub fn learn(&self, group: GroupId, term: u64, leader: Option<NodeId>) {
        let mut leaders = self.leaders.write();
        let index = group.0 as usize;
        if leaders.len() <= index {
            leaders.resize(index + 1, (0, None));
        }
        let known = &mut leaders[index];
        if term > known.0 || (term == known.0 && leader.is_some()) {
            *known = (term, leader);
        }
    }

    /// Takes note of a route as sent in a [`crate::schema::WatchEvent`].
    pub fn learn_route(&self, route: &Route) {
        let leader = (route.leader != 0).then_some(NodeId(route.leader));
        self.learn(GroupId(route.group), route.term, leader);
    }

    /// Forgets that `node` leads `group`, because it did not answer.
    pub fn doubt(&self, group: GroupId, node: NodeId) {
        if let Some(known) = self.leaders.write().get_mut(group.0 as usize)
            && known.1 == Some(node)
        {
            known.1 = None;
        }
    }
}

/// A way to every replica of the ranch.
///
/// An implementation makes exactly one attempt a call: finding leaders, retries and deadlines over
/// several nodes are the router's (`router/forward`).
pub trait Shards: Send + Sync + 'static {
    /// Sends one request to one node and waits for its reply until `deadline`.
    ///
    /// # Errors
    /// Whatever the node refused with; [`ShardError::Unavailable`] when the request cannot have
    /// left; [`ShardError::Unknown`] when it left and no answer came.
    fn call(
        &self,
        node: NodeId,
        request: Request,
        deadline: Instant,
    ) -> impl Future<Output = Result<Reply, ShardError>> + Send;

    /// A node's own account of itself.
    ///
    /// # Errors
    /// [`ShardError::Unavailable`] when it does not answer before `deadline`.
    fn node_status(
        &self,
        node: NodeId,
        deadline: Instant,
    ) -> impl Future<Output = Result<NodeStatusReply, ShardError>> + Send;

    /// The records of the meta group, kept up to date in the background.
    fn directory(&self) -> &SharedDirectory;

    /// Leaders as last heard.
    fn routes(&self) -> &Arc<Routes>;

    /// Changes whenever the directory does; the value is its epoch.
    fn epochs(&self) -> watch::Receiver<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);

    #[test]
    fn only_higher_terms_replace_a_leader() {
        let routes = Routes::default();
        assert_eq!(routes.leader(GROUP), None);
        routes.learn(GROUP, 5, Some(NodeId(1)));
        routes.learn(GROUP, 4, Some(NodeId(2)));
        assert_eq!(routes.leader(GROUP), Some(NodeId(1)));
        routes.learn(GROUP, 5, None);
        assert_eq!(routes.leader(GROUP), Some(NodeId(1)));
        routes.learn(GROUP, 6, None);
        assert_eq!(routes.leader(GROUP), None);
    }

    #[test]
    fn doubt_forgets_only_the_node_named() {
        let routes = Routes::default();
        routes.learn(GROUP, 5, Some(NodeId(1)));
        routes.doubt(GROUP, NodeId(2));
        assert_eq!(routes.leader(GROUP), Some(NodeId(1)));
        routes.doubt(GROUP, NodeId(1));
        assert_eq!(routes.leader(GROUP), None);
        routes.learn(GROUP, 5, Some(NodeId(1)));
        assert_eq!(routes.leader(GROUP), Some(NodeId(1)));
    }
}
