//! Who may do what: keys and where they are presented, tenants kept apart, browsers let in.

use std::time::Duration;

use http::Method;
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::{Client, Ranch};

use crate::support::{assert_answer, ranch_with};

const SELECT: &str = "/api/v2/select?p=a&c=1.1.1/1.1.1/1.1.1";

#[tokio::test]
async fn keys_decide_and_nothing_else() {
    let (ranch, key) = ranch_with("will").await;
    presenting_a_key(&ranch, &key).await;
    without_a_key(&ranch).await;
    admin_keys(&ranch, &key).await;
    tenants_are_apart(&ranch, &key).await;
    browsers(&ranch, &key).await;
    what_is_not_there(&ranch, &key).await;
}

#[tokio::test]
async fn a_router_that_has_just_started_turns_no_key_away() {
    let (mut ranch, key) = ranch_with("will").await;
    router_that_knows_nothing(&mut ranch).await;
    let ask = |key: &str, path: &'static str| {
        let mut client = ranch.client(Some(key));
        tokio::spawn(async move { client.get(path).await.unwrap() })
    };
    let valid = [ask(ADMIN_KEY, "/api/v2/admin/tenants"), ask(&key, SELECT)];
    let wrong = ask("pmb-v1-00000000000000000000000000000000", SELECT);
    tokio::time::sleep(Duration::from_millis(300)).await;
    for id in ranch.node_ids() {
        ranch.node(id).unwrap().resume().unwrap();
    }
    for asked in valid {
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(wrong.await.unwrap().status, 401);
    // Nor does it wait for ever.
    router_that_knows_nothing(&mut ranch).await;
    let mut client = ranch.client(Some(&key)).with_limit(Duration::from_secs(10));
    assert_eq!(client.get(SELECT).await.unwrap().status, 503);
}

/// Has all nodes stand still, so that a new router learns nothing from them, and starts one.
async fn router_that_knows_nothing(ranch: &mut Ranch) {
    for id in ranch.node_ids() {
        ranch.node(id).unwrap().pause().unwrap();
    }
    ranch.router().kill().unwrap();
    ranch.router().start().unwrap();
    let mut early = ranch.client(None);
    while early.get("/health/live").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn presenting_a_key(ranch: &Ranch, key: &str) {
    let mut nobody = ranch.client(None);
    let ways = [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("bEARER {key}")),
        ("authorization", key.to_owned()),
        ("x-sq-api-key", key.to_owned()),
    ];
    for (header, value) in &ways {
        let answer = nobody.send(Method::GET, SELECT, &[(header, value)], "").await.unwrap();
        assert_answer(&answer, 200, "");
    }
    for wrong in ["", "Bearer ", "Bearer pmb-v1-00000000000000000000000000000000", "Basic eDp5"] {
        let headers = [("authorization", wrong), ("accept", "application/json")];
        let answer = nobody.send(Method::GET, SELECT, &headers, "").await.unwrap();
        assert_answer(&answer, 401, "Unauthorized");
    }
}

async fn without_a_key(ranch: &Ranch) {
    let mut nobody = ranch.client(None);
    for path in ["/api/v2/version", "/api/v2/nonsense", "/", "/api/v2/admin/cluster", SELECT] {
        assert_answer(&nobody.get(path).await.unwrap(), 401, "Unauthorized");
    }
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(nobody.get(path).await.unwrap().status, 200, "{path}");
    }
    let health: serde_json::Value =
        serde_json::from_slice(&nobody.get("/health").await.unwrap().body).unwrap();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["shards"], 4);
}

async fn admin_keys(ranch: &Ranch, key: &str) {
    let mut tenant = ranch.client(Some(key));
    for path in ["admin/cluster", "admin/tenants", "metrics"] {
        let answer = tenant.get(&format!("/api/v2/{path}")).await.unwrap();
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    let mut admin = ranch.client(Some(ADMIN_KEY));
    assert_eq!(admin.get(SELECT).await.unwrap().status, 403);
    assert_answer(&admin.get(&format!("{SELECT}&tenant=will")).await.unwrap(), 200, "");
    assert_eq!(admin.get(&format!("{SELECT}&tenant=nobody")).await.unwrap().status, 404);
}

async fn tenants_are_apart(ranch: &Ranch, key: &str) {
    let other = ranch.add_tenant("other").await.unwrap();
    let mut will = ranch.client(Some(key));
    let mut other = ranch.client(Some(&other));
    will.write("a", "1.1.1/1.1.1/1.1.1", "mine").await.unwrap();
    assert_answer(&other.get(SELECT).await.unwrap(), 200, "");
    assert_eq!(other.get(&format!("{SELECT}&tenant=will")).await.unwrap().status, 403);
    other.write("a", "1.1.1/1.1.1/1.1.1", "yours").await.unwrap();
    assert_answer(&will.get(SELECT).await.unwrap(), 200, "mine");
    assert_answer(&other.get("/api/v2/get?p=a").await.unwrap(), 200, "yours");
}

async fn browsers(ranch: &Ranch, key: &str) {
    let mut nobody = ranch.client(None);
    let preflight = [
        ("origin", "https://example.org"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization"),
    ];
    let target = "/api/v2/write/1.1.1/1.1.1/1.1.1";
    let answer = nobody.send(Method::OPTIONS, target, &preflight, "").await.unwrap();
    assert!((200..300).contains(&answer.status), "{}", answer.status);
    let allowed = answer.header("access-control-allow-methods");
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
        assert!(allowed.contains(method), "{method} in {allowed}");
    }
    let allowed = answer.header("access-control-allow-headers");
    for header in ["Authorization", "Content-Type", "X-SQ-API-Key", "Idempotency-Key", "If-Match"] {
        assert!(allowed.contains(header), "{header} in {allowed}");
    }
    let origin = "access-control-allow-origin";
    assert_eq!(answer.header(origin), "*");
    // On every answer, refusals too.
    assert_eq!(nobody.get(SELECT).await.unwrap().header(origin), "*");
    let mut will = ranch.client(Some(key));
    for path in [SELECT, "/api/v2/nonsense", "/api/v2/select?c=5"] {
        assert_eq!(will.get(path).await.unwrap().header(origin), "*", "{path}");
    }
}

async fn status_of(client: &mut Client, method: Method, path: &str) -> u16 {
    client.call(method, path).await.unwrap().status
}

async fn what_is_not_there(ranch: &Ranch, key: &str) {
    let mut will = ranch.client(Some(key));
    for path in ["/", "/api/v2", "/api/v2/", "/api/v2/versions", "/api/v1/version", "/api/v2/Get"] {
        assert_answer(&will.get(path).await.unwrap(), 404, "Not Found");
    }
    assert_eq!(status_of(&mut will, Method::PATCH, SELECT).await, 405);
    for path in ["search", "watch", "history/1.1.1/1.1.1/1.1.1"] {
        let answer = will.get(&format!("/api/v2/{path}")).await.unwrap();
        assert!(answer.status == 501 || answer.status == 405, "{path}: {}", answer.status);
        let answer = will.call(Method::POST, &format!("/api/v2/{path}")).await.unwrap();
        assert!(answer.status == 501 || answer.status == 405, "{path}: {}", answer.status);
    }
}
