//! Real processes killed, paused and bereft of their disks, under load. What clients were
//! answered meanwhile is judged by the checker of `ranch-chaos`; promises are those of
//! `RELIABILITY.md`: R1 nothing acknowledged is lost, R2 reads are linearizable, R3 a write
//! applies once, R6 a failed minority does not stop service, R9 what is wrong is found.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod disks;
mod full;
mod kills;
mod spoiled;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use ranch_chaos::workload::Running;
use ranch_chaos::{Cluster, Ranch};
use support::judge;

/// How long service may be away, or a node may take to catch up: many times what is promised,
/// since these tests run unoptimised on whatever machine there is. A hang is what they find here;
/// `ranch-chaos` and `docs/performance.md` hold the promised times.
const LIMIT: Duration = Duration::from_mins(1);

/// The tenant whose scrolls are written.
const TENANT: &str = "will";

/// Puts load on a ranch and waits until it flows.
async fn load(ranch: &Ranch, key: &str, seed: u64) -> Running {
    support::load(ranch, (TENANT, key), seed, LIMIT).await
}

/// The node that leads the tenant's shard, and one that does not.
async fn leader_and_follower(ranch: &Ranch) -> (u32, u32) {
    let led = |cluster: &Cluster| cluster.leader_of(TENANT).is_some();
    let cluster = ranch.wait_cluster("a leader", LIMIT, led).await.expect("a leader");
    let leader = cluster.leader_of(TENANT).expect("just seen");
    let follower = ranch.node_ids().into_iter().find(|id| *id != leader).expect("three nodes");
    (leader, follower)
}

/// Waits until every node is up and no replica is behind.
async fn whole(ranch: &Ranch) {
    let waited = ranch.wait_cluster("every replica to catch up", LIMIT, Cluster::is_whole);
    waited.await.expect("the ranch becomes whole again");
}
