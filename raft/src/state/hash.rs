//! The hash of all rows of a group as of one index, which is the same on every replica or one of
//! them is wrong.
//!
//! Every kind of row is in it, since entries alone make them: totals, ids remembered, uploads,
//! clock and membership as much as scrolls. None may differ between replicas; one that may must
//! be left out in [`is_compared`], and nowhere else.
//!
//! Reading all rows has the database check the checksum of every block, so what has rotted since
//! it was written is found, too.

use std::sync::Arc;
use std::time::Duration;

use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Kind};
use rocksdb::{DB, SnapshotWithThreadMode};
use xxhash_rust::xxh3::Xxh3Default;

use crate::state::error::StateError;
use crate::state::snapshot::{applied, hash::PairsHash};
use crate::state::store::StateStore;
use crate::state::view::walk;

/// Bytes of rows read between two calls of the pace.
const STEP_BYTES: usize = 256 << 10;
/// Where in a key its kind is; the group before it is the same in all rows.
const KIND_AT: usize = 4;

/// A group's rows as of one index, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// The last entry that is in them.
    pub index: u64,
    /// XXH3-128 over the hashes of all kinds.
    pub hash: [u8; 16],
    /// By kind, those that have rows, so that a difference can be named.
    pub kinds: Vec<KindHash>,
}

/// The rows of one kind, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindHash {
    /// The kind's byte in keys.
    pub kind: u8,
    /// How many rows.
    pub rows: u64,
    /// XXH3-128 over their keys and values in order.
    pub hash: [u8; 16],
}

/// What became of a wish for a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashAt {
    /// It is there.
    Hash(StateHash),
    /// More than the index asked for is applied.
    Past(u64),
    /// So much was applied when the wait was over.
    Behind(u64),
    /// There is no machine of the group, or the pace said to stop.
    Stopped,
}

/// Whether replicas must agree on rows of a kind.
const fn is_compared(_kind: u8) -> bool {
    true
}

/// Hashes the rows of `group` as they are when exactly `index` is applied, for which it waits at
/// most `wait`. `pace` is called before the first row and after every few, with the bytes read
/// since; it may take its time, and says whether to go on. Blocks for long.
///
/// # Errors
/// When rows cannot be read; that is noted as damage.
pub fn hash_at(
    store: &Arc<StateStore>,
    (group, index): (GroupId, u64),
    wait: Duration,
    pace: impl FnMut(usize) -> bool,
) -> Result<HashAt, StateError> {
    let hashed = look(store, (group, index), wait, pace);
    hashed.inspect_err(|error| store.note_damage(error))
}

fn look(
    store: &StateStore,
    (group, index): (GroupId, u64),
    wait: Duration,
    pace: impl FnMut(usize) -> bool,
) -> Result<HashAt, StateError> {
    let Some(progress) = store.progress(group) else { return Ok(HashAt::Stopped) };
    let waiting = progress.cues().list(index);
    let mut snapshot = store.db().snapshot();
    let mut found = index_in(&snapshot, group)?;
    if found < index {
        drop(snapshot);
        let cue = waiting.wait(wait);
        snapshot = store.db().snapshot();
        drop(cue);
        found = index_in(&snapshot, group)?;
    }
    // Whoever closes the group waits for this handle.
    drop(waiting);
    drop(progress);
    match found.cmp(&index) {
        std::cmp::Ordering::Less => Ok(HashAt::Behind(found)),
        std::cmp::Ordering::Greater => Ok(HashAt::Past(found)),
        std::cmp::Ordering::Equal => {
            let kinds = hash_rows(&snapshot, group, pace)?;
            Ok(kinds.map_or(HashAt::Stopped, |kinds| HashAt::Hash(sum_up(index, kinds))))
        }
    }
}

fn index_in(snapshot: &SnapshotWithThreadMode<'_, DB>, group: GroupId) -> Result<u64, StateError> {
    Ok(applied(snapshot, group)?.last_log_id.map_or(0, |id| id.index))
}

/// The hashes of all kinds; `None` when the pace said to stop.
fn hash_rows(
    snapshot: &SnapshotWithThreadMode<'_, DB>,
    group: GroupId,
    mut pace: impl FnMut(usize) -> bool,
) -> Result<Option<Vec<KindHash>>, StateError> {
    let mut options = StateStore::range(keys::shard_bounds(group));
    options.fill_cache(false);
    options.set_verify_checksums(true);
    let mut kinds = Vec::new();
    let mut current: Option<(u8, PairsHash)> = None;
    let mut bytes = 0;
    let mut goes_on = pace(0);
    walk(snapshot.raw_iterator_opt(options), |key, value| {
        if !goes_on {
            return Ok(false);
        }
        let kind = *key.get(KIND_AT).ok_or(StateError::Row { what: "unknown" })?;
        if current.as_ref().is_some_and(|(of, _)| *of != kind) {
            kinds.extend(current.take().map(ended));
        }
        if is_compared(kind) {
            current.get_or_insert_with(|| (kind, PairsHash::default())).1.add(key, value);
        }
        bytes += key.len() + value.len();
        if bytes >= STEP_BYTES {
            goes_on = pace(std::mem::take(&mut bytes));
        }
        Ok(true)
    })?;
    kinds.extend(current.map(ended));
    Ok(goes_on.then_some(kinds))
}

fn ended((kind, rows): (u8, PairsHash)) -> KindHash {
    KindHash { kind, rows: rows.pairs(), hash: rows.bytes() }
}

fn sum_up(index: u64, kinds: Vec<KindHash>) -> StateHash {
    let mut hash = Xxh3Default::new();
    for kind in &kinds {
        hash.update(&[kind.kind]);
        hash.update(&kind.rows.to_be_bytes());
        hash.update(&kind.hash);
    }
    StateHash { index, hash: hash.digest128().to_be_bytes(), kinds }
}

impl KindHash {
    /// What rows of a kind are called, as the keys' registry has it.
    #[must_use]
    pub fn name(kind: u8) -> String {
        Kind::from_byte(kind).map_or_else(|| format!("{kind:#04x}"), |kind| format!("{kind:?}"))
    }
}
