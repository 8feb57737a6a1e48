//! Replication and storage: the Raft log engine, the state machines of shards and of the meta
//! group, snapshots, and [`group`], the handles through which a node proposes and reads.
//!
//! Only this crate opens `RocksDB`. It knows nothing of sockets, HTTP or placement.

pub mod background;
pub mod convert;
mod damage;
mod garbage;
pub mod group;
pub mod log;
mod rocks;
mod rocks_metrics;
pub mod state;
pub mod types;

pub use damage::DamageNote;
pub use group::{GroupCore, MetaGroup, ShardGroup};
pub use types::TypeConfig;
