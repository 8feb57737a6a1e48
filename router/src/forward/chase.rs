//! What to do after a failed attempt: the rules of chasing a leader, without clock or network.

use std::time::Duration;

use ranch_proto::{NodeId, ShardError};

use super::ForwardError;

/// First and longest wait between attempts.
const WAIT_MIN: Duration = Duration::from_millis(5);
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Failures that are followed up at once: a dead leader, and a wrong guess after it.
const FREE_ATTEMPTS: u32 = 1;
/// Redirections followed at once; more mean that two replicas point at each other.
const FREE_HOPS: u32 = 3;

/// One request's search for a replica that carries it out.
#[derive(Debug)]
pub(super) struct Chase {
    writes: bool,
    /// An attempt of a write went out and was not answered.
    doubtful: bool,
    failures: u32,
    hops: u32,
    hint: Option<Hint>,
    failed: Option<NodeId>,
    /// A node was asked to send the request on, since the last wait.
    relayed: bool,
}

/// Whom to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// The node.
    pub node: NodeId,
    /// It is to send the request on to the leader, which cannot be reached from here.
    pub relay: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again now.
    AtOnce,
    /// Try again after about so long.
    AfterWait(Duration),
    /// Give up.
    Stop(ForwardError),
}

impl Chase {
    /// A search that has not begun; `writes` when silence leaves the outcome open.
    pub fn new(writes: bool) -> Self {
        let (doubtful, relayed) = (false, false);
        Self { writes, doubtful, failures: 0, hops: 0, hint: None, failed: None, relayed }
    }

    /// Whom the last answer makes the one to ask, once.
    pub fn take_hint(&mut self) -> Option<Hint> {
        self.hint.take()
    }

    /// Whether this node was the last to fail, so that another one is to be tried first.
    pub fn has_failed(&self, node: NodeId) -> bool {
        self.failed == Some(node)
    }

    /// The verdict when the deadline passes.
    pub fn out_of_time(&self) -> ForwardError {
        self.unless_doubtful(ForwardError::Unavailable)
    }

    /// Takes in how asking `node` failed. `None` stands for there being nobody to ask.
    pub fn after(&mut self, node: Option<NodeId>, error: &ShardError) -> Next {
        match error {
            ShardError::NotLeader { leader: Some(leader), .. }
                if Some(*leader) != node && !self.has_failed(*leader) =>
            {
                self.hops += 1;
                self.hint = Some(Hint { node: *leader, relay: false });
                if self.hops > FREE_HOPS { self.wait() } else { Next::AtOnce }
            }
            ShardError::NotLeader { leader: Some(leader), .. }
                if Some(*leader) != node && !self.relayed =>
            {
                // It failed from here. If that is the way, not the leader, this node has another.
                self.relayed = true;
                self.hint = node.map(|node| Hint { node, relay: true });
                Next::AtOnce
            }
            ShardError::NotLeader { .. } => {
                // The node that failed before may be back by the end of the wait, and lead.
                self.failed = None;
                self.wait()
            }
            ShardError::NoReplica | ShardError::Unavailable { .. } => self.fail(node),
            ShardError::Unknown { .. } => {
                self.doubtful |= self.writes;
                self.fail(node)
            }
            ShardError::Overloaded { .. } => self.stop(ForwardError::Overloaded),
            ShardError::DiskFull { node } => self.stop(ForwardError::DiskFull { node: node.0 }),
            ShardError::Invalid { .. } => self.stop(ForwardError::Invalid),
            ShardError::RateLimited { retry_after_ms } => {
                self.stop(ForwardError::RateLimited { retry_after_ms: *retry_after_ms })
            }
            ShardError::CallsExhausted { retry_after_ms } => {
                self.stop(ForwardError::CallsExhausted { retry_after_ms: *retry_after_ms })
            }
        }
    }

    fn fail(&mut self, node: Option<NodeId>) -> Next {
        self.failed = node;
        if node.is_some() && self.failures < FREE_ATTEMPTS {
            self.failures += 1;
            return Next::AtOnce;
        }
        self.wait()
    }

