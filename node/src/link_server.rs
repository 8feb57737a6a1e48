//! The receiving end of a link: requests in, replies out, in one task a link.
//!
//! Each request is polled once in the order it arrived, which hands appends to their replica in
//! that order; what cannot be answered at once waits among the others.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use ranch_proto::ShardError;
use ranch_proto::schema::{Envelope, Frame, Reply, frame, reply};
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::outcast::CLEARING_MAX;
use crate::replicas::Replicas;
use crate::standing::Standing;

/// Requests of one link under way; beyond it the link is not read, and the peer's queue fills.
const UNDER_WAY: usize = 8_192;

/// When this node stops, what is under way has so long to be answered.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// After the end of a node its link is kept for so long: it asks whether its replicas may go.
const AFTER_END: Duration = CLEARING_MAX.saturating_add(Duration::from_secs(5));

type Answering = Pin<Box<dyn Future<Output = Frame> + Send>>;

/// Serves a link until either side ends it.
pub(crate) async fn serve(
    replicas: Arc<Replicas>,
    standing: Standing,
    mut inbound: Streaming<Envelope>,
    out: mpsc::Sender<Frame>,
) {
    let mut under_way: FuturesUnordered<Answering> = FuturesUnordered::new();
    let mut over = std::pin::pin!(has_left(&replicas, standing));
    let mut closing = std::pin::pin!(replicas.closing());
    loop {
        tokio::select! {
            biased;
            Some(frame) = under_way.next() => {
                if out.send(frame).await.is_err() {
                    return;
                }
            }
            message = inbound.next(), if under_way.len() < UNDER_WAY => {
                let Some(Ok(envelope)) = message else { return };
                for frame in envelope.frames {
                    let Some(mut answering) = begin(&replicas, standing, frame) else { continue };
                    let Some(frame) = answering.as_mut().now_or_never() else {
                        under_way.push(answering);
                        continue;
                    };
                    if out.send(frame).await.is_err() {
                        return;
                    }
                }
            }
            () = &mut over => return,
            () = &mut closing => break,
        }
    }
    let answers = async {
        while let Some(frame) = under_way.next().await {
            if out.send(frame).await.is_err() {
                return;
            }
        }
    };
    // Whoever waits for the others is told by the end of the link, and asks elsewhere.
    let _ = tokio::time::timeout(LAST_ANSWERS, answers).await;
}

/// Ready some time after the node at the other end has left the ranch.
async fn has_left(replicas: &Replicas, standing: Standing) {
    let Standing::Node(node) = standing else { return std::future::pending().await };
    let mut epochs = replicas.shared.feed.epochs();
    loop {
        if replicas.shared.feed.directory().read().gone.contains_key(&node) {
            return tokio::time::sleep(AFTER_END).await;
        }
        if epochs.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn begin(replicas: &Arc<Replicas>, standing: Standing, frame: Frame) -> Option<Answering> {
    let Some(frame::Body::Request(request)) = frame.body else { return None };
    let (replicas, id) = (Arc::clone(replicas), frame.id);
    if let Err(error) = standing.check(&request) {
        replicas.refusals.count(&error);
        tracing::debug!("a request is refused: {error}");
        return Some(Box::pin(std::future::ready(refusal(id, error))));
    }
    Some(Box::pin(async move {
        let reply = replicas.handle(request).await;
        Frame { id, body: Some(frame::Body::Reply(reply)) }
    }))
}

fn refusal(id: u64, error: ShardError) -> Frame {
    let body = Some(reply::Body::Refusal(error.into()));
    Frame { id, body: Some(frame::Body::Reply(Reply { body })) }
}
