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

/// R1, R9: a backup restored over a node's directory is consistent in itself, but has forgotten
/// what the node acknowledged since. The others remember, and the node comes back as another one.
#[tokio::test]
async fn a_restored_backup_is_found_out() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 23).await;
    let (_, follower) = leader_and_follower(&ranch).await;
    let dir = ranch.node_place(follower).unwrap().data_dir.clone();
    let backup = dir.with_extension("backup");
    ranch.node(follower).unwrap().kill().unwrap();
    let paths = [dir.to_str().unwrap(), backup.to_str().unwrap()];
    let copied = std::process::Command::new("cp").arg("-a").args(paths).status().unwrap();
    assert!(copied.success());
    ranch.node(follower).unwrap().start().unwrap();
    whole(&ranch).await;
    running.progress(200, LIMIT).await.expect("service goes on");
    whole(&ranch).await;
    ranch.node(follower).unwrap().kill().unwrap();
    fs::remove_dir_all(&dir).unwrap();
    fs::rename(&backup, &dir).unwrap();
    ranch.node(follower).unwrap().start().unwrap();
    let note = "because its data was an older copy of what it had acknowledged";
    let noted = ranch_chaos::wait::until("the backup to be found out", LIMIT, async || {
        // It ends when it finds out, and a supervisor starts it again.
        ranch.start_all().unwrap();
        let cluster = ranch.cluster().await.ok()?;
        let found = cluster.notes.iter().any(|found| found.contains(note));
        (found && cluster.is_whole()).then_some(())
    });
    noted.await.unwrap();
    running.progress(100, LIMIT).await.expect("service goes on");
    judge(&ranch, running).await;
}
