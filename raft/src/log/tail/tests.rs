//! Tests of the tail cache and the bounds of a log.

use std::ops::Range;

use super::*;
use crate::log::test_support::{entry, log_id};

fn cached(term: u64, index: u64) -> Cached {
    let hash = RecordHash::of(&[term as u8, index as u8]);
    Cached { entry: entry(term, index, b"0123456789"), bytes: 100, hash, append: 0 }
}

fn append(tail: &mut Tail, term: u64, indexes: Range<u64>) -> usize {
    tail.append(&mut indexes.map(|index| cached(term, index)).collect())
}

fn read(tail: &Tail, range: Range<u64>, bytes_max: Option<usize>) -> (Range<u64>, Vec<u64>) {
    let plan = tail.plan(range, bytes_max);
    (plan.disk, plan.cached.iter().map(|entry| entry.log_id.index).collect())
}

#[test]
fn an_empty_log_begins_anywhere() {
    let mut tail = Tail::default();
    assert_eq!((tail.next_index(), tail.last(), tail.has_data()), (None, None, false));
    append(&mut tail, 1, 5..8);
    assert_eq!((tail.end(), tail.next_index()), (8, Some(8)));
    assert_eq!(read(&tail, 0..100, None), (5..5, vec![5, 6, 7]));
    assert_eq!(read(&tail, 6..7, None).1, vec![6]);
    let reversed = Range { start: 7, end: 6 };
    assert!(read(&tail, reversed, None).1.is_empty());
    assert!(read(&tail, 8..9, None).1.is_empty());
}

#[test]
fn reads_are_limited_by_bytes_but_never_empty() {
    let mut tail = Tail::default();
    append(&mut tail, 1, 0..10);
    for (bytes, count) in [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (5000, 10)] {
        assert_eq!(read(&tail, 0..10, Some(bytes)).1.len(), count, "{bytes} bytes");
    }
}

#[test]
fn only_durable_entries_are_evicted() {
    let mut tail = Tail::default();
    append(&mut tail, 1, 0..3);
    append(&mut tail, 1, 3..6);
    assert_eq!(tail.evict(usize::MAX, 0), 0);
    let before = tail.cached_bytes();
    let freed = tail.evict(usize::MAX, 1);
    assert_eq!(before - freed, tail.cached_bytes());
    assert_eq!(read(&tail, 1..5, None), (1..3, vec![3, 4]));
    assert_eq!(read(&tail, 1..5, Some(1000)), (1..3, vec![]), "a limited read stays on disk");
    assert!(tail.evict(1, 2) > 0, "one entry is enough");
    assert_eq!(read(&tail, 0..9, None), (0..4, vec![4, 5]));
}

#[test]
fn an_entry_written_again_is_not_taken_for_the_one_before() {
    let mut tail = Tail::default();
    append(&mut tail, 1, 0..3);
    assert_eq!(tail.truncate(Some(log_id(1, 0))).0, 1..3);
    append(&mut tail, 2, 1..3);
    tail.evict(usize::MAX, 1);
    assert_eq!(read(&tail, 0..3, None), (0..1, vec![1, 2]), "append 2 is not on disk yet");
}

#[test]
fn truncation_hides_entries_at_once() {
    let mut tail = Tail::default();
    let grown = append(&mut tail, 1, 0..10);
    let plan = tail.plan(0..10, None);
    let (removed, freed) = tail.truncate(Some(log_id(1, 5)));
    assert_eq!((removed, freed), (6..10, grown / 10 * 4));
    assert!(!tail.still(&plan));
    assert_eq!((tail.last(), tail.next_index()), (Some(log_id(1, 5)), Some(6)));
    assert_eq!(read(&tail, 0..100, None).1, (0..6).collect::<Vec<_>>());
    assert!(tail.truncate(Some(log_id(1, 11))).0.is_empty(), "past the end");
    assert_eq!(tail.truncate(None).0, 0..6);
    assert_eq!((tail.last(), tail.next_index(), tail.cached_bytes()), (None, None, 0));
}

#[test]
fn truncation_stops_at_what_was_purged() {
    let mut tail = Tail::default();
    append(&mut tail, 1, 0..10);
    tail.purge(log_id(1, 4));
    assert_eq!(tail.truncate(None).0, 5..10);
    assert_eq!((tail.last(), tail.next_index()), (Some(log_id(1, 4)), Some(5)));
}

#[test]
fn purge_hides_entries_at_once_and_never_goes_back() {
    let mut tail = Tail::default();
    let grown = append(&mut tail, 1, 0..10);
    assert_eq!(tail.purge(log_id(1, 3)), Some((0..4, grown / 10 * 4)));
    assert_eq!(tail.purge(log_id(1, 3)), None);
    assert_eq!(tail.purge(log_id(1, 2)), None);
    assert_eq!(read(&tail, 0..6, None), (4..4, vec![4, 5]));
    tail.evict(200, 1);
    assert_eq!(tail.purge(log_id(1, 8)).map(|(removed, _)| removed), Some(4..9));
    assert_eq!(read(&tail, 0..20, None), (9..9, vec![9]));
}

#[test]
fn purge_may_go_beyond_the_end() {
    let mut tail = Tail::default();
    append(&mut tail, 1, 0..3);
    assert_eq!(tail.purge(log_id(2, 20)).map(|(removed, _)| removed), Some(0..3));
    let purged = Some(log_id(2, 20));
    assert_eq!((tail.purged(), tail.last(), tail.next_index()), (purged, purged, Some(21)));
    assert_eq!(tail.cached_bytes(), 0);
    append(&mut tail, 2, 21..22);
    assert_eq!(read(&tail, 0..50, None), (21..21, vec![21]));
}

#[test]
fn a_removed_group_holds_nothing() {
    let mut tail = Tail::default();
    let grown = append(&mut tail, 1, 0..3);
    assert!(tail.has_data());
    assert_eq!(tail.remove(), grown);
    assert!(tail.removed && !tail.has_data());
    assert!(read(&tail, 0..3, None).1.is_empty());
}
