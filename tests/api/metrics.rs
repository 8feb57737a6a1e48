//! Metrics of a real ranch: the same of tenants from every router, all nodes in them, and the
//! warning before a quota is full.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::wait::until;
use ranch_chaos::{Client, Layout, Ranch};
use serde_json::{Value, json};

use crate::support::launch;

/// A router's metrics as lines.
async fn metrics(router: SocketAddr) -> Vec<String> {
    let answer = Client::new(router, Some(ADMIN_KEY)).get("/api/v2/metrics").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(str::to_owned).collect()
}

fn starting(lines: &[String], prefix: &str) -> Vec<String> {
    lines.iter().filter(|line| line.starts_with(prefix)).cloned().collect()
}

/// How often the nodes have warned of a quota.
fn warnings(ranch: &mut Ranch) -> usize {
    let logs = ranch.node_ids().into_iter().map(|id| ranch.node(id).unwrap().log());
    let logs: Vec<String> = logs.collect();
    logs.iter().map(|log| log.matches("of its storage quota").count()).sum()
}

#[tokio::test]
async fn tenants_and_nodes_are_the_same_from_every_router() {
    let layout = Layout { embedded: true, ..Layout::default() };
    let (mut ranch, key) = launch(&layout, "will").await;
    let embedded = ranch.node_place(1).unwrap().listen.unwrap();
    let routers = [ranch.addr(), embedded];
    for router in routers {
        let mut client = Client::new(router, Some(&key));
        for _ in 0..5 {
            let answer = client.insert("q", "1.1.1/1.1.1/1.1.1", "x").await.unwrap();
            assert_eq!(answer.status, 200);
        }
        assert_eq!(client.get("/api/v2/load?p=q").await.unwrap().status, 200);
    }
    let expected = [
        "sq_api_calls_total{tenant=\"will\",method=\"load\"} 2",
        "sq_api_calls_total{tenant=\"will\",method=\"insert\"} 10",
    ];
    for router in routers {
        // What asked no leader is counted within a second.
        let counted = async || {
            let lines = metrics(router).await;
            let mut calls = starting(&lines, "sq_api_calls_total");
            calls.sort_unstable_by_key(|line| !line.contains("load"));
            (calls == expected).then_some(lines)
        };
        let lines = until("all calls in the metrics", Duration::from_secs(5), counted).await;
        let lines = lines.unwrap();
        assert_eq!(starting(&lines, "sq_storage_bytes"), ["sq_storage_bytes{tenant=\"will\"} 74"]);
        assert_eq!(starting(&lines, "sq_tenants_active"), ["sq_tenants_active 1"]);
        for node in 1..=3 {
            let node = format!("node=\"{node}\"");
            let of_database = |db| (format!("{node},db=\"{db}\""), "ranch_rocksdb_keys");
            for (labels, family) in [
                (node.clone(), "ranch_up"),
                (node.clone(), "ranch_process_resident_bytes"),
                (node.clone(), "ranch_log_fsync_seconds_sum"),
                of_database("log"),
                of_database("state"),
            ] {
                let lines = starting(&lines, &format!("{family}{{{labels}}} "));
                let value = lines.first().and_then(|line| line.rsplit(' ').next()?.parse().ok());
                assert!(value.is_some_and(|value: f64| value > 0.0), "{family} of {labels}");
            }
        }
        let leaders = starting(&lines, "ranch_raft_is_leader");
        let led = leaders.iter().filter(|line| line.ends_with(" 1")).count();
        assert_eq!(led, 5, "four shards and the meta group: {leaders:?}");
    }
    ranch.node(3).unwrap().kill().unwrap();
    let lines = metrics(ranch.addr()).await;
    assert_eq!(starting(&lines, "ranch_up{node=\"3\"}"), ["ranch_up{node=\"3\"} 0"]);
    assert_eq!(starting(&lines, "ranch_up{node=\"1\"}"), ["ranch_up{node=\"1\"} 1"]);
}

#[tokio::test]
async fn a_tenant_near_its_quota_is_named_once() {
    let (mut ranch, _) = launch(&Layout::default(), "first").await;
    let mut admin = ranch.client(Some(ADMIN_KEY));
    let tenant = json!({"tenant_id": "near", "quota_mb": 0.01}).to_string();
    let added = admin.send(Method::POST, "/api/v2/admin/tenants/add", &[], tenant).await.unwrap();
    let added: Value = serde_json::from_slice(&added.body).unwrap();
    let mut client = ranch.client(added["api_key"].as_str());
    let at = "1.1.1/1.1.1/1.1.1";
    // 0.01 MB are 10486 bytes, and a scroll counts 64 more than its own.
    let fill = async |client: &mut Client, bytes: usize| {
        let answer = client.write("q", at, "x".repeat(bytes)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    fill(&mut client, 5_000).await;
    fill(&mut client, 9_500).await;
    let warned = async || (warnings(&mut ranch) > 0).then_some(());
    until("a warning", Duration::from_secs(10), warned).await.unwrap();
    for bytes in 9_501..9_520 {
        fill(&mut client, bytes).await;
    }
    let lines = metrics(ranch.addr()).await;
    let ratio = starting(&lines, "ranch_tenant_quota_ratio{tenant=\"near\"}");
    let ratio: f64 = ratio[0].rsplit(' ').next().unwrap().parse().unwrap();
    assert!((0.9..0.95).contains(&ratio), "{ratio}");
    // Room again, and near again: only now is there more to say.
    assert_eq!(warnings(&mut ranch), 1);
    let seen = async |ranch: &mut Ranch, client: &mut Client, bytes, expected| {
        let again = async || {
            fill(client, bytes).await;
            (warnings(ranch) == expected).then_some(())
        };
        until("the next warning", Duration::from_secs(10), again).await.unwrap();
    };
    // Each fill is looked at within a second or so; filling goes on until that has shown.
    let begin = std::time::Instant::now();
    let low = async || {
        fill(&mut client, 100).await;
        (begin.elapsed() > Duration::from_secs(3)).then_some(())
    };
    until("the leader to have looked", Duration::from_secs(10), low).await.unwrap();
    seen(&mut ranch, &mut client, 9_500, 2).await;
}
