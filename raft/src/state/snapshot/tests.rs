//! What installing relies on in the database: rows ingested together with a tombstone over them
//! outlive it, also when files are merged.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ranch_proto::ids::GroupId;
use ranch_proto::keys;
use ranch_proto::schema::{SnapshotChunk, SnapshotEnd};
use rocksdb::WriteBatch;

use super::hash::PairsHash;
use super::{SnapshotStage, StagedSnapshot};
use crate::state::batch::encode_applied;
use crate::state::{StateOptions, StateStore};
use crate::types::SnapshotMeta;

const GROUP: GroupId = GroupId(7);
const NEIGHBOUR: GroupId = GroupId(8);

fn open(path: &Path) -> Arc<StateStore> {
    StateStore::open(path, StateOptions { merge_files: false, ..StateOptions::default() }).unwrap()
}

fn put(store: &StateStore, group: GroupId, numbers: std::ops::Range<u32>, value: &str) {
    let mut batch = WriteBatch::default();
    for number in numbers {
        batch.put(keys::header(group, "will", "index", &number.to_be_bytes()), value);
    }
    store.write(batch).unwrap();
}

fn rows(store: &StateStore, group: GroupId) -> Vec<(Bytes, Bytes)> {
    let mut rows = Vec::new();
    let copy = Bytes::copy_from_slice;
    let visit = |key: &[u8], value: &[u8]| {
        rows.push((copy(&key[4..]), copy(value)));
        Ok(true)
    };
    store.for_each(keys::shard_bounds(group), visit).unwrap();
    rows
}

/// A staged snapshot that has some keys of the old state, and some between and around them.
fn staged(store: &Arc<StateStore>) -> (StagedSnapshot, Vec<(Bytes, Bytes)>) {
    let meta = SnapshotMeta::default();
    let mut chunk = SnapshotChunk::default();
    let mut hash = PairsHash::default();
    let mut add = |key: Vec<u8>, value: Vec<u8>| {
        hash.add(&key[4..], &value);
        chunk.keys.push(Bytes::copy_from_slice(&key[4..]));
        chunk.values.push(value.into());
    };
    add(keys::applied(GROUP), encode_applied(&meta));
    for number in (0..3_000_u32).step_by(3) {
        // Large ones will move to blob files when merged.
        let value = vec![b'n'; if number % 300 == 0 { 20_000 } else { 20 }];
        add(keys::header(GROUP, "will", "index", &number.to_be_bytes()), value);
    }
    let mut stage = SnapshotStage::begin(store, GROUP, meta).unwrap();
    stage.push(&chunk).unwrap();
    let end = SnapshotEnd { pairs: hash.pairs(), hash: hash.bytes().to_vec().into() };
    let rows = chunk.keys.into_iter().zip(chunk.values).collect();
    (stage.finish_staged(&end).unwrap(), rows)
}

#[test]
fn ingested_rows_outlive_the_tombstone_they_came_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Old rows in the last level, in a fresh file, and in memory.
    put(&store, GROUP, 0..1_000, "old");
    put(&store, NEIGHBOUR, 0..1_000, "stays");
    store.flush().unwrap();
    store.db().compact_range(None::<&[u8]>, None::<&[u8]>);
    put(&store, GROUP, 500..2_000, "newer");
    store.flush().unwrap();
    put(&store, GROUP, 1_500..4_000, "newest");
    let neighbour = rows(&store, NEIGHBOUR);

    let (snapshot, expected) = staged(&store);
    snapshot.ingest(&store).unwrap();
    assert_eq!(rows(&store, GROUP), expected);
    assert_eq!(rows(&store, NEIGHBOUR), neighbour);

    for _ in 0..2 {
        store.db().compact_range(None::<&[u8]>, None::<&[u8]>);
        assert_eq!(rows(&store, GROUP), expected, "merged");
        assert_eq!(rows(&store, NEIGHBOUR), neighbour);
    }
    put(&store, GROUP, 1..2, "after");
    assert_eq!(rows(&store, GROUP).len(), expected.len() + 1, "later rows are not hidden");
    drop(store);
    let store = open(dir.path());
    assert_eq!(rows(&store, GROUP).len(), expected.len() + 1);

    // And once more over what came by the same way.
    let (snapshot, expected) = staged(&store);
    snapshot.ingest(&store).unwrap();
    assert_eq!(rows(&store, GROUP), expected);
    store.db().compact_range(None::<&[u8]>, None::<&[u8]>);
    assert_eq!(rows(&store, GROUP), expected);
    assert_eq!(rows(&store, NEIGHBOUR), neighbour);
}
