//! Nodes that cannot hear each other, in one direction or in both.

use std::time::Duration;

use ranch_proto::{GroupId, NodeId, RequestId, ShardError};

use crate::client::Tenant;
use crate::ledger::{Writers, until};
use crate::ranch::{NODES, Ranch, SOON, other_than};

/// Given to requests that are expected to fail, by a node that is cut off.
const BRIEFLY: Duration = Duration::from_secs(2);

/// A ranch with a tenant that has one acknowledged token, and its shard's leader.
pub async fn with_tenant(name: &str) -> (Ranch, Tenant, NodeId) {
    let ranch = Ranch::found(name, |_| ()).await;
    let client = ranch.client(NODES[0]);
    let tenant = client.add_tenant("will", SOON).await;
    client
        .append(&tenant, RequestId::random(), "first;", SOON)
        .await
        .expect("a quiet ranch writes");
    ranch.converged().await;
    let leader = ranch.led_among(&NODES, tenant.group).await;
    (ranch, tenant, leader)
}

/// R1, R2, R3, R6, R10: a leader parted from both followers acknowledges nothing and answers no
/// linearizable read, the others go on without it, and afterwards every acknowledged token is
/// there once, also the one that was tried at the old leader and then again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_cut_off_gives_way() {
    let (ranch, tenant, leader) = with_tenant("cut-off-leader").await;
    let others = other_than(leader);
    ranch.wires.isolate(leader, &others);
    let (alone, majority) = (ranch.client(leader), ranch.client(others[0]));
    let open = RequestId::random();
    let tried = alone.append_at(leader, &tenant, (open, "open;"), BRIEFLY).await;
    assert!(matches!(tried, Err(ShardError::Unknown { .. })), "{tried:?}");
    let stale = alone.read_at(leader, &tenant, false, BRIEFLY).await;
    assert!(stale.is_err(), "a leader that nobody hears answered {stale:?}");

    ranch.led_among(&others, tenant.group).await;
    majority.append(&tenant, RequestId::random(), "second;", SOON).await.expect("two are enough");
    let stale = alone.read_at(leader, &tenant, false, BRIEFLY).await;
    assert!(stale.is_err(), "a deposed leader answered {stale:?}");
    let read = majority.read(&tenant, SOON).await.expect("two are enough");
    assert_eq!(read, "first;second;");

    ranch.wires.heal();
    alone.append(&tenant, open, "open;", SOON).await.expect("the ranch is whole again");
    assert_eq!(ranch.same_text(&tenant).await, "first;second;open;");
    ranch.end().await;
}

/// R2, R6, R10: a leader whose messages arrive, but who hears nobody, cannot hold the ranch up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_leader_gives_way() {
    let (ranch, tenant, leader) = with_tenant("deaf-leader").await;
    for other in other_than(leader) {
        ranch.wires.cut(other, leader);
    }
    survives_without(ranch, &tenant, leader).await;
}

/// R2, R6, R10: nor can a leader who hears everybody, but whose messages do not arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_leader_gives_way() {
    let (ranch, tenant, leader) = with_tenant("mute-leader").await;
    for other in other_than(leader) {
        ranch.wires.cut(leader, other);
    }
    survives_without(ranch, &tenant, leader).await;
}

/// The others write without `leader`, which answers no linearizable read, and after heal all is
/// as it should be.
async fn survives_without(ranch: Ranch, tenant: &Tenant, leader: NodeId) {
    let others = other_than(leader);
    let (alone, majority) = (ranch.client(leader), ranch.client(others[0]));
    let open = RequestId::random();
    let tried = alone.append_at(leader, tenant, (open, "open;"), BRIEFLY).await;
    assert!(tried.is_err(), "acknowledged by a minority");
    let read = alone.read_at(leader, tenant, false, BRIEFLY).await;
    assert!(read.is_err(), "a leader that hears nobody or reaches nobody answered {read:?}");
    ranch.led_among(&others, tenant.group).await;
    majority.append(tenant, RequestId::random(), "second;", SOON).await.expect("two are enough");
    ranch.wires.heal();
    // Retried under its id: whether it was applied before or not, it is there once.
    majority.append(tenant, open, "open;", SOON).await.expect("the ranch is whole again");
    let text = ranch.same_text(tenant).await;
    let mut tokens: Vec<&str> = text.split_inclusive(';').collect();
    assert_eq!(tokens.first(), Some(&"first;"));
    tokens.sort_unstable();
    assert_eq!(tokens, ["first;", "open;", "second;"]);
    ranch.end().await;
}

/// R6, R10: a follower that was cut off for many election times comes back without an election
/// (Pre-Vote): the term of the shard does not grow, and no request is lost meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_cut_off_comes_back_quietly() {
    let (ranch, tenant, leader) = with_tenant("quiet-return").await;
    let follower = other_than(leader)[0];
    let term = term_of(&ranch, leader, tenant.group).await;
    let writers = Writers::start(vec![ranch.client(leader)], &tenant, SOON);
    ranch.wires.isolate(follower, &other_than(follower));
    // Time for five lost elections at least, each of which would raise the term by one.
    let began = std::time::Instant::now();
    let alone = async || began.elapsed() > Duration::from_secs(5);
    until(SOON, alone, || "time stands still".into()).await;
    ranch.wires.heal();
    let caught_up = async || {
        let (here, there) =
            (ranch.status(leader, tenant.group).await, ranch.status(follower, tenant.group).await);
        here.zip(there).is_some_and(|(here, there)| there.applied + 50 > here.last_index)
    };
    until(SOON, caught_up, || "the follower did not catch up".into()).await;
    let ledger = writers.stop().await;
    assert_eq!(term_of(&ranch, leader, tenant.group).await, term, "the return cost an election");
    assert_eq!(ranch.leader_seen_by(leader, tenant.group).await, Some(leader));
    let text = ranch.same_text(&tenant).await;
    ledger.check(text.strip_prefix("first;").expect("the first token is there"));
    ranch.end().await;
}

async fn term_of(ranch: &Ranch, node: NodeId, group: GroupId) -> u64 {
    ranch.status(node, group).await.expect("every node holds every group").term
}
