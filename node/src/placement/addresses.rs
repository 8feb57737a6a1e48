//! Where the other nodes are looked for: at the address the directory has of each, which they
//! announce themselves when they start.
//!
//! Where `ranch.toml` says something else and the directory's address leads nowhere, the two are
//! tried in turn: when all machines have moved at once, nobody is reached to be told of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use ranch_proto::{NodeId, ReplicaId};

use crate::replicas::Replicas;

/// An address at which nobody has been reached for so long is given up for the other one.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of where a node may be.
struct Known {
    /// What the directory last said.
    directory: String,
    /// When it was last reached, or another address chosen.
    since: Instant,
}

/// The addresses of all other nodes.
#[derive(Default)]
pub(super) struct Addresses {
    known: HashMap<NodeId, Known>,
}

impl Addresses {
    /// Has the links lead where the nodes are.
    pub(super) fn follow(&mut self, replicas: &Replicas) {
        let (me, links) = (replicas.shared.node, &replicas.shared.links);
        let (nodes, gone): (BTreeMap<NodeId, String>, Vec<NodeId>) = {
            let directory = replicas.shared.feed.directory().read();
            let nodes = directory.nodes.iter().filter(|(id, _)| **id != me);
            let nodes = nodes.map(|(id, node)| (*id, node.addr.clone())).collect();
            (nodes, directory.gone.keys().copied().collect())
        };
        for (node, addr) in &nodes {
            self.follow_one(replicas, *node, addr);
        }
        // As long as one is a member of the meta group it is told, so that it hears of its end.
        let meta = replicas.meta().map(|meta| meta.core().status()).unwrap_or_default();
        let members = meta.voters.iter().chain(&meta.learners).map(|id| ReplicaId(*id).node());
        let members: HashSet<NodeId> = members.collect();
        for node in gone.into_iter().filter(|node| !members.contains(node)) {
            links.remove_peer(node);
            self.known.remove(&node);
        }
    }

    fn follow_one(&mut self, replicas: &Replicas, node: NodeId, addr: &str) {
        let links = &replicas.shared.links;
        let now = Instant::now();
        let known = self.known.get_mut(&node).filter(|known| known.directory == addr);
        let Some(known) = known else {
            links.set_peer(node, addr);
            self.known.insert(node, Known { directory: addr.to_owned(), since: now });
            return;
        };
        if replicas.is_reached(node) {
            known.since = now;
            return;
        }
        let configured = replicas.shared.configured.get(&node).filter(|other| *other != addr);
        let Some(configured) = configured.filter(|_| known.since.elapsed() >= PATIENCE) else {
            return;
        };
        known.since = now;
        let tried = links.addr(node);
        let other = if tried.as_deref() == Some(addr) { configured.as_str() } else { addr };
        tracing::debug!(%node, addr = other, "the node is looked for at another address");
        links.set_peer(node, other);
    }
}
