//! Consistent hashing of tenants over shards. Bytes and hash function are spelled out here and
//! never change, because a ring built tomorrow must agree with one built today.

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use xxhash_rust::xxh3::xxh3_64;

use crate::ids::GroupId;

/// Points each shard has on the ring: enough to keep shares within a few percent of each other.
pub const SHARD_VNODES: u32 = 256;

/// The ring of all shards.
#[derive(Clone, Debug)]
pub struct ShardRing {
    ring: HashRing<VNode, StableHash>,
}

impl ShardRing {
    /// A ring of these shards; their order makes no difference.
    pub fn new(shards: impl Iterator<Item = GroupId>) -> Self {
        let mut shards: Vec<_> = shards.collect();
        shards.sort_unstable();
        shards.dedup();
        let vnodes = |shard| (0..SHARD_VNODES).map(move |number| VNode { shard, number });
        let mut ring = HashRing::with_hasher(StableHash);
        ring.batch_add(shards.into_iter().flat_map(vnodes).collect());
        Self { ring }
    }

    /// The shard a tenant belongs on when it is added. Later the stored answer counts. A ring
    /// without shards answers [`GroupId::META`], which takes no tenants.
    #[must_use]
    pub fn shard_of(&self, tenant: &str) -> GroupId {
        self.ring.get(&TenantKey(tenant)).map_or(GroupId::META, |vnode| vnode.shard)
    }
}

/// A point on the ring. Hashes as shard and number, both u32 big-endian.
#[derive(Clone, Copy, Debug)]
struct VNode {
    shard: GroupId,
    number: u32,
}

impl Hash for VNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = u64::from(self.shard.0) << 32 | u64::from(self.number);
        state.write(&bytes.to_be_bytes());
    }
}

/// A tenant on the ring. Hashes as the bytes of its id and nothing more; `str` would add one.
struct TenantKey<'a>(&'a str);

impl Hash for TenantKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

/// XXH3-64 of what was written; keys above write once.
#[derive(Clone, Copy, Debug, PartialEq)]
struct StableHash;

#[derive(Default)]
struct StableHasher {
    hash: u64,
    written: bool,
}

impl BuildHasher for StableHash {
    type Hasher = StableHasher;

    fn build_hasher(&self) -> StableHasher {
        StableHasher::default()
    }
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(!self.written, "a key on the ring writes its bytes once");
        self.written = true;
        self.hash = xxh3_64(bytes);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
