//! Commands that come more than once (R3): under one request id, or under one idempotency key.

use ranch_proto::schema::{Command, Idempotency, Op, OpStatus};
use ranch_raft::state::{DEDUP_WINDOW_MS, IDEMPOTENCY_MS, STEP_MAX_MS};

use crate::support::*;

const A: &str = "1.1.1/1.1.1/1.1.1";
const B: &str = "1.1.1/1.1.1/1.1.2";

#[test]
fn a_retry_gets_the_first_answer_and_appends_once() {
    let mut replica = Replica::new();
    let first = command(vec![append(A, "once")]);
    let answer = replica.run(1, first.clone());
    assert!(!answer.repeated_request);
    replica.op(append(A, "+"));
    for reopened in [false, true] {
        if reopened {
            replica.reopen();
        }
        let again = replica.run(2, first.clone());
        assert!(again.repeated_request);
        assert_eq!(again.results, answer.results);
        assert_eq!(replica.text(A).as_deref(), Some("once+"));
    }
    // Twice in one entry, and twice in one batch.
    let second = command(vec![append(A, "!")]);
    let twice = entry(3, vec![second.clone(), second.clone()]);
    let answers = replica.apply(&[twice.clone(), twice]);
    let repeated: Vec<_> = answers.concat().iter().map(|a| a.repeated_request).collect();
    assert_eq!(repeated, [false, true, true, true]);
    assert_eq!(replica.text(A).as_deref(), Some("once+!"));
}

#[test]
fn a_refusal_stays_one_when_its_duplicate_arrives() {
    let mut replica = Replica::new();
    let refused_command = command(vec![at_revision(1, write(A, "late"))]);
    assert_eq!(
        replica.run(1, refused_command.clone()).results[0],
        refused(OpStatus::OpPreconditionFailed, 0)
    );
    replica.op(write(A, "now it would hold"));
    let again = replica.run(2, refused_command);
    assert!(again.repeated_request);
    assert_eq!(again.results[0], refused(OpStatus::OpPreconditionFailed, 0));
    assert_eq!(replica.text(A).as_deref(), Some("now it would hold"));
}

#[test]
fn a_repeated_read_is_of_its_time_or_none() {
    let mut replica = Replica::new();
    replica.op(write(A, "a"));
    let mixed = command(vec![read(A), read(B), write(B, "b")]);
    let first = replica.run(1, mixed.clone());
    let again = replica.run(1, mixed.clone());
    assert_eq!(again.results, first.results);
    replica.op(write(A, "later"));
    let late = replica.run(1, mixed).results;
    assert_eq!(late[0].status(), OpStatus::OpAborted);
    assert_eq!(late[0].text, None);
    assert_eq!(late[1..], first.results[1..], "nothing was there, and that stays true");
}

#[test]
fn the_window_is_bounded_by_stamps_but_keeps_the_latest() {
    let mut replica = Replica::new();
    let old = command(vec![append(A, "old")]);
    replica.run(1_000, old.clone());
    // Few commands since: even far ahead in time the id is kept, as a clock may have jumped.
    replica.run(1_000 + 10 * DEDUP_WINDOW_MS, command(vec![append(B, "-")]));
    assert!(replica.run(1_000 + 10 * DEDUP_WINDOW_MS, old.clone()).repeated_request);
    let many = |stamp_ms| {
        let commands = (0..5_000).map(|_| command(vec![delete("9.9.9/9.9.9/9.9.9")]));
        entry(stamp_ms, commands.collect())
    };
    let later = 2_000 + 20 * DEDUP_WINDOW_MS;
    replica.apply(&[many(later)]);
    let rows = replica.rows().pairs;
    replica.apply(&[many(later + DEDUP_WINDOW_MS + 1)]);
    assert_eq!(replica.rows().pairs, rows, "one row came and one went");
    assert!(!replica.run(later + DEDUP_WINDOW_MS + 2, old).repeated_request);
    assert_eq!(replica.text(A).as_deref(), Some("oldold"));
}

#[test]
fn one_tenant_never_meets_anothers_request_id() {
    let mut replica = Replica::new();
    let mine = command(vec![write(A, "mine")]);
    replica.run(1, mine.clone());
    let theirs = Command { tenant: "other".into(), ..mine };
    let answer = replica.run(1, theirs);
    assert!(!answer.repeated_request);
    let found = replica.reader().get("other", PHEXT, &key(A)).unwrap();
    assert!(found.is_some());
}

