//! What openraft relies on: readable at once, in order, durable when said so, and found again.

use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, RaftLogStorage};
use ranch_proto::GroupId;

use super::support::*;

#[tokio::test]
async fn appended_entries_are_readable_at_once_and_found_again() {
    let dir = scratch();
    {
        let store = open(dir.path());
        let mut log = group(&store, 3);
        let flushed = queue(&mut log, 1, 0..5).await;
        assert_eq!(entries(&mut log).await, ids(1, 0..5), "before it is on disk");
        flushed.await.unwrap().unwrap();
        append(&mut log, 2, 5..7).await;
        log.save_vote(&vote(2)).await.unwrap();
        append(&mut group(&store, 9), 1, 1..3).await;
        assert_eq!(store.groups_with_data(), [GroupId(3), GroupId(9)]);
    }
    let store = open(dir.path());
    assert_eq!(store.groups_with_data(), [GroupId(3), GroupId(9)]);
    let mut log = group(&store, 3);
    assert_eq!(entries(&mut log).await, [ids(1, 0..5), ids(2, 5..7)].concat());
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (None, Some(log_id(2, 6))));
    assert_eq!(log.get_log_reader().await.read_vote().await.unwrap(), Some(vote(2)));
    assert_eq!(entries(&mut group(&store, 9)).await, ids(1, 1..3));
    let mut fresh = group(&store, 4);
    assert_eq!(fresh.get_log_state().await.unwrap().last_log_id, None);
    assert_eq!(fresh.get_log_reader().await.read_vote().await.unwrap(), None);
}

#[tokio::test]
async fn callbacks_come_in_order_and_a_vote_is_a_barrier() {
    let dir = scratch();
    let store = open(dir.path());
    let mut log = group(&store, 1);
    let mut flushed = Vec::new();
    for index in 0..200 {
        flushed.push(queue(&mut log, 1, index..index + 1).await);
    }
    // Whenever one is done, all before it are.
    for done in [150, 49] {
        let later = flushed.split_off(flushed.len() - done);
        flushed.pop().unwrap().await.unwrap().unwrap();
        for mut earlier in std::mem::replace(&mut flushed, later) {
            earlier.try_recv().expect("an earlier append is still open").unwrap();
        }
    }
    let mut behind = queue(&mut log, 1, 200..300).await;
    log.save_vote(&vote(7)).await.unwrap();
    behind.try_recv().expect("appends before a vote are on disk with it").unwrap();
}

#[tokio::test]
async fn groups_share_an_fsync() {
    let dir = scratch();
    let store = open(dir.path());
    let mut flushed = Vec::new();
    for id in 0..12 {
        let mut log = group(&store, id);
        for index in 0..50 {
            flushed.push(queue(&mut log, 1, index..index + 1).await);
        }
    }
    for flushed in flushed {
        flushed.await.unwrap().unwrap();
    }
    let stats = store.stats();
    assert_eq!((stats.writes, stats.entries), (600, 600));
    assert!(stats.fsyncs < 300, "{stats:?}");
    assert_eq!(stats.fsync_buckets.iter().sum::<u64>(), stats.fsyncs);
    assert!(stats.batch_writes_max > 2 && stats.batch_bytes_max > 200, "{stats:?}");
}

#[tokio::test]
async fn truncated_entries_never_come_back() {
    let dir = scratch();
    {
        let store = open(dir.path());
        let mut log = group(&store, 1);
        append(&mut log, 1, 0..400).await;
        log.truncate_after(Some(log_id(1, 299))).await.unwrap();
        assert_eq!(entries(&mut log).await, ids(1, 0..300));
        log.truncate_after(Some(log_id(1, 99))).await.unwrap();
        assert_eq!(entries(&mut log).await, ids(1, 0..100), "a long range");
        assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 99)));
        append(&mut log, 2, 100..110).await;
    }
    let store = open(dir.path());
    let mut log = group(&store, 1);
    assert_eq!(entries(&mut log).await, [ids(1, 0..100), ids(2, 100..110)].concat());
    log.truncate_after(None).await.unwrap();
    append(&mut log, 3, 0..2).await;
    drop((log, store));
    assert_eq!(entries(&mut group(&open(dir.path()), 1)).await, ids(3, 0..2));
}

