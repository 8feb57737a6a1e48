//! One link: a handle that sends, and a task that keeps a connection to the peer.
//!
//! What must hold: a request is handed to the wire at most once; if the connection ends before
//! its reply, its asker hears `Unknown`; if it never reached the queue, `Unavailable`. Requests
//! sent from one task arrive in the order they were sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;

use super::dial::{Dialer, Line};
use super::filter::{Gate, Outgoing};
use super::heard::{Heard, Peer};
use super::pending::Pending;
use super::{Batched, MESSAGE_MAX};
use crate::ids::NodeId;
use crate::refusal::ShardError;
use crate::schema::ranch_client::RanchClient;
use crate::schema::{Envelope, Frame, Hello, Reply, Request, frame, request};
use crate::tls::Security;
use crate::versions::{NoCommonProtocol, Support};

/// Frames that may wait to be written; beyond it senders hear `Overloaded`.
const QUEUE: usize = 16_384;
/// A ping goes out when nothing came in for so long.
const PING_AFTER: Duration = Duration::from_millis(150);
/// A peer that says nothing for so long is dead.
const DEAD_AFTER: Duration = Duration::from_millis(500);
/// Longest wait for a stream on a new connection.
const OPEN_MAX: Duration = Duration::from_millis(500);
/// Between attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

/// Who a link's owner is, said in its hello.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// 0 for a router.
    pub node: u32,
    /// Version of the binary.
    pub version: String,
    /// Random, chosen when the process started.
    pub boot: u64,
    /// Empty until known.
    pub cluster_id: Arc<RwLock<bytes::Bytes>>,
    /// How connections are protected.
    pub security: Security,
}

impl LinkOptions {
    /// What this process says first, at either end of a link.
    #[must_use]
    pub fn hello(&self) -> Hello {
        let support = Support::ours();
        Hello {
            protocol: support.protocols.min,
            cluster_id: self.cluster_id.read().clone(),
            node: self.node,
            version: self.version.clone(),
            boot: self.boot,
            versions: Some(support.to_wire()),
        }
    }
}

/// A link to one peer. Dropping it closes the connection.
pub struct Link {
    current: Arc<RwLock<Option<Connected>>>,
    up: Arc<Notify>,
    heard: Arc<Heard>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Connected {
    queue: Outgoing,
    pending: Arc<Pending>,
}

/// A request that has been queued: resolves to its reply.
pub struct Sent {
    id: u64,
    pending: Arc<Pending>,
    reply: oneshot::Receiver<Result<Reply, ShardError>>,
}

impl Link {
    /// Starts a link to a node at an address (`host:port`), which connects and reconnects by
    /// itself.
    #[must_use]
    pub(super) fn start(
        (node, addr): (NodeId, String),
        options: LinkOptions,
        dialer: Dialer,
        gate: Gate,
    ) -> Self {
        let current = Arc::new(RwLock::new(None));
        let heard = Arc::new(Heard::new());
        let up = Arc::new(Notify::new());
        let keeper = Keeper {
            node,
            addr,
            options,
            dialer,
            gate,
            current: Arc::clone(&current),
            up: Arc::clone(&up),
            heard: Arc::clone(&heard),
        };
        Self { current, up, heard, task: tokio::spawn(keeper.run()) }
    }

    /// Queues a request. It is on its way, in order, when this returns.
    ///
    /// # Errors
    /// [`ShardError::Unavailable`] when there is no connection, [`ShardError::Overloaded`] when
    /// too many frames wait. Nothing was sent then.
    pub fn send(&self, request: Request) -> Result<Sent, ShardError> {
        let connected = self.current.read().clone();
        let Some(Connected { queue, pending }) = connected else {
            return Err(not_connected());
        };
        let (waiter, reply) = oneshot::channel();
        let id = pending.add(waiter).ok_or_else(not_connected)?;
        let frame = Frame { id, body: Some(frame::Body::Request(request)) };
        if let Err(error) = queue.try_send(frame) {
            pending.forget(id);
            return Err(match error {
                mpsc::error::TrySendError::Full(_) => {
                    ShardError::Overloaded { detail: "the link's queue is full".into() }
                }
                mpsc::error::TrySendError::Closed(_) => not_connected(),
            });
        }
        Ok(Sent { id, pending, reply })
    }

