//! What an operator may not do is refused with the reason and the remedy, and changes nothing.

use std::fs;

use ranch_chaos::Layout;
use serde_json::Value;

use crate::growing::Growing;
use crate::support::{cli, refusal};
use crate::{LIMIT, TENANT};

/// What must not change by being refused.
fn facts(account: &Value) -> (Value, Vec<Value>) {
    let copies = account["shards"].as_array().unwrap().iter();
    let copies = copies.map(|shard| shard["voters"].clone()).collect();
    let nodes = account["nodes"].as_array().unwrap().iter();
    let nodes =
        nodes.map(|node| serde_json::json!([node["id"], node["name"], node["addr"], node["duty"]]));
    (nodes.collect(), copies)
}

#[tokio::test]
async fn nobody_leaves_when_too_few_would_stay() {
    let (growing, key) = Growing::found(&Layout::default(), 3).await;
    let before = facts(&growing.account().await.unwrap());
    let refused = cli(&growing.ranch, &key, ["node", "remove", "node2"]).await;
    let said = refusal(&refused);
    assert!(
        said.contains("2 nodes for 3 copies") && said.contains("add a machine first"),
        "{said}"
    );
    let unknown = cli(&growing.ranch, &key, ["node", "remove", "node9"]).await;
    assert!(refusal(&unknown).contains("no node \"node9\""));
    assert_eq!(facts(&growing.account().await.unwrap()), before);
}

/// A node whose entry in `ranch.toml` collides with another one of the ranch, which only the ranch
/// can know.
#[tokio::test]
async fn bad_joins_are_refused_and_change_nothing() {
    let layout = Layout { nodes: 4, ..Layout::default() };
    let (mut growing, key) = Growing::found(&layout, 3).await;
    let before = facts(&growing.account().await.unwrap());
    growing.list(4);
    let config = fs::read_to_string(growing.ranch.config()).unwrap();
    let addr = |id: u32| growing.ranch.node_place(id).unwrap().addr;
    let (second, fourth) = (addr(2), addr(4));
    let drop_second = |text: String| {
        let parts: Vec<&str> = text.split("\n[[node]]").collect();
        [parts[0], parts[1], parts[3], parts[4]].join("\n[[node]]")
    };
    for (what, broken, said) in [
        (
            "another's name",
            drop_second(config.replace("name = \"node4\"", "name = \"node2\"")),
            "node 4 cannot have the name node2: node 2 has it",
        ),
        (
            "another's number",
            drop_second(config.replace("id = 4", "id = 2")),
            "the id 2 is taken by node node2",
        ),
    ] {
        fs::write(growing.ranch.config(), broken).unwrap();
        let name = if what == "another's name" { "node2" } else { "node4" };
        let dir = growing.ranch.dir().join("imposter");
        let mut imposter = tokio::process::Command::new(crate::support::BINARY)
            .args(["node", "--name", name, "--config"])
            .arg(growing.ranch.config())
            .arg("--data-dir")
            .arg(&dir)
            .env("RANCH_ADMIN_KEY", ranch_chaos::ranch::ADMIN_KEY)
            .kill_on_drop(true)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ended = tokio::time::timeout(LIMIT, imposter.wait()).await;
        assert!(!ended.expect("it ends").unwrap().success(), "{what}");
        let mut words = String::new();
        let mut out = imposter.stderr.take().unwrap();
        tokio::io::AsyncReadExt::read_to_string(&mut out, &mut words).await.unwrap();
        assert!(words.contains(said), "{what}: {words}");
        fs::remove_dir_all(dir).unwrap();
    }
    assert_ne!(second, fourth);
    assert_eq!(facts(&growing.account().await.unwrap()), before);
    // The ranch is none the worse for it.
    fs::write(growing.ranch.config(), config).unwrap();
    growing.ranch.node(4).unwrap().start().unwrap();
    growing.settled(&[1, 2, 3, 4], 3).await;
    let mut client = growing.ranch.client(Some(&key));
    assert_eq!(client.write("p", "1.1.1/1.1.1/1.1.1", TENANT).await.unwrap().status, 200);
}