#[tokio::test]
async fn purged_entries_never_come_back() {
    let dir = scratch();
    {
        let store = open(dir.path());
        let mut log = group(&store, 1);
        append(&mut log, 1, 0..1000).await;
        log.purge(log_id(1, 9)).await.unwrap();
        assert_eq!(entries(&mut log).await, ids(1, 10..1000));
        log.purge(log_id(1, 899)).await.unwrap();
        log.purge(log_id(1, 5)).await.unwrap();
        assert_eq!(entries(&mut log).await, ids(1, 900..1000));
        let mut beyond = group(&store, 2);
        append(&mut beyond, 1, 0..10).await;
        beyond.purge(log_id(4, 20)).await.unwrap();
        append(&mut beyond, 4, 21..23).await;
    }
    let store = open(dir.path());
    let mut log = group(&store, 1);
    assert_eq!(entries(&mut log).await, ids(1, 900..1000));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 899)));
    let mut beyond = group(&store, 2);
    assert_eq!(entries(&mut beyond).await, ids(4, 21..23));
    beyond.purge(log_id(4, 22)).await.unwrap();
    let state = beyond.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(4, 22)), "an empty log ends where it was purged");
}

#[tokio::test]
async fn commit_marks_cost_no_fsync_and_never_pass_the_log() {
    let dir = scratch();
    {
        let store = open(dir.path());
        let mut log = group(&store, 1);
        append(&mut log, 1, 0..10).await;
        let before = store.stats().fsyncs;
        log.save_committed(Some(log_id(1, 4))).await.unwrap();
        assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 4)));
        assert_eq!(store.stats().fsyncs, before);
        let mut ahead = group(&store, 2);
        append(&mut ahead, 1, 0..3).await;
        ahead.save_committed(Some(log_id(1, 2))).await.unwrap();
        append(&mut ahead, 1, 3..4).await;
        ahead.save_committed(Some(log_id(1, 8))).await.unwrap();
        store.close().await;
    }
    let store = open(dir.path());
    assert_eq!(group(&store, 1).read_committed().await.unwrap(), Some(log_id(1, 4)));
    let ahead = group(&store, 2).read_committed().await.unwrap();
    assert_eq!(ahead, Some(log_id(1, 2)), "entry 8 is not in the log");
}

#[tokio::test]
async fn a_removed_group_is_gone_and_only_that() {
    let dir = scratch();
    {
        let store = open(dir.path());
        for id in 1..=3 {
            let mut log = group(&store, id);
            append(&mut log, 1, 0..20).await;
            log.save_vote(&vote(1)).await.unwrap();
        }
        let mut old = group(&store, 2);
        store.remove_group(GroupId(2)).await.unwrap();
        assert_eq!(store.groups_with_data(), [GroupId(1), GroupId(3)]);
        assert!(old.append([entry(1, 20)], IOFlushed::noop()).await.is_err());
        assert!(old.save_vote(&vote(9)).await.is_err());
        store.remove_group(GroupId(77)).await.unwrap();
        append(&mut group(&store, 2), 5, 7..9).await;
    }
    let store = open(dir.path());
    let mut log = group(&store, 2);
    assert_eq!(entries(&mut log).await, ids(5, 7..9), "only what came after the removal");
    assert_eq!(log.get_log_reader().await.read_vote().await.unwrap(), None);
    for id in [1, 3] {
        assert_eq!(entries(&mut group(&store, id)).await, ids(1, 0..20));
    }
}

#[tokio::test]
async fn a_hole_is_refused_and_nothing_written() {
    let dir = scratch();
    let store = open(dir.path());
    let mut log = group(&store, 1);
    append(&mut log, 1, 0..3).await;
    for wrong in [vec![entry(1, 4)], vec![entry(1, 2)], vec![entry(1, 3), entry(1, 5)]] {
        let error = log.append(wrong, IOFlushed::noop()).await.unwrap_err();
        assert!(error.to_string().contains("must follow"), "{error}");
    }
    assert_eq!(entries(&mut log).await, ids(1, 0..3));
    append(&mut log, 1, 3..4).await;
}

#[tokio::test]
async fn a_closed_store_refuses_writes() {
    let dir = scratch();
    let store = open(dir.path());
    let mut log = group(&store, 1);
    let flushed = queue(&mut log, 1, 0..3).await;
    store.close().await;
    flushed.await.unwrap().expect("what was queued before is written");
    store.close().await;
    let error = log.append([entry(1, 3)], IOFlushed::noop()).await.unwrap_err();
    assert_eq!(error.to_string(), "the log of group 1 is closed");
    assert!(log.save_vote(&vote(1)).await.is_err());
    assert!(store.group(GroupId(2)).is_err());
    assert_eq!(entries(&mut log).await, ids(1, 0..3), "reading goes on");
}
