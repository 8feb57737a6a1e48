//! The hash of a replica's rows: the same however entries came in batches, another one for any
//! other row, and taken at exactly the index asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ranch_proto::keys::Kind;
use ranch_raft::DamageNote;
use ranch_raft::state::{HashAt, KindHash, StateHash, StateMachine, StateStore, hash_at};

use crate::support::*;

const SOON: Duration = Duration::from_secs(20);

fn hash(replica: &Replica, index: u64) -> HashAt {
    hash_at(replica.store(), (GROUP, index), Duration::ZERO, |_| true).unwrap()
}

fn known(replica: &Replica) -> StateHash {
    match hash(replica, replica.next - 1) {
        HashAt::Hash(hash) => hash,
        other => panic!("no hash: {other:?}"),
    }
}

fn writes(count: u64) -> Vec<ranch_proto::schema::ShardEntry> {
    let write = |number: u64| {
        let at = format!("1.1.1/1.1.{}/1.1.{}", number % 7 + 1, number % 5 + 1);
        entry(1_000 + number, vec![command(vec![append(&at, &format!("text {number}"))])])
    };
    (0..count).map(write).collect()
}

#[test]
fn batches_and_restarts_leave_no_trace() {
    let entries = writes(600);
    let (mut one, mut other) = (Replica::new(), Replica::new());
    one.apply(&entries);
    for (number, some) in entries.chunks(7).enumerate() {
        other.apply(some);
        if number % 20 == 3 {
            other.reopen();
        }
    }
    let (one, other) = (known(&one), known(&other));
    assert_eq!(one, other);
    assert_eq!(one.index, 599);
    assert!(one.kinds.iter().any(|kind| kind.kind == Kind::Body as u8 && kind.rows > 20));
    assert_eq!(KindHash::name(Kind::Body as u8), "Body");
}

#[test]
fn a_changed_bit_anywhere_is_another_hash_and_its_kind_is_named() {
    let mut replica = Replica::new();
    replica.apply(&writes(20));
    let mut before = known(&replica);
    for kind in [Kind::Usage, Kind::Header, Kind::Body, Kind::Dedup, Kind::Clock] {
        assert!(replica.store().spoil(GROUP, kind).unwrap(), "{kind:?}");
        let now = known(&replica);
        assert_ne!(now.hash, before.hash, "{kind:?}");
        let pairs = now.kinds.iter().zip(&before.kinds);
        let differ: Vec<_> = pairs.filter(|(now, before)| now != before).collect();
        assert!(matches!(differ[..], [(now, _)] if now.kind == kind as u8), "{kind:?}: {differ:?}");
        before = now;
    }
}

#[test]
fn another_index_than_that_applied_is_refused_and_a_stop_is_heeded() {
    let mut replica = Replica::new();
    replica.apply(&writes(10));
    assert_eq!(hash(&replica, 4), HashAt::Past(9));
    assert_eq!(hash(&replica, 12), HashAt::Behind(9));
    let stopped = hash_at(replica.store(), (GROUP, 9), Duration::ZERO, |_| false).unwrap();
    assert_eq!(stopped, HashAt::Stopped);
    let none = hash_at(replica.store(), (ranch_proto::GroupId(9), 9), Duration::ZERO, |_| true);
    assert_eq!(none.unwrap(), HashAt::Stopped);
}

/// A block that rotted since it was written is met when a machine takes up its rows. That ends the
/// node, and every start after it, unless the next one knows what is wrong.
#[test]
fn rot_that_is_met_when_a_machine_opens_is_noted() {
    let mut replica = Replica::new();
    replica.apply(&writes(50));
    replica.store().flush().unwrap();
    let image = replica.image();
    let tables = std::fs::read_dir(image.path().join("db")).unwrap();
    let tables = tables.map(|entry| entry.unwrap().path());
    for table in tables.filter(|path| path.extension().is_some_and(|end| end == "sst")) {
        let mut bytes = std::fs::read(&table).unwrap();
        // In its first block of rows.
        bytes[40] ^= 1;
        std::fs::write(&table, bytes).unwrap();
    }
    let note = DamageNote::at(image.path().join("damaged.txt"));
    let store = StateStore::open(image.path(), options()).unwrap();
    store.note_damage_in(note.clone());
    assert!(StateMachine::shard(&store, GROUP).is_err());
    assert_eq!(note.read().unwrap().as_deref(), Some("its state was damaged"));
}

/// Many threads ask for indexes ahead, in the middle of batches, while entries are applied; each
/// gets the rows of its index, or hears that it came too late.
#[test]
fn rows_of_an_index_are_had_in_the_middle_of_the_stream() {
    const ENTRIES: u64 = 2_000;
    let entries = writes(ENTRIES);
    let mut slow = Replica::new();
    let wanted = [500_u64, 777, 1_024, 1_025, 1_500, ENTRIES - 1];
    let mut expected = Vec::new();
    for index in wanted {
        let from = slow.next;
        slow.apply(&entries[from as usize..=index as usize]);
        expected.push(known(&slow));
    }
    let mut replica = Replica::new();
    replica.apply(&entries[..10]);
    let listed = Arc::new(AtomicBool::new(false));
    let asked = wanted.map(|index| {
        let (store, listed) = (Arc::clone(replica.store()), Arc::clone(&listed));
        std::thread::spawn(move || {
            listed.store(true, Ordering::SeqCst);
            hash_at(&store, (GROUP, index), SOON, |_| true).unwrap()
        })
    });
    while !listed.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    // One call, which makes batches of up to 256 of them.
    replica.apply(&entries[10..]);
    let mut had = 0;
    for ((index, asked), expected) in wanted.into_iter().zip(asked).zip(expected) {
        match asked.join().unwrap() {
            HashAt::Hash(hash) => {
                assert_eq!(hash, expected, "{index}");
                had += 1;
            }
            HashAt::Past(past) => assert!(past > index),
            other => panic!("{index}: {other:?}"),
        }
    }
    assert!(had > 0, "the last one at least was to be had");
}