    /// Sends a request and waits for its reply until `deadline`.
    ///
    /// # Errors
    /// As [`Link::send`], what the peer refused with, and [`ShardError::Unknown`] when the
    /// deadline passes or the connection breaks first.
    pub async fn call(&self, request: Request, deadline: Instant) -> Result<Reply, ShardError> {
        let sent = self.send(request)?;
        tokio::time::timeout_at(deadline.into(), sent)
            .await
            .unwrap_or_else(|_| Err(unknown("no answer before the deadline")))
    }

    /// For how long the peer has said nothing, not even an answer to a ping; since the link was
    /// started when it never has. To within a few milliseconds.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.heard.silence()
    }

    /// When the process that was at the other end before the present one was last heard; `None`
    /// while the peer has not restarted.
    #[must_use]
    pub fn died(&self) -> Option<Instant> {
        self.heard.died()
    }

    /// Who is at the other end, as it said when it was last connected.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.heard.peer()
    }

    /// The protocol spoken with the peer; `None` before its first hello.
    #[must_use]
    pub fn protocol(&self) -> Option<u32> {
        self.heard.protocol()
    }

    /// Waits until a connection stands.
    pub async fn connected(&self) {
        loop {
            let up = self.up.notified();
            tokio::pin!(up);
            // From here on it hears of one, also before it is waited for.
            up.as_mut().enable();
            if self.is_connected() {
                return;
            }
            up.await;
        }
    }

    /// Whether a connection stands at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.current.read().is_some()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(connected) = self.current.write().take() {
            connected.pending.close("the link was closed");
        }
    }
}

impl Future for Sent {
    type Output = Result<Reply, ShardError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply)
            .poll(cx)
            .map(|end| end.unwrap_or_else(|_| Err(unknown("the link was closed"))))
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // After a reply this finds nothing, which is cheap; after a timeout it frees the slot.
        self.pending.forget(self.id);
    }
}

fn not_connected() -> ShardError {
    ShardError::Unavailable { detail: "no connection to the node".into() }
}

fn unknown(detail: &str) -> ShardError {
    ShardError::Unknown { detail: detail.into() }
}

/// The task that keeps a link connected.
struct Keeper {
    node: NodeId,
    addr: String,
    options: LinkOptions,
    dialer: Dialer,
    gate: Gate,
    current: Arc<RwLock<Option<Connected>>>,
    up: Arc<Notify>,
    heard: Arc<Heard>,
}

/// Why a connection could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkEnd {
    #[error("the address is not one: {source}")]
    Address { source: tonic::transport::Error },
    #[error("cannot connect: {source}")]
    Connect { source: tonic::transport::Error },
    #[error("the peer refused or broke the stream: {status}")]
    Stream { status: Box<tonic::Status> },
    #[error("refused: {reason}")]
    Refused { reason: String },
    /// One side speaks TLS and the other does not.
    #[error("refused: {reason}")]
    Mixed { reason: String },
    #[error("the peer closed the stream")]
    Closed,
    #[error("nothing can be connected to the peer")]
    Cut,
    #[error("the peer has been silent for {DEAD_AFTER:?}")]
    Silent,
    #[error(transparent)]
    NoCommonProtocol(#[from] NoCommonProtocol),
    #[error("the machine there is node {found}: correct the addresses")]
    OtherNode { found: NodeId },
}

impl Keeper {
    async fn run(self) {
        let mut last_said = String::new();
        loop {
            let end = self.connect_and_serve().await;
            self.disconnect(&end);
            let said = end.to_string();
            if said != last_said {
                tracing::info!(peer = %self.addr, "link down: {said}");
                last_said = said;
            }
            let jitter = Duration::from_millis(fastrand::u64(0..25));
            tokio::time::sleep(RETRY + jitter).await;
        }
    }

