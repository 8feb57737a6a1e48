//! What a store refuses to open, and the sentence it gives.

use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use ranch_proto::{GroupId, keys};
use ranch_raft::log::{LogError, LogStore};
use rocksdb::DB;

use super::support::*;

fn refused(path: &std::path::Path) -> LogError {
    match LogStore::open(path, options()) {
        Ok(_) => panic!("{} should have been refused", path.display()),
        Err(error) => error,
    }
}

/// Changes the database of a closed store behind its back.
fn tamper(path: &std::path::Path, change: impl FnOnce(&DB)) {
    change(&DB::open_default(path.join("db")).unwrap());
}

async fn filled(path: &std::path::Path) {
    let store = open(path);
    let mut log = group(&store, 1);
    append(&mut log, 1, 0..100).await;
    log.save_vote(&vote(1)).await.unwrap();
    log.save_committed(Some(log_id(1, 50))).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_directory_in_use_is_named() {
    let dir = scratch();
    let store = open(dir.path());
    let error = refused(dir.path());
    assert!(matches!(&error, LogError::InUse { path } if path == dir.path()), "{error}");
    assert!(error.to_string().contains("in use by another process"));
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn another_format_is_refused() {
    let dir = scratch();
    filled(dir.path()).await;
    tamper(dir.path(), |db| db.put(b"format", 7_u32.to_be_bytes()).unwrap());
    let error = refused(dir.path());
    assert!(matches!(error, LogError::UnknownFormat { found: 7, known: 1, .. }), "{error}");
    tamper(dir.path(), |db| db.delete(b"format").unwrap());
    let error = refused(dir.path());
    assert!(matches!(error, LogError::UnknownFormat { found: 0, .. }), "{error}");
}

#[tokio::test]
async fn a_log_behind_its_watermark_is_refused() {
    let dir = scratch();
    let (path, older) = (dir.path().join("log"), dir.path().join("older"));
    filled(&path).await;
    copy(&path.join("db"), &older);
    append(&mut group(&open(&path), 1), 1, 100..110).await;
    std::fs::remove_dir_all(path.join("db")).unwrap();
    copy(&older, &path.join("db"));
    let error = refused(&path);
    let LogError::RolledBack { found, expected, .. } = &error else { panic!("{error}") };
    assert!(found < expected);
    let sentence = error.to_string();
    assert!(sentence.contains("acknowledged entries are missing"), "{sentence}");
    assert!(sentence.contains("is refilled by them"), "{sentence}");
    refused(&path);
    std::fs::remove_dir_all(path.join("db")).unwrap();
    assert!(matches!(refused(&path), LogError::RolledBack { found: 0, .. }));
}

#[tokio::test]
async fn a_log_without_its_watermark_is_refused() {
    let dir = scratch();
    filled(dir.path()).await;
    std::fs::remove_file(dir.path().join("watermark")).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, LogError::Watermark { .. }), "{error}");
    std::fs::write(dir.path().join("watermark"), b"no watermark").unwrap();
    assert!(matches!(refused(dir.path()), LogError::Watermark { .. }));
}

#[tokio::test]
async fn a_hole_is_found_at_open() {
    let dir = scratch();
    filled(dir.path()).await;
    tamper(dir.path(), |db| db.delete(keys::log_entry(GroupId(1), 70)).unwrap());
    let error = refused(dir.path());
    let hole = matches!(error, LogError::Hole { expected: 70, found: Some(71), .. });
    assert!(hole, "{error}");
}

#[tokio::test]
async fn missing_committed_entries_are_found_at_open() {
    let dir = scratch();
    filled(dir.path()).await;
    tamper(dir.path(), |db| {
        for index in 40..100 {
            db.delete(keys::log_entry(GroupId(1), index)).unwrap();
        }
    });
    let error = refused(dir.path());
    assert!(matches!(error, LogError::CommittedMissing { .. }), "{error}");
}

