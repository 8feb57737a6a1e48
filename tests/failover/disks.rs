//! Data directories that are lost or damaged while their node is down.

use std::fs;
use std::time::Duration;

use ranch_chaos::cluster::Shard;
use ranch_chaos::{Cluster, Ranch};

use crate::support::ranch_with;
use crate::{LIMIT, TENANT, judge, leader_and_follower, load, whole};

/// Writes that take the log well past what is kept of it behind a snapshot, also when each entry
/// carries a command of every client.
const MANY: u64 = 6_000;

/// How long so many writes may take, unoptimised and beside other work.
const MANY_LIMIT: Duration = Duration::from_mins(3);

/// Whether a node has ever been sent a snapshot of the tenant's shard.
fn was_sent_a_snapshot(ranch: &mut Ranch, id: u32) -> bool {
    ranch.node(id).unwrap().log().contains("installing a snapshot")
}

/// R1, R9: a node whose directory is gone comes back, is filled again from the others, and then
/// counts as much as any: with one of the others gone, it is half of the majority.
#[tokio::test]
async fn a_lost_disk_is_refilled_and_counts_again() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 21).await;
    let (leader, follower) = leader_and_follower(&ranch).await;
    for lost in [follower, leader] {
        ranch.node(lost).unwrap().kill().unwrap();
        running.progress(MANY, MANY_LIMIT).await.expect("service goes on");
        fs::remove_dir_all(&ranch.node_place(lost).unwrap().data_dir).unwrap();
        ranch.node(lost).unwrap().start().unwrap();
        whole(&ranch).await;
        assert!(was_sent_a_snapshot(&mut ranch, lost), "node {lost} was filled from the log");
        let reborn = format!("{lost}.2");
        let votes = |shard: &Shard| shard.voters.contains(&reborn) && shard.voters.len() == 3;
        let everywhere = |cluster: &Cluster| cluster.shards.iter().all(votes);
        let waited = ranch.wait_cluster("the new copies to vote", LIMIT, everywhere).await;
        waited.expect("the node votes under its next incarnation");
        let other = ranch.node_ids().into_iter().find(|id| *id != lost).unwrap();
        ranch.node(other).unwrap().kill().unwrap();
        running.progress(100, LIMIT).await.expect("the refilled node makes a majority");
        ranch.node(other).unwrap().start().unwrap();
        whole(&ranch).await;
    }
    judge(&ranch, running).await;
}

/// R1: a node that was away for longer than the log reaches back is sent a snapshot.
#[tokio::test]
async fn a_node_that_was_away_for_long_catches_up() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 22).await;
    let (leader, follower) = leader_and_follower(&ranch).await;
    ranch.node(follower).unwrap().kill().unwrap();
    running.progress(MANY, MANY_LIMIT).await.expect("service goes on");
    ranch.node(follower).unwrap().start().unwrap();
    whole(&ranch).await;
    assert!(was_sent_a_snapshot(&mut ranch, follower), "the log reached back far enough");
    ranch.node(leader).unwrap().kill().unwrap();
    running.progress(100, LIMIT).await.expect("the node that was away serves");
    ranch.node(leader).unwrap().start().unwrap();
    whole(&ranch).await;
    judge(&ranch, running).await;
}
