//! The meta machine: nodes that come and go, and shards on the move.

use prost::Message as _;
use ranch_proto::ids::{GroupId, NodeId};
use ranch_proto::schema::{
    DrainNode, EndMove, GoneNode, JoinNode, JoinToken, LoseNode, MetaStatus, NodeRecord,
    PlanShards, RaiseVersion, Record, ShardGoal, ShardRecord, StartMove, meta_command::What,
    record::What as Is,
};

use crate::meta_support::*;

/// A ranch of four nodes, its four shards on the first three and initialised.
fn four_nodes() -> Meta {
    let mut meta = Meta::bootstrapped();
    for shard in 1..=4 {
        meta.run(What::ShardInitialized(shard));
    }
    meta.run(join(node(4, 4)));
    meta
}

fn plan(shard: u32, nodes: &[u32]) -> What {
    let goal = ShardGoal { shard, nodes: nodes.to_vec() };
    What::PlanShards(PlanShards { shards: vec![goal] })
}

fn start(shard: u32, add: u32, remove: u64) -> What {
    What::StartMove(StartMove { shard, add, remove })
}

fn shard(meta: &Meta, id: u32) -> ShardRecord {
    meta.directory().shards[&GroupId(id)].clone()
}

fn done(shard: &ShardRecord, given_up: bool) -> What {
    let (adding, removing) = (shard.adding, shard.removing);
    What::EndMove(EndMove { shard: shard.id, adding, removing, given_up })
}

#[test]
fn a_shard_moves_by_adding_and_then_taking_away() {
    let mut meta = four_nodes();
    assert_eq!(meta.run(plan(1, &[4, 1, 3])).status(), MetaStatus::MetaOk);
    assert_eq!(shard(&meta, 1).goal, [4, 1, 3]);
    assert_eq!(meta.run(start(1, 4, replica(2, 1))).status(), MetaStatus::MetaOk);
    let moving = shard(&meta, 1);
    assert_eq!((moving.adding, moving.removing), (replica(4, 2), replica(2, 1)));
    assert_eq!(moving.replicas.len(), 3, "nobody is given up before it is over");
    assert!(moving.move_ms > 0);
    let directory = meta.directory();
    assert_eq!(directory.nodes_of(GroupId(1)).len(), 4, "all are to be asked meanwhile");
    assert_eq!(directory.nodes[&NodeId(4)].numbers, 2);
    assert_eq!(meta.refused(start(1, 4, 0)).0, MetaStatus::MetaExists, "one move at a time");
    meta.run(done(&moving, false));
    let moved = shard(&meta, 1);
    assert_eq!(moved.replicas, [replica(4, 2), replica(1, 1), replica(3, 1)], "the goal's order");
    assert_eq!((moved.adding, moved.removing, moved.move_ms), (0, 0, 0));
    assert!(moved.goal.is_empty(), "it is there");
    let before = meta.directory().epoch;
    meta.run(done(&moving, false));
    assert_eq!(meta.directory().epoch, before, "said twice is said once");
}

#[test]
fn a_replica_number_is_never_given_twice() {
    let mut meta = four_nodes();
    let mut seen = Vec::new();
    for _ in 0..3 {
        meta.run(plan(1, &[4, 1, 3]));
        meta.run(start(1, 4, replica(2, 1)));
        let moving = shard(&meta, 1);
        assert!(!seen.contains(&moving.adding), "{seen:?}");
        seen.push(moving.adding);
        meta.run(done(&moving, true));
        assert_eq!(shard(&meta, 1).replicas.len(), 3);
        assert!(!shard(&meta, 1).replicas.contains(&moving.adding), "it was given up");
    }
    // Nor to a life of the node that comes after it.
    let reborn = meta.run(join(NodeRecord { incarnation: 0, ..node(4, 44) }));
    assert_eq!(is_node(&reborn).incarnation, 5);
}

#[test]
fn a_node_reborn_in_the_middle_of_a_move_is_filled_under_its_new_number() {
    let mut meta = four_nodes();
    meta.run(plan(1, &[4, 1, 3]));
    meta.run(start(1, 4, replica(2, 1)));
    meta.run(join(node(4, 44)));
    meta.run(join(node(2, 22)));
    meta.run(join(node(2, 23)));
    let moving = shard(&meta, 1);
    assert_eq!((moving.adding, moving.removing), (replica(4, 3), replica(2, 2)));
    assert_eq!(moving.replicas, [replica(1, 1), replica(3, 1), replica(2, 2)]);
}

