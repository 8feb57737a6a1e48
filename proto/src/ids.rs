//! Identifiers. Each is a type of its own, so that a node is never taken for a replica.

use std::fmt;

/// A Raft group: 0 is the meta group, 1 and up are the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The group all machines belong to.
    pub const META: Self = Self(0);
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A machine (process) of the ranch, as numbered in `ranch.toml`; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a node's copy of a group: `node << 32 | incarnation`. A node that lost its data
/// comes back under the next incarnation, so a replica id never stands for two histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

impl ReplicaId {
    /// The replica of `node` in its life number `incarnation` (from 1).
    #[must_use]
    pub fn new(node: NodeId, incarnation: u32) -> Self {
        Self(u64::from(node.0) << 32 | u64::from(incarnation))
    }

    /// The machine this replica lives on.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId((self.0 >> 32) as u32)
    }

    /// Which life of the machine this is, from 1.
    #[must_use]
    pub fn incarnation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node(), self.incarnation())
    }
}

/// Identity of one client request over all its retries: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// A fresh random id. Not secret, only unique, so a fast generator serves.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u128(..).to_be_bytes())
    }

    /// Reads an id from its 16 bytes; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// Whether `id` may name a tenant: `[a-z0-9][a-z0-9_-]{0,62}`.
#[must_use]
pub fn is_tenant_id(id: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = id.as_bytes();
    (1..=63).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().all(|&b| word(b) || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_id_holds_node_and_incarnation() {
        let replica = ReplicaId::new(NodeId(3), 2);
        assert_eq!(replica.0, 0x0000_0003_0000_0002);
        assert_eq!((replica.node(), replica.incarnation()), (NodeId(3), 2));
        assert_eq!(replica.to_string(), "3.2");
    }

    #[test]
    fn tenant_ids() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "will", "a-b_c9", &longest] {
            assert!(is_tenant_id(good), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "_a", "A", "a.b", "a/b", "ä", &too_long] {
            assert!(!is_tenant_id(bad), "{bad}");
        }
    }
}
