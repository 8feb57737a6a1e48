//! One connection between two processes, plain or by TLS, on either side. Whoever is at the other
//! end is known from the handshake on, and what goes wrong with it is said once, in words.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tonic::transport::server::Connected;

use crate::ids::NodeId;
use crate::tls::{Certificate, Complaints, Identity, Security, Stream, explain_io, is_plain};

/// Longest wait for a connection, and then for TLS to be agreed on, by the side that connects.
const CONNECT_MAX: Duration = Duration::from_millis(500);
const AGREE_MAX: Duration = Duration::from_secs(1);
/// Longest wait for TLS on the side that is connected to.
const ACCEPT_MAX: Duration = Duration::from_secs(5);
/// Longest a peer that was refused is listened to, and most that is heard.
const FAREWELL_MAX: Duration = Duration::from_millis(500);
const FAREWELL_BYTES: u64 = 64 << 10;
/// How TLS begins: the type of the first record of a client, and that of an error.
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: u8 = 0x15;

/// Who is at the other end of a connection that was accepted.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its address.
    pub addr: Option<SocketAddr>,
    /// Who its certificate says it is; `None` on a plain connection, where nobody can tell.
    pub identity: Option<Identity>,
}

/// A connection.
pub struct Wire {
    stream: Stream,
    caller: Caller,
    /// What the first byte from a peer that speaks TLS would be; `None` once one has come.
    tls_begins: Option<u8>,
    fault: Note,
}

/// Where faults of a connection are noted.
#[derive(Clone)]
pub(super) struct Note {
    whom: String,
    complaints: Arc<Complaints>,
    last: Arc<Mutex<Option<Fault>>>,
}

/// What was wrong with a connection.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) words: String,
    /// One side speaks TLS and the other does not.
    pub(super) mixed: bool,
}

/// A peer that will not do.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Unfit {
    words: String,
    /// It speaks TLS, and we do not.
    mixed: bool,
}

impl Note {
    pub(super) fn new(whom: String, complaints: Arc<Complaints>) -> Self {
        Self { whom, complaints, last: Arc::default() }
    }

    /// What was last wrong.
    pub(super) fn take(&self) -> Option<Fault> {
        self.last.lock().take()
    }

    /// Notes a fault that is one of TLS, and passes it on.
    fn see(&self, error: io::Error) -> io::Error {
        let unfit = error.get_ref().and_then(|inner| inner.downcast_ref::<Unfit>());
        let words = explain_io(&error).or_else(|| unfit.map(ToString::to_string));
        let mixed = unfit.map_or_else(|| is_plain(&error), |unfit| unfit.mixed);
        if let Some(words) = words {
            self.complaints.warn(&self.whom, &words);
            *self.last.lock() = Some(Fault { words, mixed });
        }
        error
    }
}

fn unfit(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Unfit { words: words.into(), mixed: false })
}

async fn within<T>(
    limit: Duration,
    what: &str,
    task: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"));
    tokio::time::timeout(limit, task).await.unwrap_or_else(|_| Err(late()))
}

impl Wire {
    /// Connects to `addr`, and with TLS makes sure that `node` is there, or any node of the ranch
    /// where none is named.
    pub(super) async fn dial(
        addr: &str,
        node: Option<NodeId>,
        security: &Security,
        fault: Note,
    ) -> io::Result<Self> {
        let stream = within(CONNECT_MAX, "connecting", TcpStream::connect(addr)).await?;
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr().ok();
        let Security::Tls(credentials) = security else {
            let caller = Caller { addr: peer, identity: None };
            return Ok(Self { stream: stream.into(), caller, tls_begins: Some(TLS_ALERT), fault });
        };
        let material = credentials.current();
        let meant = node.map(|node| Identity::node(&material.identity().cluster, node));
        let config = match &meant {
            Some(meant) => material.client(meant.clone()),
            None => material.client_of_any_node(),
        };
        let config = config.map_err(io::Error::other)?;
        // Names no host: whom the certificate must name is checked by itself.
        let name = ServerName::try_from("ranch").map_err(io::Error::other)?;
        let agreeing = TlsConnector::from(config).connect(name, stream);
        let stream = within(AGREE_MAX, "agreeing on TLS", agreeing);
        let stream = stream.await.map_err(|error| fault.see(error))?;
        let caller = Caller { addr: peer, identity: meant };
        let stream = TlsStream::from(stream).into();
        Ok(Self { stream, caller, tls_begins: None, fault })
    }

    /// Takes a connection that has come in.
    ///
    /// # Errors
    /// With TLS, when the other side does not agree on it or shows no certificate of this ranch.
    /// The log has been told.
    pub async fn accept(
        stream: TcpStream,
        security: &Security,
        complaints: &Arc<Complaints>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let addr = stream.peer_addr().ok();
        let host = addr.map_or_else(|| "?".to_owned(), |addr| addr.ip().to_string());
        let fault = Note::new(format!("a connection from {host} is refused"), complaints.clone());
        let Security::Tls(credentials) = security else {
            let caller = Caller { addr, identity: None };
            let tls_begins = Some(TLS_HANDSHAKE);
            return Ok(Self { stream: stream.into(), caller, tls_begins, fault });
        };
        let acceptor = TlsAcceptor::from(credentials.current().server());
        let agreeing = acceptor.accept(stream).into_fallible();
        let agreed = within(ACCEPT_MAX, "agreeing on TLS", async { Ok(agreeing.await) }).await?;
        let stream = match agreed {
            Ok(stream) => TlsStream::from(stream),
            Err((error, stream)) => {
                let error = fault.see(error);
                see_off(stream).await;
                return Err(error);
            }
        };
        let identity = identity_of(&stream).map_err(|error| fault.see(error))?;
        let caller = Caller { addr, identity: Some(identity) };
        Ok(Self { stream: stream.into(), caller, tls_begins: None, fault })
    }

    fn check_first(&mut self, byte: u8) -> io::Result<()> {
        let Some(tls) = self.tls_begins.take() else { return Ok(()) };
        if byte != tls {
            return Ok(());
        }
        let words =
            "it speaks TLS, but this process does not: set `dir` in [tls] of ranch.toml here, too";
        let mixed = Unfit { words: words.to_owned(), mixed: true };
        Err(self.fault.see(io::Error::new(io::ErrorKind::InvalidData, mixed)))
    }
}

/// Lets a peer that was refused read why: it may have sent more already, and a connection that is
/// closed with unread bytes is reset, and with it what was said last.
async fn see_off(mut stream: TcpStream) {
    let rest = async {
        // A peer that is gone needs no reason.
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream.take(FAREWELL_BYTES), &mut tokio::io::sink()).await;
    };
    let _ = tokio::time::timeout(FAREWELL_MAX, rest).await;
}

/// Who the certificate that was shown is for.
fn identity_of(stream: &TlsStream<TcpStream>) -> io::Result<Identity> {
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(b"h2") {
        return Err(unfit("it does not speak as a process of a ranch does"));
    }
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let leaf = leaf.ok_or_else(|| unfit("it shows no certificate"))?;
    let read = Certificate::parse(leaf.clone().into_owned()).map_err(unfit)?;
    read.identity.clone().ok_or_else(|| {
        unfit(format!("its certificate is for {}: it needs one of `ranch certs`", read.whose()))
    })
}

impl Connected for Wire {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fault.see(error))),
            Poll::Ready(Ok(())) => match buffer.filled().get(before) {
                Some(byte) if self.tls_begins.is_some() => Poll::Ready(self.check_first(*byte)),
                _ => Poll::Ready(Ok(())),
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
