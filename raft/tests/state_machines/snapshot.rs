//! Snapshots between two stores: whole or not at all.

use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, Membership};
use ranch_proto::ids::GroupId;
use ranch_proto::schema::{
    CallMethod, Command, MethodCalls, OpStatus, SnapshotChunk, SnapshotEnd, TenantCalls,
};
use ranch_raft::state::{
    SnapshotFault, SnapshotHandle, SnapshotPiece, SnapshotSink, SnapshotSource, SnapshotStage,
    StateError, StateMachine, StateStore,
};
use ranch_raft::types::{Entry, SnapshotMeta};

use crate::support::*;

const A: &str = "1.1.1/1.1.1/1.1.1";
/// Where a scroll in parts is, and where one will be whose upload is under way.
const PARTED: &str = "5.1.1/1.1.1/1.1.1";
const UPLOADED: &str = "6.1.1/1.1.1/1.1.1";

/// A snapshot as it is on the wire.
#[derive(Clone)]
struct Sent {
    meta: SnapshotMeta,
    chunks: Vec<SnapshotChunk>,
    end: SnapshotEnd,
}

fn send(store: &Arc<StateStore>) -> Sent {
    block_on(async {
        let mut source = SnapshotSource::open(store, GROUP).await.unwrap();
        let mut chunks = Vec::new();
        loop {
            match source.next().await.unwrap() {
                SnapshotPiece::Chunk(chunk) => chunks.push(chunk),
                SnapshotPiece::End(end) => {
                    return Sent { meta: source.meta().clone(), chunks, end };
                }
            }
        }
    })
}

fn receive(store: &Arc<StateStore>, sent: &Sent) -> Result<SnapshotHandle, StateError> {
    block_on(async {
        let mut sink = SnapshotSink::open(store, GROUP, sent.meta.clone())?;
        for chunk in &sent.chunks {
            sink = sink.push(chunk.clone()).await?;
        }
        sink.finish(sent.end.clone()).await
    })
}

/// A replica with scrolls, some of them large, a membership and remembered commands.
fn source() -> Replica {
    let mut replica = Replica::new();
    let voters = Membership::new_with_defaults(vec![[1, 2].into()], []);
    let membership = Entry { log_id: log_id(0), payload: EntryPayload::Membership(voters) };
    replica.machine().replay([membership]).unwrap();
    replica.next = 1;
    for n in 1..=300_u32 {
        let text = format!("scroll {n} ").repeat(if n % 50 == 0 { 3_000 } else { 3 });
        replica.op(write(&format!("1.1.{n}/1.1.1/1.1.1"), &text));
    }
    let calls = vec![MethodCalls { method: CallMethod::Write.into(), count: 300 }];
    let calls = vec![TenantCalls { tenant: TENANT.into(), calls, life: 0 }];
    replica.run(5_000, Command { calls, ..Command::default() });
    replica.op(write(PARTED, &"ä".repeat(1_300_000)));
    for part in &in_parts(&upload())[..2] {
        replica.run(1_500, part.clone());
    }
    replica
}

/// A command that has not wholly arrived when the snapshot is taken.
fn upload() -> Command {
    let request_id = vec![9; 16].into();
    Command { request_id, ..command(vec![write(UPLOADED, &"u".repeat(1_200_000))]) }
}

/// A replica that is behind, with scrolls the source does not have.
fn target() -> Replica {
    let mut replica = Replica::new();
    for n in 1..=50_u32 {
        replica.op(write(&format!("9.9.{n}/1.1.1/1.1.1"), "old"));
    }
    replica
}

fn install(replica: &mut Replica, sent: &Sent) {
    let handle = receive(replica.store(), sent).unwrap();
    block_on(replica.machine().install_snapshot(&sent.meta, handle)).unwrap();
    replica.next = sent.meta.last_log_id.unwrap().index + 1;
}

