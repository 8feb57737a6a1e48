//! Administrators' endpoints and health.

use crate::support::{ADMIN, Router, WILL};

#[tokio::test]
async fn a_tenant_added_can_be_used_at_once() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let body = r#"{"tenant_id":"new-one","quota_mb":1,"admin_email":"n@example.org"}"#;
    let reply = admin.post("/api/v2/admin/tenants/add", body).await;
    assert_eq!(reply.status.as_u16(), 201, "{}", reply.text());
    let added = reply.json();
    let mut fields: Vec<_> = added.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["api_key", "data_dir", "status", "tenant_id"]);
    assert_eq!(added["tenant_id"], "new-one");
    assert_eq!(added["data_dir"], "shard-2/new-one");
    assert_eq!(added["status"], "active");
    let key = added["api_key"].as_str().unwrap();
    assert!(key.starts_with("pmb-v1-") && key.len() >= 39, "{key}");
    router.client(key).post("/api/v2/update", "x").await.is(200, "Updated 1 bytes");

    let again = admin.post("/api/v2/admin/tenants/add", body).await;
    assert_eq!(again.status.as_u16(), 409);
    assert_eq!(again.json()["detail"], "the tenant id \"new-one\" is taken");

    let stats = admin.get("/api/v2/admin/tenants/new-one/stats").await.json();
    let expected = serde_json::json!({
        "tenant_id": "new-one", "storage_used_mb": 65.0 / 1_048_576.0, "storage_used_bytes": 65,
        "quota_mb": 1.0, "scrolls": 1, "phexts": 1, "api_calls_today": 1,
        "last_active": "2026-03-01T12:00:00.001Z", "shard": 2,
    });
    assert_eq!(stats, expected);
}

#[tokio::test]
async fn a_chosen_key_works_and_cannot_be_chosen_twice() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let add = |id: &str| format!(r#"{{"tenant_id":"{id}","key":"correct-horse-battery"}}"#);
    let reply = admin.post("/api/v2/admin/tenants/add", add("one")).await;
    assert_eq!(reply.json()["api_key"], "correct-horse-battery");
    router.client("correct-horse-battery").get("/api/v2/select").await.is(200, "");
    let reply = admin.post("/api/v2/admin/tenants/add", add("two")).await;
    assert_eq!(reply.status.as_u16(), 409);
    assert!(!reply.text().contains("correct-horse"), "{}", reply.text());
}