#[test]
fn the_same_id_for_another_command_does_nothing() {
    let mut replica = Replica::new();
    let first = command(vec![write(A, "a")]);
    replica.run(1, first.clone());
    let other = Command { ops: vec![write(A, "b"), write(B, "b")], ..first };
    let results = replica.run(1, other).results;
    assert!(results.iter().all(|result| result.status() == OpStatus::OpInvalid));
    assert_eq!(replica.text(A).as_deref(), Some("a"));
}

fn keyed(key: u8, content: u8, ops: Vec<Op>) -> Command {
    let idempotency = Idempotency { key: vec![key; 16].into(), content: vec![content; 16].into() };
    Command { idempotency: Some(idempotency), ..command(ops) }
}

#[test]
fn an_idempotency_key_applies_once() {
    let mut replica = Replica::new();
    let first = replica.run(1, keyed(1, 1, vec![append(A, "x")]));
    assert!(!first.repeated_request);
    // Within one batch, later, and after a restart.
    let batch =
        [entry(2, vec![keyed(2, 2, vec![append(A, "y")]), keyed(2, 2, vec![append(A, "y")])])];
    let answers = replica.apply(&batch).concat();
    assert_eq!((answers[0].repeated_request, answers[1].repeated_request), (false, true));
    replica.reopen();
    let again = replica.run(IDEMPOTENCY_MS, keyed(1, 1, vec![append(A, "x")]));
    assert!(again.repeated_request);
    assert_eq!(again.results, first.results);
    assert_eq!(replica.text(A).as_deref(), Some("xy"));
    let reused = replica.run(3, keyed(1, 9, vec![append(A, "z"), append(B, "z")]));
    assert!(reused.results.iter().all(|result| result.status() == OpStatus::OpKeyReused));
    assert_eq!(replica.text(A).as_deref(), Some("xy"));
    // Another tenant may use the same key.
    let other = Command { tenant: "other".into(), ..keyed(1, 1, vec![append(A, "x")]) };
    assert!(!replica.run(4, other).repeated_request);
}

#[test]
fn a_refused_command_does_not_use_up_its_idempotency_key() {
    let mut replica = Replica::new();
    let refused_first = keyed(1, 1, vec![at_revision(1, write(A, "x"))]);
    replica.run(1, refused_first.clone());
    replica.op(write(A, "y"));
    let retry = Command { request_id: command(Vec::new()).request_id, ..refused_first };
    let answer = replica.run(2, retry);
    assert_eq!((answer.repeated_request, answer.results[0].clone()), (false, ok(2, 1)));
}

/// Lets time pass in the steps a shard believes.
fn grow_old(replica: &mut Replica, from_ms: u64, to_ms: u64) {
    for stamp_ms in (from_ms..to_ms).step_by(STEP_MAX_MS as usize).chain([to_ms]) {
        replica.apply(&[entry(stamp_ms, Vec::new())]);
    }
}

#[test]
fn a_clock_that_jumps_ahead_makes_nobody_forget() {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let mut replica = Replica::new();
    replica.run(1_000, keyed(1, 1, vec![append(A, "x")]));
    grow_old(&mut replica, YEAR_MS, YEAR_MS);
    replica.reopen();
    while replica.next <= 256 {
        replica.apply(&[entry(YEAR_MS, Vec::new())]);
    }
    assert!(replica.run(YEAR_MS, keyed(1, 1, vec![append(A, "x")])).repeated_request);
    assert!(replica.run(2_000, keyed(1, 1, vec![append(A, "x")])).repeated_request, "set back");
    assert_eq!(replica.text(A).as_deref(), Some("x"));
}

#[test]
fn idempotency_keys_expire_and_their_rows_go() {
    let mut replica = Replica::new();
    replica.run(1_000, keyed(1, 1, vec![append(A, "x")]));
    replica.run(1_000, keyed(2, 1, vec![append(A, "x")]));
    let late = 1_001 + IDEMPOTENCY_MS;
    grow_old(&mut replica, 1_000, late);
    // Key 1 is used anew with other content; its old expiry must not remove the new row.
    assert!(!replica.run(late, keyed(1, 2, vec![append(A, "y")])).repeated_request);
    let rows = replica.rows().pairs;
    while replica.next <= 256 {
        let none = entry(late, Vec::new());
        replica.apply(&[none]);
    }
    assert_eq!(replica.rows().pairs, rows - 2, "key 2 and its expiry are gone");
    assert!(replica.run(late, keyed(1, 2, vec![append(A, "y")])).repeated_request);
    assert!(!replica.run(late, keyed(2, 1, vec![append(A, "z")])).repeated_request);
}
