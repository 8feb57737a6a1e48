//! Who may do what: keys in every place, roles, other tenants, CORS.

use http::Method;

use crate::support::{ADMIN, ANN, GONE, READER, Router, WILL};

#[tokio::test]
async fn without_a_valid_key_every_path_is_401() {
    let router = Router::start().await;
    for path in
        ["/api/v2/select", "/api/v2/version", "/api/v2/nothing", "/", "/api/v2/admin/tenants"]
    {
        for key in ["", "wrong", "pmb-v1-00000000000000000000000000000000000000aa"] {
            let reply = router.client(key).with("accept", "application/json").get(path).await;
            reply.is(401, "Unauthorized");
            assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(reply.header("access-control-allow-origin"), "*");
        }
    }
}

#[tokio::test]
async fn a_key_may_come_in_several_ways() {
    let router = Router::start().await;
    let anonymous = router.client("");
    for (name, value) in [
        ("authorization", format!("Bearer {WILL}")),
        ("authorization", format!("bearer {WILL}")),
        ("authorization", WILL.to_owned()),
        ("x-sq-api-key", WILL.to_owned()),
    ] {
        let reply = anonymous.with(name, &value).get("/api/v2/select").await;
        reply.is(200, "");
    }
}

#[tokio::test]
async fn roles_decide_what_is_allowed() {
    let router = Router::start().await;
    let table = [
        (READER, Method::GET, "/api/v2/select", 200, ""),
        (READER, Method::GET, "/api/v2/insert?s=x", 403, "Forbidden: this key may only read"),
        (READER, Method::DELETE, "/api/v2/delete/a/b", 403, "Forbidden: this key may only read"),
        (GONE, Method::GET, "/api/v2/select", 403, "Forbidden: this tenant is disabled"),
        (
            ADMIN,
            Method::GET,
            "/api/v2/select",
            403,
            "Forbidden: with the admin key, name a tenant with ?tenant=ID",
        ),
        (ADMIN, Method::GET, "/api/v2/select?tenant=will", 200, ""),
        (ADMIN, Method::POST, "/api/v2/insert?tenant=will&s=x", 200, "Inserted 1 bytes"),
        (ADMIN, Method::GET, "/api/v2/select?tenant=nobody", 404, "no tenant \"nobody\""),
        (
            ADMIN,
            Method::GET,
            "/api/v2/select?tenant=gone",
            403,
            "Forbidden: this tenant is disabled",
        ),
        (WILL, Method::GET, "/api/v2/select?tenant=will", 200, "x"),
        (
            WILL,
            Method::GET,
            "/api/v2/select?tenant=ann",
            403,
            "Forbidden: this key is not of the tenant named",
        ),
        (
            WILL,
            Method::GET,
            "/api/v2/select?tenant=nobody",
            403,
            "Forbidden: this key is not of the tenant named",
        ),
        (WILL, Method::GET, "/api/v2/nothing", 404, "Not Found"),
        (WILL, Method::GET, "/api/v2/selects", 404, "Not Found"),
        (ADMIN, Method::GET, "/nothing", 404, "Not Found"),
        (WILL, Method::PATCH, "/api/v2/select", 405, "Method Not Allowed: use GET, HEAD"),
        (WILL, Method::DELETE, "/api/v2/update", 405, "Method Not Allowed: use GET, POST"),
    ];
    for (key, method, path, status, text) in table {
        let reply = router.client(key).send(method.clone(), path, "").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (status, text), "{method} {path}");
    }
    for path in ["/api/v2/admin/tenants", "/api/v2/admin/cluster", "/api/v2/metrics"] {
        let problem = router.client(WILL).get(path).await;
        assert_eq!(problem.status.as_u16(), 403, "{path}");
        assert_eq!(problem.json()["detail"], "Forbidden: this needs the admin key");
    }
}

#[tokio::test]
async fn tenants_see_nothing_of_each_other() {
    let router = Router::start().await;
    router.client(WILL).post("/api/v2/update?p=x", "of will").await.is(200, "Updated 7 bytes");
    let ann = router.client(ANN);
    ann.get("/api/v2/select?p=x").await.is(404, "no scroll at 1.1.1/1.1.1/1.1.1");
    ann.get("/api/v2/list?p=x").await.is(200, "");
    ann.get("/api/v2/get?p=x").await.is(200, "");
    ann.get("/api/v2/json-export?p=x").await.is(200, "[]");
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let router = Router::start().await;
    for (key, method, path) in [
        (WILL, Method::GET, "search"),
        (WILL, Method::GET, "watch"),
        (WILL, Method::GET, "history/1.1.1/1.1.1/1.1.1"),
    ] {
        let reply = router.client(key).send(method.clone(), &format!("/api/v2/{path}"), "").await;
        assert_eq!(reply.status.as_u16(), 501, "{method} {path}: {}", reply.text());
        assert!(reply.text().contains("is not available in this version"), "{}", reply.text());
    }
}

#[tokio::test]
async fn browsers_from_anywhere_may_ask() {
    let router = Router::start().await;
    let browser = router.client("").with("origin", "https://notepad.example");
    let preflight = browser.send(Method::OPTIONS, "/api/v2/update", "").await;
    preflight.is(204, "");
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert_eq!(preflight.header("access-control-allow-methods"), "GET, POST, PUT, DELETE, OPTIONS");
    let accepted = preflight.header("access-control-allow-headers");
    for name in ["Authorization", "Content-Type", "X-SQ-API-Key", "Idempotency-Key", "If-Match"] {
        assert!(accepted.contains(name), "{accepted}");
    }
    let answer = router.client(WILL).with("origin", "https://notepad.example");
    let answer = answer.get("/api/v2/select").await;
    assert!(answer.header("access-control-expose-headers").contains("X-Ranch-Revision"));
    assert_eq!(answer.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn only_listed_origins_may_ask_where_there_is_a_list() {
    let cors_origins = vec!["https://a.example".to_owned(), "https://b.example".to_owned()];
    let options = ranch_router::Options { cors_origins, ..Router::options() };
    let router = Router::with(options).await;
    for (origin, allowed) in
        [("https://b.example", "https://b.example"), ("https://evil.example", "https://a.example")]
    {
        let reply = router.client("").with("origin", origin).get("/health/live").await;
        assert_eq!(reply.header("access-control-allow-origin"), allowed);
        assert_eq!(reply.header("vary"), "Origin");
    }
}