#[tokio::test]
async fn damaged_rows_are_found_at_open() {
    let group = GroupId(1);
    for (key, name) in [
        (keys::log_vote(group), "the vote of group 1"),
        (keys::log_committed(group), "the commit mark of group 1"),
        (keys::log_entry(group, 99), "entry 99 of group 1"),
        (keys::log_entry(group, 60), "entry 60 of group 1"),
    ] {
        let dir = scratch();
        filled(dir.path()).await;
        tamper(dir.path(), |db| {
            let mut value = db.get(key).unwrap().unwrap();
            let last = value.len() - 1;
            value[last] ^= 1;
            db.put(key, value).unwrap();
        });
        let error = refused(dir.path());
        assert!(matches!(error, LogError::Damaged { .. }), "{error}");
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

#[tokio::test]
async fn old_damage_is_found_when_read() {
    let dir = scratch();
    {
        let store = open(dir.path());
        let mut log = group(&store, 1);
        append(&mut log, 1, 0..6000).await;
        log.save_committed(Some(log_id(1, 5999))).await.unwrap();
        store.close().await;
    }
    tamper(dir.path(), |db| {
        let other = db.get(keys::log_entry(GroupId(1), 11)).unwrap().unwrap();
        db.put(keys::log_entry(GroupId(1), 10), other).unwrap();
        db.delete(keys::log_entry(GroupId(1), 20)).unwrap();
    });
    let store = open(dir.path());
    let mut reader = group(&store, 1).get_log_reader().await;
    let error = reader.try_get_log_entries(5..15).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let sentence = error.to_string();
    assert!(sentence.starts_with("entry 10 of group 1"), "{sentence}");
    assert!(sentence.contains("it holds entry 11"), "{sentence}");
    let error = reader.try_get_log_entries(15..25).await.unwrap_err();
    assert!(error.to_string().contains("entry 20 is missing"), "{error}");
    assert_eq!(reader.try_get_log_entries(0..10).await.unwrap().len(), 10);
}

/// The record that lies at an index of group 1.
fn record(path: &std::path::Path, index: u64) -> Vec<u8> {
    let mut found = None;
    tamper(path, |db| found = db.get(keys::log_entry(GroupId(1), index)).unwrap());
    found.unwrap()
}

fn put(path: &std::path::Path, index: u64, record: &[u8]) {
    tamper(path, |db| db.put(keys::log_entry(GroupId(1), index), record).unwrap());
}

/// Checks that a store is refused because entry `index` does not follow the one before it.
fn refused_as_unchained(path: &std::path::Path, index: u64) {
    let error = refused(path);
    assert!(error.loss().is_some(), "{error}");
    let sentence = error.to_string();
    assert!(sentence.starts_with(&format!("entry {index} of group 1")), "{sentence}");
    assert!(sentence.contains("does not continue the entry before it"), "{sentence}");
}

#[tokio::test]
async fn an_entry_that_was_truncated_and_is_back_is_found() {
    let dir = scratch();
    filled(dir.path()).await;
    let (truncated, before) = (record(dir.path(), 70), record(dir.path(), 69));
    {
        let store = open(dir.path());
        let mut log = group(&store, 1);
        log.truncate_after(Some(log_id(1, 69))).await.unwrap();
        append(&mut log, 2, 70..90).await;
        store.close().await;
    }
    let good = record(dir.path(), 70);
    assert_eq!(record(dir.path(), 69), before);
    put(dir.path(), 70, &truncated);
    // It continues entry 69, but entry 71 does not continue it.
    refused_as_unchained(dir.path(), 71);
    put(dir.path(), 70, &good);
    assert_eq!(entries(&mut group(&open(dir.path()), 1)).await.len(), 90);
}

#[tokio::test]
async fn the_chain_goes_on_after_a_start_and_a_truncation() {
    let (dir, other) = (scratch(), scratch());
    append(&mut group(&open(other.path()), 1), 7, 0..60).await;
    for from in [0, 20, 40] {
        // Nothing is cached after a start, so entry 29 or 39 has to be read.
        let store = open(dir.path());
        let mut log = group(&store, 1);
        if from > 0 {
            log.truncate_after(Some(log_id(from, from - 1))).await.unwrap();
        }
        append(&mut log, from + 20, from..from + 30).await;
        store.close().await;
    }
    for index in [19, 39] {
        let good = record(dir.path(), index);
        put(dir.path(), index, &record(other.path(), index));
        refused_as_unchained(dir.path(), index);
        put(dir.path(), index, &good);
    }
    // The first one follows nothing, the second follows it.
    put(dir.path(), 0, &record(other.path(), 0));
    refused_as_unchained(dir.path(), 1);
}

#[tokio::test]
async fn a_snapshot_begins_a_chain() {
    let dir = scratch();
    filled(dir.path()).await;
    let store = open(dir.path());
    let mut log = group(&store, 1);
    log.purge(log_id(3, 500)).await.unwrap();
    append(&mut log, 3, 501..520).await;
    store.close().await;
    drop((log, store));
    assert_eq!(entries(&mut group(&open(dir.path()), 1)).await, ids(3, 501..520));
}

#[tokio::test]
async fn damaged_database_files_are_refused() {
    let dir = scratch();
    filled(dir.path()).await;
    for item in std::fs::read_dir(dir.path().join("db")).unwrap() {
        let path = item.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST") {
            std::fs::write(&path, b"not a manifest").unwrap();
        }
    }
    let error = refused(dir.path());
    assert!(error.to_string().contains("is refilled by them"), "{error}");
}

#[tokio::test]
async fn a_store_never_finished_being_made_starts_anew() {
    let dir = scratch();
    // A crash just after the database was made: no format row, no watermark.
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    drop(DB::open(&options, dir.path().join("db")).unwrap());
    append(&mut group(&open(dir.path()), 1), 1, 0..3).await;
    assert_eq!(entries(&mut group(&open(dir.path()), 1)).await, ids(1, 0..3));
}
