//! Packs the frames waiting in a queue into one message, so that a busy link pays for one
//! HTTP/2 message where many requests meet.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::schema::{Envelope, Frame};

/// Most frames in one message.
const FRAMES_MAX: usize = 256;
/// No further frame is added to a message of this many bytes.
const BYTES_ENOUGH: usize = 512 << 10;

/// The outgoing half of a link: a queue of frames as a stream of messages.
pub struct Batched {
    queue: mpsc::Receiver<Frame>,
}

impl Batched {
    /// Drains `queue` until its senders are gone.
    #[must_use]
    pub fn new(queue: mpsc::Receiver<Frame>) -> Self {
        Self { queue }
    }
}

impl Stream for Batched {
    type Item = Envelope;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Envelope>> {
        let Some(first) = std::task::ready!(self.queue.poll_recv(cx)) else {
            return Poll::Ready(None);
        };
        let mut bytes = first.encoded_len();
        let mut frames = vec![first];
        while frames.len() < FRAMES_MAX && bytes < BYTES_ENOUGH {
            let Ok(frame) = self.queue.try_recv() else { break };
            bytes += frame.encoded_len();
            frames.push(frame);
        }
        Poll::Ready(Some(Envelope { frames }))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;
    use crate::schema::{Command, Op, Request, frame, request};

    fn frame_of(id: u64, bytes: usize) -> Frame {
        let op = Op { text: vec![b'x'; bytes].into(), ..Op::default() };
        let body = request::Body::Command(Command { ops: vec![op], ..Command::default() });
        let request = Request { body: Some(body), ..Request::default() };
        Frame { id, body: Some(frame::Body::Request(request)) }
    }

    #[tokio::test]
    async fn waiting_frames_leave_together_within_the_bounds() {
        let (queue, receiver) = mpsc::channel(1024);
        for id in 0..300 {
            queue.try_send(frame_of(id, 1)).unwrap();
        }
        for id in 300..304 {
            queue.try_send(frame_of(id, 300 << 10)).unwrap();
        }
        drop(queue);
        let sizes: Vec<usize> =
            Batched::new(receiver).map(|message| message.frames.len()).collect().await;
        assert_eq!(sizes, [256, 46, 2]);
    }
}
