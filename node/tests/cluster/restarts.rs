//! Nodes that die and come back: with their data, too late for the log, or with nothing.

use std::time::Duration;

use ranch_proto::{NodeId, ReplicaId, RequestId};

use crate::ledger::{Writers, until};
use crate::notices;
use crate::ranch::{CONVERGED, NODES, Ranch, SOON, other_than};

/// R6 with room for a busy machine, unoptimised.
const SUCCEEDED: Duration = Duration::from_secs(5);

/// R1, R3, R6: the leader dies under writers and comes back with its data; nothing acknowledged
/// is lost or doubled, and everyone converges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_comes_back() {
    let mut ranch = Ranch::found("killed-leader", |_| ()).await;
    let tenant = ranch.client(NODES[0]).add_tenant("will", SOON).await;
    ranch.converged().await;
    let leader = ranch.led_among(&NODES, tenant.group).await;
    let others = other_than(leader);
    let clients = others.iter().chain(&others).map(|node| ranch.client(*node)).collect();
    let writers = Writers::start(clients, &tenant, SOON);
    grows(&ranch, &tenant, others[0]).await;
    ranch.kill(leader).await;
    ranch.led_among(&others, tenant.group).await;
    grows(&ranch, &tenant, others[0]).await;
    ranch.boot(leader).await;
    let ledger = writers.stop().await;
    let text = ranch.same_text(&tenant).await;
    ledger.check(&text);
    ranch.end().await;
}

/// R6: a node that ends on a fault is succeeded at once, not when its process is gone, which may
/// still have its databases to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_fault_is_succeeded_before_its_process_ends() {
    let mut ranch = Ranch::found("fault", |_| ()).await;
    let tenant = ranch.client(NODES[0]).add_tenant("will", SOON).await;
    ranch.converged().await;
    let leader = ranch.led_among(&NODES, tenant.group).await;
    let others = other_than(leader);
    let clients = others.iter().map(|node| ranch.client(*node)).collect();
    let writers = Writers::start(clients, &tenant, SOON);
    ranch.abandon(leader).await;
    let succeeded = async {
        ranch.led_among(&others, tenant.group).await;
        grows(&ranch, &tenant, others[0]).await;
    };
    tokio::time::timeout(SUCCEEDED, succeeded).await.expect("others take over at once");
    ranch.kill(leader).await;
    ranch.boot(leader).await;
    let ledger = writers.stop().await;
    ledger.check(&ranch.same_text(&tenant).await);
    ranch.end().await;
}

/// Waits until a tenant's scroll has become longer.
async fn grows(ranch: &Ranch, tenant: &crate::client::Tenant, via: NodeId) {
    let client = ranch.client(via);
    let before = client.read(tenant, SOON).await.expect("it can be read").len();
    let grown = async || client.read(tenant, SOON).await.is_ok_and(|text| text.len() > before);
    until(SOON, grown, || "nothing is written any more".into()).await;
}

/// R1, R10: a follower that was away until the log it needs was purged is given a snapshot, and
/// holds the same as the others then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_missed_too_much_gets_a_snapshot() {
    let ranch = Ranch::found("missed-too-much", |config| {
        config.storage.log_keep_entries = 8;
        config.storage.flush_interval_ms = 250;
    })
    .await;
    let tenant = ranch.client(NODES[0]).add_tenant("will", SOON).await;
    ranch.converged().await;
    let leader = ranch.led_among(&NODES, tenant.group).await;
    let follower = other_than(leader)[0];
    ranch.wires.isolate(follower, &other_than(follower));
    let missed_from = ranch.status(leader, tenant.group).await.expect("it leads").last_index;
    let clients = vec![ranch.client(leader); 4];
    let writers = Writers::start(clients, &tenant, SOON);
    let purged = async || {
        let status = ranch.status(leader, tenant.group).await;
        status.is_some_and(|status| status.purged > missed_from)
    };
    until(CONVERGED * 2, purged, || "the log was never purged".into()).await;
    let ledger = writers.stop().await;
    let snapshots = notices::snapshots();
    ranch.wires.heal();
    let text = ranch.same_text(&tenant).await;
    ledger.check(&text);
    assert!(notices::snapshots() > snapshots, "the log was still there");
    ranch.end().await;
}

