//! Reading: from the tail cache, from the database, from both, and while the log changes.

use futures_util::TryStreamExt;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use ranch_raft::log::{LogOptions, LogStore};

use super::support::*;

fn tiny() -> LogOptions {
    LogOptions { cache_bytes_max: 4000, read_bytes_max: 1000, ..options() }
}

#[tokio::test]
async fn memory_stays_bounded_and_everything_stays_readable() {
    let dir = scratch();
    let store = LogStore::open(dir.path(), tiny()).unwrap();
    let mut logs: Vec<_> = (1..=3).map(|id| group(&store, id)).collect();
    for round in 0..50 {
        for log in &mut logs {
            append(log, 1, round * 10..round * 10 + 10).await;
        }
    }
    // The last eviction may come just after the last callback.
    append(&mut logs[0], 1, 500..501).await;
    logs[0].save_vote(&vote(1)).await.unwrap();
    assert!(store.stats().cache_bytes < 10_000, "{:?}", store.stats());
    assert_eq!(entries(&mut logs[0]).await, ids(1, 0..501));
    assert_eq!(entries(&mut logs[2]).await, ids(1, 0..500));
    let stats = store.stats();
    assert!(stats.read_disk > 900 && stats.read_cached > 0, "{stats:?}");
}

#[tokio::test]
async fn limited_reads_return_a_beginning_that_is_never_empty() {
    let dir = scratch();
    let store = LogStore::open(dir.path(), tiny()).unwrap();
    let mut log = group(&store, 1);
    append(&mut log, 1, 0..300).await;
    append(&mut log, 1, 300..310).await;
    let mut reader = log.get_log_reader().await;
    let mut next = 0;
    while next < 310 {
        let part = check(&reader.limited_get_log_entries(next, 310).await.unwrap());
        assert_eq!(part[0].index, next);
        assert!(part.len() < 60, "{} entries in 1000 bytes", part.len());
        next += part.len() as u64;
    }
    assert!(reader.limited_get_log_entries(310, 320).await.unwrap().is_empty());
    log.purge(log_id(1, 5)).await.unwrap();
    let gap = reader.limited_get_log_entries(3, 20).await.unwrap();
    assert!(gap.is_empty(), "a part behind the purge would leave a hole at a follower");
}

#[tokio::test]
async fn streams_read_on_in_parts() {
    let dir = scratch();
    let store = LogStore::open(dir.path(), tiny()).unwrap();
    let mut log = group(&store, 1);
    append(&mut log, 1, 0..300).await;
    append(&mut log, 1, 300..310).await;
    let mut reader = log.get_log_reader().await;
    for (range, found) in [(0..310, 0..310), (7..8, 7..8), (290..900, 290..310), (400..500, 0..0)] {
        let stream = reader.entries_stream(range).await;
        let entries: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(check(&entries), ids(1, found));
    }
}

#[tokio::test]
async fn a_full_queue_holds_appends_back_but_loses_none() {
    let dir = scratch();
    let options = LogOptions { queue_bytes_max: 500, batch_bytes_max: 300, ..options() };
    let store = LogStore::open(dir.path(), options).unwrap();
    let mut tasks = Vec::new();
    for id in 0..4 {
        let mut log = group(&store, id);
        tasks.push(tokio::spawn(async move {
            for index in 0..100 {
                let flushed = queue(&mut log, 1, index..index + 1).await;
                if index == 99 {
                    flushed.await.unwrap().unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for id in 0..4 {
        assert_eq!(entries(&mut group(&store, id)).await, ids(1, 0..100));
    }
    let stats = store.stats();
    assert!(stats.batch_bytes_max < 1000 && stats.fsyncs > 20, "{stats:?}");
}

/// A reader sees one log or the other, never a mixture, while entries are truncated and written
/// again below it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_race_with_truncation() {
    let dir = scratch();
    let store = LogStore::open(dir.path(), tiny()).unwrap();
    let mut log = group(&store, 1);
    append(&mut log, 1, 0..100).await;
    let mut reader = log.get_log_reader().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let reading = tokio::spawn(async move {
        let mut reads = 0;
        while stopped.try_recv().is_err() {
            let found = check(&reader.try_get_log_entries(0..).await.unwrap());
            assert!(found.len() >= 40, "entries up to 39 are never truncated");
            reads += 1;
            tokio::task::yield_now().await;
        }
        reads
    });
    for term in 2..150 {
        log.truncate_after(Some(log_id(1, 39))).await.unwrap();
        append(&mut log, term, 40..100).await;
    }
    stop.send(()).unwrap();
    assert!(reading.await.unwrap() > 10);
    assert_eq!(entries(&mut log).await, [ids(1, 0..40), ids(149, 40..100)].concat());
}
