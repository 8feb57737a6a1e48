//! Commands that arrive in parts: carried out once, whole, and whoever they belong to; or
//! forgotten without a trace.

use ranch_proto::schema::{
    Command, CommandResult, Idempotency, OpStatus, ScanScrolls, ShardEntry, StageCommit, StagePart,
    TenantLife, Usage,
};
use ranch_proto::stage::STAGED_BYTES_MAX;
use ranch_proto::value::SCROLL_COST;
use ranch_raft::state::{STAGED_MS, STAGED_TENANT_MAX, STEP_MAX_MS};

use crate::support::*;

const A: &str = "1.1.1/1.1.1/1.1.1";
const LENGTH: usize = 1_300_000;

fn large() -> Command {
    let scroll_max_bytes = Some(64 << 20);
    Command { scroll_max_bytes, ..command(vec![append(A, &"x".repeat(LENGTH))]) }
}

fn status(result: &CommandResult) -> OpStatus {
    assert_eq!(result.results.len(), 1);
    result.results[0].status()
}

/// Rows but those that remember commands.
fn other_rows(replica: &Replica, commands: u64) -> u64 {
    replica.rows().pairs - commands
}

#[test]
fn parts_in_any_order_are_carried_out_once() {
    let mut replica = Replica::new();
    let mut parts = in_parts(&large());
    let commit = parts.pop().unwrap();
    assert_eq!(parts.len(), 3);
    let bare = other_rows(&replica, 0);
    for n in [2, 0, 2, 1] {
        assert_eq!(status(&replica.run(1, parts[n].clone())), OpStatus::OpOk);
        assert_eq!(replica.text(A), None, "nothing is to be seen before the commit");
    }
    let first = replica.run(2, commit.clone());
    assert_eq!(first.results, [ok(1, LENGTH as u64)]);
    assert_eq!(replica.text(A).unwrap().len(), LENGTH);
    let again = replica.run(3, commit.clone());
    assert_eq!((again.repeated_request, &again.results), (true, &first.results));
    // Sent all over again, as after a doubtful commit, it still counts once.
    for part in parts {
        assert_eq!(status(&replica.run(4, part)), OpStatus::OpOk);
    }
    let again = replica.run(5, commit);
    assert_eq!((again.repeated_request, &again.results), (true, &first.results));
    assert_eq!(replica.text(A).unwrap().len(), LENGTH);
    // Applied, clock, usage, phext, header, manifest, two parts; none of the upload.
    assert_eq!(other_rows(&replica, 1) - bare, 8);
}

#[test]
fn what_is_missing_or_wrong_is_said_and_can_be_sent_again() {
    let mut replica = Replica::new();
    let command = large();
    let mut parts = in_parts(&command);
    let commit = parts.pop().unwrap();
    assert_eq!(status(&replica.run(1, commit.clone())), OpStatus::OpNotStaged);
    replica.run(1, parts[0].clone());
    replica.run(1, parts[2].clone());
    assert_eq!(status(&replica.run(1, commit.clone())), OpStatus::OpNotStaged);
    let mut wrong = parts[1].clone();
    let stage = wrong.stage.as_mut().unwrap();
    stage.bytes = vec![b'y'; stage.bytes.len()].into();
    replica.run(1, wrong);
    assert_eq!(status(&replica.run(1, commit.clone())), OpStatus::OpNotStaged);
    assert_eq!(replica.text(A), None);
    assert_eq!(replica.rows().pairs, 2, "the wrong upload is gone");
    for part in in_parts(&command) {
        replica.run(1, part);
    }
    assert_eq!(replica.text(A).unwrap().len(), LENGTH);
}

#[test]
fn an_upload_is_its_tenants_own() {
    let mut replica = Replica::new();
    let command = large();
    let mut parts = in_parts(&command);
    let commit = parts.pop().unwrap();
    for part in parts {
        replica.run(1, part);
    }
    let foreign = Command { tenant: "will-b".into(), ..commit.clone() };
    assert_eq!(status(&replica.run(2, foreign)), OpStatus::OpNotStaged);
    // Nor can one tenant stage what claims to be another's.
    let mut forged = in_parts(&Command { tenant: "ann".into(), ..large() });
    let last = forged.len() - 1;
    for command in &mut forged {
        command.tenant = "will-b".into();
    }
    for part in &forged[..last] {
        assert_eq!(status(&replica.run(2, part.clone())), OpStatus::OpOk);
    }
    assert_eq!(status(&replica.run(2, forged[last].clone())), OpStatus::OpInvalid);
    for tenant in ["ann", "will-b"] {
        assert_eq!(replica.reader().usage(tenant).unwrap().scrolls, 0);
        let scan = ScanScrolls { phext: PHEXT.into(), ..Default::default() };
        assert!(replica.reader().scan(tenant, &scan).unwrap().scrolls.is_empty());
    }
    assert_eq!(status(&replica.run(3, commit)), OpStatus::OpOk);
}

