//! `ranch doctor` on a machine that is well, and on some that are not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use ranch_chaos::Ranch;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::{cli, ranch_with, refusal, stdout};

/// Longest wait for the ranch to notice that a node is gone.
const LIMIT: Duration = Duration::from_secs(30);

/// What the doctor finds, and whether it ends well.
async fn examined(ranch: &Ranch, more: &[&str]) -> (Vec<Value>, bool) {
    let config = ranch.config().to_str().unwrap();
    let args = [&["doctor", "--json", "--config", config], more].concat();
    let output = cli(ranch, "", args).await;
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().unwrap().clone();
    let problems = findings.iter().filter(|finding| finding["level"] == "problem").count();
    assert_eq!(output.status.code(), Some(i32::from(problems > 0)), "{report:#}");
    (findings, problems == 0)
}

/// The levels of one check.
fn levels<'a>(findings: &'a [Value], check: &str) -> Vec<&'a str> {
    let found = findings.iter().filter(|finding| finding["check"] == check);
    found.map(|finding| finding["level"].as_str().unwrap()).collect()
}

fn said(findings: &[Value], check: &str) -> String {
    let found = findings.iter().filter(|finding| finding["check"] == check);
    found.map(|finding| finding["says"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_ranch_that_runs_is_well_and_one_without_a_node_is_not() {
    let (mut ranch, _) = ranch_with("demo").await;
    let well = |cluster: &ranch_chaos::Cluster| cluster.problems.is_empty();
    ranch.wait_cluster("no problem", LIMIT, well).await.unwrap();
    let (findings, _) = examined(&ranch, &[]).await;
    for (check, count) in [
        ("config", 1),
        ("node", 1),
        ("address", 3),
        ("data", 3),
        ("room", 3),
        ("links", 1),
        ("router", 1),
        ("ranch", 1),
        ("versions", 1),
    ] {
        assert_eq!(levels(&findings, check), vec!["ok"; count], "{check}: {findings:#?}");
    }
    assert!(!levels(&findings, "fsync").is_empty());
    let text = cli(&ranch, "", ["doctor", "--config", ranch.config().to_str().unwrap()]).await;
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.lines().any(|line| line.starts_with("ok") && line.contains("answers")), "{text}");

    ranch.node(2).unwrap().kill().unwrap();
    let down = |cluster: &ranch_chaos::Cluster| !cluster.problems.is_empty();
    ranch.wait_cluster("a problem", LIMIT, down).await.unwrap();
    let (findings, well) = examined(&ranch, &[]).await;
    assert!(!well);
    assert!(said(&findings, "address").contains("node2 does not run"));
    assert!(said(&findings, "ranch").contains("node 2 (node2) does not answer"), "{findings:#?}");

    // Somebody else at the node's address, who does not talk like a node.
    let addr = ranch.node_place(2).unwrap().addr;
    let other = TcpListener::bind(addr).await.unwrap();
    let closing = tokio::spawn(async move { while other.accept().await.is_ok() {} });
    let (findings, well) = examined(&ranch, &["--name", "node2"]).await;
    assert!(!well);
    assert_eq!(levels(&findings, "address"), ["problem"]);
    assert_eq!(levels(&findings, "peer"), ["ok", "ok"]);
    assert!(said(&findings, "clock").contains("of 2 other nodes"), "{findings:#?}");
    closing.abort();
}

#[tokio::test]
async fn what_is_wrong_before_the_start_is_told_with_the_remedy() {
    let (ranch, _) = ranch_with("demo").await;
    let (findings, _) = examined(&ranch, &["--name", "node9"]).await;
    assert_eq!(levels(&findings, "node"), ["problem"]);
    // A key that others can read.
    let elsewhere = ranch.dir().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let key = elsewhere.join("admin.key");
    fs::write(&key, "pmb-v1-0123456789abcdef").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let dir = elsewhere.to_str().unwrap();
    let (findings, well) = examined(&ranch, &["--data-dir", dir]).await;
    assert!(!well);
    assert_eq!(levels(&findings, "admin key"), ["problem"]);
    let remedy = findings.iter().find(|finding| finding["check"] == "admin key").unwrap();
    assert!(remedy["remedy"].as_str().unwrap().starts_with("`chmod 600 "), "{remedy}");
    assert!(said(&findings, "data").contains("will be made at the first start"));

    let broken = ranch.dir().join("broken.toml");
    fs::write(&broken, "[cluster]\nshard = 3\n").unwrap();
    let output = cli(&ranch, "", ["doctor", "--config", broken.to_str().unwrap()]).await;
    assert_eq!(refusal(&output).trim(), "ranch: 1 problem found");
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("PROBLEM  config") && out.contains("`shard` is unknown"), "{out}");
}

/// A service manager must be able to tell a node that must not run from one that fell.
#[tokio::test]
async fn what_nobody_but_an_operator_can_mend_has_a_status_of_its_own() {
    let (ranch, _) = ranch_with("demo").await;
    let config = ranch.config().to_str().unwrap();
    let unknown = cli(&ranch, "", ["node", "--name", "node9", "--config", config]).await;
    assert_eq!(unknown.status.code(), Some(78));
    let in_use = cli(&ranch, "", ["node", "--name", "node1", "--config", config]).await;
    assert_eq!(in_use.status.code(), Some(1), "{}", refusal(&in_use));
    stdout(&cli(&ranch, "", ["status", "--config", config]).await);
}
