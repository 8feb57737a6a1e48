//! A machine that goes without a word, as by a power cut: no connection to it is closed, there is
//! just no answer any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ranch_proto::link::{ANSWER_LIMIT, ASK_AFTER, LinkOptions, Links};
use ranch_proto::schema::WatchRequest;
use ranch_proto::tls::Security;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::ranch::{NODES, Ranch};

/// Twice what it should take, for a machine that is busy.
const NOTICED: Duration = ASK_AFTER.saturating_add(ANSWER_LIMIT).saturating_mul(2);

/// A way to a node on which, from some moment on, everything is lost and nothing is closed.
struct Way {
    addr: String,
    lost: Arc<AtomicBool>,
    /// The node has closed its end.
    closed: watch::Receiver<bool>,
}

impl Way {
    async fn to(node: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound").to_string();
        let (lost, (close, closed)) = (Arc::<AtomicBool>::default(), watch::channel(false));
        let losing = Arc::clone(&lost);
        tokio::spawn(async move {
            let (from, _) = listener.accept().await.expect("a caller");
            let to = TcpStream::connect(node).await.expect("the node listens");
            let ((caller_says, caller_hears), (node_says, node_hears)) =
                (from.into_split(), to.into_split());
            tokio::spawn(pass(caller_says, node_hears, Arc::clone(&losing)));
            pass(node_says, caller_hears, losing).await;
            close.send_replace(true);
        });
        Self { addr, lost, closed }
    }
}

/// Passes bytes on until they are to be lost; ends with the connection they come from. The other
/// one stays open meanwhile.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lost: Arc<AtomicBool>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if !lost.load(Relaxed) {
            to.write_all(&bytes[..count]).await.expect("the other end is there");
        }
    }
    if lost.load(Relaxed) {
        // Its end would be a word, too.
        to.forget();
    }
}

/// R10: both ends of a connection learn of it, so that neither waits for the other for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_went_silently_is_given_up() {
    let ranch = Ranch::found("silence", |_| ()).await;
    let mut way = Way::to(ranch.addr(NODES[0])).await;
    let links = Links::new(LinkOptions {
        node: 0,
        version: "cluster-test".into(),
        boot: 1,
        cluster_id: Arc::default(),
        security: Security::Plain,
    });
    links.set_peer(NODES[0], &way.addr);
    let mut client = links.client(NODES[0]).await.expect("the node can be reached");
    let answer = client.watch(WatchRequest::default()).await.expect("the node answers");
    let mut events = answer.into_inner();
    assert!(events.message().await.expect("the stream goes on").is_some());
    way.lost.store(true, Relaxed);
    let ended = async { while let Ok(Some(_)) = events.message().await {} };
    tokio::time::timeout(NOTICED, ended).await.expect("the caller is told");
    let closed = way.closed.wait_for(|closed| *closed);
    tokio::time::timeout(NOTICED, closed).await.expect("the node closes it").expect("it is open");
    ranch.end().await;
}
