//! The one error of talking to a shard, and its form on the wire.

use crate::ids::NodeId;
use crate::schema::{Refusal, refusal::Reason};

/// Why a request to a group was not carried out, or cannot be known to have been.
///
/// Only [`ShardError::Unknown`] leaves the outcome open; every other variant means nothing was
/// done, so the request may be sent elsewhere under the same request id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// The replica asked is not the leader.
    #[error("not the leader of this shard (leader: {leader:?}, term {term})")]
    NotLeader {
        /// Who leads, as far as the replica knows.
        leader: Option<NodeId>,
        /// The term of that knowledge; only higher terms replace it.
        term: u64,
    },
    /// The node asked holds no replica of the group.
    #[error("this node holds no replica of the shard")]
    NoReplica,
    /// No leader, starting, stopping, or unreachable before the request left.
    #[error("the shard is not available: {detail}")]
    Unavailable {
        /// What was missing.
        detail: String,
    },
    /// The request may take effect or not.
    #[error("the outcome is unknown: {detail}")]
    Unknown {
        /// What broke while the request was under way.
        detail: String,
    },
    /// Too many requests are waiting.
    #[error("too many requests are waiting: {detail}")]
    Overloaded {
        /// Which queue was full.
        detail: String,
    },
    /// The request itself is wrong; sending it again will not help.
    #[error("the request is invalid: {detail}")]
    Invalid {
        /// What is wrong with it.
        detail: String,
    },
    /// The disk of a node without which the shard cannot write is full.
    #[error("the disk of node {node} is full")]
    DiskFull {
        /// Whose disk.
        node: NodeId,
    },
    /// The tenant calls faster than it may.
    #[error("the tenant calls faster than it may; try again in {retry_after_ms} ms")]
    RateLimited {
        /// When there will be room again.
        retry_after_ms: u32,
    },
    /// The tenant has no calls left today.
    #[error("the tenant has no calls left today; try again in {retry_after_ms} ms")]
    CallsExhausted {
        /// When the next day begins.
        retry_after_ms: u32,
    },
}

impl From<Refusal> for ShardError {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.detail;
        match Reason::try_from(refusal.reason) {
            Ok(Reason::NotLeader) => Self::NotLeader {
                leader: (refusal.leader != 0).then_some(NodeId(refusal.leader)),
                term: refusal.term,
            },
            Ok(Reason::NoReplica) => Self::NoReplica,
            Ok(Reason::Unavailable) => Self::Unavailable { detail },
            Ok(Reason::Overloaded) => Self::Overloaded { detail },
            Ok(Reason::Invalid) => Self::Invalid { detail },
            Ok(Reason::DiskFull) => Self::DiskFull { node: NodeId(refusal.node) },
            Ok(Reason::RateLimited) => Self::RateLimited { retry_after_ms: refusal.retry_after_ms },
            Ok(Reason::CallsExhausted) => {
                Self::CallsExhausted { retry_after_ms: refusal.retry_after_ms }
            }
            // A reason this version does not know promises nothing about the outcome.
            Ok(Reason::Unknown | Reason::Unspecified) | Err(_) => Self::Unknown { detail },
        }
    }
}

impl From<ShardError> for Refusal {
    fn from(error: ShardError) -> Self {
        let (reason, detail) = match error {
            ShardError::NotLeader { leader, term } => {
                return Self {
                    reason: Reason::NotLeader.into(),
                    leader: leader.map_or(0, |node| node.0),
                    term,
                    ..Self::default()
                };
            }
            ShardError::NoReplica => (Reason::NoReplica, String::new()),
            ShardError::Unavailable { detail } => (Reason::Unavailable, detail),
            ShardError::Unknown { detail } => (Reason::Unknown, detail),
            ShardError::Overloaded { detail } => (Reason::Overloaded, detail),
            ShardError::Invalid { detail } => (Reason::Invalid, detail),
            ShardError::DiskFull { node } => {
                let reason = Reason::DiskFull.into();
                return Self { reason, node: node.0, ..Self::default() };
            }
            ShardError::RateLimited { retry_after_ms } => {
                let reason = Reason::RateLimited.into();
                return Self { reason, retry_after_ms, ..Self::default() };
            }
            ShardError::CallsExhausted { retry_after_ms } => {
                let reason = Reason::CallsExhausted.into();
                return Self { reason, retry_after_ms, ..Self::default() };
            }
        };
        Self { reason: reason.into(), detail, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_survives_the_wire() {
        let detail = || "why".to_owned();
        for error in [
            ShardError::NotLeader { leader: Some(NodeId(2)), term: 7 },
            ShardError::NotLeader { leader: None, term: 0 },
            ShardError::NoReplica,
            ShardError::Unavailable { detail: detail() },
            ShardError::Unknown { detail: detail() },
            ShardError::Overloaded { detail: detail() },
            ShardError::Invalid { detail: detail() },
            ShardError::DiskFull { node: NodeId(3) },
            ShardError::RateLimited { retry_after_ms: 250 },
            ShardError::CallsExhausted { retry_after_ms: 86_400_000 },
        ] {
            assert_eq!(ShardError::from(Refusal::from(error.clone())), error);
        }
    }

    #[test]
    fn a_reason_from_the_future_is_unknown() {
        let refusal = Refusal { reason: 999, ..Refusal::default() };
        assert!(matches!(ShardError::from(refusal), ShardError::Unknown { .. }));
    }
}
