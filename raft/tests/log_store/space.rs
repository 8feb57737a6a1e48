//! Disk space: merges leave entries alone, and what is purged gives its space back.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use ranch_proto::GroupId;
use ranch_raft::log::{GroupLog, LogOptions, LogStore};
use ranch_raft::types::{Entry, Proposal};

use super::support::*;

/// Of one entry's payload.
const BYTES: usize = 4 << 10;
/// Longest wait for merges.
const LIMIT: Duration = Duration::from_mins(1);

/// Each 64 entries make a file.
fn small() -> LogOptions {
    LogOptions { write_buffer_bytes: 256 << 10, ..LogOptions::default() }
}

fn large_entry(index: u64) -> Entry {
    let payload = Bytes::from(vec![index as u8; BYTES]);
    Entry { log_id: log_id(1, index), payload: EntryPayload::Normal(Proposal(payload)) }
}

async fn append_large(log: &mut GroupLog, indexes: Range<u64>) {
    queue_all(log, indexes.map(large_entry).collect()).await.await.unwrap().unwrap();
}

async fn assert_holds(store: &LogStore, id: u32, indexes: Range<u64>) {
    let mut log = group(store, id);
    let found = log.get_log_reader().await.try_get_log_entries(0..).await.unwrap();
    assert!(found.iter().eq(indexes.map(large_entry).collect::<Vec<_>>().iter()), "group {id}");
}

/// Names and sizes of the files of a kind.
fn files(path: &Path, kind: &str) -> Vec<(String, u64)> {
    let listed = std::fs::read_dir(path.join("db")).unwrap().map(|file| file.unwrap());
    let of_kind = listed.filter(|file| file.path().extension().is_some_and(|found| found == kind));
    // A file may be gone by now.
    let sized = of_kind.filter_map(|file| {
        Some((file.file_name().into_string().unwrap(), file.metadata().ok()?.len()))
    });
    sized.collect()
}

/// Names alone: the newest file may still be growing.
fn names(path: &Path, kind: &str) -> BTreeSet<String> {
    files(path, kind).into_iter().map(|(name, _)| name).collect()
}

fn bytes(path: &Path, kind: &str) -> u64 {
    files(path, kind).iter().map(|(_, bytes)| bytes).sum()
}

#[tokio::test]
async fn entries_are_not_written_again_by_merges() {
    const GROUPS: u32 = 4;
    const ROUNDS: u64 = 128;

    let dir = scratch();
    let store = LogStore::open(dir.path(), small()).unwrap();
    let mut early = BTreeSet::new();
    for round in 0..ROUNDS {
        for id in 1..=GROUPS {
            append_large(&mut group(&store, id), round * 8..(round + 1) * 8).await;
        }
        if round == ROUNDS / 4 {
            early = names(dir.path(), "blob");
            assert!(early.len() >= 8, "{early:?}");
        }
        store.regulate_collection().unwrap();
    }
    let late = names(dir.path(), "blob");
    assert!(late.is_superset(&early), "{early:?} became {late:?}");
    let appended = u64::from(GROUPS) * ROUNDS * 8 * BYTES as u64;
    let tables = bytes(dir.path(), "sst");
    assert!(tables < appended / 10, "{tables} bytes in tables, of {appended}");
    drop(store);
    let store = LogStore::open(dir.path(), small()).unwrap();
    for id in 1..=GROUPS {
        assert_holds(&store, id, 0..ROUNDS * 8).await;
    }
}

/// Every file holds an entry of a group that is seldom written to and keeps all it has.
#[tokio::test]
async fn purged_entries_give_their_space_back_beside_a_quiet_group() {
    const ROUNDS: u64 = 128;
    const KEPT: u64 = 16;

    let dir = scratch();
    let store = LogStore::open(dir.path(), small()).unwrap();
    let (mut quiet, mut busy) = (group(&store, 1), group(&store, 2));
    let mut round = 0;
    let mut write_a_file = async || {
        if round < ROUNDS {
            append_large(&mut quiet, round..round + 1).await;
        }
        append_large(&mut busy, round * 64..(round + 1) * 64).await;
        busy.purge(log_id(1, (round + 1) * 64 - KEPT - 1)).await.unwrap();
        store.regulate_collection().unwrap();
        round += 1;
        round
    };
    while write_a_file().await < ROUNDS {}
    let all = ROUNDS * 65 * BYTES as u64;
    let began = Instant::now();
    let rounds = loop {
        let rounds = write_a_file().await;
        let left = bytes(dir.path(), "blob");
        if left < all / 8 {
            break rounds;
        }
        assert!(began.elapsed() < LIMIT, "{left} bytes are left of {all}");
    };
    assert_holds(&store, 1, 0..ROUNDS).await;
    assert_holds(&store, 2, rounds * 64 - KEPT..rounds * 64).await;
}

/// Which entries are too many is known of what was appended since the log was opened.
#[tokio::test]
async fn the_surplus_of_a_log_is_known() {
    const MIB: u64 = 1 << 20;
    // Records are a little larger than what they carry.
    const A_MIB: u64 = MIB / BYTES as u64;

    let dir = scratch();
    let store = LogStore::open(dir.path(), small()).unwrap();
    let surplus = |store: &LogStore, id, mib| store.surplus(GroupId(id), mib * MIB);
    let (mut large, mut small_one) = (group(&store, 1), group(&store, 2));
    append_large(&mut large, 0..8 * A_MIB).await;
    append_large(&mut small_one, 0..8).await;
    assert_eq!((surplus(&store, 1, 9), surplus(&store, 2, 1)), (None, None));
    let over = surplus(&store, 1, 2).unwrap();
    assert!((5 * A_MIB..7 * A_MIB).contains(&over), "{over}");
    large.purge(log_id(1, over)).await.unwrap();
    assert_eq!(surplus(&store, 1, 3), None);
    assert!(surplus(&store, 1, 1).is_some());
    large.truncate_after(Some(log_id(1, over))).await.unwrap();
    assert_eq!(surplus(&store, 1, 0), None);
    append_large(&mut large, over + 1..over + 1 + 4 * A_MIB).await;
    let over = surplus(&store, 1, 2).unwrap() - over;
    assert!((A_MIB..4 * A_MIB).contains(&over), "{over}");
    drop((large, small_one));
    drop(store);
    let store = LogStore::open(dir.path(), small()).unwrap();
    assert_eq!(surplus(&store, 1, 0), None, "it was not counted");
}