/// R1, R10: of large entries no more than is wanted is kept once all have them. A follower that was
/// away is sent what it missed, however much that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_are_kept_for_those_who_lack_them() {
    /// With 1 MiB to be kept, about 4 of the entries; as many again may be counted with them, and
    /// some are small.
    const KEPT: u64 = 16;

    let ranch = Ranch::found("large-entries", |config| {
        config.storage.log_keep_mb = 1;
        config.storage.flush_interval_ms = 250;
    })
    .await;
    let tenant = ranch.client(NODES[0]).add_tenant("will", SOON).await;
    ranch.converged().await;
    let leader = ranch.led_among(&NODES, tenant.group).await;
    let followers = other_than(leader);
    let write = async || {
        let hay = "hay ".repeat(64 << 10);
        for _ in 0..24 {
            let client = ranch.client(leader);
            client.append(&tenant, RequestId::random(), &hay, SOON).await.expect("it is written");
        }
    };
    let cut = async |node| {
        let short = async || {
            let status = ranch.status(node, tenant.group).await;
            status.is_some_and(|status| status.purged + KEPT >= status.last_index)
        };
        until(CONVERGED, short, || format!("the log of node {node} stays long")).await;
    };
    write().await;
    for node in NODES {
        cut(node).await;
    }
    ranch.wires.isolate(followers[0], &other_than(followers[0]));
    let missed_from = ranch.status(leader, tenant.group).await.expect("it leads").last_index;
    write().await;
    // It knows of itself only.
    cut(followers[1]).await;
    let durable = async || {
        let status = ranch.status(leader, tenant.group).await.expect("it leads");
        assert!(status.purged <= missed_from, "{} is purged of {missed_from}", status.purged);
        status.durable_applied >= missed_from + 16
    };
    until(CONVERGED, durable, || "nothing is flushed any more".into()).await;
    let snapshots = notices::snapshots();
    ranch.wires.heal();
    ranch.converged().await;
    assert_eq!(notices::snapshots(), snapshots, "what it missed was still there");
    cut(leader).await;
    ranch.end().await;
}

/// R1, R10: a node that lost its disk, the founder of all, comes back under incarnation 2; its
/// new replicas are refilled and become voters in place of the old, and count: with another node
/// dead, what was acknowledged before is still there and the ranch still writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_disk_comes_back_as_another() {
    let mut ranch = Ranch::found("lost-disk", |_| ()).await;
    let lost = NODES[0];
    let others = other_than(lost);
    let tenant = ranch.client(others[0]).add_tenant("will", SOON).await;
    let clients = others.iter().map(|node| ranch.client(*node)).collect();
    let writers = Writers::start(clients, &tenant, SOON);
    grows(&ranch, &tenant, others[0]).await;
    ranch.kill(lost).await;
    ranch.lose_disk(lost);
    ranch.boot(lost).await;
    let mut voters: Vec<u64> = others.iter().map(|node| ReplicaId::new(*node, 1).0).collect();
    voters.insert(0, ReplicaId::new(lost, 2).0);
    let replaced = async || {
        for group in Ranch::groups() {
            for status in ranch.statuses(group).await {
                let mut found = status.voters.clone();
                found.sort_unstable();
                if found != voters || !status.learners.is_empty() {
                    return false;
                }
            }
        }
        true
    };
    until(CONVERGED * 2, replaced, || "the new replicas did not become voters".into()).await;
    let ledger = writers.stop().await;
    let text = ranch.same_text(&tenant).await;
    ledger.check(&text);

    ranch.kill(others[0]).await;
    let client = ranch.client(lost);
    client.append(&tenant, RequestId::random(), "last;", SOON).await.expect("two are enough");
    let read = client.read(&tenant, SOON).await.expect("two are enough");
    assert_eq!(read, format!("{text}last;"));
    ranch.boot(others[0]).await;
    assert_eq!(ranch.same_text(&tenant).await, read);
    ranch.end().await;
}
