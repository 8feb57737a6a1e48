//! The feed of the directory's changes, and what a snapshot brings to another replica.

use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use prost::Message;
use ranch_proto::directory::Directory;
use ranch_proto::ids::GroupId;
use ranch_proto::schema::{Record, RemoveKey, meta_command::What};
use ranch_raft::state::MetaFeed;

use crate::meta_support::*;
use crate::support::{block_on, rows};

/// The directory a follower has that applies what the feed tells it.
fn follow(feed: &MetaFeed, mut known: Directory) -> Directory {
    for event in feed.since(known.epoch) {
        if event.full {
            known = Directory::default();
        }
        event.records.into_iter().for_each(|record| known.apply(record));
        known.epoch = event.epoch;
    }
    known
}

fn same(left: &Directory, right: &Directory) {
    let sorted = |directory: &Directory| {
        let mut records: Vec<Record> = directory.records().collect();
        records.sort_by_key(Message::encode_to_vec);
        (directory.epoch, records)
    };
    assert_eq!(sorted(left), sorted(right));
}

#[test]
fn followers_keep_up_from_wherever_they_are() {
    let mut meta = Meta::new();
    assert!(meta.feed.since(0).is_empty(), "there is nothing to tell");
    let epochs = meta.feed.epochs();
    meta.run(What::Bootstrap(bootstrap()));
    assert_eq!(*epochs.borrow(), 1);
    let early = follow(&meta.feed, Directory::default());
    same(&early, &meta.directory());
    for n in 0..20_u8 {
        meta.run(add(&format!("t{n}"), vec![key(100 + n, &format!("t{n}"), "k")]));
    }
    meta.run(What::RemoveKey(RemoveKey { tenant: "t3".into(), key_id: "k".into(), forget: false }));
    let changes = meta.feed.since(early.epoch);
    assert_eq!(changes.len(), 21);
    assert!(changes.iter().all(|event| !event.full));
    let late = follow(&meta.feed, early.clone());
    same(&late, &meta.directory());
    assert!(meta.feed.since(late.epoch).is_empty());
    // A node that restarted has no changes to tell, only the whole.
    let before = meta.directory();
    meta.reopen();
    same(&meta.directory(), &before);
    assert_eq!(*meta.feed.epochs().borrow(), before.epoch);
    assert!(meta.feed.since(early.epoch)[0].full);
    same(&follow(&meta.feed, early), &before);
}

#[test]
fn a_snapshot_brings_directory_feed_and_answers() {
    let mut source = Meta::bootstrapped();
    let first = command(add("will", vec![key(2, "will", "k")]));
    let answer = source.send(first.clone());
    source.store().flush_and_publish().unwrap();
    let mut target = Meta::new();
    let mut epochs = target.feed.epochs();
    block_on(async {
        let builder = source.machine().try_create_snapshot_builder(true).await;
        let snapshot = builder.unwrap().build_snapshot().await;
        let snapshot = snapshot.unwrap();
        target.machine().install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    });
    target.next = source.next;
    assert!(epochs.has_changed().unwrap());
    assert_eq!(*epochs.borrow_and_update(), 2);
    same(&target.directory(), &source.directory());
    assert_eq!(rows(target.store(), GroupId::META), rows(source.store(), GroupId::META));
    assert_eq!(target.send(first), answer);
}
