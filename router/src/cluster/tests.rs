//! Accounts of ranches in various states.

use ranch_proto::ReplicaId;
use ranch_proto::schema::record::What;
use ranch_proto::schema::{
    ClusterRecord, NodeRecord, Record, ReplicaProgress, Sending, ShardRecord, Verified,
    VerifiedReplica, verified::Verdict,
};

use super::*;

fn replica(node: u32) -> u64 {
    ReplicaId::new(NodeId(node), 1).0
}

fn directory() -> Directory {
    let mut directory = Directory::default();
    let mut put = |what| directory.apply(Record { what: Some(what), removed: false });
    put(What::Cluster(ClusterRecord { name: "home".into(), ..Default::default() }));
    for id in 1..=3 {
        let name = format!("node{id}");
        put(What::Node(NodeRecord { id, name, incarnation: 1, ..Default::default() }));
    }
    let replicas = (1..=3).map(replica).collect();
    put(What::Shard(ShardRecord { id: 1, replicas, initialized: true, ..Default::default() }));
    directory
}

fn group(group: u32, node: u32, state: &str, term: u64) -> GroupStatus {
    GroupStatus {
        group,
        replica: replica(node),
        state: state.into(),
        term,
        last_index: 100,
        voters: (1..=3).map(replica).collect(),
        scrolls: 5,
        last_write_ms: 7,
        ..Default::default()
    }
}

fn leading(id: u32, node: u32, term: u64, matched: u64) -> GroupStatus {
    let progress = (1..=3)
        .map(|other| ReplicaProgress {
            replica: replica(other),
            matched: if other == node { 100 } else { matched },
        })
        .collect();
    GroupStatus { progress, ..group(id, node, "leader", term) }
}

fn answer(node: u32, groups: Vec<GroupStatus>) -> (NodeId, Option<NodeStatusReply>) {
    (NodeId(node), Some(NodeStatusReply { node, pid: 40 + node, groups, ..Default::default() }))
}

#[test]
fn a_healthy_ranch_is_ok() {
    let follower = |node| vec![group(0, node, "follower", 4), group(1, node, "follower", 4)];
    let leader = vec![leading(0, 2, 4, 100), leading(1, 2, 4, 97)];
    let answers =
        Answers::from([answer(1, follower(1)), answer(2, leader), answer(3, follower(3))]);
    let cluster = put_together(&directory(), &answers);
    assert_eq!(cluster.status(), "ok", "{:?}", cluster.problems);
    let shard = &cluster.shards[0];
    assert_eq!((shard.leader, shard.term, shard.lag), (Some(2), 4, Some(3)));
    assert_eq!(shard.replicas, [1, 2, 3]);
    assert_eq!(shard.voters, ["1.1", "2.1", "3.1"]);
    assert_eq!((cluster.scrolls, cluster.last_write_ms), (5, 7));
    assert_eq!((cluster.nodes[0].pid, cluster.nodes[0].state), (Some(41), "up"));
}

#[test]
fn a_copy_that_does_not_vote_yet_is_a_problem() {
    let mut directory = directory();
    let replicas = vec![replica(1), replica(2), ReplicaId::new(NodeId(3), 2).0];
    let shard = ShardRecord { id: 1, replicas, initialized: true, ..Default::default() };
    directory.apply(Record { what: Some(What::Shard(shard)), removed: false });
    let leader = vec![leading(0, 2, 4, 100), leading(1, 2, 4, 100)];
    let answers = Answers::from([answer(1, vec![]), answer(2, leader), answer(3, vec![])]);
    let cluster = put_together(&directory, &answers);
    assert_eq!(cluster.problems, ["node 3's copy of shard 1 is being filled"]);
}

#[test]
fn a_node_that_is_silent_degrades_it() {
    let follower = vec![group(0, 1, "follower", 4), group(1, 1, "follower", 4)];
    let leader = vec![leading(0, 2, 4, 100), leading(1, 2, 4, 100)];
    let answers = Answers::from([answer(1, follower), answer(2, leader), (NodeId(3), None)]);
    let cluster = put_together(&directory(), &answers);
    assert_eq!(cluster.status(), "degraded");
    assert_eq!((cluster.nodes[2].pid, cluster.nodes[2].state), (None, "down"));
    assert_eq!(cluster.problems, ["node 3 (node3) does not answer"]);
}

