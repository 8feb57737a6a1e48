//! The gRPC service of a node: links, the watch stream, snapshots, status, probes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, StreamExt as _};
use parking_lot::RwLock;
use ranch_proto::link::{Batched, Caller};
use ranch_proto::schema::ranch_server::Ranch;
use ranch_proto::schema::{
    Envelope, Frame, Hello, JoinReply, JoinRequest, NodeStatusReply, NodeStatusRequest, ProbeReply,
    ProbeRequest, RanchSettings, SnapshotPart, SnapshotReply, WatchEvent, WatchRequest, frame,
};
use ranch_proto::tls::Complaints;
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
use crate::standing::Standing;

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
    /// Who was refused of late.
    pub(crate) complaints: Arc<Complaints>,
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

    /// Who calls, if that is one this node talks to.
    fn admit(&self, caller: &Caller) -> Result<Standing, Status> {
        let standing = self.standing(caller)?;
        if let Standing::Node(node) = standing
            && self.is_gone(node)
        {
            let why = format!(
                "node {node} has left this ranch, and its certificate is worth nothing any more: \
                 ids are not given twice, so a new machine needs a certificate for another one"
            );
            return Err(self.refuse(caller, why));
        }
        Ok(standing)
    }

    /// Who calls, also one that has left.
    fn standing(&self, caller: &Caller) -> Result<Standing, Status> {
        let standing = Standing::of(caller.identity.as_ref(), &self.cluster_name);
        standing.map_err(|why| self.refuse(caller, why))
    }

    /// All that a node is told that has left.
    fn farewell(&self) -> ProbeReply {
        let identity = self.identity.read();
        ProbeReply {
            node: identity.node,
            has_data: identity.incarnation != 0,
            cluster_id: identity.cluster_id.clone(),
            cluster_name: self.cluster_name.clone(),
            gone: true,
            ..ProbeReply::default()
        }
    }

    fn is_gone(&self, node: NodeId) -> bool {
        self.replicas.shared.feed.directory().read().gone.contains_key(&node)
    }

    /// Refuses a caller, and has the log know.
    fn refuse(&self, caller: &Caller, why: String) -> Status {
        let host = caller.addr.map_or_else(|| "?".to_owned(), |addr| addr.ip().to_string());
        self.complaints.warn(&format!("a call from {host} is refused"), &why);
        Status::permission_denied(why)
    }

    /// Takes the peer's hello off the stream and checks it.
    async fn greet(&self, inbound: &mut Streaming<Envelope>) -> Result<Hello, Status> {
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
        self.check_cluster(&hello.cluster_id)?;
        Ok(hello)
    }
}

/// Who made the connection a request came by.
fn caller<T>(request: &Request<T>) -> Caller {
    let known = request.extensions().get::<Caller>().cloned();
    known.unwrap_or(Caller { addr: None, identity: None })
}

#[tonic::async_trait]
impl Ranch for Service {
    type LinkStream = Boxed<Envelope>;
    type WatchStream = Boxed<WatchEvent>;

    async fn link(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let caller = caller(&request);
        let standing = self.admit(&caller)?;
        let mut inbound = request.into_inner();
        let hello = self.greet(&mut inbound).await?;
        standing.check_claim(hello.node).map_err(|why| self.refuse(&caller, why))?;
        let (out, replies) = mpsc::channel(REPLIES);
        // The queue is new and empty, so the hello fits.
        let _ = out.try_send(self.hello());
        tokio::spawn(link_server::serve(Arc::clone(&self.replicas), standing, inbound, out));
        Ok(Response::new(Box::pin(Batched::new(replies).map(Ok))))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.admit(&caller(&request))?;
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
        let caller = caller(&request);
        let standing = self.admit(&caller)?;
        let mut parts = request.into_inner();
        let incoming = Incoming::begin(&mut parts).await?;
        let (from, vote) = (incoming.head.from, incoming.head.vote.as_ref());
        standing.check_replica(from, vote).map_err(|why| self.refuse(&caller, why))?;
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
        request: Request<NodeStatusRequest>,
    ) -> Result<Response<NodeStatusReply>, Status> {
        self.admit(&caller(&request))?;
        Ok(Response::new(self.replicas.status()))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let caller = caller(&request);
        let standing = self.admit(&caller)?;
        let asked = request.into_inner();
        let id = asked.node.as_ref().map_or(0, |node| node.id);
        standing.check_claim(id).map_err(|why| self.refuse(&caller, why))?;
        let joined = admit(&self.replicas, &self.settings, (standing, asked)).await;
        joined.map(Response::new)
    }

    async fn probe(&self, request: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        let caller = caller(&request);
        let standing = self.standing(&caller)?;
        let claimed = request.into_inner().node;
        standing.check_claim(claimed).map_err(|why| self.refuse(&caller, why))?;
        let asker = NodeId(claimed);
        let (gone, at) = {
            let directory = self.replicas.shared.feed.directory().read();
            let at = directory.cluster.is_some().then(|| directory.version());
            (directory.gone.contains_key(&asker), at)
        };
        if gone && standing == Standing::Node(asker) {
            return Ok(Response::new(self.farewell()));
        }
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
