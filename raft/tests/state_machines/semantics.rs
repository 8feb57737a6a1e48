//! What each operation answers and leaves behind, and when it is refused.

use ranch_proto::schema::{Command, Idempotency, Op, OpStatus, Usage};
use ranch_proto::value::{SCROLL_COST, SCROLL_MAX};
use ranch_raft::state::StateError;

use crate::support::*;

const A: &str = "1.1.1/1.1.1/1.1.1";
const B: &str = "1.1.1/1.1.1/1.1.2";

fn usage(replica: &Replica) -> Usage {
    replica.reader().usage(TENANT).unwrap()
}

#[test]
fn writing_replaces_and_an_empty_text_removes() {
    let mut replica = Replica::new();
    assert_eq!(replica.op(write(A, "one")), ok(1, 3));
    assert_eq!(replica.op(write(A, "three")), ok(2, 5));
    assert_eq!(replica.text(A).as_deref(), Some("three"));
    assert_eq!(replica.op(write(A, "")), ok(3, 0));
    assert_eq!(replica.text(A), None);
    assert_eq!(replica.op(write(A, "")), ok(3, 0), "nothing to remove changes nothing");
}

#[test]
fn appending_creates_and_adds() {
    let mut replica = Replica::new();
    assert_eq!(replica.op(append(A, "a")), ok(1, 1));
    assert_eq!(replica.op(append(A, "bç")), ok(2, 3));
    assert_eq!(replica.text(A).as_deref(), Some("abç"));
    assert_eq!(replica.op(append(A, "")), ok(2, 0));
    assert_eq!(replica.op(append(B, "")), ok(2, 0));
    assert_eq!(replica.text(B), None);
}

#[test]
fn deleting_answers_what_was_removed() {
    let mut replica = Replica::new();
    replica.op(write(A, "four"));
    assert_eq!(replica.op(delete(A)), ok(2, 4));
    assert_eq!(replica.op(delete(A)), ok(2, 0));
    assert_eq!(replica.text(A), None);
}

#[test]
fn reading_in_a_command_sees_the_ops_before_it() {
    let mut replica = Replica::new();
    let ops = vec![read(A), append(A, "x"), read(A), append(A, "y"), read(A), delete(A), read(A)];
    let results = replica.run(1, command(ops)).results;
    assert_eq!(results[0], ok(0, 0));
    assert_eq!(results[2], ok_text(1, "x"));
    assert_eq!(results[4], ok_text(2, "xy"));
    assert_eq!(results[6], ok(0, 0));
}

#[test]
fn preconditions_are_about_the_scrolls_own_revision() {
    let mut replica = Replica::new();
    let failed = |revision| refused(OpStatus::OpPreconditionFailed, revision);
    assert_eq!(replica.op(at_revision(7, write(A, "x"))), failed(0));
    assert_eq!(replica.op(at_revision(0, write(A, "x"))), ok(1, 1));
    assert_eq!(replica.op(at_revision(0, write(A, "y"))), failed(1));
    replica.op(write(B, "z"));
    assert_eq!(replica.op(at_revision(2, delete(A))), failed(1));
    assert_eq!(replica.op(at_revision(1, append(A, "y"))), ok(3, 1));
    assert_eq!(replica.op(at_revision(3, read(A))), ok_text(3, "xy"));
    assert_eq!(replica.op(at_revision(1, read(A))), failed(3));
}

#[test]
fn an_atomic_command_is_all_or_nothing() {
    let mut replica = Replica::new();
    replica.op(append(A, "a"));
    replica.op(append(A, "b"));
    let before = (usage(&replica), replica.rows().pairs);
    let ops = vec![
        append(A, "c"),
        append(A, "d"),
        write(B, "new"),
        delete(A),
        write("2.1.1/1.1.1/1.1.1", "other"),
        at_revision(99, write(B, "x")),
        read(A),
    ];
    let results = replica.run(9, command(ops)).results;
    let aborted = refused(OpStatus::OpAborted, 0);
    assert_eq!(results[5], refused(OpStatus::OpPreconditionFailed, 4 + 1));
    assert!(results.iter().enumerate().all(|(at, result)| at == 5 || *result == aborted));
    assert_eq!(replica.text(A).as_deref(), Some("ab"));
    assert_eq!(replica.text(B), None);
    // Only the request id is new.
    assert_eq!((usage(&replica), replica.rows().pairs), (before.0, before.1 + 1));
    assert_eq!(replica.op(append(A, "c")), ok(3, 1), "no revision was used up");
}