#[test]
fn a_node_that_was_just_started_is_not_up_yet() {
    let follower = |node| vec![group(0, node, "follower", 4), group(1, node, "follower", 4)];
    let leader = vec![leading(0, 2, 4, 100), leading(1, 2, 4, 100)];
    let (id, started) = answer(3, follower(3));
    let started = started.map(|started| NodeStatusReply { starting: true, ..started });
    let answers = Answers::from([answer(1, follower(1)), answer(2, leader), (id, started)]);
    let cluster = put_together(&directory(), &answers);
    let states: Vec<_> = cluster.nodes.iter().map(|node| node.state).collect();
    assert_eq!((states, cluster.status()), (vec!["up", "up", "starting"], "ok"));
}

#[test]
fn a_shard_without_a_leader_is_down() {
    let follower = |node| vec![leading(0, node, 4, 100), group(1, node, "candidate", 9)];
    let answers = Answers::from([answer(1, follower(1)), answer(2, follower(2))]);
    let cluster = put_together(&directory(), &answers);
    assert_eq!(cluster.status(), "down");
    let shard = &cluster.shards[0];
    assert_eq!((shard.leader, shard.term, shard.lag), (None, 9, None));
    assert!(cluster.problems.iter().any(|problem| problem == "shard 1 has no leader"));
}

#[test]
fn of_two_leaders_the_later_one_counts() {
    let old = vec![leading(1, 1, 3, 100)];
    let new = vec![leading(1, 2, 4, 100)];
    let cluster = put_together(&directory(), &Answers::from([answer(1, old), answer(2, new)]));
    assert_eq!(cluster.shards[0].leader, Some(2));
}

#[test]
fn a_replica_far_behind_or_never_heard_of_is_a_problem() {
    let mut account = leading(1, 2, 4, 100);
    account.last_index = 5_000;
    let cluster = put_together(&directory(), &Answers::from([answer(2, vec![account.clone()])]));
    assert_eq!(cluster.shards[0].lag, Some(4_900));
    assert!(cluster.problems.iter().any(|problem| problem.contains("4900 entries behind")));
    account.progress.retain(|progress| progress.replica != replica(3));
    let cluster = put_together(&directory(), &Answers::from([answer(2, vec![account])]));
    assert_eq!(cluster.shards[0].lag, Some(5_000));
}

#[test]
fn before_the_directory_arrives_it_is_down() {
    let cluster = put_together(&Directory::default(), &Answers::new());
    assert_eq!(cluster.status(), "down");
    assert!(cluster.meta.is_none());
}

#[test]
fn what_moves_is_accounted_for_and_no_problem() {
    let mut directory = directory();
    let four = ReplicaId::new(NodeId(4), 2).0;
    let node = NodeRecord { id: 4, incarnation: 1, leaving: true, ..Default::default() };
    directory.apply(Record { what: Some(What::Node(node)), removed: false });
    let shard = ShardRecord {
        id: 1,
        replicas: (1..=3).map(replica).collect(),
        initialized: true,
        goal: vec![1, 4, 5],
        adding: four,
        removing: replica(2),
        move_ms: 9,
    };
    directory.apply(Record { what: Some(What::Shard(shard)), removed: false });
    let sending = vec![Sending { to: four, sent: 300, elapsed_ms: 1_000 }];
    let mut leader = GroupStatus { bytes: 900, sending, ..leading(1, 1, 4, 100) };
    leader.learners.push(four);
    let all = |node| answer(node, vec![]);
    let answers =
        Answers::from([answer(1, vec![leading(0, 1, 4, 100), leader]), all(2), all(3), all(4)]);
    let cluster = put_together(&directory, &answers);
    assert!(cluster.problems.is_empty(), "{:?}", cluster.problems);
    let moving = Moving { to: Some(4), from: Some(2), sent_bytes: 300, total_bytes: 900 };
    assert_eq!((cluster.shards[0].moving.clone(), cluster.shards[0].lag), (Some(moving), Some(0)));
    let moves =
        Moves { running: 1, waiting: 1, wanted: 3, placed: 1, bytes_left: 1_500, eta_s: Some(5) };
    assert_eq!(cluster.moves, Some(moves));
    assert_eq!((cluster.nodes[0].duty, cluster.nodes[3].duty), ("serving", "leaving"));
}

