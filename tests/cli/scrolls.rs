//! Scrolls, tenants and the state of the ranch from the shell.

use serde_json::Value;

use crate::support::{cli, ranch_with, refusal, stdout};

#[tokio::test]
async fn scrolls_from_the_shell() {
    let (ranch, key) = ranch_with("will").await;
    let run = async |args: &[&str]| cli(&ranch, &key, args).await;
    let at = "1.1.1/2.2.2/3.3.3";

    assert_eq!(stdout(&run(&["write", at, "Hello"]).await), "Updated 5 bytes\n");
    assert_eq!(stdout(&run(&["append", at, ", ranch"]).await), "Inserted 7 bytes\n");
    assert_eq!(stdout(&run(&["read", at]).await), "Hello, ranch", "the scroll and nothing else");
    stdout(&run(&["write", "notes/todo", "hay", "--phext", "farm"]).await);
    assert_eq!(
        stdout(&run(&["list", "notes", "--phext", "farm"]).await),
        "1.1/notes.todo.1/1.1.1\n"
    );
    assert_eq!(stdout(&run(&["list"]).await), format!("{at}\n"));
    assert_eq!(stdout(&run(&["delete", at]).await), "Removed 12 bytes\n");
    let gone = refusal(&run(&["read", at]).await);
    assert!(gone.contains(at), "{gone}");

    let malformed = refusal(&run(&["read", "1.2.3"]).await);
    assert!(malformed.contains("1.2.3"), "{malformed}");
    let taken =
        refusal(&run(&["write", "notes/todo", "x", "--phext", "farm", "--if-absent"]).await);
    assert!(taken.contains("revision"), "{taken}");
    let wrong = cli(&ranch, "pmb-v1-00000000000000000000000000000000", ["list"]).await;
    let wrong = refusal(&wrong);
    assert!(wrong.contains("key") && !wrong.contains("pmb-v1-0000"), "{wrong}");
}

#[tokio::test]
async fn tenants_and_status_from_the_shell() {
    let (ranch, key) = ranch_with("will").await;
    let run = async |args: &[&str]| cli(&ranch, &key, args).await;
    let added = stdout(&run(&["tenant", "add", "ada", "--quota-mb", "5"]).await);
    let mut ada = ranch.client(Some(added.trim()));
    assert_eq!(ada.write("p", "1.1.1/1.1.1/1.1.1", "x").await.unwrap().status, 200);
    let listed = stdout(&run(&["tenant", "list"]).await);
    assert!(listed.contains("ada") && listed.contains("will"), "{listed}");
    let again = refusal(&run(&["tenant", "add", "ada"]).await);
    assert!(again.contains("ada"), "{again}");

    let status: Value = serde_json::from_str(&stdout(&run(&["status", "--json"]).await)).unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        for field in ["id", "name", "addr", "pid", "state", "version"] {
            assert!(!node[field].is_null(), "{field} in {node}");
        }
    }
    let shards = status["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 4);
    for shard in shards {
        for field in ["id", "leader", "replicas", "term", "lag"] {
            assert!(!shard[field].is_null(), "{field} in {shard}");
        }
    }
    let tenants = status["tenants"].as_array().unwrap();
    let ids: Vec<_> = tenants.iter().map(|tenant| tenant["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ada", "will"]);
    let table = stdout(&run(&["status"]).await);
    assert!(table.contains("node1") && table.contains("LEADER"), "{table}");
}
