//! Copies whose rows are not what the log made of them, with every checksum right: as after a bug
//! or on a machine that computes wrongly. Only a comparison with the other copies shows it.

use std::time::Duration;

use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::states::{Comparison, States};
use ranch_chaos::wait::until;
use ranch_chaos::{Cluster, Layout, Ranch};
use ranch_proto::GroupId;
use ranch_proto::keys::Kind;
use ranch_raft::state::{StateOptions, StateStore};

use crate::support::{cli, launch, ranch_with, refusal, stdout};
use crate::{LIMIT, TENANT, judge, leader_and_follower, load, whole};

const AT: &str = "1.1.1/1.1.1/1.1.1";
const TEXT: &str = "feed the horses";
const NOTE: &str = "because its rows differed from those of most other copies";

/// Writes a scroll, and changes a byte of a stopped node's copy of it.
async fn spoil(ranch: &mut Ranch, key: &str, node: u32) {
    let written = ranch.client(Some(key)).write("a", AT, TEXT).await.unwrap();
    assert_eq!(written.status, 200);
    whole(ranch).await;
    let shard = ranch.cluster().await.unwrap().shard_of(TENANT).unwrap().id;
    ranch.node(node).unwrap().stop(LIMIT).await.unwrap();
    let dir = ranch.node_place(node).unwrap().data_dir.join("state");
    let store = StateStore::open(dir, StateOptions::default()).unwrap();
    assert!(store.spoil(GroupId(shard), Kind::Body).unwrap(), "the scroll is on its disk");
    drop(store);
    ranch.node(node).unwrap().start().unwrap();
    whole(ranch).await;
}

/// Waits until a node has come back empty, and been filled again by the others.
async fn replaced(ranch: &mut Ranch, node: u32) {
    let back = until("the copy that differs to be replaced", LIMIT, async || {
        // It ends when it may, and a supervisor starts it again.
        ranch.start_all().unwrap();
        let cluster = ranch.cluster().await.ok()?;
        let noted = |note: &String| note.contains(NOTE) && note.contains(&format!("node {node} "));
        let votes = cluster.shards.iter().all(|shard| shard.voters.contains(&format!("{node}.2")));
        let whole = cluster.is_whole() && cluster.problems.is_empty();
        (cluster.notes.iter().any(noted) && votes && whole).then_some(())
    });
    back.await.unwrap();
    let mut admin = ranch.client(Some(ADMIN_KEY)).with_limit(LIMIT);
    let alike = until("all copies to be alike", LIMIT, async || {
        let found = Comparison::ask(&mut admin).await.ok()?;
        States::judge(&found).faults.is_empty().then_some(())
    });
    alike.await.unwrap();
    let found = States::compare(ranch, false).await.unwrap().faults;
    assert!(found.iter().any(|one| one.contains(" said: ")), "what was mended is told: {found:?}");
}

/// R9: all copies of every shard have one hash at one index, also while they are written to, by
/// what the command line says.
#[tokio::test]
async fn copies_are_alike_under_load() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let running = load(&ranch, &key, 41).await;
    let (_, follower) = leader_and_follower(&ranch).await;
    let said = stdout(&cli(&ranch, &key, ["verify-state"]).await);
    assert_eq!(said.matches("alike").count(), 5, "four shards and the meta group: {said}");
    assert_eq!(said.matches("3/3").count(), 5, "{said}");
    ranch.node(follower).unwrap().kill().unwrap();
    let said = refusal(&cli(&ranch, &key, ["verify-state"]).await);
    assert!(said.contains("(partly)"), "two of three can be compared: {said}");
    ranch.node(follower).unwrap().start().unwrap();
    whole(&ranch).await;
    let json = stdout(&cli(&ranch, &key, ["verify-state", "--json"]).await);
    let found: Comparison = serde_json::from_str(&json).unwrap();
    assert_eq!(States::judge(&found), States { groups: 5, copies: 15, faults: Vec::new() });
    judge(&ranch, running).await;
    assert_eq!(ranch.returned(""), 0);
}

/// R9: a copy with another byte is found when somebody asks, named, and replaced by itself.
#[tokio::test]
async fn a_copy_that_differs_is_found_named_and_replaced() {
    let (mut ranch, key) = ranch_with(TENANT).await;
    let (_, follower) = leader_and_follower(&ranch).await;
    spoil(&mut ranch, &key, follower).await;
    let output = cli(&ranch, &key, ["verify-state"]).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(refusal(&output).contains("(differ)"), "{told}");
    let odd = format!("copy {follower}.1 has ");
    assert!(told.contains(&odd) && told.contains("rows that differ: Body"), "{told}");
    assert_eq!(told.matches("differ  ").count(), 1, "one shard and no other: {told}");
    replaced(&mut ranch, follower).await;
    let read = ranch.client(Some(&key)).read("a", AT).await.unwrap();
    assert_eq!(read.text(), TEXT);
}

/// R9: the same of the copy that leads, found by the ranch itself. What it would answer is not
/// served once it is known to be wrong.
#[tokio::test]
async fn a_leader_that_differs_is_found_without_asking() {
    let layout = Layout { verify_interval_s: 2, ..Layout::default() };
    let (mut ranch, key) = launch(&layout, TENANT).await;
    let (leader, _) = leader_and_follower(&ranch).await;
    spoil(&mut ranch, &key, leader).await;
    // Whoever of the three leads compares; that the odd one may lead is as likely as not.
    let shard = ranch.cluster().await.unwrap().shard_of(TENANT).unwrap().id;
    let path = format!("/api/v2/admin/cluster/shards/{shard}/transfer?to={leader}");
    let mut admin = ranch.client(Some(ADMIN_KEY));
    admin.call(http::Method::POST, &path).await.unwrap();
    replaced(&mut ranch, leader).await;
    let mut client = ranch.client(Some(&key));
    let read = until("the scroll to be read", Duration::from_secs(10), async || {
        client.read("a", AT).await.ok().filter(|read| read.status == 200)
    });
    assert_eq!(read.await.unwrap().text(), TEXT);
    let metrics = admin.get("/api/v2/metrics").await.unwrap().text();
    assert!(metrics.contains("ranch_state_verified_index{"), "{metrics}");
    let logs = ranch.logs();
    let named =
        |line: &str| line.contains("differ at entry") && line.contains(&format!("{leader}.1"));
    assert!(logs.iter().any(|(_, log)| log.lines().any(named)), "an error names the copy");
    whole(&ranch).await;
    let cluster: Cluster = ranch.cluster().await.unwrap();
    assert!(cluster.problems.is_empty(), "{:?}", cluster.problems);
}