#[test]
fn moves_that_make_no_sense_are_refused() {
    let mut meta = four_nodes();
    assert_eq!(meta.refused(plan(9, &[1])).0, MetaStatus::MetaNotFound);
    assert_eq!(meta.refused(plan(1, &[])).0, MetaStatus::MetaInvalid);
    assert_eq!(meta.refused(plan(1, &[1, 1, 2])).0, MetaStatus::MetaInvalid);
    assert_eq!(meta.refused(plan(1, &[1, 2, 9])).0, MetaStatus::MetaExists);
    assert_eq!(meta.refused(start(1, 0, 0)).0, MetaStatus::MetaInvalid);
    assert_eq!(meta.refused(start(1, 3, 0)).0, MetaStatus::MetaExists, "it is there already");
    assert_eq!(meta.refused(start(1, 9, 0)).0, MetaStatus::MetaExists);
    assert_eq!(meta.refused(start(1, 4, replica(4, 1))).0, MetaStatus::MetaExists);
    let mut fresh = Meta::bootstrapped();
    assert_eq!(fresh.refused(start(1, 0, replica(2, 1))).0, MetaStatus::MetaExists, "no group yet");
}

#[test]
fn a_node_leaves_only_when_enough_stay_and_nothing_is_left_on_it() {
    let mut meta = four_nodes();
    let mut three = Meta::bootstrapped();
    let (status, reason) = three.refused(What::RemoveNode(2));
    assert_eq!(status, MetaStatus::MetaExists);
    assert!(
        reason.contains("2 nodes for 3 copies") && reason.contains("add a machine"),
        "{reason}"
    );
    assert_eq!(meta.refused(What::RemoveNode(9)).0, MetaStatus::MetaNotFound);
    assert_eq!(meta.refused(What::ForgetNode(2)).0, MetaStatus::MetaExists, "not leaving");
    assert!(is_node(&meta.run(What::RemoveNode(2))).leaving);
    assert!(meta.directory().is_draining(NodeId(2)));
    assert_eq!(meta.refused(What::RemoveNode(3)).0, MetaStatus::MetaExists, "one is leaving");
    assert!(meta.refused(What::ForgetNode(2)).1.contains("still on node 2"));
    assert_eq!(meta.refused(start(1, 2, 0)).0, MetaStatus::MetaExists);
    for id in 1..=4 {
        meta.run(plan(id, &[1, 3, 4]));
        meta.run(start(id, 4, replica(2, 1)));
        let moving = shard(&meta, id);
        meta.run(done(&moving, false));
    }
    assert_eq!(meta.run(What::ForgetNode(2)).status(), MetaStatus::MetaOk);
    let directory = meta.directory();
    assert!(!directory.nodes.contains_key(&NodeId(2)));
    assert_eq!(directory.gone[&NodeId(2)].name, "node2");
    assert_eq!(meta.run(What::ForgetNode(2)).status(), MetaStatus::MetaOk, "done is done");
    let (_, reason) = meta.refused(join(node(2, 2)));
    assert!(reason.contains("has left this ranch") && reason.contains("a new id"), "{reason}");
    // A restart of the meta machine finds the same.
    meta.store().flush().unwrap();
    meta.reopen();
    assert_eq!(meta.directory().gone, directory.gone);
}

#[test]
fn leaving_is_called_off_and_being_away_is_noted() {
    let mut meta = four_nodes();
    meta.run(What::RemoveNode(2));
    let undrained = meta.run(What::DrainNode(DrainNode { id: 2, draining: false }));
    assert!(!is_node(&undrained).leaving && !is_node(&undrained).draining);
    assert!(is_node(&meta.run(What::LoseNode(LoseNode { id: 3, lost: true }))).lost);
    // What a node says of itself when it starts changes none of this.
    meta.run(What::DrainNode(DrainNode { id: 3, draining: true }));
    let restarted = meta.run(join(NodeRecord { version: "9".into(), ..node(3, 3) }));
    assert!(is_node(&restarted).lost && is_node(&restarted).draining);
    assert!(!is_node(&meta.run(What::LoseNode(LoseNode { id: 3, lost: false }))).lost);
}

