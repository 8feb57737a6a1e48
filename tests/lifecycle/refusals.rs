//! What an operator may not do is refused with the reason and the remedy, and changes nothing.

use std::fs;

use ranch_chaos::Layout;
use serde_json::{Value, json};

use crate::growing::{Growing, shards};
use crate::join::{Newcomer, said};
use crate::support::{cli, refusal};
use crate::{LIMIT, TENANT};

/// What must not change by being refused, of a ranch that began with three machines: who they are,
/// and where the copies of every group are. Asked when all are led, since leaders know who votes.
pub async fn facts(growing: &Growing) -> Value {
    let led = |group: &Value| !group["leader"].is_null();
    let account = growing
        .wait("every group of three machines to be led", |account| {
            let voters = account["meta"]["voters"].as_array().map(Vec::len);
            let all_led = led(&account["meta"]) && shards(account).iter().all(led);
            voters == Some(3) && !shards(account).is_empty() && all_led
        })
        .await;
    let group = |it: &Value| json!([it["id"], it["replicas"], it["voters"], it["moving"]]);
    let node = |it: &Value| json!([it["id"], it["name"], it["addr"], it["duty"]]);
    let nodes: Vec<Value> = account["nodes"].as_array().unwrap().iter().map(node).collect();
    let groups: Vec<Value> =
        [&account["meta"]].into_iter().chain(shards(&account)).map(group).collect();
    json!({ "nodes": nodes, "groups": groups, "moves": account["moves"] })
}

/// Whether a refusal has these words; ` … ` stands for what differs from time to time.
pub fn has_words(said: &str, words: &str) -> bool {
    words.split(" … ").all(|part| said.contains(part))
}

#[tokio::test]
async fn nobody_leaves_when_too_few_would_stay() {
    let (growing, key) = Growing::found(&Layout::default(), 3).await;
    growing.settled(&[1, 2, 3], 3).await;
    let before = facts(&growing).await;
    let refused = cli(&growing.ranch, &key, ["node", "remove", "node2"]).await;
    let said = refusal(&refused);
    assert!(
        said.contains("2 nodes for 3 copies") && said.contains("add a machine first"),
        "{said}"
    );
    let unknown = cli(&growing.ranch, &key, ["node", "remove", "node9"]).await;
    assert!(refusal(&unknown).contains("no node \"node9\""));
    assert_eq!(facts(&growing).await, before);
}

impl Newcomer {
    /// Has it start as the node `name` of what `ranch.toml` says now, which the ranch must refuse.
    async fn refused_as(&self, growing: &Growing, name: &str, words: &str) {
        let (config, data) = (growing.ranch.config().to_string_lossy(), self.data());
        let data_dir = data.to_string_lossy();
        let args = ["node", "--name", name, "--config", &config, "--data-dir", &data_dir];
        let mut process = self.process(&args);
        process.start().unwrap();
        let ended = process.wait_exit(LIMIT).await.expect("it ends by itself");
        assert_eq!(ended.code(), Some(78), "{words}: {}", process.log());
        assert!(has_words(&said(&process), words), "{words}: {}", process.log());
        assert!(!data.join(name).join("identity.toml").exists(), "{words}: it is nobody yet");
    }
}

/// A node whose entry in `ranch.toml` collides with another one of the ranch, which only the ranch
/// can know; and whoever does what it is told then is let in, with the directory it was refused
/// with.
#[tokio::test]
async fn bad_joins_are_refused_and_change_nothing() {
    let layout = Layout { nodes: 4, ..Layout::default() };
    let (mut growing, key) = Growing::found(&layout, 3).await;
    growing.settled(&[1, 2, 3], 3).await;
    let before = facts(&growing).await;
    growing.list(4);
    let config = fs::read_to_string(growing.ranch.config()).unwrap();
    let addr = |id: u32| growing.ranch.node_place(id).unwrap().addr.to_string();
    let (second, fourth) = (addr(2), addr(4));
    let parts: Vec<&str> = config.split("\n[[node]]").collect();
    let others = [parts[0], parts[1], parts[3]].join("\n[[node]]");
    let instead = |from: &str, to: &str| {
        assert!(parts[4].contains(from), "{from} in {}", parts[4]);
        format!("{others}\n[[node]]{}", parts[4].replace(from, to))
    };
    let file = growing.ranch.config().to_owned();
    let newcomer = Newcomer::new(&growing, "imposter");
    let remedy = "give it another one, or remove node 2 first if this machine is to take its place";

    fs::write(&file, instead("name = \"node4\"", "name = \"node2\"")).unwrap();
    let words = format!("node 4 cannot have the name node2: node 2 has it; {remedy}");
    newcomer.refused_as(&growing, "node2", &words).await;
    fs::write(&file, instead("id = 4", "id = 2")).unwrap();
    let remedy_of_ids = "give the new machine an id of its own";
    let words = format!("the id 2 is taken by node node2, which runs at {second}: {remedy_of_ids}");
    newcomer.refused_as(&growing, "node4", &words).await;

    // Nobody is heard at node 2 now, and its place is its own all the same.
    growing.ranch.node(2).unwrap().stop(LIMIT).await.unwrap();
    let words = format!("the id 2 is taken by node node2 at {second}: {remedy_of_ids}");
    newcomer.refused_as(&growing, "node4", &words).await;
    fs::write(&file, instead(&fourth, &second)).unwrap();
    let words = format!("node 4 cannot have the address {second}: node 2 has it; {remedy}");
    newcomer.refused_as(&growing, "node4", &words).await;
    fs::write(&file, &config).unwrap();
    growing.ranch.node(2).unwrap().start().unwrap();
    growing.settled(&[1, 2, 3], 3).await;
    assert_eq!(facts(&growing).await, before);

    // The ranch is none the worse for it, and neither is the machine.
    let (config, data) = (file.to_string_lossy(), newcomer.data());
    let data = data.to_string_lossy();
    let args = ["node", "--name", "node4", "--config", &config, "--data-dir", &data];
    let mut let_in = newcomer.process(&args);
    let_in.start().unwrap();
    growing.settled(&[1, 2, 3, 4], 3).await;
    let mut client = growing.ranch.client(Some(&key));
    assert_eq!(client.write("p", "1.1.1/1.1.1/1.1.1", TENANT).await.unwrap().status, 200);
}
