//! Disk space: texts at rest are left alone, what nothing refers to any more is given back.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ranch_raft::state::{StateOptions, StateStore};
use xxhash_rust::xxh3::xxh3_128;

use crate::support::*;

/// Texts of 16 KiB go to blob files, of which one holds 64.
const FILE_BYTES: u64 = 1 << 20;
const TEXTS: u64 = 512;
/// Longest wait for merges.
const LIMIT: Duration = Duration::from_mins(1);

fn replica() -> Replica {
    Replica::with(StateOptions { blob_file_bytes: FILE_BYTES, merge_files: true, ..options() })
}

/// A text that does not compress to less than half.
fn text(seed: u64) -> String {
    let part =
        |n: u64| format!("{:032x}", xxh3_128(&[seed.to_be_bytes(), n.to_be_bytes()].concat()));
    (0..512).map(part).collect()
}

fn at(n: u64) -> String {
    format!("1.1.1/1.1.1/1.{}.{}", n / 64 + 1, n % 64 + 1)
}

fn write_all(replica: &mut Replica, places: impl Iterator<Item = u64>, seed: u64) {
    for n in places {
        replica.op(write(&at(n), &text(n ^ seed)));
    }
    replica.store().flush().unwrap();
}

/// What a node does every few seconds.
fn tick(replica: &mut Replica) {
    replica.op(write("2.1.1/1.1.1/1.1.1", "something small"));
    replica.store().flush_and_publish().unwrap();
    replica.store().regulate_collection().unwrap();
}

fn metric(store: &Arc<StateStore>, name: &str) -> f64 {
    let family = store.metrics().into_iter().find(|family| family.name == name).unwrap();
    family.metrics[0].value
}

fn blob_bytes(store: &Arc<StateStore>) -> f64 {
    metric(store, "ranch_rocksdb_blob_bytes")
}

/// Waits until nothing is merged, which a flush may bring on a moment later.
fn settle(store: &Arc<StateStore>) {
    let began = Instant::now();
    let mut quiet = 0;
    while quiet < 5 {
        assert!(began.elapsed() < LIMIT, "merges do not end");
        let busy = metric(store, "ranch_rocksdb_running_compactions") > 0.0;
        quiet = if busy { 0 } else { quiet + 1 };
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn blob_files(replica: &Replica) -> BTreeSet<String> {
    let listed = std::fs::read_dir(replica.path().join("db")).unwrap();
    let names = listed.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(name).extension().is_some_and(|of| of == "blob")).collect()
}

#[test]
fn texts_at_rest_are_not_written_again() {
    let mut replica = replica();
    write_all(&mut replica, 0..TEXTS, 0);
    settle(replica.store());
    let written = blob_files(&replica);
    assert!(written.len() >= 4, "{written:?}");
    // Every fourth brings on a merge with all there is.
    for _ in 0..24 {
        tick(&mut replica);
        settle(replica.store());
    }
    assert_eq!(blob_files(&replica), written);
}

#[test]
fn texts_that_were_overwritten_give_their_space_back() {
    let mut replica = replica();
    write_all(&mut replica, 0..TEXTS, 0);
    let once = blob_bytes(replica.store());
    for round in 1..4 {
        write_all(&mut replica, (0..TEXTS).filter(|n| n % 4 > 0), round << 32);
    }
    let began = Instant::now();
    loop {
        tick(&mut replica);
        settle(replica.store());
        let now = blob_bytes(replica.store());
        // It is collected from half on, and not forced below.
        if now < once * 2.0 {
            break;
        }
        assert!(began.elapsed() < LIMIT, "{now} bytes for {once}");
    }
    for n in 0..TEXTS {
        let round = if n % 4 > 0 { 3 << 32 } else { 0 };
        assert_eq!(replica.text(&at(n)).unwrap(), text(n ^ round));
    }
}

#[test]
fn a_removed_group_gives_its_space_back() {
    let mut replica = replica();
    write_all(&mut replica, 0..TEXTS, 0);
    let store = Arc::clone(replica.store());
    assert!(blob_bytes(&store) > 4.0 * FILE_BYTES as f64);
    store.remove_group(GROUP).unwrap();
    store.reclaim(GROUP).unwrap();
    let began = Instant::now();
    while blob_bytes(&store) + metric(&store, "ranch_rocksdb_sst_bytes") > FILE_BYTES as f64 / 16.0
    {
        assert!(began.elapsed() < LIMIT, "{} bytes are left", blob_bytes(&store));
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn ended_merges_leave_nobody_with_the_database() {
    let mut replica = replica();
    write_all(&mut replica, 0..TEXTS, 0);
    let store = Arc::clone(replica.store());
    let users = Arc::strong_count(&store);
    store.remove_group(GROUP).unwrap();
    store.reclaim(GROUP).unwrap();
    store.end_merges();
    assert_eq!(Arc::strong_count(&store), users);
}
