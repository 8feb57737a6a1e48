//! [`Shards`] for a router embedded in this node: replicas here are reached without any hop,
//! others over the node's links.

use std::sync::Arc;
use std::time::Instant;

use ranch_proto::directory::SharedDirectory;
use ranch_proto::schema::{NodeStatusReply, Reply, Request, reply};
use ranch_proto::shards::{Routes, Shards};
use ranch_proto::{NodeId, ShardError};
use tokio::sync::watch;

use crate::replicas::Replicas;

/// The ranch as seen from inside a node.
pub struct LocalShards {
    replicas: Arc<Replicas>,
}

impl LocalShards {
    pub(crate) fn new(replicas: Arc<Replicas>) -> Self {
        Self { replicas }
    }
}

impl Shards for LocalShards {
    async fn call(
        &self,
        node: NodeId,
        request: Request,
        deadline: Instant,
    ) -> Result<Reply, ShardError> {
        let shared = &self.replicas.shared;
        if node != shared.node {
            return shared.links.call(node, request, deadline).await;
        }
        let handled = tokio::time::timeout_at(deadline.into(), self.replicas.handle(request));
        let reply = handled
            .await
            .map_err(|_| ShardError::Unknown { detail: "no answer before the deadline".into() })?;
        match reply.body {
            Some(reply::Body::Refusal(refusal)) => Err(refusal.into()),
            _ => Ok(reply),
        }
    }

    async fn node_status(
        &self,
        node: NodeId,
        deadline: Instant,
    ) -> Result<NodeStatusReply, ShardError> {
        if node == self.replicas.shared.node {
            return Ok(self.replicas.status());
        }
        self.replicas.shared.links.node_status(node, deadline).await
    }

    fn directory(&self) -> &SharedDirectory {
        self.replicas.shared.feed.directory()
    }

    fn routes(&self) -> &Arc<Routes> {
        self.replicas.shared.board.routes()
    }

    fn epochs(&self) -> watch::Receiver<u64> {
        self.replicas.shared.feed.epochs()
    }
}
