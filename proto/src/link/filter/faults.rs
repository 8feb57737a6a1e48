//! Faults of the network between the processes of a test, put in where frames leave and arrive.
//!
//! A filter belongs to one process and rules over its own links: requests it sends
//! ([`Filter::verdict`]) and answers it gets ([`Filter::hears`]). A loss of everything from A to
//! B is therefore two things: A's requests to B are dropped, and B is deaf to A, so that A's
//! answers to B's requests are lost as well. Both, in both directions, is a partition. As with
//! TCP, which needs packets both ways, nothing new is connected while either direction is lost:
//! neither links nor calls outside of them, such as snapshots. Those already under way go on.
//!
//! What must hold: what passes keeps its order on a connection, delays included. A request that
//! was dropped is sent as far as its asker knows, who hears `Unknown` when the link breaks and
//! nothing before; pings are requests, too, so a peer that cannot be heard counts as dead.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::ids::NodeId;
use crate::link::Lane;
use crate::schema::{Frame, Request, frame};

/// Frames that may wait for their time on one connection.
const DELAYED: usize = 16_384;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Pass,
    /// It is lost.
    Drop,
    /// It is sent so much later, and what follows it on the connection no sooner.
    Delay(Duration),
}

/// The network as one process finds it.
pub trait Filter: Send + Sync {
    /// What becomes of a request of this process, pings of its links included.
    fn verdict(&self, to: NodeId, lane: Lane, request: &Request) -> Verdict;

    /// Whether answers of `from` to this process arrive.
    fn hears(&self, from: NodeId) -> bool;

    /// Whether a new connection to `to` can be made.
    fn connects(&self, to: NodeId) -> bool;
}

/// Where the filter of a process is, once a test has installed one.
#[derive(Clone, Default)]
pub(in crate::link) struct Slot(Arc<RwLock<Option<Arc<dyn Filter>>>>);

impl Slot {
    /// Puts a filter in force, for the connections that stand as well.
    pub(in crate::link) fn set(&self, filter: Arc<dyn Filter>) {
        *self.0.write() = Some(filter);
    }

    /// The gate of the link to `peer` on `lane`.
    pub(in crate::link) fn gate(&self, peer: NodeId, lane: Lane) -> Gate {
        Gate { slot: self.clone(), peer, lane }
    }

    fn filter(&self) -> Option<Arc<dyn Filter>> {
        self.0.read().clone()
    }
}

/// What a link to one peer asks.
#[derive(Clone)]
pub(in crate::link) struct Gate {
    slot: Slot,
    peer: NodeId,
    lane: Lane,
}

impl Gate {
    /// What frames are sent by on a new connection with this queue.
    pub(in crate::link) fn outgoing(&self, queue: mpsc::Sender<Frame>) -> Outgoing {
        let (late, delayed) = mpsc::channel(DELAYED);
        tokio::spawn(release(delayed, queue));
        Outgoing { gate: self.clone(), late }
    }

    /// Whether what the peer says arrives.
    pub(in crate::link) fn hears(&self) -> bool {
        self.slot.filter().is_none_or(|filter| filter.hears(self.peer))
    }

    /// Whether a connection can be made.
    pub(in crate::link) fn connects(&self) -> bool {
        self.slot.filter().is_none_or(|filter| filter.connects(self.peer))
    }

    fn verdict(&self, frame: &Frame) -> Verdict {
        match (&frame.body, self.slot.filter()) {
            (Some(frame::Body::Request(request)), Some(filter)) => {
                filter.verdict(self.peer, self.lane, request)
            }
            _ => Verdict::Pass,
        }
    }
}

/// The way out of a connection. Its end, and with it the connection's, is that of the last copy.
#[derive(Clone)]
pub(in crate::link) struct Outgoing {
    gate: Gate,
    late: mpsc::Sender<(Instant, Frame)>,
}

impl Outgoing {
    /// Queues a frame, unless the filter loses it: then it counts as sent.
    #[expect(clippy::result_large_err, reason = "the form of the queue it stands for")]
    pub(in crate::link) fn try_send(&self, frame: Frame) -> Result<(), TrySendError<Frame>> {
        let wait = match self.gate.verdict(&frame) {
            Verdict::Drop => return Ok(()),
            Verdict::Pass => Duration::ZERO,
            Verdict::Delay(wait) => wait,
        };
        self.late.try_send((Instant::now() + wait, frame)).map_err(|error| match error {
            TrySendError::Full((_, frame)) => TrySendError::Full(frame),
            TrySendError::Closed((_, frame)) => TrySendError::Closed(frame),
        })
    }
}

/// Hands each frame on when its time has come and those before it are gone.
async fn release(mut delayed: mpsc::Receiver<(Instant, Frame)>, queue: mpsc::Sender<Frame>) {
    while let Some((due, frame)) = delayed.recv().await {
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        if queue.send(frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::request;

    /// Drops pings that ask with `false` and delays those of the data lane.
    struct Picky;

    impl Filter for Picky {
        fn verdict(&self, _to: NodeId, lane: Lane, request: &Request) -> Verdict {
            match (&request.body, lane) {
                (Some(request::Body::Ping(false)), _) => Verdict::Drop,
                (_, Lane::Data) => Verdict::Delay(Duration::from_millis(30)),
                (_, Lane::Control) => Verdict::Pass,
            }
        }

        fn hears(&self, from: NodeId) -> bool {
            from != NodeId(2)
        }

        fn connects(&self, to: NodeId) -> bool {
            to != NodeId(3)
        }
    }

    fn ping(id: u64, kept: bool) -> Frame {
        let request = Request { body: Some(request::Body::Ping(kept)), ..Request::default() };
        Frame { id, body: Some(frame::Body::Request(request)) }
    }

    #[tokio::test]
    async fn what_passes_keeps_its_order_and_what_is_delayed_waits() {
        let slot = Slot::default();
        let (queue, mut sent) = mpsc::channel(8);
        let out = slot.gate(NodeId(1), Lane::Data).outgoing(queue);
        slot.set(Arc::new(Picky));
        let begun = Instant::now();
        for (id, kept) in [(1, true), (2, false), (3, true)] {
            out.try_send(ping(id, kept)).unwrap();
        }
        // Not a request, so not delayed by itself; it still leaves after those before it.
        out.try_send(Frame { id: 4, body: None }).unwrap();
        drop(out);
        let mut ids = Vec::new();
        while let Some(frame) = sent.recv().await {
            ids.push(frame.id);
        }
        assert_eq!(ids, [1, 3, 4]);
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn an_empty_slot_is_open_and_a_filter_rules_by_peer() {
        let slot = Slot::default();
        let (deaf, cut) = (slot.gate(NodeId(2), Lane::Data), slot.gate(NodeId(3), Lane::Data));
        assert!(deaf.hears() && cut.connects());
        slot.set(Arc::new(Picky));
        assert!(!deaf.hears() && deaf.connects());
        assert!(cut.hears() && !cut.connects());
    }
}
