//! Who goes where: tenants on shards, and replicas of shards on nodes. Pure functions of their
//! arguments, the same on every machine and in every version: the meta group decides with them
//! and stores what they said.

mod replan;
mod replicas;
mod ring;

pub use replan::{Placed, replan};
pub use replicas::place_replicas;
pub use ring::{SHARD_VNODES, ShardRing};
