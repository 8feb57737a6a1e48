//! A machine that is started with the data of another ranch: both sides keep it out, and neither
//! ranch is changed by it. Both have machines, tenants and scrolls of the same names.

use std::fs;

use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::wait::until;
use ranch_chaos::{Layout, Ranch};
use serde_json::{Value, json};

use crate::growing::Growing;
use crate::join::{Newcomer, said};
use crate::refusals::{facts, has_words};
use crate::support::launch;
use crate::{LIMIT, TENANT, judge, load};

const AT: &str = "1.1.1/1.1.1/1.1.1";

/// What the machine itself says last.
const OWN_WORDS: &str = "the data directory is of one ranch, and the machine at … of another: \
                         correct the addresses in ranch.toml, or move the data directory away to \
                         join as a new machine";
/// What those say that are called with it, or by it.
const THEIR_WORDS: &str = "this node belongs to another ranch: check the addresses in ranch.toml, \
                           or move the data directory of an earlier ranch away";

/// A ranch of so many machines, with one scroll.
async fn found(nodes: u32) -> (Ranch, String) {
    let layout = Layout { nodes, replicas: nodes, ..Layout::default() };
    let (ranch, key) = launch(&layout, TENANT).await;
    let written = ranch.client(Some(&key)).write("p", AT, "theirs").await.unwrap();
    assert_eq!(written.status, 200, "{}", written.text());
    (ranch, key)
}

/// Who its machines are.
async fn machines(ranch: &Ranch) -> Option<Value> {
    let answer = ranch.client(Some(ADMIN_KEY)).get("/api/v2/admin/cluster").await.ok()?;
    let account: Value = serde_json::from_slice(&answer.body).ok()?;
    let node = |it: &Value| json!([it["id"], it["name"], it["addr"], it["duty"]]);
    account["nodes"].as_array().map(|nodes| nodes.iter().map(node).collect())
}

/// R7, R11: a machine of a ranch that serves is started with the data of another ranch, whose other
/// machines are away. First that ranch has none, so that it leads all it has at once.
#[tokio::test]
async fn the_data_of_another_ranch_is_refused_and_neither_ranch_changes() {
    let (mut growing, key) = Growing::found(&Layout::default(), 3).await;
    growing.settled(&[1, 2, 3], 3).await;
    let before = facts(&growing).await;
    growing.ranch.node(1).unwrap().stop(LIMIT).await.unwrap();
    let running = load(&growing.ranch, &key, 73).await;
    for nodes in [1, 3] {
        let (mut other, other_key) = found(nodes).await;
        let known = machines(&other).await.unwrap();
        for id in 1..=nodes {
            other.node(id).unwrap().stop(LIMIT).await.unwrap();
        }
        let identity = other.node_place(1).unwrap().data_dir.join("identity.toml");
        let theirs = fs::read_to_string(&identity).unwrap();

        refused(&growing, &other, nodes).await;
        assert_eq!(fs::read_to_string(&identity).unwrap(), theirs, "{nodes}: it is whose it was");
        other.start_all().unwrap();
        other.wait_ready().await.unwrap();
        let same = async || (machines(&other).await.as_ref() == Some(&known)).then_some(());
        let found = until("the other ranch to be as it was", LIMIT, same).await;
        let now = machines(&other).await;
        found.unwrap_or_else(|error| panic!("{nodes}: {error}: {now:?}, not {known}"));
        let read = other.client(Some(&other_key)).read("p", AT).await.unwrap();
        assert_eq!((read.text().as_str(), read.etag()), ("theirs", Some(1)), "{nodes}");
    }
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    growing.ranch.node(1).unwrap().start().unwrap();
    growing.settled(&[1, 2, 3], 3).await;
    assert_eq!(facts(&growing).await, before);
    judge(&growing.ranch, running).await;
}

/// Starts node 1 of one ranch with the data of node 1 of another one.
async fn refused(growing: &Growing, other: &Ranch, nodes: u32) {
    let of = |ranch: &Ranch| format!("\"{}\"", ranch.node_place(1).unwrap().data_dir.display());
    let config = fs::read_to_string(growing.ranch.config()).unwrap();
    let mistaken = config.replace(&of(&growing.ranch), &of(other));
    assert_ne!(mistaken, config);
    let newcomer = Newcomer::new(growing, &format!("mistaken{nodes}"));
    let file = newcomer.dir.join("mistaken.toml");
    fs::write(&file, mistaken).unwrap();
    let mut process =
        newcomer.process(&["node", "--name", "node1", "--config", &file.to_string_lossy()]);
    process.start().unwrap();
    let ended = process.wait_exit(LIMIT).await.expect("it ends by itself");
    assert_eq!(ended.code(), Some(78), "{nodes}: {}", process.log());
    assert!(has_words(&said(&process), OWN_WORDS), "{nodes}: {}", process.log());
    assert!(process.log().contains(THEIR_WORDS), "{nodes}: {}", process.log());
    let logs = growing.ranch.logs();
    let told = logs.iter().filter(|(_, log)| log.contains(THEIR_WORDS)).count();
    assert!(told > 0, "{nodes}: those who called it say so");
}
