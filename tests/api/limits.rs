//! Limits and counts of calls on a real ranch: over several routers, at the edge of a quota, and
//! through the death of every node.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Method;
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::wait::until;
use ranch_chaos::{Client, Layout, Ranch};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{launch, ranch_with};

const AT: &str = "1.1.1/1.1.1/1.1.1";

/// Adds a tenant as described and returns its key.
async fn tenant(ranch: &Ranch, tenant: &Value) -> String {
    let mut admin = ranch.client(Some(ADMIN_KEY));
    let path = "/api/v2/admin/tenants/add";
    let answer = admin.send(Method::POST, path, &[], tenant.to_string()).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let added: Value = serde_json::from_slice(&answer.body).unwrap();
    added["api_key"].as_str().unwrap().to_owned()
}

async fn stats(ranch: &Ranch, tenant: &str) -> Value {
    let path = format!("/api/v2/admin/tenants/{tenant}/stats");
    let answer = ranch.client(Some(ADMIN_KEY)).get(&path).await.unwrap();
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

/// A ranch with a router of its own and one in each node, and all their addresses.
async fn several_routers() -> (Ranch, Vec<SocketAddr>) {
    let layout = Layout { embedded: true, ..Layout::default() };
    let (ranch, _) = launch(&layout, "first").await;
    let inside = ranch.node_ids().into_iter().map(|id| ranch.node_place(id).unwrap().listen);
    let routers = inside.flatten().chain([ranch.addr()]).collect();
    (ranch, routers)
}

/// Calls without pause through these routers, two clients each, until `enough`; how many calls
/// were let through. Everything else must be 429 with a time to come back.
async fn hammer(routers: &[SocketAddr], key: &str, enough: impl Fn(u64) -> bool) -> u64 {
    let (made, stop) = tokio::sync::watch::channel(0_u64);
    let mut clients = JoinSet::new();
    for router in routers.iter().chain(routers) {
        let mut client = Client::new(*router, Some(key));
        let (made, stop) = (made.clone(), stop.clone());
        clients.spawn(async move {
            while *stop.borrow() != u64::MAX {
                let answer = client.select("q", AT).await.unwrap();
                match answer.status {
                    200 => made.send_modify(|made| *made = made.saturating_add(1)),
                    status => {
                        assert_eq!(status, 429, "{}", answer.text());
                        let wait: u64 = answer.header("retry-after").parse().unwrap();
                        assert!((1..=86_400).contains(&wait), "{wait}");
                    }
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let reached = async || enough(*stop.borrow()).then_some(());
    until("enough calls", Duration::from_mins(1), reached).await.unwrap();
    let count = made.send_replace(u64::MAX);
    clients.join_all().await;
    count
}

/// The terms of all shards: as long as they stay, nobody else came to lead.
async fn terms(ranch: &Ranch) -> Vec<u64> {
    let cluster = ranch.cluster().await.unwrap();
    cluster.shards.iter().map(|shard| shard.term).collect()
}

/// Measures with a new tenant until no leader changed meanwhile, as may happen on a machine that is
/// starved: at an election a second's worth of calls may be lost or made twice.
async fn undisturbed(
    ranch: &Ranch,
    limits: Value,
    measure: impl AsyncFn(&str) -> u64,
) -> (u64, String) {
    for nth in 1..=8 {
        let mut described = limits.clone();
        let id = format!("limited-{nth}");
        described["tenant_id"] = json!(id);
        let key = tenant(ranch, &described).await;
        let before = terms(ranch).await;
        let measured = measure(&key).await;
        if terms(ranch).await == before {
            return (measured, id);
        }
    }
    panic!("leaders never stayed long enough to measure");
}

#[tokio::test]
async fn a_rate_holds_over_all_routers_within_five_percent() {
    const RATE: u64 = 20;
    const SECONDS: u64 = 5;
    let (ranch, routers) = several_routers().await;
    let measure = async |key: &str| {
        let begin = OnceCell::new();
        let enough = |made| {
            made > 0 && begin.get_or_init(Instant::now).elapsed() >= Duration::from_secs(SECONDS)
        };
        hammer(&routers[2..], key, enough).await
    };
    let (made, _) = undisturbed(&ranch, json!({"rate_per_s": RATE}), measure).await;
    let expected = RATE * SECONDS;
    assert!(made.abs_diff(expected) * 20 <= expected, "{made} calls instead of {expected}");
}

#[tokio::test]
async fn calls_per_day_hold_over_all_routers_and_are_counted() {
    const PER_DAY: u64 = 200;
    let (ranch, routers) = several_routers().await;
    let measure = async |key: &str| {
        let begin = Instant::now();
        let enough = |made| made >= PER_DAY && begin.elapsed().as_secs() >= 2;
        hammer(&routers, key, enough).await
    };
    let (made, id) = undisturbed(&ranch, json!({"calls_per_day": PER_DAY}), measure).await;
    assert_eq!(made, PER_DAY);
    assert_eq!(stats(&ranch, &id).await["api_calls_today"], PER_DAY);
}

/// A crash loses a second's worth of counts at most; what was noted before it is there after it.
#[tokio::test]
async fn counts_survive_the_death_of_every_node() {
    let (mut ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key));
    for _ in 0..25 {
        assert_eq!(client.insert("q", AT, "x").await.unwrap().status, 200);
        assert_eq!(client.get("/api/v2/load?p=q").await.unwrap().status, 200);
        assert_eq!(client.select("q", "bad").await.unwrap().status, 400);
    }
    let counted = async || (stats(&ranch, "will").await["api_calls_today"] == 75).then_some(());
    until("all calls to be counted", Duration::from_secs(5), counted).await.unwrap();
    let active = stats(&ranch, "will").await["last_active"].clone();
    // Noted in the log within a second of being counted, which leaves no trace outside.
    let begin = Instant::now();
    let noted = async || (begin.elapsed() > Duration::from_secs(3)).then_some(());
    until("a note", Duration::from_secs(10), noted).await.unwrap();
    ranch.kill_all_nodes().unwrap();
    ranch.start_all().unwrap();
    ranch.wait_ready().await.unwrap();
    let after = stats(&ranch, "will").await;
    assert_eq!(after["api_calls_today"], 75, "{after}");
    assert!(after["last_active"].as_str().unwrap() >= active.as_str().unwrap(), "{after}");
}

/// R5: fifty writers at the edge of a quota never get past it, and it refuses nothing after a
/// delete that makes room.
#[tokio::test]
async fn fifty_writers_at_the_edge_of_a_quota() {
    const WRITERS: usize = 50;
    const COST: usize = 1_000 + 64;
    let (ranch, _) = ranch_with("first").await;
    let key = tenant(&ranch, &json!({"tenant_id": "edge", "quota_mb": 0.1})).await;
    // 0.1 MB of 2^20 bytes, rounded.
    let most = 104_858 / COST;
    let mut writers = JoinSet::new();
    for writer in 1..=WRITERS {
        let mut client = ranch.client(Some(&key));
        writers.spawn(async move {
            let mut stored = Vec::new();
            for nth in 1..=6 {
                let at = format!("{writer}.1.1/1.1.1/1.1.{nth}");
                match client.write("q", &at, "x".repeat(1_000)).await.unwrap().status {
                    200 => stored.push(at),
                    status => assert_eq!(status, 507),
                }
            }
            stored
        });
    }
    let stored: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(stored.len(), most, "as many as fit, and not one more");
    assert_eq!(stats(&ranch, "edge").await["storage_used_bytes"], most * COST);

    let mut client = ranch.client(Some(&key));
    for at in &stored[..3] {
        assert_eq!(
            client.write("q", "99.1.1/1.1.1/1.1.1", "x".repeat(1_000)).await.unwrap().status,
            507
        );
        assert_eq!(client.delete("q", at).await.unwrap().status, 200);
        let again = client.write("q", at, "y".repeat(1_000)).await.unwrap();
        assert_eq!(again.status, 200, "{}", again.text());
    }
    assert_eq!(stats(&ranch, "edge").await["storage_used_bytes"], most * COST);
}
