//! A node's replica of a group, running: propose, read, watch, change members, stop.
//!
//! [`GroupCore`] is what shards and the meta group have in common; [`ShardGroup`] and
//! [`MetaGroup`] add the commands of their state machines. Requests meet in two queues a group:
//! the [`proposer`] packs waiting commands into one log entry, and the [`barrier`] lets all
//! waiting reads share one confirmation of leadership.

mod barrier;
mod core;
mod hand_over;
mod hold;
mod meta;
mod options;
mod proposer;
mod shard;

pub use self::barrier::Followers;
pub use self::core::{GroupCore, GroupError};
pub use hand_over::HandOverError;
pub use meta::MetaGroup;
pub use options::{GroupOptions, Timers, config};
pub use shard::ShardGroup;
