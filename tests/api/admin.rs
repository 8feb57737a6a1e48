//! Tenants and the account of the cluster, as administrators see them.

use http::Method;
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::{Answer, Client, Cluster, Layout};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{assert_answer, launch, ranch_with};

const ADD: &str = "/api/v2/admin/tenants/add";

async fn add(admin: &mut Client, body: &Value) -> Answer {
    admin.send(Method::POST, ADD, &[], body.to_string()).await.unwrap()
}

fn object(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

#[tokio::test]
async fn tenants_are_added_listed_and_held_to_their_quota() {
    let (ranch, _) = ranch_with("first").await;
    let mut admin = ranch.client(Some(ADMIN_KEY));

    let small = json!({"tenant_id": "small", "quota_mb": 0.001, "admin_email": "s@example.org"});
    let added = add(&mut admin, &small).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let added = object(&added);
    assert_eq!((&added["tenant_id"], &added["status"]), (&json!("small"), &json!("active")));
    let key = added["api_key"].as_str().unwrap().to_owned();
    let digits = key.strip_prefix("pmb-v1-").unwrap();
    assert!(digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    assert!(added["data_dir"].is_string());

    // 0.001 MB are 1048 bytes; a scroll costs its bytes and 64 more.
    let mut client = ranch.client(Some(&key));
    let write = async |client: &mut Client, at: &str, bytes: usize| {
        client.write("q", at, "x".repeat(bytes)).await.unwrap().status
    };
    assert_eq!(write(&mut client, "1.1.1/1.1.1/1.1.1", 1_100).await, 507);
    assert_eq!(client.read("q", "1.1.1/1.1.1/1.1.1").await.unwrap().status, 404);
    assert_eq!(write(&mut client, "1.1.1/1.1.1/1.1.1", 900).await, 200);
    assert_eq!(write(&mut client, "1.1.1/1.1.1/1.1.2", 100).await, 507);
    assert_eq!(client.delete("q", "1.1.1/1.1.1/1.1.1").await.unwrap().status, 200);
    assert_eq!(write(&mut client, "1.1.1/1.1.1/1.1.2", 100).await, 200);

    assert_eq!(add(&mut admin, &small).await.status, 409);
    let listed = object(&admin.get("/api/v2/admin/tenants").await.unwrap());
    let ids: Vec<_> =
        listed["tenants"].as_array().unwrap().iter().map(|t| &t["tenant_id"]).collect();
    assert_eq!(ids, ["first", "small"]);
    assert!(!listed.to_string().contains(&key), "a key is shown once and never again");
}

#[tokio::test]
async fn the_cluster_describes_itself() {
    let (ranch, _) = ranch_with("will").await;
    let cluster = ranch.wait_cluster("all up", ranch_chaos::ranch::START_LIMIT, Cluster::is_whole);
    let cluster = cluster.await.unwrap();
    let nodes: Vec<_> = cluster.nodes.iter().map(|node| (node.id, node.name.as_str())).collect();
    assert_eq!(nodes, [(1, "node1"), (2, "node2"), (3, "node3")]);
    assert!(cluster.nodes.iter().all(|node| node.pid.is_some()));
    assert!(cluster.nodes.iter().all(|node| node.version == env!("CARGO_PKG_VERSION")));
    assert_eq!(cluster.shards.len(), 4);
    for shard in &cluster.shards {
        let mut replicas = shard.replicas.clone();
        replicas.sort_unstable();
        assert_eq!(replicas, [1, 2, 3], "shard {}", shard.id);
    }
    assert_eq!(cluster.tenants.len(), 1);
    assert!(cluster.leader_of("will").is_some());
}

/// R5: storage is counted in the same step as the write, so writers cannot overshoot together.
#[tokio::test]
async fn writers_side_by_side_do_not_overshoot_a_quota() {
    const WRITERS: usize = 8;
    const BYTES: usize = 1_000;
    let (ranch, _) = ranch_with("first").await;
    let mut admin = ranch.client(Some(ADMIN_KEY));
    let tenant = json!({"tenant_id": "busy", "quota_mb": 0.05});
    let added = object(&add(&mut admin, &tenant).await);
    let mut writers = JoinSet::new();
    for writer in 1..=WRITERS {
        let mut client = ranch.client(added["api_key"].as_str());
        writers.spawn(async move {
            let mut stored = 0;
            for nth in 1..=20 {
                let at = format!("{writer}.1.1/1.1.1/1.1.{nth}");
                let answer = client.write("q", &at, "x".repeat(BYTES)).await.unwrap();
                match answer.status {
                    200 => stored += 1,
                    status => assert_eq!(status, 507, "{}", answer.text()),
                }
            }
            stored
        });
    }
    let stored: usize = writers.join_all().await.into_iter().sum();
    // 0.05 MB of 2^20 bytes, rounded.
    let quota = 52_429;
    // A scroll counts its bytes and 64 more.
    assert_eq!(stored, quota / (BYTES + 64), "as many as fit, and not one more");
    let stats = object(&admin.get("/api/v2/admin/tenants/busy/stats").await.unwrap());
    assert_eq!(stats["storage_used_bytes"], stored * (BYTES + 64));
    assert_eq!(stats["scrolls"], stored);
}

#[tokio::test]
async fn every_router_serves_the_same() {
    let layout = Layout { embedded: true, ..Layout::default() };
    let (ranch, key) = launch(&layout, "will").await;
    let inside: Vec<_> =
        ranch.node_ids().into_iter().map(|id| ranch.node_place(id).unwrap().listen).collect();
    let routers: Vec<_> = inside.into_iter().flatten().chain([ranch.addr()]).collect();
    assert_eq!(routers.len(), 4);
    for (nth, router) in routers.iter().enumerate() {
        let text = format!("through router {nth}");
        let mut client = Client::new(*router, Some(&key));
        let written = client.write("p", "1.1.1/1.1.1/1.1.1", text.clone()).await.unwrap();
        assert_eq!(written.status, 200, "{}", written.text());
        for other in &routers {
            let mut other = Client::new(*other, Some(&key));
            assert_answer(&other.read("p", "1.1.1/1.1.1/1.1.1").await.unwrap(), 200, &text);
        }
    }
}