#[test]
fn rows_arrive_as_they_were_and_old_ones_are_gone() {
    let (mut source, mut target) = (source(), target());
    let other = GroupId(GROUP.0 + 1);
    let (mut neighbour, neighbour_reader) = StateMachine::shard(target.store(), other).unwrap();
    neighbour.replay([normal(0, &entry(1, vec![command(vec![write(A, "stays")])]))]).unwrap();
    let before = rows(target.store(), other);
    drop((neighbour, neighbour_reader));

    let retried = command(vec![append(A, "!")]);
    let answer = source.run(77, retried.clone());
    let sent = send(source.store());
    assert!(sent.chunks.len() > 1, "the test should cover more than one chunk");
    install(&mut target, &sent);

    assert_eq!(target.rows(), source.rows());
    assert_eq!(rows(target.store(), other), before);
    assert_eq!(target.text("9.9.1/1.1.1/1.1.1"), None);
    assert_eq!(target.text("1.1.50/1.1.1/1.1.1"), source.text("1.1.50/1.1.1/1.1.1"));
    assert_eq!(target.text(PARTED).unwrap(), "ä".repeat(1_300_000));
    assert_eq!(target.reader().applied(), sent.meta.last_log_id.unwrap().index);
    assert_eq!(target.reader().durable_applied(), target.reader().applied());
    assert_eq!(target.reader().scrolls(), source.reader().scrolls());
    let state = block_on(target.machine().applied_state()).unwrap();
    assert_eq!(state, (sent.meta.last_log_id, sent.meta.last_membership.clone()));
    let current = block_on(target.machine().get_current_snapshot()).unwrap().unwrap();
    assert_eq!(current.meta, sent.meta);
    drop(current);

    // The upload goes on where it was, with both.
    for replica in [&mut source, &mut target] {
        let rest = in_parts(&upload()).split_off(2);
        let answers: Vec<_> = rest.into_iter().map(|part| replica.run(77, part)).collect();
        assert_eq!(answers.last().unwrap().results[0].status(), OpStatus::OpOk, "{answers:?}");
        assert_eq!(replica.text(UPLOADED).unwrap().len(), 1_200_000);
    }
    // What was remembered came along, usage goes on, and both survive.
    let next = command(vec![append(A, "?")]);
    for replica in [&mut source, &mut target] {
        let again = replica.run(78, retried.clone());
        assert_eq!((again.repeated_request, &again.results), (true, &answer.results));
        replica.run(79, next.clone());
        replica.reopen();
    }
    assert_eq!(target.rows(), source.rows());
    assert_eq!(rows(target.store(), other), before);
}

#[test]
fn an_installed_snapshot_needs_no_flush() {
    let (source, mut target) = (source(), target());
    install(&mut target, &send(source.store()));
    target.crash();
    assert_eq!(target.rows(), source.rows());
}

#[test]
fn a_snapshot_shows_one_moment() {
    let mut source = source();
    let before = source.rows();
    let (reading, meta) = block_on(async {
        let reading = SnapshotSource::open(source.store(), GROUP).await.unwrap();
        let meta = reading.meta().clone();
        (reading, meta)
    });
    for n in 1..=300_u32 {
        source.op(write(&format!("1.1.{n}/1.1.1/1.1.1"), "changed"));
    }
    let mut reading = reading;
    let end = block_on(async {
        loop {
            if let SnapshotPiece::End(end) = reading.next().await.unwrap() {
                return end;
            }
        }
    });
    assert_eq!(end, before);
    assert_eq!(meta.last_log_id, Some(log_id(304)));
}

fn damaged(change: impl FnOnce(&mut Sent)) -> SnapshotFault {
    let (source, mut target) = (source(), target());
    let mut sent = send(source.store());
    change(&mut sent);
    let before = target.rows();
    let fault = match receive(target.store(), &sent) {
        Err(StateError::Snapshot(fault)) => fault,
        other => panic!("not refused as it should be: {other:?}"),
    };
    assert_eq!(target.rows(), before);
    target.reopen();
    assert_eq!(target.rows(), before);
    fault
}

