//! [`Shards`] for a router outside any node: everything over links, the directory and the
//! leaders by following one node's watch stream, and another's when that one goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{LinkOptions, Links};
use crate::directory::{Directory, SharedDirectory};
use crate::ids::NodeId;
use crate::refusal::ShardError;
use crate::schema::{NodeStatusReply, Reply, Request, WatchEvent, WatchRequest, record};
use crate::shards::{Routes, Shards};

/// Between attempts to follow a node.
const RETRY: Duration = Duration::from_millis(100);
/// A node that sends neither event nor keep-alive for so long is left for another.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// The ranch as seen by a stand-alone router.
pub struct RemoteShards {
    links: Arc<Links>,
    directory: SharedDirectory,
    routes: Arc<Routes>,
    epochs: watch::Receiver<u64>,
    follower: tokio::task::JoinHandle<()>,
}

impl RemoteShards {
    /// Starts following the ranch that the nodes at these addresses belong to.
    #[must_use]
    pub fn start(nodes: &[(NodeId, String)], options: LinkOptions) -> Self {
        let links = Arc::new(Links::new(options));
        for (node, addr) in nodes {
            links.set_peer(*node, addr);
        }
        let (epoch, epochs) = watch::channel(0);
        let directory = SharedDirectory::default();
        let routes = Arc::new(Routes::default());
        let follower = Follower {
            links: Arc::clone(&links),
            directory: Arc::clone(&directory),
            routes: Arc::clone(&routes),
            epoch,
        };
        Self { links, directory, routes, epochs, follower: tokio::spawn(follower.run()) }
    }
}

impl Drop for RemoteShards {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Shards for RemoteShards {
    async fn call(
        &self,
        node: NodeId,
        request: Request,
        deadline: Instant,
    ) -> Result<Reply, ShardError> {
        self.links.call(node, request, deadline).await
    }

    async fn node_status(
        &self,
        node: NodeId,
        deadline: Instant,
    ) -> Result<NodeStatusReply, ShardError> {
        self.links.node_status(node, deadline).await
    }

    fn directory(&self) -> &SharedDirectory {
        &self.directory
    }

    fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    fn epochs(&self) -> watch::Receiver<u64> {
        self.epochs.clone()
    }
}

/// The task that keeps the directory and the routes up to date.
struct Follower {
    links: Arc<Links>,
    directory: SharedDirectory,
    routes: Arc<Routes>,
    epoch: watch::Sender<u64>,
}

impl Follower {
    async fn run(self) {
        let mut turn = fastrand::usize(..);
        loop {
            let mut peers = self.links.peers();
            peers.sort();
            turn = turn.wrapping_add(1);
            if let Some((node, _)) = peers.get(turn % peers.len().max(1)) {
                self.follow(*node).await;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Follows one node until its stream ends or falls silent.
    async fn follow(&self, node: NodeId) {
        let Ok(mut client) = self.links.client(node).await else { return };
        let epoch = self.directory.read().epoch;
        let cluster_id = self.links.options().cluster_id.read().clone();
        let request = WatchRequest { epoch, cluster_id };
        let opened = tokio::time::timeout(SILENCE_MAX, client.watch(request)).await;
        let mut events = match opened {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                self.links.complain_of(node, &status);
                tracing::debug!(%node, "cannot follow: {status}");
                return;
            }
            Err(_) => return,
        };
        while let Ok(Ok(Some(event))) = tokio::time::timeout(SILENCE_MAX, events.message()).await {
            self.take(event);
        }
    }

    fn take(&self, event: WatchEvent) {
        event.routes.iter().for_each(|route| self.routes.learn_route(route));
        let mut directory = self.directory.write();
        if event.epoch < directory.epoch || (!event.full && event.records.is_empty()) {
            return;
        }
        if event.full {
            *directory = Directory::default();
        }
        for record in event.records {
            self.note_address(&record);
            directory.apply(record);
        }
        directory.epoch = event.epoch;
        if let Some(cluster) = &directory.cluster {
            self.links.options().cluster_id.write().clone_from(&cluster.cluster_id);
        }
        drop(directory);
        self.epoch.send_replace(event.epoch);
    }

    fn note_address(&self, record: &crate::schema::Record) {
        let Some(record::What::Node(node)) = &record.what else { return };
        if record.removed {
            self.links.remove_peer(NodeId(node.id));
        } else {
            self.links.set_peer(NodeId(node.id), &node.addr);
        }
    }
}