#[test]
fn machines_without_an_id_join_by_token_and_bad_joins_change_nothing() {
    let mut meta = four_nodes();
    let by_token = |asked: NodeRecord, token: u8| {
        let node = Some(NodeRecord { id: 0, ..asked });
        What::Join(JoinNode { node, token: vec![token; 32].into() })
    };
    let (_, reason) = meta.refused(by_token(node(7, 7), 9));
    assert!(reason.contains("not one of this ranch") && reason.contains("ranch node token"));
    let token = |hash: u8, expires_ms| JoinToken {
        hash: vec![hash; 32].into(),
        expires_ms,
        ..JoinToken::default()
    };
    assert_eq!(meta.refused(What::AddToken(token(9, 1))).0, MetaStatus::MetaInvalid);
    assert_eq!(meta.run(What::AddToken(token(9, u64::MAX))).status(), MetaStatus::MetaOk);
    let joined = meta.run(by_token(node(7, 7), 9));
    assert_eq!((is_node(&joined).id, is_node(&joined).incarnation), (5, 1));
    let again = meta.run(by_token(node(7, 7), 9));
    assert_eq!(is_node(&again).id, 5, "the same directory, the same node");
    let neighbour = NodeRecord { addr: "127.0.0.1:3".into(), ..node(8, 8) };
    assert!(
        meta.refused(by_token(neighbour, 9)).1.contains("the address 127.0.0.1:3: node 3 has it")
    );
    let other = NodeRecord { name: "other".into(), addr: "x:1".into(), ..node(3, 33) };
    let (_, reason) = meta.refused(join(other));
    assert!(reason.contains("id 3 is taken by node node3"), "{reason}");
    let newer = NodeRecord { format_min: 2, format_max: 3, version: "9.9".into(), ..node(6, 6) };
    let (_, reason) = meta.refused(join(newer));
    assert!(reason.contains("at cluster version 1") && reason.contains("9.9"), "{reason}");
}

#[test]
fn tokens_count_what_they_let_in() {
    let mut meta = four_nodes();
    let token = JoinToken {
        hash: vec![9; 32].into(),
        expires_ms: u64::MAX,
        uses: 1,
        ..JoinToken::default()
    };
    meta.run(What::AddToken(token));
    let join = |nonce: u8| {
        let node = Some(NodeRecord { id: 0, ..node(u32::from(nonce), nonce) });
        What::Join(JoinNode { node, token: vec![9; 32].into() })
    };
    assert_eq!(is_node(&meta.run(join(7))).id, 5);
    assert_eq!(meta.directory().tokens.values().map(|token| token.used).sum::<u32>(), 1);
    let (_, reason) = meta.refused(join(8));
    assert!(reason.contains("as many machines as it may"), "{reason}");
    assert_eq!(is_node(&meta.run(join(7))).id, 5, "who is in may ask again");
}

/// With TLS a machine's certificate has its id before it joins.
#[test]
fn a_token_lets_in_an_id_no_machine_has_had_and_no_other() {
    let current = |node: NodeRecord| NodeRecord { format_min: 1, format_max: 2, ..node };
    let asks = |node: NodeRecord, token: u8| {
        What::Join(JoinNode { node: Some(current(node)), token: vec![token; 32].into() })
    };
    let token = || JoinToken {
        hash: vec![9; 32].into(),
        expires_ms: u64::MAX,
        uses: 2,
        ..JoinToken::default()
    };
    // As the version before does: there a token beside an id means nothing.
    let mut old = four_nodes();
    assert_eq!(is_node(&old.run(asks(node(9, 9), 7))).id, 9);

    let mut meta = four_nodes();
    for id in 1..=4 {
        meta.run(join(current(node(u32::from(id), id))));
    }
    meta.run(What::RaiseVersion(RaiseVersion { to: 2 }));
    meta.run(What::AddToken(token()));
    let used = |meta: &Meta| meta.directory().tokens.values().map(|token| token.used).sum::<u32>();
    let (_, reason) = meta.refused(asks(node(9, 9), 7));
    assert!(reason.contains("not one of this ranch"), "{reason}");
    assert_eq!(is_node(&meta.run(asks(node(9, 9), 9))).id, 9);
    assert_eq!(is_node(&meta.run(asks(node(9, 9), 7))).id, 9, "who is in may ask again");
    assert_eq!(used(&meta), 1);
    // Not that of another, not even without its data, nor a second one for the same machine, nor
    // one that has left.
    let same_name = NodeRecord { boot_nonce: vec![33; 16].into(), ..node(3, 3) };
    for asked in [same_name, NodeRecord { id: 3, ..node(8, 8) }] {
        let (status, reason) = meta.refused(asks(asked, 9));
        assert_eq!(status, MetaStatus::MetaExists);
        assert!(reason.contains("id 3 is taken by node node3 at 127.0.0.1:3"), "{reason}");
    }
    let twice = NodeRecord { id: 10, ..node(9, 9) };
    assert!(meta.refused(asks(twice, 9)).1.contains("node 9 has it"));
    meta.run(What::RemoveNode(9));
    meta.run(What::ForgetNode(9));
    let (_, reason) = meta.refused(asks(node(9, 9), 9));
    assert!(reason.contains("has left this ranch") && reason.contains("new id"), "{reason}");
    assert_eq!(used(&meta), 1, "what is refused uses nothing up");
    assert_eq!(is_node(&meta.run(asks(node(u32::MAX, 8), 9))).id, u32::MAX);
    meta.run(What::AddToken(JoinToken { hash: vec![5; 32].into(), ..token() }));
    let (_, reason) = meta.refused(asks(NodeRecord { id: 0, ..node(7, 7) }, 5));
    assert!(reason.contains("the highest id"), "{reason}");
}