    fn wait(&mut self) -> Next {
        self.failures += 1;
        self.relayed = false;
        let doublings = self.failures.min(6).saturating_sub(1);
        Next::AfterWait(WAIT_MAX.min(WAIT_MIN * 2_u32.pow(doublings)))
    }

    fn stop(&self, verdict: ForwardError) -> Next {
        Next::Stop(self.unless_doubtful(verdict))
    }

    /// "Nothing was done" is only true of this attempt: an earlier one may still take effect.
    fn unless_doubtful(&self, verdict: ForwardError) -> ForwardError {
        if self.doubtful { ForwardError::OutcomeUnknown } else { verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<NodeId> = Some(NodeId(1));
    const B: Option<NodeId> = Some(NodeId(2));

    fn not_leader(leader: Option<NodeId>) -> ShardError {
        ShardError::NotLeader { leader, term: 1 }
    }

    fn unavailable() -> ShardError {
        ShardError::Unavailable { detail: String::new() }
    }

    fn unknown() -> ShardError {
        ShardError::Unknown { detail: String::new() }
    }

    #[test]
    fn a_named_leader_is_asked_at_once() {
        let mut chase = Chase::new(true);
        assert_eq!(chase.after(A, &not_leader(B)), Next::AtOnce);
        assert_eq!(chase.take_hint(), Some(Hint { node: NodeId(2), relay: false }));
        assert_eq!(chase.take_hint(), None);
    }

    #[test]
    fn replicas_that_point_at_each_other_are_waited_for() {
        let mut chase = Chase::new(true);
        let mut waits = 0;
        for _ in 0..4 {
            waits += u32::from(chase.after(A, &not_leader(B)) != Next::AtOnce);
            waits += u32::from(chase.after(B, &not_leader(A)) != Next::AtOnce);
        }
        assert_eq!(waits, 5);
    }

    #[test]
    fn a_dead_leader_is_left_at_once_and_not_gone_back_to_on_hearsay() {
        let mut chase = Chase::new(true);
        assert_eq!(chase.after(A, &unavailable()), Next::AtOnce);
        assert!(chase.has_failed(NodeId(1)));
        assert_eq!(chase.after(B, &not_leader(A)), Next::AtOnce);
        assert_eq!(chase.take_hint(), Some(Hint { node: NodeId(2), relay: true }));
        assert!(matches!(chase.after(B, &not_leader(A)), Next::AfterWait(_)), "no way round it");
        assert_eq!(chase.take_hint(), None);
        assert!(!chase.has_failed(NodeId(1)), "after the wait it may be tried again");
    }

    #[test]
    fn waits_grow_to_their_limit() {
        let mut chase = Chase::new(true);
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            let Next::AfterWait(wait) = chase.after(A, &not_leader(None)) else {
                panic!("expected a wait")
            };
            assert!(wait >= last && wait >= WAIT_MIN);
            last = wait;
        }
        assert_eq!(last, WAIT_MAX);
    }

    #[test]
    fn a_write_without_an_answer_stays_doubtful() {
        let mut chase = Chase::new(true);
        chase.after(A, &unknown());
        chase.after(B, &not_leader(None));
        assert_eq!(chase.out_of_time(), ForwardError::OutcomeUnknown);
        let overloaded = ShardError::Overloaded { detail: String::new() };
        assert_eq!(chase.after(A, &overloaded), Next::Stop(ForwardError::OutcomeUnknown));
    }

    #[test]
    fn a_read_is_never_doubtful() {
        let mut chase = Chase::new(false);
        chase.after(A, &unknown());
        assert_eq!(chase.out_of_time(), ForwardError::Unavailable);
        let full = ShardError::DiskFull { node: NodeId(2) };
        assert_eq!(chase.after(A, &full), Next::Stop(ForwardError::DiskFull { node: 2 }));
    }

    #[test]
    fn nobody_to_ask_is_waited_for() {
        let mut chase = Chase::new(false);
        assert!(matches!(chase.after(None, &unavailable()), Next::AfterWait(_)));
    }
}