#[test]
fn what_keeps_the_ranch_from_the_next_version_is_said() {
    use ranch_proto::versions::{Span, Support};

    let (one, two) = (Span { min: 1, max: 1 }, Span { min: 1, max: 2 });
    let account = |at: u32, formats: [Option<Span>; 3]| {
        let mut directory = directory();
        let cluster = ClusterRecord { version: at, ..directory.cluster.clone().unwrap() };
        directory.apply(Record { what: Some(What::Cluster(cluster)), removed: false });
        let answers = (1..).zip(formats).map(|(id, formats)| {
            let (id, answer) = answer(id, Vec::new());
            let versions = formats.map(|formats| Support { formats, protocols: one }.to_wire());
            (id, answer.map(|answer| NodeStatusReply { versions, ..answer }))
        });
        put_together(&directory, &answers.collect())
    };
    let mixed = account(1, [Some(two), None, Some(two)]);
    assert_eq!((mixed.version, mixed.next_version), (1, None));
    assert_eq!(mixed.nodes[1].formats, Versions { min: 1, max: 1 }, "one that says nothing");
    assert_eq!(mixed.notes, ["the ranch stays at cluster version 1 until node2 can do 2, too"]);
    let ready = account(1, [Some(two); 3]);
    assert_eq!(ready.next_version, Some(2));
    assert!(ready.notes[0].contains("upgrade --finish"), "{:?}", ready.notes);
    let done = account(2, [Some(two); 3]);
    assert_eq!((done.version, done.next_version, done.notes.len()), (2, None, 0));
    let shown = serde_json::to_value(&done).unwrap();
    assert_eq!(shown["cluster_version"], 2);
    assert_eq!(shown["nodes"][0]["protocols"], serde_json::json!({"min": 1, "max": 1}));
}

/// A comparison at which node 3's copy differed from the others'.
fn differing(at_ms: u64, majority: &'static [u8]) -> Verified {
    let one = |node, hash: &'static [u8]| VerifiedReplica {
        replica: replica(node),
        hash: hash.into(),
        ..Default::default()
    };
    Verified {
        verdict: Verdict::Differ.into(),
        index: 77,
        at_ms,
        replicas: vec![one(1, b"a"), one(2, b"a"), one(3, b"b")],
        majority: majority.into(),
        ..Default::default()
    }
}

#[test]
fn copies_that_differ_are_a_problem_until_they_are_replaced_or_alike() {
    let problems = |leader: GroupStatus, other: GroupStatus| {
        let meta = leading(0, 2, 4, 100);
        let answers = Answers::from([
            answer(1, vec![other]),
            answer(2, vec![meta, leader]),
            answer(3, vec![group(1, 3, "follower", 4)]),
        ]);
        put_together(&directory(), &answers).problems
    };
    let follower = || group(1, 1, "follower", 4);
    let leader = |verified| GroupStatus { verified, ..leading(1, 2, 4, 100) };
    let found = problems(leader(Some(differing(5, b"a"))), follower());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("shard 1 differ at entry 77: node 3's is not like"), "{found:?}");
    let undecided = problems(leader(Some(differing(5, b""))), follower());
    assert!(undecided[0].contains("no majority of them agrees"), "{undecided:?}");
    // Who led before knows it, and who leads now has found them alike since, or not compared yet.
    let led = GroupStatus { verified: Some(differing(5, b"a")), ..follower() };
    assert_eq!(problems(leader(None), led.clone()).len(), 1);
    let alike = Verified { verdict: Verdict::Alike.into(), at_ms: 6, ..Default::default() };
    assert!(problems(leader(Some(alike)), led).is_empty());
    // Replaced: another replica of node 3 is a member now.
    let voters = vec![replica(1), replica(2), ReplicaId::new(NodeId(3), 2).0];
    let renewed = GroupStatus { voters, ..leader(Some(differing(5, b"a"))) };
    let found = problems(renewed, follower());
    assert!(!found.iter().any(|problem| problem.contains("differ")), "{found:?}");
}