#[test]
fn quotas_and_idempotency_hold_as_for_any_command() {
    let mut replica = Replica::new();
    let cost = LENGTH as u64 + SCROLL_COST;
    let run = |replica: &mut Replica, command: &Command| {
        let answers = in_parts(command).into_iter().map(|part| replica.run(1, part));
        answers.last().unwrap()
    };
    let refused = run(&mut replica, &Command { quota_bytes: Some(cost - 1), ..large() });
    assert_eq!(status(&refused), OpStatus::OpQuotaExceeded);
    assert_eq!(replica.reader().usage(TENANT).unwrap(), Usage::default());
    let idempotency = Some(Idempotency { key: vec![1; 16].into(), content: vec![2; 16].into() });
    let keyed = || Command { quota_bytes: Some(cost), idempotency: idempotency.clone(), ..large() };
    let first = run(&mut replica, &keyed());
    assert_eq!(first.results, [ok(1, LENGTH as u64)]);
    // A client's retry has another request id, and arrives in parts again.
    let retry = run(&mut replica, &keyed());
    assert_eq!((retry.repeated_request, &retry.results), (true, &first.results));
    assert_eq!(replica.reader().usage(TENANT).unwrap().storage_bytes, cost);
    let one_more = Command { quota_bytes: Some(cost), ..command(vec![append(A, "x")]) };
    assert_eq!(status(&replica.run(2, one_more)), OpStatus::OpQuotaExceeded);
}

#[test]
fn a_crash_between_parts_loses_nothing_that_is_in_the_log() {
    let entries: Vec<ShardEntry> = [large(), large()]
        .iter()
        .flat_map(in_parts)
        .zip(1..)
        .map(|(command, stamp)| entry(stamp, vec![command]))
        .collect();
    let mut steady = Replica::new();
    let expected = steady.apply(&entries);
    for flushed in 0..entries.len() {
        let mut shaken = Replica::new();
        shaken.apply(&entries[..flushed]);
        shaken.store().flush_and_publish().unwrap();
        shaken.apply(&entries[flushed..]);
        let next = usize::try_from(shaken.crash()).unwrap();
        assert!(next >= flushed);
        assert_eq!(shaken.apply(&entries[next..]), expected[next..]);
        assert_eq!(shaken.rows(), steady.rows(), "flushed after {flushed}");
        assert_eq!(shaken.text(A).unwrap().len(), 2 * LENGTH);
    }
}

/// The first part of an upload that reserves as much as any may.
fn reserving(id: u8) -> Command {
    let length = STAGED_BYTES_MAX;
    let parts = ranch_proto::stage::STAGE_PARTS_MAX;
    let upload = vec![id; 16].into();
    let stage = StagePart { upload, part: 0, parts, length, bytes: "p".into() };
    Command { stage: Some(stage), ..command(Vec::new()) }
}

#[test]
fn a_tenant_may_stage_so_much_and_quiet_uploads_give_way() {
    let mut replica = Replica::new();
    let fit = u8::try_from(STAGED_TENANT_MAX / STAGED_BYTES_MAX).unwrap();
    for id in 0..fit {
        assert_eq!(status(&replica.run(1_000, reserving(id))), OpStatus::OpOk);
    }
    let full = OpStatus::OpStagingFull;
    assert_eq!(status(&replica.run(1_000, reserving(fit))), full);
    let other = Command { tenant: "ann".into(), ..reserving(fit) };
    assert_eq!(status(&replica.run(1_000, other)), OpStatus::OpOk, "others have their own room");
    // One that goes on keeps its place, the quiet one does not.
    assert_eq!(status(&replica.run(15_000, reserving(0))), OpStatus::OpOk);
    assert_eq!(status(&replica.run(16_000, reserving(fit))), full);
    assert_eq!(status(&replica.run(16_001, reserving(fit))), OpStatus::OpOk);
    replica.reopen();
    assert_eq!(status(&replica.run(16_002, reserving(fit + 1))), full);
}

