//! The wires between the nodes of a test, which it cuts, slows and makes lossy.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::RwLock;
use ranch_proto::NodeId;
use ranch_proto::link::{Filter, Lane, Verdict};
use ranch_proto::schema::{Request, request};

/// All wires of a ranch. Whole until told otherwise.
#[derive(Default)]
pub struct Wires {
    state: RwLock<State>,
    /// Whether a promise is kept, so often asked.
    questions: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Directions in which nothing arrives.
    lost: HashSet<(NodeId, NodeId)>,
    delay: Duration,
    lost_percent: u8,
    /// From this node to the others only questions arrive, and from them to it only pings.
    only_questions: Option<NodeId>,
}

impl Wires {
    /// The end of the wires at `me`.
    pub fn end_at(self: &Arc<Self>, me: NodeId) -> Arc<dyn Filter> {
        Arc::new(End { me, wires: Arc::clone(self) })
    }

    /// Loses everything from one node to another, requests and answers alike.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.state.write().lost.insert((from, to));
    }

    /// Parts a node from all the others.
    pub fn isolate(&self, node: NodeId, others: &[NodeId]) {
        for other in others {
            self.cut(node, *other);
            self.cut(*other, node);
        }
    }

    /// Parts a node from all the others, except that it may ask whether they keep a promise.
    pub fn only_questions(&self, node: NodeId) {
        self.state.write().only_questions = Some(node);
    }

    /// How often that was asked, on all wires.
    pub fn questions(&self) -> u64 {
        self.questions.load(Relaxed)
    }

    /// Delays every request.
    pub fn delay(&self, by: Duration) {
        self.state.write().delay = by;
    }

    /// Loses so many of a hundred requests, pings excepted.
    pub fn lose_percent(&self, percent: u8) {
        self.state.write().lost_percent = percent;
    }

    /// Makes all wires whole again.
    pub fn heal(&self) {
        *self.state.write() = State::default();
    }

    fn carries(&self, from: NodeId, to: NodeId) -> bool {
        !self.state.read().lost.contains(&(from, to))
    }
}

struct End {
    me: NodeId,
    wires: Arc<Wires>,
}

impl Filter for End {
    fn verdict(&self, to: NodeId, _lane: Lane, request: &Request) -> Verdict {
        if !self.wires.carries(self.me, to) {
            return Verdict::Drop;
        }
        let state = self.wires.state.read();
        let ping = matches!(request.body, Some(request::Body::Ping(_)));
        let question = matches!(request.body, Some(request::Body::IsKeptTo(_)));
        if question {
            self.wires.questions.fetch_add(1, Relaxed);
        }
        let asks = state.only_questions == Some(self.me);
        let is_asked = state.only_questions == Some(to);
        if (asks && !ping && !question) || (is_asked && !ping) {
            return Verdict::Drop;
        }
        if !ping && fastrand::u8(..100) < state.lost_percent {
            Verdict::Drop
        } else if state.delay.is_zero() {
            Verdict::Pass
        } else {
            Verdict::Delay(state.delay)
        }
    }

    fn hears(&self, from: NodeId) -> bool {
        self.wires.carries(from, self.me)
    }

    fn connects(&self, to: NodeId) -> bool {
        self.wires.carries(self.me, to) && self.wires.carries(to, self.me)
    }
}