#[tokio::test]
async fn malformed_tenants_are_refused_by_field() {
    let router = Router::start().await;
    for (body, field) in [
        (r#"{"tenant_id":"No"}"#, "tenant_id"),
        (r#"{"tenant_id":"a","quota_mb":-1}"#, "quota_mb"),
        (r#"{"tenant_id":"a","key":"short"}"#, "key"),
        (r#"{"tenant_id":"a","profile":"other"}"#, "body"),
        (r#"{"tenant_id":"a""#, "body"),
        ("", "body"),
    ] {
        let reply = router.client(ADMIN).post("/api/v2/admin/tenants/add", body).await;
        assert_eq!(reply.status.as_u16(), 400, "{body}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.json()["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_disabled_tenant_comes_back_with_its_key_and_data() {
    let router = Router::start().await;
    let (admin, will) = (router.client(ADMIN), router.client(WILL));
    will.post("/api/v2/update", "kept").await.is(200, "Updated 4 bytes");
    let gone = admin.delete("/api/v2/admin/tenants/will").await;
    assert_eq!(gone.json(), serde_json::json!({"tenant_id": "will", "status": "disabled"}));
    will.get("/api/v2/select").await.is(403, "Forbidden: this tenant is disabled");
    let back = admin.post("/api/v2/admin/tenants/will/restore", "").await;
    assert_eq!(back.json()["status"], "active");
    will.get("/api/v2/select").await.is(200, "kept");
    let nobody = admin.delete("/api/v2/admin/tenants/nobody").await;
    assert_eq!(nobody.status.as_u16(), 404);
}

#[tokio::test]
async fn tenants_are_listed_without_keys() {
    let router = Router::start().await;
    let reply = router.client(ADMIN).get("/api/v2/admin/tenants").await;
    assert!(!reply.text().contains("pmb-v1"), "{}", reply.text());
    let list = reply.json();
    let will = list["tenants"].as_array().unwrap().iter().find(|t| t["tenant_id"] == "will");
    let will = will.unwrap();
    assert_eq!((&will["shard"], &will["status"]), (&1.into(), &"active".into()));
    assert_eq!((&will["keys"], &will["profile"]), (&2.into(), &"sq".into()));
}

#[tokio::test]
async fn the_cluster_as_ranch_status_shows_it() {
    let router = Router::start().await;
    let cluster = router.client(ADMIN).get("/api/v2/admin/cluster").await.json();
    assert_eq!(cluster["status"], "ok", "{cluster}");
    let node = serde_json::json!({
        "id": 1, "name": "node1", "addr": "127.0.0.1:7101", "pid": 101, "state": "up",
        "duty": "serving", "version": "0.1.0", "formats": {"min": 1, "max": 1},
        "protocols": {"min": 1, "max": 1},
    });
    assert_eq!(cluster["nodes"][0], node);
    let shard = serde_json::json!({
        "id": 1, "leader": 1, "replicas": [1, 2, 3], "voters": ["1.1", "2.1", "3.1"],
        "moving": null, "term": 1, "lag": 0,
    });
    assert_eq!(cluster["shards"][0], shard);
    assert_eq!(cluster["shards"].as_array().unwrap().len(), 2);
    assert_eq!(cluster["tenants"][0], serde_json::json!({"id": "ann", "shard": 2}));
    router.shards.down.lock().insert(3);
    let cluster = router.client(ADMIN).get("/api/v2/admin/cluster").await.json();
    assert_eq!(
        (&cluster["status"], &cluster["nodes"][2]["state"]),
        (&"degraded".into(), &"down".into())
    );
    assert_eq!(cluster["problems"][0], "node 3 (node3) does not answer");
}

#[tokio::test]
async fn health_needs_no_key_and_follows_the_leaders() {
    let healthy = Router::start().await;
    let anyone = healthy.client("");
    let live = anyone.get("/health/live").await;
    live.is(200, "{\"status\":\"ok\"}");
    anyone.get("/health/ready").await.is(200, "{\"status\":\"ready\"}");
    let health = anyone.get("/health").await.json();
    assert_eq!((&health["status"], &health["shards"]), (&"ok".into(), &2.into()));
    assert!(health.get("scrolls").is_some() && health.get("last_write").is_some());

    let leaderless = Router::start().await;
    *leaderless.shards.leader.lock() = None;
    let anyone = leaderless.client("");
    assert_eq!(anyone.get("/health/live").await.status.as_u16(), 200);
    anyone.get("/health/ready").await.is(503, "{\"status\":\"not ready\"}");
    assert_eq!(anyone.get("/health").await.json()["status"], "down");
}

#[tokio::test]
async fn copies_are_compared_shard_by_shard() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let reply = admin.post("/api/v2/admin/cluster/verify?wait_s=0&id=7", "").await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!((&answer["id"], &answer["verdict"]), (&7.into(), &"running".into()));
    assert_eq!(answer["meta"]["verdict"], "alike");
    let [first, second] = &answer["shards"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&first["verdict"], &first["index"]), (&"alike".into(), &10.into()));
    assert_eq!(first["hash"], "ab".repeat(16));
    assert_eq!(first["replicas"][2]["replica"], "3.1");
    assert_eq!((&second["verdict"], &second["hash"]), (&"running".into(), &().into()));
    let late = admin.post("/api/v2/admin/cluster/verify?wait_s=601", "").await;
    assert_eq!((late.status.as_u16(), &late.json()["field"]), (400, &"wait_s".into()));
    let tenant = router.client(WILL).post("/api/v2/admin/cluster/verify", "").await;
    assert_eq!(tenant.status.as_u16(), 403);
    let got = admin.get("/api/v2/admin/cluster/verify").await;
    assert_eq!(got.status.as_u16(), 405);
}