    fn disconnect(&self, end: &LinkEnd) {
        if let Some(connected) = self.current.write().take() {
            connected.pending.close(&end.to_string());
        }
    }

    async fn connect_and_serve(&self) -> LinkEnd {
        match self.connect().await {
            Ok((connected, line, inbound)) => {
                tracing::debug!(peer = %self.addr, "link up");
                *self.current.write() = Some(connected.clone());
                self.up.notify_waiters();
                match self.serve(&connected, inbound).await {
                    LinkEnd::Stream { status } => line.end(*status),
                    end => end,
                }
            }
            Err(end) => end,
        }
    }

    async fn connect(&self) -> Result<(Connected, Line, tonic::Streaming<Envelope>), LinkEnd> {
        if !self.gate.connects() {
            return Err(LinkEnd::Cut);
        }
        let line = self.dialer.dial(self.node, &self.addr).await?;
        let mut client = client_on(&line);
        let (queue, receiver) = mpsc::channel(QUEUE);
        let hello = self.options.hello();
        // The queue is empty, so this cannot fail; the hello is the first frame.
        let _ = queue.try_send(Frame { id: 0, body: Some(frame::Body::Hello(hello)) });
        let opened = tokio::time::timeout(OPEN_MAX, client.link(Batched::new(receiver)));
        let response = opened.await.map_err(|_| LinkEnd::Silent)?;
        let inbound = response.map_err(|status| {
            self.dialer.complain_of(self.node, &status);
            line.end(status)
        })?;
        let queue = self.gate.outgoing(queue);
        Ok((Connected { queue, pending: Arc::default() }, line, inbound.into_inner()))
    }

    /// Delivers replies until the stream ends or the peer falls silent.
    async fn serve(
        &self,
        connected: &Connected,
        mut inbound: tonic::Streaming<Envelope>,
    ) -> LinkEnd {
        let opened = Instant::now();
        let mut tick = tokio::time::interval(PING_AFTER);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                message = inbound.next() => match message {
                    Some(Ok(_)) if !self.gate.hears() => {}
                    Some(Ok(envelope)) => {
                        if let Err(stranger) = self.deliver(&connected.pending, envelope) {
                            return stranger;
                        }
                        self.heard.now();
                    }
                    Some(Err(status)) => return LinkEnd::Stream { status: Box::new(status) },
                    None => return LinkEnd::Closed,
                },
                _ = tick.tick() => {
                    // The peer may have been away for long; on this connection it has just begun.
                    let silence = self.heard.silence().min(opened.elapsed());
                    if silence >= DEAD_AFTER {
                        return LinkEnd::Silent;
                    }
                    if silence >= PING_AFTER {
                        ping(connected);
                    }
                }
            }
        }
    }

    fn deliver(&self, pending: &Pending, envelope: Envelope) -> Result<(), LinkEnd> {
        for frame in envelope.frames {
            match frame.body {
                Some(frame::Body::Reply(reply)) => pending.complete(frame.id, reply),
                Some(frame::Body::Hello(hello)) if hello.node != self.node.0 => {
                    return Err(LinkEnd::OtherNode { found: NodeId(hello.node) });
                }
                Some(frame::Body::Hello(hello)) => self.heard.hello(&hello)?,
                Some(frame::Body::Request(_)) | None => {}
            }
        }
        Ok(())
    }
}

/// Asks the peer for a sign of life; id 0 is waited for by nobody.
fn ping(connected: &Connected) {
    let request = Request { body: Some(request::Body::Ping(true)), ..Request::default() };
    // A full queue means traffic enough; a closed one is noticed by the reading side.
    let _ = connected.queue.try_send(Frame { id: 0, body: Some(frame::Body::Request(request)) });
}

/// A client for calls, and for the stream of a link.
pub(super) fn client_on(line: &Line) -> RanchClient<Channel> {
    RanchClient::new(line.channel.clone())
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX)
}