#[test]
fn uploads_and_parts_go_with_their_tenant() {
    let mut replica = Replica::new();
    replica.run(1, Command { tenant: "ann".into(), ..large() });
    let before = replica.rows().pairs;
    let (done, mut under_way) = (in_parts(&large()), in_parts(&large()));
    let commit = under_way.pop().unwrap();
    done.into_iter().chain(under_way).for_each(|part| {
        assert_eq!(status(&replica.run(2, part)), OpStatus::OpOk);
    });
    let life = |number, purge| Some(TenantLife { number, purge });
    replica.run(3, Command { life: life(0, true), ..command(Vec::new()) });
    assert_eq!(status(&replica.run(4, commit.clone())), OpStatus::OpTenantGone);
    let successor = Command { life: life(1, false), ..commit };
    assert_eq!(status(&replica.run(5, successor)), OpStatus::OpNotStaged);
    // A row that remembers its first life and two of request ids stay of it.
    assert!(replica.rows().pairs <= before + 3, "{} {before}", replica.rows().pairs);
    // Revisions begin anew, and a hash from before is not gone on with.
    let ops = || vec![write(A, &"b".repeat(LENGTH)), append(A, "c")];
    let anew = Command { life: life(1, false), ..large() };
    for op in ops() {
        replica.run(6, Command { ops: vec![op], ..anew_of(&anew) });
    }
    let (header, text) = replica.reader().get(TENANT, PHEXT, &key(A)).unwrap().unwrap();
    assert_eq!((header.revision, text.len()), (2, LENGTH + 1));
    assert_eq!(header.hash, xxhash_rust::xxh3::xxh3_128(&text));
}

/// The same under a request id of its own.
fn anew_of(command: &Command) -> Command {
    let request_id = ranch_proto::RequestId::random().0.to_vec().into();
    Command { request_id, ..command.clone() }
}

#[test]
fn what_nobody_commits_is_forgotten_with_age() {
    let mut replica = Replica::new();
    let rows = replica.rows().pairs;
    replica.run(1_000, reserving(1));
    replica.run(2_000, reserving(2));
    let mut stamp_ms = 2_000;
    let mut quiet = |replica: &mut Replica, until_ms: u64| {
        // An entry ages its shard by no more than a minute, and sweeps happen at those that begin
        // batches everywhere.
        let mut entries = Vec::new();
        while stamp_ms < until_ms {
            stamp_ms = until_ms.min(stamp_ms + STEP_MAX_MS);
            entries.push(entry(stamp_ms, Vec::new()));
        }
        entries.extend(vec![entry(stamp_ms, Vec::new()); 256]);
        replica.apply(&entries);
        replica.rows().pairs - rows - 2
    };
    assert_eq!(quiet(&mut replica, 1_000 + STAGED_MS), 4);
    assert_eq!(quiet(&mut replica, 1_001 + STAGED_MS), 2);
    assert_eq!(quiet(&mut replica, 2_001 + STAGED_MS), 0);
}

#[test]
fn malformed_parts_and_commits_are_refused() {
    let mut replica = Replica::new();
    let part = |change: fn(&mut StagePart)| {
        let mut command = in_parts(&large()).remove(0);
        change(command.stage.as_mut().unwrap());
        command
    };
    for bad in [
        part(|p| p.upload = vec![1; 15].into()),
        part(|p| p.part = p.parts),
        part(|p| p.parts += 1),
        part(|p| p.length = 0),
        part(|p| p.length = STAGED_BYTES_MAX + 1),
        part(|p| p.bytes = Vec::new().into()),
        part(|p| p.bytes = vec![0; 512 << 10].into()),
        Command { tenant: "a\0b".into(), ..part(|_| ()) },
    ] {
        assert_eq!(status(&replica.run(1, bad.clone())), OpStatus::OpInvalid, "{bad:?}");
    }
    assert_eq!(replica.rows().pairs, 2);
    let commit = Command { commit: Some(StageCommit::default()), ..command(Vec::new()) };
    assert_eq!(status(&replica.run(1, commit)), OpStatus::OpNotStaged);
    // What is put together must be a command, and one that is no part itself.
    for inside in [part(|_| ()), Command { commit: Some(StageCommit::default()), ..large() }] {
        let answers = in_parts(&inside).into_iter().map(|command| replica.run(2, command));
        assert_eq!(status(&answers.last().unwrap()), OpStatus::OpInvalid);
    }
    assert_eq!(replica.rows().pairs, 2);
}
