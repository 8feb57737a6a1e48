//! The gRPC service of a node: links, the watch stream, snapshots, status, probes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, StreamExt as _};
use parking_lot::RwLock;
use ranch_proto::link::Batched;
use ranch_proto::schema::ranch_server::Ranch;
use ranch_proto::schema::{
    Envelope, Frame, JoinReply, JoinRequest, NodeStatusReply, NodeStatusRequest, ProbeReply,
    ProbeRequest, RanchSettings, SnapshotPart, SnapshotReply, WatchEvent, WatchRequest, frame,
};
use ranch_proto::versions::Support;
use ranch_proto::{GroupId, NodeId, ReplicaId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::identity::Identity;
use crate::joining::admit;
use crate::link_server;
use crate::replicas::Replicas;
use crate::snapshot::Incoming;

/// Replies that may wait to be written on one link.
const REPLIES: usize = 16_384;
/// Most time between two events of a watch, so that its follower knows the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The hello of a peer must come this soon.
const HELLO_LIMIT: Duration = Duration::from_secs(2);

/// The service; cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) identity: Arc<RwLock<Identity>>,
    pub(crate) cluster_name: String,
    /// What a machine that joins must have as the others have it.
    pub(crate) settings: RanchSettings,
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// Refuses processes of another ranch. Whoever knows no ranch yet is let in.
    fn check_cluster(&self, claimed: &[u8]) -> Result<(), Status> {
        let ours = self.identity.read().cluster_id.clone();
        if claimed.is_empty() || ours.is_empty() || claimed == ours {
            return Ok(());
        }
        Err(Status::failed_precondition(
            "this node belongs to another ranch: check the addresses in ranch.toml, or move the \
             data directory of an earlier ranch away",
        ))
    }

    fn hello(&self) -> Frame {
        let hello = self.replicas.shared.links.options().hello();
        Frame { id: 0, body: Some(frame::Body::Hello(hello)) }
    }

    /// Takes the peer's hello off the stream and checks it.
    async fn greet(&self, inbound: &mut Streaming<Envelope>) -> Result<(), Status> {
        let first = tokio::time::timeout(HELLO_LIMIT, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let mut frames = first.map(|envelope| envelope.frames).unwrap_or_default().into_iter();
        let Some(frame::Body::Hello(hello)) = frames.next().and_then(|frame| frame.body) else {
            return Err(Status::invalid_argument("a link begins with a hello"));
        };
        let support = Support::of_hello(&hello);
        let agreed = Support::ours().agree(support, &hello.version);
        agreed.map_err(|error| Status::failed_precondition(error.to_string()))?;
        let at = self.replicas.shared.feed.version().get();
        // Routers write no formats: for them the protocol counts alone.
        if hello.node != 0 && support.formats.max < at {
            return Err(Status::failed_precondition(format!(
                "this ranch is at cluster version {at}, and version {} on node {} can do {}: run \
                 the version the other machines run",
                hello.version, hello.node, support.formats
            )));
        }
        self.check_cluster(&hello.cluster_id)
    }
}

#[tonic::async_trait]
impl Ranch for Service {
    type LinkStream = Boxed<Envelope>;
    type WatchStream = Boxed<WatchEvent>;

    async fn link(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let mut inbound = request.into_inner();
        self.greet(&mut inbound).await?;
        let (out, replies) = mpsc::channel(REPLIES);
        // The queue is new and empty, so the hello fits.
        let _ = out.try_send(self.hello());
        tokio::spawn(link_server::serve(Arc::clone(&self.replicas), inbound, out));
        Ok(Response::new(Box::pin(Batched::new(replies).map(Ok))))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        self.check_cluster(&request.cluster_id)?;
        let (events, stream) = mpsc::channel(16);
        tokio::spawn(feed(Arc::clone(&self.replicas), request.epoch, events));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream).map(Ok))))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<SnapshotReply>, Status> {
        let mut parts = request.into_inner();
        let incoming = Incoming::begin(&mut parts).await?;
        self.check_cluster(&incoming.head.cluster_id)?;
        let core = self.replicas.core(GroupId(incoming.head.group));
        let core = core.filter(|core| core.replica() == ReplicaId(incoming.head.target));
        let core = core.ok_or_else(|| Status::not_found("this node has no such replica"))?;
        if self.replicas.room.disk().is_full() {
            return Err(Status::resource_exhausted("the disk here is full"));
        }
        let store = &self.replicas.shared.store;
        incoming.install(parts, store, &core).await.map(Response::new)
    }

    async fn node_status(
        &self,
        _request: Request<NodeStatusRequest>,
    ) -> Result<Response<NodeStatusReply>, Status> {
        Ok(Response::new(self.replicas.status()))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let joined = admit(&self.replicas, &self.settings, request.into_inner()).await;
        joined.map(Response::new)
    }

    async fn probe(&self, request: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        let asker = NodeId(request.into_inner().node);
        let (gone, at) = {
            let directory = self.replicas.shared.feed.directory().read();
            let at = directory.cluster.is_some().then(|| directory.version());
            (directory.gone.contains_key(&asker), at)
        };
        let meta_leader = self.replicas.meta().and_then(|meta| meta.core().leader().1);
        let identity = self.identity.read();
        Ok(Response::new(ProbeReply {
            node: identity.node,
            has_data: identity.incarnation != 0,
            meta_leader: meta_leader.map_or(0, |node| node.0),
            cluster_id: identity.cluster_id.clone(),
            cluster_name: self.cluster_name.clone(),
            boot_nonce: identity.boot_nonce.clone(),
            gone,
            versions: Some(Support::ours().to_wire()),
            cluster_version: at.unwrap_or(0),
            clock_us: clock_us(),
        }))
    }
}

/// What this machine's clock says; 0 when it stands before 1970.
fn clock_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Sends a follower what it lacks, then each change as it comes, until it is gone.
async fn feed(replicas: Arc<Replicas>, mut epoch: u64, events: mpsc::Sender<WatchEvent>) {
    let shared = &replicas.shared;
    let mut epochs = shared.feed.epochs();
    let mut routes = shared.board.changes();
    loop {
        epochs.mark_unchanged();
        routes.mark_unchanged();
        let now = WatchEvent { epoch, routes: shared.board.all(), ..WatchEvent::default() };
        for event in std::iter::once(now).chain(shared.feed.since(epoch)) {
            epoch = event.epoch;
            if events.send(event).await.is_err() {
                return;
            }
        }
        let changed = async {
            tokio::select! {
                changed = epochs.changed() => changed.is_ok(),
                changed = routes.changed() => changed.is_ok(),
            }
        };
        if let Ok(false) = tokio::time::timeout(KEEP_ALIVE, changed).await {
            return;
        }
    }
}
