//! Making connections to nodes, with the settings all of them share.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tower_service::Service;

use super::connection::LinkEnd;
use super::wire::{Fault, Note, Wire};
use super::{ANSWER_LIMIT, ASK_AFTER};
use crate::ids::NodeId;
use crate::tls::{Complaints, Security};

const WINDOW: u32 = 8 << 20;

/// Connects to nodes, plain or by TLS.
#[derive(Clone, Default)]
pub(super) struct Dialer {
    security: Security,
    complaints: Arc<Complaints>,
}

/// What became of the connections of a channel.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) channel: Channel,
    fault: Note,
}

impl Dialer {
    pub(super) fn new(security: Security) -> Self {
        Self { security, complaints: Arc::default() }
    }

    /// Connects to `node`, which is to be at `addr`.
    pub(super) async fn dial(&self, node: NodeId, addr: &str) -> Result<Line, LinkEnd> {
        self.reach(Some(node), format!("node {node} at {addr}"), addr).await
    }

    /// Connects to whichever node is at `addr`.
    pub(super) async fn dial_any(&self, addr: &str) -> Result<Line, LinkEnd> {
        self.reach(None, addr.to_owned(), addr).await
    }

    async fn reach(&self, node: Option<NodeId>, whom: String, addr: &str) -> Result<Line, LinkEnd> {
        let fault = Note::new(whom, Arc::clone(&self.complaints));
        let security = self.security.clone();
        let connector = Connector { node, addr: addr.to_owned(), security, fault: fault.clone() };
        let endpoint = Endpoint::from_shared(format!("http://{addr}"));
        let channel = endpoint
            .map_err(|source| LinkEnd::Address { source })?
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_keep_alive_interval(ASK_AFTER)
            .keep_alive_timeout(ANSWER_LIMIT)
            .connect_with_connector(connector)
            .await;
        match channel {
            Ok(channel) => Ok(Line { channel, fault }),
            Err(source) => Err(match fault.take() {
                Some(fault) => fault.into(),
                None => LinkEnd::Connect { source },
            }),
        }
    }

    /// Tells the log when a node says that it will not have this process.
    pub(super) fn complain_of(&self, node: NodeId, status: &Status) {
        if let Some(reason) = refusal(status) {
            self.complaints.warn(&format!("node {node} refuses this process"), reason);
        }
    }
}

/// Why a node will not have this process; `None` for a failure that passes.
fn refusal(status: &Status) -> Option<&str> {
    let refused = matches!(status.code(), Code::PermissionDenied | Code::FailedPrecondition);
    refused.then(|| status.message())
}

impl Line {
    /// Why a stream on this line could not be had or ended.
    pub(super) fn end(&self, status: Status) -> LinkEnd {
        if let Some(fault) = self.fault.take() {
            return fault.into();
        }
        match refusal(&status) {
            Some(reason) => LinkEnd::Refused { reason: reason.to_owned() },
            None => LinkEnd::Stream { status: Box::new(status) },
        }
    }
}

impl From<Fault> for LinkEnd {
    fn from(Fault { words: reason, mixed }: Fault) -> Self {
        if mixed { Self::Mixed { reason } } else { Self::Refused { reason } }
    }
}

/// [`Wire::dial`] as tonic wants it.
struct Connector {
    node: Option<NodeId>,
    addr: String,
    security: Security,
    fault: Note,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Connecting {
        let (node, addr) = (self.node, self.addr.clone());
        let (security, fault) = (self.security.clone(), self.fault.clone());
        Box::pin(async move {
            let wire = Wire::dial(&addr, node, &security, fault).await?;
            Ok(TokioIo::new(wire))
        })
    }
}
