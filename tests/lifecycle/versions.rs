//! Binaries of two versions in one ranch, and the cluster version, which follows the older one. The
//! older binary is this one, made to announce and to support only what came before.

use std::fs;
use std::time::Duration;

use fastrand::Rng;
use ranch_chaos::wait::until;
use ranch_chaos::workload::Running;
use ranch_chaos::{Client, Layout};
use serde_json::Value;

use crate::growing::{Growing, shards};
use crate::support::{cli, refusal, stdout};
use crate::{LIMIT, TENANT, judge, load};

/// Formats and protocols of the binary before this one.
const OLD: &str = "1-1/1-1";
/// The variable that imposes them, in test builds alone.
const VERSIONS: &str = "RANCH_TEST_VERSIONS";
const NODES: u32 = 3;
/// How long a node stands still: longer than the others wait for it.
const STILL: Duration = Duration::from_millis(1_500);

/// What each node runs, and what may be seen of that.
struct Mixed {
    growing: Growing,
    running: Running,
    old: [bool; NODES as usize],
    rng: Rng,
}

impl Mixed {
    /// A ranch of old binaries under load.
    async fn found(seed: u64) -> (Self, String) {
        let mut growing = Growing::prepare(&Layout::default());
        for id in 1..=NODES {
            growing.ranch.node(id).unwrap().set_env(VERSIONS, Some(OLD));
        }
        let key = growing.start(NODES).await;
        let running = load(&growing.ranch, &key, seed).await;
        let old = [true; NODES as usize];
        (Self { growing, running, old, rng: Rng::with_seed(seed) }, key)
    }

    /// Restarts a node with the old or the new binary, perhaps with a fault before it has caught
    /// up, and waits until all is well.
    async fn restart(&mut self, id: u32, old: bool, fault: bool) {
        let node = self.growing.ranch.node(id).unwrap();
        let stopped = node.stop(LIMIT).await.unwrap();
        assert!(stopped.success(), "{stopped}");
        node.set_env(VERSIONS, old.then_some(OLD));
        node.start().unwrap();
        self.old[id as usize - 1] = old;
        if fault {
            self.strike().await;
        }
        self.well(id).await;
    }

    async fn well(&self, id: u32) {
        let newest = if self.old[id as usize - 1] { 1 } else { 2 };
        let account = self
            .growing
            .wait(&format!("node {id} to be well with format {newest}"), |account| {
                let nodes = account["nodes"].as_array().unwrap();
                nodes.iter().all(|node| node["state"] == "up")
                    && nodes[id as usize - 1]["formats"]["max"] == newest
                    && shards(account)
                        .iter()
                        .all(|shard| shard["lag"].as_u64().is_some_and(|lag| lag < 64))
            })
            .await;
        if self.old.iter().any(|old| *old) {
            assert_eq!(account["cluster_version"], 1, "{account:#}");
        }
        self.running.progress(20, LIMIT).await.expect("service goes on");
    }

    /// Kills a node, whichever, or has it stand still, a moment from now; it comes back as it was.
    async fn strike(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(0..1_000))).await;
        let (id, kills) = (self.rng.u32(1..=NODES), self.rng.bool());
        let node = self.growing.ranch.node(id).unwrap();
        if kills {
            node.kill().unwrap();
            node.start().unwrap();
        } else {
            node.pause().unwrap();
            tokio::time::sleep(STILL).await;
            node.resume().unwrap();
        }
        println!("node {id} was {}", if kills { "killed" } else { "paused" });
        self.well(id).await;
    }

    fn shuffled(&mut self) -> Vec<u32> {
        let mut ids: Vec<u32> = (1..=NODES).collect();
        self.rng.shuffle(&mut ids);
        ids
    }
}

