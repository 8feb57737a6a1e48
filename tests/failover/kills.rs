//! Processes that end without warning, or stop for a while.

use std::time::Duration;

use ranch_chaos::history::Outcome;

use crate::support::ranch_with;
use crate::{LIMIT, TENANT, judge, leader_and_follower, load, whole};

/// R1, R2, R3, R6: the leader of the tenant's shard is killed, twice, under load.
#[tokio::test]
async fn a_killed_leader_loses_nothing_and_doubles_nothing() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 11).await;
    for _ in 0..2 {
        let (leader, _) = leader_and_follower(&ranch).await;
        ranch.node(leader).unwrap().kill().unwrap();
        running.progress(100, LIMIT).await.expect("service comes back by itself");
        let (next, _) = leader_and_follower(&ranch).await;
        assert_ne!(next, leader, "another node leads");
        ranch.node(leader).unwrap().start().unwrap();
        whole(&ranch).await;
    }
    running.progress(50, LIMIT).await.expect("service goes on");
    judge(&ranch, running).await;
}

/// R6: a follower costs no request.
#[tokio::test]
async fn a_killed_follower_costs_no_request() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 12).await;
    let (_, follower) = leader_and_follower(&ranch).await;
    ranch.node(follower).unwrap().kill().unwrap();
    running.progress(300, LIMIT).await.expect("service goes on");
    ranch.node(follower).unwrap().start().unwrap();
    whole(&ranch).await;
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&ranch, running).await;
}

/// R1, R2, R3: all nodes at one moment, under load, and again when there is no load.
#[tokio::test]
async fn all_nodes_killed_at_once_come_back_with_everything() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 13).await;
    ranch.kill_all_nodes().unwrap();
    ranch.start_all().unwrap();
    ranch.wait_ready().await.expect("every shard has a leader again");
    running.progress(100, LIMIT).await.expect("service comes back by itself");
    let history = judge(&ranch, running).await;

    ranch.kill_all_nodes().unwrap();
    ranch.start_all().unwrap();
    ranch.wait_ready().await.expect("every shard has a leader again");
    let mut client = ranch.client(Some(&key));
    for last in history.iter().rev().take(4) {
        let Outcome::Seen { tokens, .. } = &last.outcome else { panic!("{last:?}") };
        let read = client.read(ranch_chaos::workload::PHEXT, &last.scroll).await.unwrap();
        let found = ranch_chaos::token::tokens(&read.text());
        assert_eq!(&found, tokens, "{}", last.scroll);
    }
}

/// R2: a leader that was stopped for longer than an election wakes up deposed. What it answers
/// then must not be from its own past.
#[tokio::test]
async fn a_leader_that_slept_serves_nothing_stale() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 14).await;
    for _ in 0..2 {
        let (leader, _) = leader_and_follower(&ranch).await;
        ranch.node(leader).unwrap().pause().unwrap();
        let other = |cluster: &ranch_chaos::Cluster| {
            cluster.leader_of(TENANT).is_some_and(|now| now != leader)
        };
        ranch.wait_cluster("another leader", LIMIT, other).await.expect("an election");
        running.progress(100, LIMIT).await.expect("service comes back by itself");
        ranch.node(leader).unwrap().resume().unwrap();
        running.progress(100, LIMIT).await.expect("service goes on");
        whole(&ranch).await;
    }
    judge(&ranch, running).await;
}

/// R6 and R10: nodes restarted in order, one after the other, under load.
#[tokio::test]
async fn every_node_in_turn_may_be_stopped_and_started() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 15).await;
    for id in ranch.node_ids() {
        let stopped = ranch.node(id).unwrap().stop(LIMIT).await.expect("SIGTERM ends a node");
        assert!(stopped.success(), "node {id}: {stopped}");
        running.progress(30, LIMIT).await.expect("service goes on");
        ranch.node(id).unwrap().start().unwrap();
        whole(&ranch).await;
    }
    judge(&ranch, running).await;
}

/// A minority cannot write, says so, and does not claim anything.
#[tokio::test]
async fn a_minority_refuses_or_says_that_it_does_not_know() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let mut client = ranch.client(Some(&key)).with_limit(LIMIT);
    let at = "1.1.1/1.1.1/1.1.1";
    assert_eq!(client.write("p", at, "before").await.unwrap().status, 200);
    let (leader, follower) = leader_and_follower(&ranch).await;
    ranch.node(leader).unwrap().kill().unwrap();
    ranch.node(follower).unwrap().kill().unwrap();
    let refused = client.write("p", at, "after").await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(client.read("p", at).await.unwrap().status, 503);
    let ready = ranch_chaos::wait::until("not ready", Duration::from_secs(20), async || {
        let answer = ranch.client(None).get("/health/ready").await.ok()?;
        (answer.status == 503).then_some(())
    });
    ready.await.expect("/health/ready says so");
    ranch.start_all().unwrap();
    ranch.wait_ready().await.unwrap();
    let read = client.read("p", at).await.unwrap();
    assert!(read.text() == "before" || read.text() == "after", "{}", read.text());
}
