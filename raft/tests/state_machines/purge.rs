//! A tenant deleted for good: nothing of it stays, nothing late of it lands, and whoever gets its
//! id next has nothing to do with it (R4).

use ranch_proto::schema::{
    CallMethod, Command, CommandResult, Idempotency, MethodCalls, Op, OpStatus, ShardEntry,
    TenantCalls, TenantLife,
};
use ranch_raft::state::IDEMPOTENCY_MS;

use crate::support::*;

const AT: &str = "1.1.1/1.1.1/1.1.1";
/// Entries at indexes that are multiples of this one begin a batch, where expired rows go.
const ALIGNED: u64 = 256;

fn of(life: u64, command: Command) -> Command {
    Command { life: Some(TenantLife { number: life, purge: false }), ..command }
}

fn put(life: u64, ops: Vec<Op>) -> Command {
    of(life, command(ops))
}

fn purge(life: u64) -> Command {
    Command { life: Some(TenantLife { number: life, purge: true }), ..command(Vec::new()) }
}

fn keyed(life: u64, key: u8, op: Op) -> Command {
    let idempotency = Idempotency { key: vec![key; 16].into(), content: vec![9; 16].into() };
    Command { idempotency: Some(idempotency), ..put(life, vec![op]) }
}

fn status(result: &CommandResult) -> OpStatus {
    result.results[0].status()
}

fn scrolls() -> Vec<Op> {
    let phexts = ["index", "notes", "\u{1}"];
    let places = [AT, "13.13.13/13.13.13/13.13.13", "notes/todo"];
    let op = |phext: &str, at| Op { phext: phext.into(), ..write(at, "a text of some length") };
    phexts.iter().flat_map(|phext| places.map(|at| op(phext, at))).collect()
}

#[test]
fn nothing_stays_of_it_and_its_neighbours_keep_everything() {
    let mut replica = Replica::new();
    let neighbours = ["wil", "will-", "will0", "willi", "a", "z"];
    for tenant in neighbours {
        replica.run(1, Command { tenant: tenant.into(), ..command(scrolls()) });
    }
    let before = replica.rows();
    replica.run(2, put(7, scrolls()));
    replica.run(3, keyed(7, 1, append(AT, "more")));
    assert_eq!(replica.reader().usage(TENANT).unwrap().scrolls, 9);
    let scrolls_before = replica.reader().scrolls();
    replica.run(4, purge(7));

    let usage = replica.reader().usage(TENANT).unwrap();
    assert_eq!((usage.storage_bytes, usage.scrolls, usage.phexts, usage.revision), (0, 0, 0, 0));
    assert!(replica.reader().phexts(TENANT).unwrap().phexts.is_empty());
    assert_eq!(replica.text(AT), None);
    assert_eq!(replica.reader().scrolls(), scrolls_before - 9);
    // What remains: two request ids, one expiry, and the word that its life is over.
    assert_eq!(replica.rows().pairs, before.pairs + 2 + 1 + 1);
    for tenant in neighbours {
        assert_eq!(replica.reader().usage(tenant).unwrap().scrolls, 9, "{tenant}");
        assert_eq!(replica.reader().phexts(tenant).unwrap().phexts.len(), 3, "{tenant}");
    }
}

#[test]
fn what_comes_late_does_not_land() {
    let mut replica = Replica::new();
    let first = put(7, vec![write(AT, "old")]);
    replica.run(1, first.clone());
    // In one entry: a write, the end, a write of the old and one of a successor.
    let commands = vec![
        put(7, vec![append(AT, "er")]),
        purge(7),
        put(7, vec![write(AT, "late")]),
        put(9, vec![write(AT, "too early")]),
    ];
    let answers = replica.apply(&[entry(2, commands)]).remove(0);
    assert_eq!(status(&answers[0]), OpStatus::OpOk);
    assert!(answers[1].results.is_empty());
    assert_eq!(status(&answers[2]), OpStatus::OpTenantGone);
    assert_eq!(status(&answers[3]), OpStatus::OpTenantGone);
    assert_eq!(replica.text(AT), None);

    for life in [0, 1, 7] {
        let late = replica.run(3, put(life, vec![write(AT, "late")]));
        assert_eq!(status(&late), OpStatus::OpTenantGone, "life {life}");
    }
    // Not even as a retry of what was done in its time.
    assert_eq!(status(&replica.run(4, first)), OpStatus::OpTenantGone);

    let new = replica.run(5, put(9, vec![write(AT, "new"), read(AT)]));
    assert_eq!(new.results, [ok(1, 3), ok_text(1, "new")]);
    // A purge that comes twice is of the first tenant, not of the second.
    replica.run(6, purge(7));
    assert_eq!(replica.text(AT), Some("new".to_owned()));
    assert_eq!(replica.reader().life(TENANT).unwrap(), 9);
    replica.run(7, purge(9));
    assert_eq!(replica.text(AT), None);
}

