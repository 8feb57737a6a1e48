//! What the log's tests share.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, RaftLogReader};
use ranch_proto::GroupId;
use ranch_raft::TypeConfig;
use ranch_raft::log::{GroupLog, LogOptions, LogStore};
use ranch_raft::types::{Entry, LogId, Proposal, Vote};
use tempfile::TempDir;
use tokio::sync::oneshot;

type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

/// Becomes ready when an append is on disk.
pub type Flushed = oneshot::Receiver<std::io::Result<()>>;

/// A directory on the disk the build is on: a memory file system would hide lost writes.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Options with small buffers, so that tests stay small.
pub fn options() -> LogOptions {
    LogOptions { write_buffer_bytes: 4 << 20, ..LogOptions::default() }
}

pub fn open(path: &Path) -> LogStore {
    LogStore::open(path, options()).unwrap()
}

pub fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId::new(term, 1), index }
}

pub fn vote(term: u64) -> Vote {
    Vote::new(term, 1)
}

/// The payload an entry of these tests has: it says where it belongs.
pub fn payload(term: u64, index: u64) -> Bytes {
    let size = 10 + (index % 90) as usize;
    format!("{term}/{index}/{}", "x".repeat(size)).into()
}

pub fn entry(term: u64, index: u64) -> Entry {
    let payload = EntryPayload::Normal(Proposal(payload(term, index)));
    Entry { log_id: log_id(term, index), payload }
}

/// Queues entries without waiting.
pub async fn queue(log: &mut GroupLog, term: u64, indexes: Range<u64>) -> Flushed {
    queue_all(log, indexes.map(|index| entry(term, index)).collect()).await
}

/// Queues these entries without waiting.
pub async fn queue_all(log: &mut GroupLog, entries: Vec<Entry>) -> Flushed {
    let (done, flushed) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed
}

/// Appends entries and waits until they are on disk.
pub async fn append(log: &mut GroupLog, term: u64, indexes: Range<u64>) {
    queue(log, term, indexes).await.await.unwrap().unwrap();
}

/// All entries of a log, each checked to be one of these tests' and in its place.
pub async fn entries(log: &mut GroupLog) -> Vec<LogId> {
    let entries = log.get_log_reader().await.try_get_log_entries(0..).await.unwrap();
    check(&entries)
}

/// The log ids of entries, each checked to hold what was written and to follow the one before.
pub fn check(entries: &[Entry]) -> Vec<LogId> {
    for pair in entries.windows(2) {
        assert_eq!(pair[0].log_id.index + 1, pair[1].log_id.index, "a hole");
        assert!(pair[0].log_id.leader_id <= pair[1].log_id.leader_id, "terms go back");
    }
    for found in entries {
        assert_eq!(*found, entry(found.log_id.leader_id.term, found.log_id.index));
    }
    entries.iter().map(|entry| entry.log_id).collect()
}

/// The log ids of one term and a range of indexes.
pub fn ids(term: u64, indexes: Range<u64>) -> Vec<LogId> {
    indexes.map(|index| log_id(term, index)).collect()
}

pub fn group(store: &LogStore, id: u32) -> GroupLog {
    store.group(GroupId(id)).unwrap()
}

/// Copies a directory and all in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}