#[test]
fn damaged_transfers_are_refused_and_change_nothing() {
    let flipped = damaged(|sent| {
        let value = &mut sent.chunks[1].values[0];
        let mut bytes = value.to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        *value = Bytes::from(bytes);
    });
    assert_eq!(flipped, SnapshotFault::Hash);
    let swapped = damaged(|sent| sent.chunks.swap(0, 1));
    assert!(matches!(swapped, SnapshotFault::Order { .. }));
    let twice = damaged(|sent| sent.chunks.insert(1, sent.chunks[0].clone()));
    assert!(matches!(twice, SnapshotFault::Order { .. }));
    let lost = damaged(|sent| {
        sent.chunks.pop();
    });
    assert!(matches!(lost, SnapshotFault::Count { .. }));
    let unpaired = damaged(|sent| {
        sent.chunks[0].values.pop();
    });
    assert!(matches!(unpaired, SnapshotFault::Unpaired { .. }));
    let wrong_hash = damaged(|sent| sent.end.hash = vec![0; 16].into());
    assert_eq!(wrong_hash, SnapshotFault::Hash);
    let elsewhere = damaged(|sent| sent.meta.last_log_id = Some(log_id(999)));
    assert_eq!(elsewhere, SnapshotFault::Meta);
    let empty_key = damaged(|sent| sent.chunks[0].keys[0] = Bytes::new());
    assert_eq!(empty_key, SnapshotFault::Order { at: 1 });
}

#[test]
fn a_snapshot_is_installed_only_where_it_belongs() {
    let (source, mut target) = (source(), target());
    let sent = send(source.store());
    let before = target.rows();
    let handle = receive(target.store(), &sent).unwrap();
    let other = SnapshotMeta { last_log_id: Some(log_id(5)), ..sent.meta.clone() };
    block_on(target.machine().install_snapshot(&other, handle)).unwrap_err();
    assert_eq!(target.rows(), before);
    let (mut wrong, _) = StateMachine::shard(target.store(), GroupId(8)).unwrap();
    let handle = receive(target.store(), &sent).unwrap();
    block_on(wrong.install_snapshot(&sent.meta, handle)).unwrap_err();
    assert_eq!(rows(target.store(), GroupId(8)).pairs, 0);
}

#[test]
fn transfers_of_one_group_may_overlap() {
    let (source, mut target) = (source(), target());
    let sent = send(source.store());
    let mut broken_off = SnapshotStage::begin(target.store(), GROUP, sent.meta.clone()).unwrap();
    broken_off.push(&sent.chunks[0]).unwrap();
    install(&mut target, &sent);
    drop(broken_off);
    assert_eq!(target.rows(), source.rows());
}

#[test]
fn a_built_snapshot_reports_what_is_on_disk() {
    let mut replica = Replica::new();
    replica.op(write(A, "a"));
    let build = |replica: &mut Replica, force| {
        block_on(async {
            let builder = replica.machine().try_create_snapshot_builder(force).await;
            match builder {
                Some(mut builder) => Some(builder.build_snapshot().await.unwrap().meta),
                None => None,
            }
        })
    };
    assert_eq!(build(&mut replica, false), None, "nothing is on disk yet");
    assert!(block_on(replica.machine().get_current_snapshot()).unwrap().is_none());
    replica.store().flush_and_publish().unwrap();
    replica.op(write(A, "b"));
    assert_eq!(build(&mut replica, false).unwrap().last_log_id, Some(log_id(0)));
    assert_eq!(replica.reader().durable_applied(), 0);
    // Asked for in earnest, it brings everything to disk first.
    assert_eq!(build(&mut replica, true).unwrap().last_log_id, Some(log_id(1)));
    assert_eq!(replica.crash(), 2);
}

#[test]
fn a_removed_group_leaves_nothing() {
    let mut replica = target();
    let other = GroupId(GROUP.0 + 1);
    let (mut neighbour, _) = StateMachine::shard(replica.store(), other).unwrap();
    neighbour.replay([normal(0, &entry(1, vec![command(vec![write(A, "stays")])]))]).unwrap();
    replica.store().remove_group(GROUP).unwrap();
    assert_eq!(replica.rows().pairs, 0);
    assert!(rows(replica.store(), other).pairs > 0);
    drop(neighbour);
    replica.next = replica.crash();
    assert_eq!((replica.next, replica.rows().pairs), (0, 0), "gone for good at once");
    assert_eq!(replica.op(write(A, "anew")).status(), OpStatus::OpOk);
}
