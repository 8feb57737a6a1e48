//! The receiving end of a link: requests in, replies out, in one task a link.
//!
//! Each request is polled once in the order it arrived, which hands appends to their replica in
//! that order; what cannot be answered at once waits among the others.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use ranch_proto::schema::{Envelope, Frame, frame};
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::replicas::Replicas;

/// Requests of one link under way; beyond it the link is not read, and the peer's queue fills.
const UNDER_WAY: usize = 8_192;

type Answering = Pin<Box<dyn Future<Output = Frame> + Send>>;

/// Serves a link until either side ends it.
pub(crate) async fn serve(
    replicas: Arc<Replicas>,
    mut inbound: Streaming<Envelope>,
    out: mpsc::Sender<Frame>,
) {
    let mut under_way: FuturesUnordered<Answering> = FuturesUnordered::new();
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
                    let Some(mut answering) = begin(&replicas, frame) else { continue };
                    let Some(frame) = answering.as_mut().now_or_never() else {
                        under_way.push(answering);
                        continue;
                    };
                    if out.send(frame).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn begin(replicas: &Arc<Replicas>, frame: Frame) -> Option<Answering> {
    let Some(frame::Body::Request(request)) = frame.body else { return None };
    let (replicas, id) = (Arc::clone(replicas), frame.id);
    Some(Box::pin(async move {
        let reply = replicas.handle(request).await;
        Frame { id, body: Some(frame::Body::Reply(reply)) }
    }))
}
