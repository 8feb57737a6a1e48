//! State machines: what the committed log of a group has made of it, in one database a node.
//!
//! What must hold, and where it is kept:
//! 1. Applying is pure: the same entries give the same rows on every replica, wherever batches of
//!    entries begin and end. No clock, no randomness; time comes with the entry ([`machine`]).
//! 2. Everything a batch changes, its applied log id too, is one write ([`batch`]). There is no
//!    write-ahead log here: the Raft log is it, so nothing may be purged from that log before it
//!    is durable here ([`progress`]).
//! 3. Answers leave only after the write.
//! 4. A snapshot is whole or not there, whenever the process dies ([`snapshot`]).
//! 5. So all replicas have the same rows at the same index, which is checked ([`hash`]).
//!
//! Deliberately absent: knowledge of leaders, quorums and proposals. Whoever reads decides before
//! how fresh the answer must be.

mod batch;
mod copy;
mod cue;
mod error;
mod garbage;
mod hash;
mod machine;
mod meta;
mod options;
mod progress;
mod reader;
mod scan;
mod shard;
mod snapshot;
#[cfg(feature = "failpoints")]
mod spoil;
mod store;
mod totals;
mod turn;
mod usages;
mod view;

pub use copy::{CopyPiece, CopySource};
pub use error::StateError;
pub use hash::{HashAt, KindHash, StateHash, hash_at};
pub use machine::StateMachine;
pub use meta::MetaFeed;
pub use options::StateOptions;
pub use progress::Progress;
pub use reader::{ReadError, ShardReader};
pub use shard::{
    DEDUP_OPS_MAX, DEDUP_WINDOW_MS, IDEMPOTENCY_MS, READ_BYTES_MAX, STAGED_MS, STAGED_TENANT_MAX,
    STEP_MAX_MS,
};
pub use snapshot::{
    SnapshotBuilder, SnapshotFault, SnapshotHandle, SnapshotPiece, SnapshotSink, SnapshotSource,
    SnapshotStage,
};
pub use store::StateStore;

use ranch_proto::versions::Support;

/// Refuses entries, of shards and of the meta group alike, that a binary of another version wrote.
/// An entry has the cluster version its leader knew of when it was proposed.
fn check_entry(index: u64, version: u32) -> Result<(), StateError> {
    let known = Support::ours().formats;
    if known.contains(version) {
        return Ok(());
    }
    Err(StateError::UnknownEntryVersion { index, found: version, known })
}