/// R1, R2, R3, R7: N-1 to N, back before the last one has it, and to N again, in an order drawn
/// from the seed; under load, with a fault or without.
async fn there_and_back_and_there_again(seed: u64, fault: bool) {
    let (mut mixed, _key) = Mixed::found(seed).await;
    let strike_at = mixed.rng.usize(0..3);
    let last = mixed.rng.u32(1..=NODES);
    let some: Vec<u32> = mixed.shuffled().into_iter().filter(|id| *id != last).collect();
    let back: Vec<u32> = some.iter().rev().copied().take(mixed.rng.usize(1..=2)).collect();
    let there = some.iter().map(|id| (*id, false));
    let back = back.iter().map(|id| (*id, true));
    for (step, (id, old)) in there.chain(back).enumerate() {
        mixed.restart(id, old, fault && step == strike_at).await;
    }
    for id in
        mixed.shuffled().into_iter().filter(|id| *id != last).chain([last]).collect::<Vec<_>>()
    {
        if mixed.old[id as usize - 1] {
            mixed.restart(id, false, false).await;
        }
    }
    let raised = |account: &Value| account["cluster_version"] == 2;
    mixed.growing.wait("the version to be raised", raised).await;
    mixed.running.progress(50, LIMIT).await.expect("service goes on");
    let Mixed { mut growing, running, .. } = mixed;
    assert_eq!(running.failed(), 0, "no request failed");

    // There is no way back now.
    let node = growing.ranch.node(last).unwrap();
    node.stop(LIMIT).await.unwrap();
    node.set_env(VERSIONS, Some(OLD));
    node.start().unwrap();
    let ended = node.wait_exit(LIMIT).await.expect("an old binary ends by itself");
    assert!(!ended.success());
    let log = node.log();
    let said = log.lines().rfind(|line| line.starts_with("ranch: ")).unwrap_or_default();
    assert!(said.contains("cluster version 2") && said.contains("can do 1"), "{said}");
    assert!(said.contains("run the version the other machines run"), "{said}");
    node.set_env(VERSIONS, None);
    node.start().unwrap();
    growing.settled(&[1, 2, 3], 3).await;
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&growing.ranch, running).await;
}

#[tokio::test]
async fn versions_are_mixed_there_and_back_without_a_failed_request() {
    there_and_back_and_there_again(seed(61), false).await;
}

#[tokio::test]
async fn versions_are_mixed_there_and_back_in_another_order() {
    there_and_back_and_there_again(seed(63), false).await;
}

#[tokio::test]
async fn versions_are_mixed_there_and_back_while_a_node_fails() {
    there_and_back_and_there_again(seed(62), true).await;
}

#[tokio::test]
async fn versions_are_mixed_there_and_back_while_another_node_fails() {
    there_and_back_and_there_again(seed(64), true).await;
}

