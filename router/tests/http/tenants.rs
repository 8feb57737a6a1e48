//! Keys, changes, deletion and archives of tenants.

use std::collections::BTreeMap;
use std::io::Read;

use http::Method;
use ranch_proto::Shards;
use serde_json::{Value, json};

use crate::support::{ADMIN, Client, MemoryShards, READER, Router, TINY, WILL};

const WILL_KEYS: &str = "/api/v2/admin/tenants/will/keys";

async fn make_key(admin: &Client, body: &Value) -> Value {
    let reply = admin.post(WILL_KEYS, body.to_string()).await;
    assert_eq!(reply.status.as_u16(), 201, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn a_key_is_replaced_without_a_gap_on_every_router() {
    let shards = MemoryShards::new();
    let one = Router::over(shards.clone(), Router::options()).await;
    let two = Router::over(shards, Router::options()).await;
    let admin = one.client(ADMIN);
    let made = make_key(&admin, &json!({"label": "rotation of May"})).await;
    let key = made["api_key"].as_str().unwrap();
    assert!(key.starts_with("pmb-v1-") && key.len() >= 39, "{key}");
    for router in [&one, &two] {
        router.client(key).post("/api/v2/update", "x").await.is(200, "Updated 1 bytes");
        router.client(WILL).get("/api/v2/select").await.is(200, "x");
    }
    let listed = admin.get(WILL_KEYS).await;
    assert!(!listed.text().contains("pmb-v1") && !listed.text().contains("hash"));
    let keys = listed.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 3);
    let old = keys.iter().find(|k| k["label"].is_null() && k["role"] == "rw").unwrap();
    let path = format!("{WILL_KEYS}/{}", old["key_id"].as_str().unwrap());
    let revoked = admin.delete(&path).await;
    assert_eq!((revoked.status.as_u16(), &revoked.json()["status"]), (200, &json!("revoked")));
    for router in [&one, &two] {
        router.client(WILL).get("/api/v2/select").await.is(401, "Unauthorized");
        router.client(key).get("/api/v2/select").await.is(200, "x");
    }
    assert_eq!(admin.delete(&path).await.status.as_u16(), 404);
    // A revoked key is not given again.
    let again = admin.post(WILL_KEYS, json!({"key": WILL}).to_string()).await;
    assert_eq!(again.status.as_u16(), 409);
    assert!(!again.text().contains(WILL));
}

#[tokio::test]
async fn keys_have_roles_labels_and_an_end() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let wanted = json!({"role": "ro", "label": "backup", "key": "correct-horse-battery",
                        "expires_at": "2099-12-31T23:59:59+00:00"});
    let made = make_key(&admin, &wanted).await;
    assert_eq!(made["api_key"], "correct-horse-battery");
    assert_eq!((&made["role"], &made["label"]), (&json!("ro"), &json!("backup")));
    assert_eq!(made["expires_at"], "2099-12-31T23:59:59.000Z");
    assert_eq!((&made["tenant_id"], &made["status"]), (&json!("will"), &json!("active")));
    let reader = router.client("correct-horse-battery");
    reader.get("/api/v2/select").await.is(200, "");
    reader.post("/api/v2/insert", "x").await.is(403, "Forbidden: this key may only read");
    assert_eq!(make_key(&admin, &json!({})).await["role"], "rw");
    for (body, field) in [
        (json!({"role": "admin"}), "body"),
        (json!({"expires_at": "2001-01-01T00:00:00Z"}), "expires_at"),
        (json!({"expires_at": "soon"}), "expires_at"),
        (json!({"key": "short"}), "key"),
        (json!({"label": "x".repeat(101)}), "label"),
        (json!({"lable": "x"}), "body"),
    ] {
        let reply = admin.post(WILL_KEYS, body.to_string()).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["field"]), (400, &json!(field)), "{body}");
    }
    for key in ["correct-horse-battery", READER, TINY] {
        let reply = admin.post(WILL_KEYS, json!({"key": key}).to_string()).await;
        assert_eq!(reply.status.as_u16(), 409, "{key}");
    }
    let nobody = "/api/v2/admin/tenants/nobody/keys";
    assert_eq!(admin.get(nobody).await.status.as_u16(), 404);
    assert_eq!(admin.post(nobody, "{}").await.status.as_u16(), 404);
    assert_eq!(admin.delete(&format!("{WILL_KEYS}/k-nothing")).await.status.as_u16(), 404);
    assert_eq!(router.client(WILL).get(WILL_KEYS).await.status.as_u16(), 403);
}