#[test]
fn an_aborted_command_leaves_changes_of_its_batch_alone() {
    let mut replica = Replica::new();
    let bad = vec![append(A, "2"), write(B, "2"), at_revision(9, delete(B))];
    let entries = [
        entry(1, vec![command(vec![append(A, "1")]), command(bad.clone())]),
        entry(2, vec![command(vec![append(A, "3")]), command(bad)]),
    ];
    replica.apply(&entries);
    assert_eq!(replica.text(A).as_deref(), Some("13"));
    assert_eq!(replica.text(B), None);
    assert_eq!(usage(&replica).storage_bytes, 2 + SCROLL_COST);
}

#[test]
fn independent_ops_stand_alone() {
    let mut replica = Replica::new();
    let ops = vec![write(A, "a"), at_revision(9, write(A, "b")), append(A, "c")];
    let results = replica.run(1, Command { independent: true, ..command(ops) }).results;
    assert_eq!(results[0], ok(1, 1));
    assert_eq!(results[1], refused(OpStatus::OpPreconditionFailed, 1));
    assert_eq!(results[2], ok(2, 1));
    assert_eq!(replica.text(A).as_deref(), Some("ac"));
}

#[test]
fn usage_is_exact() {
    let mut replica = Replica::new();
    replica.run(50, command(vec![write(A, "12345"), write(B, "1")]));
    let other = Op { phext: "other".into(), ..write(A, "123") };
    replica.run(70, command(vec![other.clone()]));
    let expected = Usage {
        storage_bytes: 9 + 3 * SCROLL_COST,
        scrolls: 3,
        phexts: 2,
        revision: 3,
        last_write_ms: 70,
        ..Usage::default()
    };
    assert_eq!(usage(&replica), expected);
    assert_eq!((replica.reader().scrolls(), replica.reader().last_write_ms()), (3, 70));
    replica.run(80, command(vec![Op { phext: "other".into(), ..delete(A) }, write(B, "")]));
    let phexts = replica.reader().phexts(TENANT).unwrap().phexts;
    assert_eq!(phexts.len(), 1, "a phext without scrolls is gone");
    assert_eq!((phexts[0].scrolls, phexts[0].storage_bytes), (1, 5 + SCROLL_COST));
    assert_eq!(usage(&replica).storage_bytes, 5 + SCROLL_COST);
    replica.run(90, command(vec![delete(A)]));
    let empty = Usage { revision: 6, last_write_ms: 90, ..Usage::default() };
    assert_eq!(usage(&replica), empty, "revisions go on where they were");
    replica.reopen();
    assert_eq!(usage(&replica), empty);
    assert_eq!(replica.reader().scrolls(), 0);
}

#[test]
fn times_are_those_of_the_entries() {
    let mut replica = Replica::new();
    replica.run(100, command(vec![write(A, "a")]));
    replica.run(200, command(vec![append(A, "b")]));
    let (header, _) = replica.reader().get(TENANT, PHEXT, &key(A)).unwrap().unwrap();
    assert_eq!((header.created_ms, header.modified_ms), (100, 200));
    replica.run(300, command(vec![delete(A), write(A, "c")]));
    let (header, _) = replica.reader().get(TENANT, PHEXT, &key(A)).unwrap().unwrap();
    assert_eq!((header.created_ms, header.modified_ms, header.revision), (300, 300, 4));
}

fn limited(quota_bytes: u64, ops: Vec<Op>) -> Command {
    Command { quota_bytes: Some(quota_bytes), ..command(ops) }
}

#[test]
fn the_quota_is_exact_and_never_hinders_shrinking() {
    let mut replica = Replica::new();
    let over = refused(OpStatus::OpQuotaExceeded, 0);
    let quota = 10 + SCROLL_COST;
    let run =
        |replica: &mut Replica, op| replica.run(1, limited(quota, vec![op])).results.remove(0);
    assert_eq!(run(&mut replica, write(A, "12345678901")), over);
    assert_eq!(run(&mut replica, write(A, "1234567890")), ok(1, 10), "exactly full");
    assert_eq!(run(&mut replica, append(A, "1")), refused(OpStatus::OpQuotaExceeded, 1));
    assert_eq!(run(&mut replica, write(B, "1")), over);
    assert_eq!(run(&mut replica, write(A, "abcdefghij")), ok(2, 10), "as large as before");
    // The quota was lowered: growing is refused, all else goes on.
    let low = |op| limited(5, vec![op]);
    assert_eq!(replica.run(1, low(write(A, "123456789"))).results[0], ok(3, 9));
    let refusal = refused(OpStatus::OpQuotaExceeded, 3);
    assert_eq!(replica.run(1, low(append(A, "x"))).results[0], refusal);
    assert_eq!(replica.run(1, low(delete(A))).results[0], ok(4, 9));
    assert_eq!(run(&mut replica, write(B, "1234567890")), ok(5, 10), "space came back");
}