#[test]
fn a_tenant_that_never_wrote_is_over_too() {
    let mut replica = Replica::new();
    replica.run(1, purge(0));
    assert_eq!(status(&replica.run(2, put(0, vec![write(AT, "late")]))), OpStatus::OpTenantGone);
    assert_eq!(status(&replica.run(3, put(1, vec![write(AT, "new")]))), OpStatus::OpOk);
}

#[test]
fn idempotency_keys_of_the_dead_touch_nobody() {
    let mut replica = Replica::new();
    let start = 1_000;
    replica.run(start, keyed(7, 1, append(AT, "old")));
    replica.run(start + 1, purge(7));
    let later = start + 60_000;
    let again = replica.run(later, keyed(9, 1, append(AT, "new")));
    assert!(!again.repeated_request, "it is another tenant's key");
    // The old one expires and is swept; the new one has still to be known.
    let sweep = start + IDEMPOTENCY_MS + 1;
    assert!(sweep < later + IDEMPOTENCY_MS);
    // A shard ages by a minute an entry at most.
    let mut stamp = later;
    while stamp < sweep || replica.next <= ALIGNED {
        stamp = sweep.min(stamp + 60_000);
        replica.run(stamp, put(9, vec![read(AT)]));
    }
    let retry = replica.run(sweep, keyed(9, 1, append(AT, "new")));
    assert!(retry.repeated_request);
    assert_eq!(replica.text(AT), Some("new".to_owned()));
}

/// A history around two purges, an entry each.
fn history() -> Vec<ShardEntry> {
    let commands = vec![
        put(3, scrolls()),
        keyed(3, 1, append(AT, "x")),
        Command { tenant: "other".into(), ..put(1, scrolls()) },
        put(3, vec![write("2.1.1/1.1.1/1.1.1", "y"), delete(AT)]),
        purge(3),
        put(3, vec![write(AT, "late")]),
        put(5, vec![write(AT, "successor")]),
        keyed(5, 1, append(AT, "!")),
        Command { tenant: "other".into(), ..put(1, vec![append(AT, "z")]) },
        purge(5),
        put(8, vec![append(AT, "third")]),
    ];
    let stamps = (1_000..).step_by(10);
    stamps.zip(commands).map(|(stamp_ms, command)| entry(stamp_ms, vec![command])).collect()
}

/// Applies entries one by one.
fn replay(replica: &mut Replica, entries: &[ShardEntry]) {
    for entry in entries {
        replica.apply(std::slice::from_ref(entry));
    }
}

#[test]
fn batches_make_no_difference() {
    let history = history();
    let mut one_by_one = Replica::new();
    replay(&mut one_by_one, &history);
    assert_eq!(one_by_one.text(AT), Some("third".to_owned()));
    for size in [2, 3, history.len()] {
        let mut together = Replica::new();
        for entries in history.chunks(size) {
            together.apply(entries);
        }
        assert_eq!(together.rows(), one_by_one.rows(), "in batches of {size}");
    }
}

#[test]
fn a_crash_anywhere_changes_nothing() {
    let history = history();
    let mut calm = Replica::new();
    replay(&mut calm, &history);
    for flushed in 0..history.len() {
        for crashed in [flushed, flushed + 1, history.len()] {
            let mut replica = Replica::new();
            for (at, entry) in history[..crashed].iter().enumerate() {
                if at == flushed {
                    replica.store().flush().unwrap();
                }
                replica.apply(std::slice::from_ref(entry));
            }
            if flushed == crashed {
                replica.store().flush().unwrap();
            }
            let next = usize::try_from(replica.crash()).unwrap();
            assert!((flushed..=crashed).contains(&next));
            replay(&mut replica, &history[next..]);
            assert_eq!(replica.rows(), calm.rows(), "flushed at {flushed}, crashed at {crashed}");
            assert_eq!(replica.reader().scrolls(), calm.reader().scrolls());
        }
    }
}

#[test]
fn calls_are_counted_for_whom_they_were_made() {
    let mut replica = Replica::new();
    let note = |life, count| {
        let made = vec![MethodCalls { method: CallMethod::Select.into(), count }];
        let calls = vec![TenantCalls { tenant: TENANT.into(), calls: made, life }];
        Command { calls, ..Command::default() }
    };
    let counted = |replica: &Replica| {
        let usage = replica.reader().usage(TENANT).unwrap();
        usage.calls.iter().map(|calls| calls.count).sum::<u64>()
    };
    replica.run(1, note(7, 5));
    assert_eq!(counted(&replica), 5);
    // What was called and noted in the entry of the purge, or after it, is of nobody any more.
    replica.apply(&[entry(2, vec![note(7, 3), purge(7), note(7, 2), note(9, 1)])]);
    replica.run(3, note(7, 4));
    assert_eq!(counted(&replica), 0);
    replica.run(4, note(9, 1));
    assert_eq!(counted(&replica), 1);
}