/// Another seed, where somebody wants to see more of them.
fn seed(default: u64) -> u64 {
    let given = std::env::var("RANCH_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(default);
    println!("seed {seed}");
    seed
}

/// The index of the last log entry of a tenant's shard, and how long the node has run.
async fn log_and_uptime(growing: &Growing, shard: u64) -> (u64, f64) {
    let mut admin = growing.ranch.client(Some(ranch_chaos::ranch::ADMIN_KEY));
    let text = admin.get("/api/v2/metrics").await.unwrap().text();
    let value = |name: &str, label: &str| {
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
        let number = line.and_then(|line| line.rsplit_once(' ')).map(|(_, number)| number);
        number.unwrap_or_else(|| panic!("{name}")).to_owned()
    };
    let index = value("ranch_raft_last_index{", &format!("group=\"{shard}\""));
    (index.parse().unwrap(), value("ranch_uptime_seconds{", "").parse().unwrap())
}

/// What is new is used only from the version on that has it, which waits where it is told to.
#[tokio::test]
async fn a_held_version_keeps_what_is_new_from_being_used_until_it_is_finished() {
    let mut growing = Growing::prepare(&Layout::default());
    growing.ranch.node(1).unwrap().set_env(VERSIONS, Some(OLD));
    let key = growing.start(1).await;
    let node = growing.ranch.node(1).unwrap();
    node.stop(LIMIT).await.unwrap();
    node.set_env(VERSIONS, None);
    node.set_env("RANCH_CLUSTER_HOLD_VERSION", Some("true"));
    node.start().unwrap();
    let account = growing
        .wait("the new binary to serve", |account| {
            account["next_version"] == 2 && shards(account).iter().all(|s| !s["leader"].is_null())
        })
        .await;
    assert_eq!(account["cluster_version"], 1);
    let notes = account["notes"].to_string();
    assert!(notes.contains("cluster version 1") && notes.contains("--finish"), "{notes}");
    let shard = account["tenants"][0]["shard"].as_u64().unwrap();
    let refused = cli(&growing.ranch, &key, ["node", "token"]).await;
    let said = refusal(&refused);
    assert!(said.contains("from cluster version 2 on") && said.contains("is at 1"), "{said}");

    // Longer than the version takes to be raised, and calls to be noted, where nothing holds them.
    read_some(&growing, &key).await;
    let (before, began) = log_and_uptime(&growing, shard).await;
    let later = async || {
        let (index, uptime) = log_and_uptime(&growing, shard).await;
        (uptime > began + 8.0).then_some(index)
    };
    let after = until("8 s to pass", LIMIT, later).await.unwrap();
    assert_eq!(after, before, "nothing is written of calls");
    assert_eq!(growing.account().await.unwrap()["cluster_version"], 1);
    let stats =
        |output: &std::process::Output| -> Value { serde_json::from_str(&stdout(output)).unwrap() };
    let shown = cli(&growing.ranch, &key, ["tenant", "stats", TENANT, "--json"]).await;
    assert_eq!(stats(&shown)["api_calls_today"], 5, "they are counted all the same");

    let finished = cli(&growing.ranch, &key, ["upgrade", "--finish"]).await;
    assert_eq!(stdout(&finished), "the ranch is at cluster version 2 now and was at 1\n");
    let again = cli(&growing.ranch, &key, ["upgrade", "--finish"]).await;
    assert!(stdout(&again).contains("at cluster version 2 already"));
    let grown = async || (log_and_uptime(&growing, shard).await.0 > before).then_some(());
    until("calls to be noted", LIMIT, grown).await.unwrap();
    let shown = cli(&growing.ranch, &key, ["tenant", "stats", TENANT, "--json"]).await;
    assert_eq!(stats(&shown)["api_calls_today"], 5);
    stdout(&cli(&growing.ranch, &key, ["node", "token"]).await);
}

async fn read_some(growing: &Growing, key: &str) {
    let mut client: Client = growing.ranch.client(Some(key));
    for _ in 0..5 {
        client.read("p", "1.1.1/1.1.1/1.1.1").await.unwrap();
    }
}

/// While a machine is away, or one cannot, nothing is finished; and the reason is said.
#[tokio::test]
async fn an_upgrade_is_not_finished_while_a_machine_cannot_follow() {
    let mut growing = Growing::prepare(&Layout::default());
    for id in 1..=NODES {
        let node = growing.ranch.node(id).unwrap();
        node.set_env("RANCH_CLUSTER_HOLD_VERSION", Some("true"));
        node.set_env(VERSIONS, (id == 3).then_some(OLD));
    }
    let key = growing.start(NODES).await;
    let before = growing.account().await.unwrap();
    assert_eq!((&before["cluster_version"], &before["next_version"]), (&1.into(), &Value::Null));
    assert!(before["notes"].to_string().contains("until node3 can do 2"), "{before:#}");
    growing.ranch.node(3).unwrap().stop(LIMIT).await.unwrap();
    growing.ranch.node(3).unwrap().set_env(VERSIONS, None);
    growing.ranch.node(3).unwrap().start().unwrap();
    growing.wait("all to be able", |account| account["next_version"] == 2).await;
    growing.ranch.node(2).unwrap().kill().unwrap();
    growing.wait("node 2 to be away", |account| account["nodes"][1]["state"] == "down").await;
    let said = async || {
        let refused = cli(&growing.ranch, &key, ["upgrade", "--finish"]).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        said.contains("node 2 (node2) does not answer").then_some(said)
    };
    let said = until("the refusal", LIMIT, said).await.unwrap();
    assert!(said.contains("start it, or remove it"), "{said}");
    assert_eq!(growing.account().await.unwrap()["cluster_version"], 1);
    growing.ranch.node(2).unwrap().start().unwrap();
    let finished = async || {
        let finished = cli(&growing.ranch, &key, ["upgrade", "--finish"]).await;
        finished.status.success().then_some(())
    };
    until("the upgrade to be finished", LIMIT, finished).await.unwrap();
}

/// A binary that speaks no protocol of the others is told so, with and without data.
#[tokio::test]
async fn without_a_common_protocol_a_node_ends_with_a_sentence() {
    let (mut growing, key) = Growing::found(&Layout::default(), NODES).await;
    for with_data in [true, false] {
        let data = growing.ranch.node_place(3).unwrap().data_dir.clone();
        let node = growing.ranch.node(3).unwrap();
        node.stop(LIMIT).await.unwrap();
        if !with_data {
            fs::rename(&data, data.with_extension("aside")).unwrap();
        }
        node.set_env(VERSIONS, Some("1-2/7-8"));
        node.start().unwrap();
        node.wait_exit(LIMIT).await.expect("it ends by itself");
        let log = node.log();
        let said = log.lines().rfind(|line| line.starts_with("ranch: ")).unwrap_or_default();
        assert!(said.contains("speaks protocol 1 to 2 and this one 7 to 8"), "{said}");
        assert!(said.contains("upgrade the older one"), "{said}");
        if !with_data {
            fs::remove_dir_all(&data).unwrap();
            fs::rename(data.with_extension("aside"), &data).unwrap();
        }
        let node = growing.ranch.node(3).unwrap();
        node.set_env(VERSIONS, None);
        node.start().unwrap();
        growing.settled(&[1, 2, 3], 3).await;
    }
    let mut client = growing.ranch.client(Some(&key)).with_limit(Duration::from_secs(10));
    assert_eq!(client.write("p", "1.1.1/1.1.1/1.1.1", TENANT).await.unwrap().status, 200);
}