#[test]
fn tokens_end() {
    let mut meta = four_nodes();
    let token = |hash: u8, expires_ms| {
        What::AddToken(JoinToken {
            hash: vec![hash; 32].into(),
            expires_ms,
            ..JoinToken::default()
        })
    };
    // Entries are stamped 1000 and their index.
    meta.run(token(1, 1_020));
    while meta.next < 30 {
        meta.run(What::ShardInitialized(1));
    }
    let late =
        JoinNode { node: Some(NodeRecord { id: 0, ..node(7, 7) }), token: vec![1; 32].into() };
    assert!(meta.refused(What::Join(late)).1.contains("expired"));
    meta.run(token(2, u64::MAX));
    assert_eq!(meta.directory().tokens.len(), 1, "what has expired goes");
}

/// Rows written before there were moves, and the bytes of those written now.
#[test]
fn golden_bytes_of_records() {
    let old = [0x08, 2, 0x12, 6, 0x81, 0x80, 0x80, 0x80, 0x10, 0x02, 0x18, 1];
    let shard = ShardRecord::decode(&old[..]).unwrap();
    let expected = ShardRecord {
        id: 2,
        replicas: vec![replica(1, 1), 2],
        initialized: true,
        ..ShardRecord::default()
    };
    assert_eq!(shard, expected);
    assert_eq!(expected.encode_to_vec(), old);
    let moving = ShardRecord { goal: vec![3, 1], adding: 5, removing: 6, move_ms: 7, ..shard };
    let new = [&old[..], &[0x22, 2, 3, 1, 0x28, 5, 0x30, 6, 0x38, 7]].concat();
    assert_eq!(moving.encode_to_vec(), new);
    let node = NodeRecord {
        id: 9,
        draining: true,
        leaving: true,
        lost: true,
        numbers: 4,
        format_min: 1,
        format_max: 2,
        ..NodeRecord::default()
    };
    let bytes = [0x08, 9, 0x40, 1, 0x48, 1, 0x50, 1, 0x58, 4, 0x60, 1, 0x68, 2];
    assert_eq!(node.encode_to_vec(), bytes);
    let gone = Record {
        what: Some(Is::Gone(GoneNode { id: 4, name: "n".into(), gone_ms: 3 })),
        removed: false,
    };
    assert_eq!(gone.encode_to_vec(), [0x32, 7, 0x08, 4, 0x12, 1, b'n', 0x18, 3]);
    let token =
        JoinToken { hash: vec![1].into(), created_ms: 2, expires_ms: 3, ..JoinToken::default() };
    let old = Record { what: Some(Is::Token(token.clone())), removed: false };
    assert_eq!(old.encode_to_vec(), [0x3a, 7, 0x0a, 1, 1, 0x10, 2, 0x18, 3]);
    let counted = JoinToken { uses: 5, used: 4, ..token };
    let tail = [0x80, 5, 5, 0x88, 5, 4];
    assert_eq!(counted.encode_to_vec(), [&[0x0a, 1, 1, 0x10, 2, 0x18, 3][..], &tail].concat());
}