#[tokio::test]
async fn an_expired_key_opens_nothing() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let soon = std::time::SystemTime::now() + std::time::Duration::from_millis(1_500);
    let soon = soon.duration_since(std::time::UNIX_EPOCH).unwrap();
    let text = chrono::DateTime::from_timestamp_millis(soon.as_millis() as i64).unwrap();
    let made = make_key(&admin, &json!({"expires_at": text.to_rfc3339()})).await;
    let client = router.client(made["api_key"].as_str().unwrap());
    client.get("/api/v2/select").await.is(200, "");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while client.get("/api/v2/select").await.status.as_u16() != 401 {
        assert!(tokio::time::Instant::now() < deadline, "the key outlives its end");
    }
    let listed = admin.get(WILL_KEYS).await.json();
    assert!(listed["keys"].as_array().unwrap().iter().any(|key| key["status"] == "expired"));
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let patch = async |body: Value| {
        let reply = admin.send(Method::PATCH, "/api/v2/admin/tenants/tiny", body.to_string()).await;
        (reply.status.as_u16(), reply.json())
    };
    let (status, tiny) =
        patch(json!({"quota_mb": 0.5, "rate_per_s": 5, "profile": "memory"})).await;
    assert_eq!((status, &tiny["quota_mb"], &tiny["rate_per_s"]), (200, &json!(0.5), &json!(5.0)));
    assert_eq!((&tiny["profile"], &tiny["status"]), (&json!("memory"), &json!("active")));
    router.client(TINY).get("/api/v2/select").await.is(404, "no scroll at 1.1.1/1.1.1/1.1.1");
    let (_, tiny) = patch(json!({"quota_mb": null, "enabled": false})).await;
    assert_eq!((&tiny["quota_mb"], &tiny["rate_per_s"]), (&Value::Null, &json!(5.0)));
    assert_eq!(router.client(TINY).get("/api/v2/select").await.status.as_u16(), 403);
    let (_, same) = patch(json!({})).await;
    assert_eq!(same, tiny);
    assert_eq!(admin.get("/api/v2/admin/tenants/tiny").await.json(), tiny);
    assert_eq!(admin.get("/api/v2/admin/tenants/nobody").await.status.as_u16(), 404);
    for body in
        [json!({"quota": 1}), json!({"tenant_id": "x"}), json!({"enabled": null}), json!([])]
    {
        assert_eq!(patch(body.clone()).await.0, 400, "{body}");
    }
    let nobody = admin.send(Method::PATCH, "/api/v2/admin/tenants/nobody", "{}").await;
    assert_eq!(nobody.status.as_u16(), 404);
}

#[tokio::test]
async fn patches_side_by_side_lose_nothing() {
    let router = Router::start().await;
    let bodies = (1..=20).flat_map(|n| {
        [json!({"quota_mb": n}), json!({"calls_per_day": n}), json!({"admin_email": n.to_string()})]
    });
    let admin = router.client(ADMIN);
    let sends = bodies.map(|body| {
        let admin = &admin;
        async move {
            let path = "/api/v2/admin/tenants/will";
            let reply = admin.send(Method::PATCH, path, body.to_string()).await;
            assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
        }
    });
    futures_util::future::join_all(sends).await;
    let directory = router.shards.directory().read();
    let will = &directory.tenants["will"];
    assert!(will.quota_bytes.is_some() && will.calls_per_day.is_some());
    assert!(!will.admin_email.is_empty() && will.enabled);
}