#[test]
fn an_atomic_command_is_judged_by_what_it_leaves() {
    let mut replica = Replica::new();
    replica.op(write(A, "1234567890"));
    let quota = 10 + SCROLL_COST;
    // Moving a scroll within a full quota passes through more than the quota.
    let moved = replica.run(1, limited(quota, vec![write(B, "1234567890"), delete(A)])).results;
    assert_eq!(moved, [ok(2, 10), ok(3, 10)]);
    let grown = replica.run(1, limited(quota, vec![read(B), append(B, "x"), read(B)])).results;
    assert_eq!(grown[1], refused(OpStatus::OpQuotaExceeded, 0));
    assert_eq!(grown[0], refused(OpStatus::OpAborted, 0));
    assert_eq!(replica.text(B).as_deref(), Some("1234567890"));
}

#[test]
fn scrolls_have_a_largest_size() {
    let mut replica = Replica::new();
    let mut limited = |limit: Option<u64>, op: Op| {
        let command = Command { scroll_max_bytes: limit, ..command(vec![op]) };
        replica.run(1, command).results.remove(0)
    };
    let too_large = |revision| refused(OpStatus::OpTooLarge, revision);
    assert_eq!(limited(Some(10), write(A, "12345678901")), too_large(0));
    assert_eq!(limited(Some(10), write(A, "1234567890")), ok(1, 10));
    assert_eq!(limited(Some(10), append(A, "x")), too_large(1));
    assert_eq!(limited(Some(11), append(A, "x")), ok(2, 1));
    // A limit that was lowered lets large scrolls shrink.
    assert_eq!(limited(Some(5), append(A, "x")), too_large(2));
    assert_eq!(limited(Some(5), write(A, "x")), ok(3, 1));
    // Without one it is 4 MiB, and never above what any ranch may allow.
    let text = |bytes: u64| "x".repeat(usize::try_from(bytes).unwrap());
    assert_eq!(limited(None, write(A, &text(4 << 20))), ok(4, 4 << 20));
    assert_eq!(limited(None, append(A, "x")), too_large(4));
    assert_eq!(limited(Some(u64::MAX), write(A, &text(SCROLL_MAX))), ok(5, SCROLL_MAX));
    assert_eq!(limited(Some(u64::MAX), append(A, "x")), too_large(5));
}

#[test]
fn malformed_commands_are_refused_and_change_nothing() {
    let mut replica = Replica::new();
    let good = || write(A, "x");
    let not_utf8 = Op { text: vec![0xFF].into(), ..good() };
    let malformed = [
        Command { request_id: vec![1; 15].into(), ..command(vec![good()]) },
        Command { tenant: "a\0b".into(), ..command(vec![good()]) },
        Command { tenant: String::new(), ..command(vec![good()]) },
        command(vec![Op { phext: "a\0b".into(), ..good() }]),
        command(vec![Op { phext: String::new(), ..good() }]),
        command(vec![Op { phext: "p".repeat(201), ..good() }]),
        command(vec![Op { coordinate: vec![1, 2, 3].into(), ..good() }]),
        command(vec![Op { kind: 0, ..good() }]),
        command(vec![Op { kind: 77, ..good() }]),
        command(vec![not_utf8]),
        Command {
            idempotency: Some(Idempotency { key: vec![1].into(), content: vec![1; 16].into() }),
            ..command(vec![good()])
        },
    ];
    for bad in malformed {
        let results = replica.run(1, bad.clone()).results;
        assert_eq!(results, [refused(OpStatus::OpInvalid, 0)], "{bad:?}");
    }
    assert_eq!(usage(&replica), Usage::default());
    assert_eq!(replica.reader().scrolls(), 0);
}

#[test]
fn entries_of_another_version_or_order_stop_the_machine() {
    let mut replica = Replica::new();
    replica.op(write(A, "a"));
    let future = ranch_proto::schema::ShardEntry { version: 9, ..entry(1, Vec::new()) };
    let error = replica.machine().replay([normal(1, &future)]).unwrap_err();
    assert!(matches!(error, StateError::UnknownEntryVersion { index: 1, found: 9, .. }));
    let mut replica = Replica::new();
    replica.op(write(A, "a"));
    for index in [0, 2] {
        let error = replica.machine().replay([normal(index, &entry(1, Vec::new()))]).unwrap_err();
        assert!(matches!(error, StateError::OutOfOrder { applied: 0, .. }), "{error}");
    }
}
