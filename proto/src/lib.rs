//! The contract of a ranch: words every process shares. Ids, coordinates and keys, commands,
//! the directory, configuration, the links between processes and the [`Shards`] trait.
//!
//! Nothing here touches a disk or knows Raft's algorithm, and no other crate of the house is
//! used. Whatever is stored or sent is defined here, with a version and golden bytes under test.

pub mod api_key;
pub mod backup;
pub mod calls;
pub mod config;
pub mod coordinate;
pub mod directory;
pub mod hex;
pub mod ids;
pub mod join_token;
pub mod keys;
pub mod link;
pub mod metrics;
mod patch;
pub mod pattern;
pub mod phext;
pub mod placement;
pub mod process;
pub mod refusal;
pub mod schema;
pub mod shards;
pub mod stage;
pub mod value;
pub mod versions;

pub use coordinate::Coordinate;
pub use directory::Directory;
pub use ids::{GroupId, NodeId, ReplicaId, RequestId};
pub use pattern::Pattern;
pub use refusal::ShardError;
pub use shards::Shards;