#[tokio::test]
async fn a_purged_id_is_free_and_empty() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    router.client(WILL).post("/api/v2/update", "old").await.is(200, "Updated 3 bytes");
    let gone = admin.delete("/api/v2/admin/tenants/will?purge=true").await;
    assert_eq!(gone.json(), json!({"tenant_id": "will", "status": "purged"}));
    router.client(WILL).get("/api/v2/select").await.is(401, "Unauthorized");
    assert_eq!(admin.delete("/api/v2/admin/tenants/will?purge=true").await.status.as_u16(), 404);
    let body = json!({"tenant_id": "will", "key": WILL}).to_string();
    assert_eq!(admin.post("/api/v2/admin/tenants/add", body).await.status.as_u16(), 201);
    router.client(WILL).get("/api/v2/select").await.is(200, "");
}

/// The files of an archive, by name.
fn files(archive: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(archive);
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), text)
    });
    files.collect()
}

#[tokio::test]
async fn an_archive_has_everything_and_nothing_else() {
    let router = Router::start().await;
    let (admin, will) = (router.client(ADMIN), router.client(WILL));
    let big = "b".repeat(600_000);
    for (phext, at, text) in [
        ("index", "1.1.1/1.1.1/1.1.2", "two"),
        ("index", "notes/todo", "named\n\"quoted\""),
        ("q%C3%BC%20-%20%2A", "2.1.1/1.1.1/1.1.1", "odd name"),
        ("only-named", "notes/x", "alone"),
        ("far", "4294967295.1.1/1.1.1/1.1.1", "behind 4 GB of delimiters"),
    ] {
        let path = format!("/api/v2/write/{at}?p={phext}");
        assert_eq!(will.send(Method::PUT, &path, text).await.status.as_u16(), 200, "{path}");
    }
    for n in 1..=8 {
        let path = format!("/api/v2/write/1.1.1/1.1.1/1.1.{n}?p=big");
        will.send(Method::PUT, &path, big.clone()).await;
    }
    router.client(TINY).post("/api/v2/update", "tiny's own").await;
    admin.delete("/api/v2/admin/tenants/will").await;
    let archive = admin.get("/api/v2/admin/tenants/will/archive").await;
    assert_eq!(archive.header("content-type"), "application/x-tar");
    assert_eq!(archive.header("content-disposition"), "attachment; filename=\"will.tar\"");
    let files = files(&archive.body);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "will/big.phext",
            "will/index.phext",
            "will/named-scrolls.jsonl",
            "will/qü - *.phext",
            "will/tenant.json"
        ]
    );
    assert_eq!(files["will/index.phext"], "\u{17}two");
    assert_eq!(files["will/big.phext"], vec![big; 8].join("\u{17}"));
    let lines = files["will/named-scrolls.jsonl"].lines();
    let written: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(written.len(), 3);
    assert!(
        written.contains(&json!({"p": "index", "c": "1.1/notes.todo.1/1.1.1",
                                   "text": "named\n\"quoted\""})),
        "{written:?}"
    );
    assert!(written.iter().any(|line| line["c"] == "4294967295.1.1/1.1.1/1.1.1"));
    let about: Value = serde_json::from_str(&files["will/tenant.json"]).unwrap();
    assert_eq!((&about["tenant_id"], &about["status"]), (&json!("will"), &json!("disabled")));
    assert!(!archive.body.windows(6).any(|window| window == b"tiny's"));
    let nobody = admin.get("/api/v2/admin/tenants/nobody/archive").await;
    assert_eq!(nobody.status.as_u16(), 404);
    assert_eq!(will.get("/api/v2/admin/tenants/will/archive").await.status.as_u16(), 403);
}

#[tokio::test]
async fn an_archive_that_cannot_be_finished_is_not_taken_for_whole() {
    let router = Router::start().await;
    for n in 1..=20 {
        let path = format!("/api/v2/write/1.1.1/1.1.1/1.1.{n}");
        router.client(WILL).send(Method::PUT, &path, "x").await;
    }
    *router.shards.pages_until_silence.lock() = Some(3);
    let admin = router.client(ADMIN);
    let archive = admin.try_send(Method::GET, "/api/v2/admin/tenants/will/archive", "").await;
    assert!(archive.is_err(), "{archive:?}");
}
