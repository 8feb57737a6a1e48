//! Reading a group's rows for another node, all as of one moment.
//!
//! A thread of its own holds the database's snapshot and reads ahead by a few chunks; it ends when
//! all is read or nobody wants more. What is applied is read inside that same snapshot, so rows
//! and log id cannot disagree.

use std::sync::Arc;

use bytes::Bytes;
use ranch_proto::ids::GroupId;
use ranch_proto::keys;
use ranch_proto::schema::{SnapshotChunk, SnapshotEnd};
use rocksdb::{DB, SnapshotWithThreadMode};
use tokio::sync::{mpsc, oneshot};

use crate::background;
use crate::state::batch::decode_applied;
use crate::state::error::StateError;
use crate::state::snapshot::hash::PairsHash;
use crate::state::store::{StateStore, crash_point};
use crate::types::SnapshotMeta;

/// Bytes of keys and values in a chunk; a single larger row makes a chunk of its own.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks read before they are asked for.
const AHEAD: usize = 2;
/// Bytes of a key that say its group, which the receiver knows.
const GROUP_BYTES: usize = 4;

/// What comes out of a [`SnapshotSource`]: chunks, then one end.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotPiece {
    /// Rows, in key order over the whole snapshot.
    Chunk(SnapshotChunk),
    /// All rows have been given; how many, and their checksum.
    End(SnapshotEnd),
}

/// A group's rows as of [`SnapshotSource::meta`].
#[derive(Debug)]
pub struct SnapshotSource {
    meta: SnapshotMeta,
    pieces: mpsc::Receiver<Result<SnapshotPiece, StateError>>,
}

type Opening = oneshot::Receiver<Result<SnapshotMeta, StateError>>;
type Pieces = mpsc::Receiver<Result<SnapshotPiece, StateError>>;

const LOST: StateError = StateError::ThreadLost { action: "read a snapshot" };

impl SnapshotSource {
    /// Begins to read the rows of `group`, as they are now.
    ///
    /// The state may be ahead of the vote under which the caller sends it, when another leader
    /// has taken over meanwhile; a sender must check that and give up.
    ///
    /// # Errors
    /// When the thread cannot be started or the database cannot be read.
    pub async fn open(store: &Arc<StateStore>, group: GroupId) -> Result<Self, StateError> {
        let (opening, pieces) = start(store, group)?;
        let meta = opening.await.map_err(|_| LOST)??;
        Ok(Self { meta, pieces })
    }

    /// As [`SnapshotSource::open`], for threads that may block.
    pub(crate) fn open_blocking(
        store: &Arc<StateStore>,
        group: GroupId,
    ) -> Result<Self, StateError> {
        let (opening, pieces) = start(store, group)?;
        let meta = opening.blocking_recv().map_err(|_| LOST)??;
        Ok(Self { meta, pieces })
    }

    /// Where these rows stand.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The next piece; none follows [`SnapshotPiece::End`].
    ///
    /// # Errors
    /// When the database cannot be read, or after the end.
    pub async fn next(&mut self) -> Result<SnapshotPiece, StateError> {
        self.pieces.recv().await.ok_or(LOST)?
    }

    pub(crate) fn next_blocking(&mut self) -> Result<SnapshotPiece, StateError> {
        self.pieces.blocking_recv().ok_or(LOST)?
    }
}

fn start(store: &Arc<StateStore>, group: GroupId) -> Result<(Opening, Pieces), StateError> {
    let (opened, opening) = oneshot::channel();
    let (out, pieces) = mpsc::channel(AHEAD);
    let store = Arc::clone(store);
    let spawned = background::spawn(format!("snapshot-{group}"), move || {
        let snapshot = store.db().snapshot();
        let meta = applied(&snapshot, group);
        let usable = meta.is_ok();
        // A receiver that is gone has given up.
        if opened.send(meta).is_err() || !usable {
            return;
        }
        let end = read(&snapshot, group, &out);
        if let Err(error) = &end {
            store.note_damage(error);
        }
        // Whoever sees the end may close the store.
        drop(snapshot);
        drop(store);
        let last = end.transpose().map(|end| end.map(SnapshotPiece::End));
        // A receiver that is gone needs no end.
        let _ = last.map(|last| out.blocking_send(last));
    });
    spawned.map_err(StateError::io("start a thread to read", "the state database"))?;
    Ok((opening, pieces))
}

/// What is applied in a snapshot of the database.
pub(crate) fn applied(
    snapshot: &SnapshotWithThreadMode<'_, DB>,
    group: GroupId,
) -> Result<SnapshotMeta, StateError> {
    let row = snapshot.get(keys::applied(group)).map_err(StateError::engine("read a row"))?;
    row.map_or_else(|| Ok(SnapshotMeta::default()), |row| decode_applied(&row))
}

/// Sends all chunks; `None` when nobody wants them any more.
fn read(
    snapshot: &SnapshotWithThreadMode<'_, DB>,
    group: GroupId,
    out: &mpsc::Sender<Result<SnapshotPiece, StateError>>,
) -> Result<Option<SnapshotEnd>, StateError> {
    let mut options = StateStore::range(keys::shard_bounds(group));
    // Read once and all of it: what others use should stay in the cache.
    options.fill_cache(false);
    let mut rows = snapshot.raw_iterator_opt(options);
    rows.seek_to_first();
    let mut hash = PairsHash::default();
    let mut chunk = SnapshotChunk::default();
    let mut bytes = 0;
    let send = |chunk| out.blocking_send(Ok(SnapshotPiece::Chunk(chunk))).is_ok();
    while let Some((key, value)) = rows.item() {
        let key = &key[GROUP_BYTES..];
        if bytes > 0 && bytes + key.len() + value.len() > CHUNK_BYTES {
            crash_point("state-snapshot-chunk-out");
            bytes = 0;
            if !send(std::mem::take(&mut chunk)) {
                return Ok(None);
            }
        }
        hash.add(key, value);
        bytes += key.len() + value.len();
        chunk.keys.push(Bytes::copy_from_slice(key));
        chunk.values.push(Bytes::copy_from_slice(value));
        rows.next();
    }
    rows.status().map_err(StateError::engine("read rows"))?;
    if !chunk.keys.is_empty() && !send(chunk) {
        return Ok(None);
    }
    let hash_bytes = Bytes::copy_from_slice(&hash.bytes());
    Ok(Some(SnapshotEnd { pairs: hash.pairs(), hash: hash_bytes }))
}
