//! The links of one process, by peer and lane.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use tonic::transport::Channel;

use super::filter::Slot;
use super::{Link, LinkOptions, connect};
use crate::ids::NodeId;
use crate::refusal::ShardError;
use crate::schema::ranch_client::RanchClient;
use crate::schema::{NodeStatusReply, NodeStatusRequest, Reply, Request};

/// Traffic that must not wait behind other traffic has a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Heartbeats, votes, leader transfer.
    Control,
    /// Log entries and clients' requests.
    Data,
}

/// Links to every peer whose address is known. Cheap to share behind an `Arc`.
pub struct Links {
    options: LinkOptions,
    peers: RwLock<HashMap<NodeId, Peer>>,
    filter: Slot,
}

struct Peer {
    addr: String,
    control: Option<Arc<Link>>,
    data: Option<Arc<Link>>,
}

impl Links {
    /// An empty pool; links are made when first used.
    #[must_use]
    pub fn new(options: LinkOptions) -> Self {
        Self { options, peers: RwLock::default(), filter: Slot::default() }
    }

    /// What the links say of this process.
    #[must_use]
    pub fn options(&self) -> &LinkOptions {
        &self.options
    }

    /// Puts a filter in force over everything these links send and hear from now on.
    #[cfg(feature = "faults")]
    pub fn set_filter(&self, filter: Arc<dyn super::Filter>) {
        self.filter.set(filter);
    }

    /// Sets a peer's address; links to an older address of it are closed.
    pub fn set_peer(&self, node: NodeId, addr: &str) {
        let mut peers = self.peers.write();
        if peers.get(&node).is_some_and(|peer| peer.addr == addr) {
            return;
        }
        peers.insert(node, Peer { addr: addr.to_owned(), control: None, data: None });
    }

    /// Closes the links to a peer that left the ranch.
    pub fn remove_peer(&self, node: NodeId) {
        self.peers.write().remove(&node);
    }

    /// The peers known, in no order.
    #[must_use]
    pub fn peers(&self) -> Vec<(NodeId, String)> {
        self.peers.read().iter().map(|(node, peer)| (*node, peer.addr.clone())).collect()
    }

    /// The address a peer is looked for at.
    #[must_use]
    pub fn addr(&self, node: NodeId) -> Option<String> {
        self.peers.read().get(&node).map(|peer| peer.addr.clone())
    }

    /// The link to a peer, started if need be; `None` when its address is not known.
    #[must_use]
    pub fn get(&self, node: NodeId, lane: Lane) -> Option<Arc<Link>> {
        if let Some(link) = self.peers.read().get(&node).and_then(|peer| peer.lane(lane)) {
            return Some(link);
        }
        let mut peers = self.peers.write();
        let peer = peers.get_mut(&node)?;
        let addr = peer.addr.clone();
        let slot = match lane {
            Lane::Control => &mut peer.control,
            Lane::Data => &mut peer.data,
        };
        let gate = self.filter.gate(node, lane);
        let start = || Arc::new(Link::start((node, addr), self.options.clone(), gate));
        Some(Arc::clone(slot.get_or_insert_with(start)))
    }

    /// A client on a connection of its own, for calls that are not frames of a link.
    ///
    /// # Errors
    /// [`ShardError::Unavailable`] when the peer is unknown or cannot be reached.
    pub async fn client(&self, node: NodeId) -> Result<RanchClient<Channel>, ShardError> {
        if !self.filter.gate(node, Lane::Data).connects() {
            let detail = format!("node {node} cannot be reached");
            return Err(ShardError::Unavailable { detail });
        }
        let addr = self.addr(node);
        connect(&addr.ok_or_else(|| no_address(node))?).await
    }

    /// Sends a request to a peer on its data lane and waits for the reply until `deadline`.
    ///
    /// # Errors
    /// As [`Link::call`]; [`ShardError::Unavailable`] when the peer's address is not known.
    pub async fn call(
        &self,
        node: NodeId,
        request: Request,
        deadline: Instant,
    ) -> Result<Reply, ShardError> {
        let link = self.get(node, Lane::Data).ok_or_else(|| no_address(node))?;
        link.call(request, deadline).await
    }

    /// A node's own account of itself, asked over a connection of its own.
    ///
    /// # Errors
    /// [`ShardError::Unavailable`] when it does not answer before `deadline`.
    pub async fn node_status(
        &self,
        node: NodeId,
        deadline: Instant,
    ) -> Result<NodeStatusReply, ShardError> {
        let silent = |why: String| ShardError::Unavailable {
            detail: format!("node {node} gave no status: {why}"),
        };
        let asked = async {
            let mut client = self.client(node).await?;
            let reply = client.node_status(NodeStatusRequest {}).await;
            reply.map(tonic::Response::into_inner).map_err(|status| silent(status.to_string()))
        };
        let answered = tokio::time::timeout_at(deadline.into(), asked).await;
        answered.unwrap_or_else(|_| Err(silent("no answer in time".to_owned())))
    }
}

fn no_address(node: NodeId) -> ShardError {
    ShardError::Unavailable { detail: format!("the address of node {node} is not known") }
}

impl Peer {
    fn lane(&self, lane: Lane) -> Option<Arc<Link>> {
        match lane {
            Lane::Control => self.control.clone(),
            Lane::Data => self.data.clone(),
        }
    }
}
