//! The REST endpoints: conditions, lists, stale reads, errors as problem+json.

use http::Method;

use crate::support::state::EPOCH_MS;
use crate::support::{Router, WILL};

#[tokio::test]
async fn reading_writing_and_deleting_by_path() {
    let router = Router::start().await;
    let client = router.client(WILL);
    client.get("/api/v2/read/1.1.1/1.1.1/1.1.1").await.is(404, "no scroll at 1.1.1/1.1.1/1.1.1");
    client.post("/api/v2/write/1.1.1/1.1.1/1.1.1", "a").await.is(200, "Updated 1 bytes");
    let put = client.send(Method::PUT, "/api/v2/write/1.1.1;1.1.1;1.1.1", "ab").await;
    put.is(200, "Updated 2 bytes");
    assert_eq!(put.header("x-ranch-stored-at"), "will.1.1.1/1.1.1/1.1.1");
    let reply = client.get("/api/v2/read/1.1.1%2F1.1.1%2F1.1.1").await;
    reply.is(200, "ab");
    assert_eq!(reply.header("etag"), "\"2\"");
    assert_eq!(EPOCH_MS % 1000, 0);
    assert_eq!(reply.header("last-modified"), "Sun, 01 Mar 2026 12:00:00 GMT");
    client.delete("/api/v2/delete/1.1.1/1.1.1/1.1.1").await.is(200, "Removed 2 bytes");
    client.get("/api/v2/read/1.1.1/1.1.1/1.1.1").await.is(404, "no scroll at 1.1.1/1.1.1/1.1.1");
    client.get("/api/v2/read/7.7.7?p=x").await.is(
        400,
        "malformed coordinate \"7.7.7\": expected nine numbers like 1.1.1/1.1.1/1.1.1, \
         a named form like agent.1.1/notes.x.1/1.1.1, or a path like notes/todo",
    );
    let wrong = client.post("/api/v2/read/1.1.1/1.1.1/1.1.1", "x").await;
    wrong.is(405, "Method Not Allowed: use GET, HEAD");
    assert_eq!(wrong.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn conditions_hold_or_nothing_happens() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let path = "/api/v2/write/notes/todo";
    let absent = client.with("if-none-match", "*");
    absent.post(path, "a").await.is(200, "Updated 1 bytes");
    let changed = |found| format!("the scroll is at revision {found}, not the one asked for");
    absent.post(path, "b").await.is(412, &changed(1));
    client.with("if-match", "\"7\"").post(path, "b").await.is(412, &changed(1));
    client.with("if-match", "\"1\"").post(path, "b").await.is(200, "Updated 1 bytes");
    client
        .with("if-match", "2")
        .post("/api/v2/insert?c=notes/todo", "c")
        .await
        .is(200, "Inserted 1 bytes");
    client.with("if-match", "2").delete("/api/v2/delete/notes/todo").await.is(412, &changed(3));
    let form = "If-Match must be one revision, like \"42\" or 42";
    client.with("if-match", "*").post(path, "d").await.is(400, form);
    client.get("/api/v2/read/notes/todo").await.is(200, "bc");
    let known = client.with("if-none-match", "\"3\"").get("/api/v2/read/notes/todo").await;
    known.is(304, "");
    assert_eq!(known.header("etag"), "\"3\"");
    let unknown = client.with("if-none-match", "\"2\"").get("/api/v2/read/notes/todo").await;
    unknown.is(200, "bc");
}

async fn some_scrolls(router: &Router) {
    for (coordinate, text) in [
        ("1.1.1/1.1.1/1.1.1", "one"),
        ("1.1.1/1.1.1/1.1.2", "two"),
        ("1.1.1/1.1.1/1.1.10", "three"),
        ("1.5.2/3.7.3/1.1.1", "four"),
        ("2.1.1/1.1.1/1.1.1", "five"),
        ("notes/todo", "six"),
        ("notes/done", "seven"),
    ] {
        let path = format!("/api/v2/write/{coordinate}?p=x");
        assert_eq!(router.client(WILL).post(&path, text).await.status.as_u16(), 200);
    }
}

#[tokio::test]
async fn lists_are_in_order_by_pattern_and_in_pages() {
    let router = Router::start().await;
    some_scrolls(&router).await;
    let client = router.client(WILL);
    let all = "1.1.1/1.1.1/1.1.1\n1.1.1/1.1.1/1.1.2\n1.1.1/1.1.1/1.1.10\n1.5.2/3.7.3/1.1.1\n\
               2.1.1/1.1.1/1.1.1\n1.1/notes.done.1/1.1.1\n1.1/notes.todo.1/1.1.1\n";
    for (path, text) in [
        ("list?p=x", all),
        ("list/?p=x", all),
        ("list/*?p=x", all),
        ("list/1.5.*/3.7.3/*?p=x", "1.5.2/3.7.3/1.1.1\n"),
        ("list/2.1?p=x", "2.1.1/1.1.1/1.1.1\n"),
        ("list/notes?p=x", "1.1/notes.done.1/1.1.1\n1.1/notes.todo.1/1.1.1\n"),
        ("list/notes%2Ftodo?p=x", "1.1/notes.todo.1/1.1.1\n"),
        ("list?p=x&limit=2", "1.1.1/1.1.1/1.1.1\n1.1.1/1.1.1/1.1.2\n"),
        ("list?p=x&limit=2&after=1.1.1/1.1.1/1.1.2", "1.1.1/1.1.1/1.1.10\n1.5.2/3.7.3/1.1.1\n"),
        ("list?p=x&limit=0", ""),
        ("list?p=empty", ""),
        ("list/2.1?p=x&long=true", "2.1.1/1.1.1/1.1.1\t4\t5\t2026-03-01T12:00:00.005Z\n"),
    ] {
        client.get(&format!("/api/v2/{path}")).await.is(200, text);
    }
    let bad = client.get("/api/v2/list/1.*.x.y.z/2/3/4").await;
    assert_eq!(bad.status.as_u16(), 400);
    let bad = client.get("/api/v2/list?limit=many").await;
    bad.is(400, "limit must be a whole number, 0 or more");
}

#[tokio::test]
async fn lists_as_json_say_where_to_go_on() {
    let router = Router::start().await;
    some_scrolls(&router).await;
    let client = router.client(WILL).with("accept", "application/json");
    let reply = client.get("/api/v2/list?p=x&limit=4").await;
    assert_eq!(reply.header("content-type"), "application/json");
    let page = reply.json();
    assert_eq!(page["results"].as_array().unwrap().len(), 4);
    assert_eq!(page["next"], "1.5.2/3.7.3/1.1.1");
    let first = serde_json::json!({
        "coordinate": "1.1.1/1.1.1/1.1.1", "size": 3, "revision": 1,
        "modified": "2026-03-01T12:00:00.001Z",
    });
    assert_eq!(page["results"][0], first);
    let rest = client.get("/api/v2/list?p=x&limit=4&after=1.5.2/3.7.3/1.1.1").await.json();
    assert_eq!(rest["results"].as_array().unwrap().len(), 3);
    assert_eq!(rest["next"], serde_json::Value::Null);
    let none = client.get("/api/v2/list?p=empty").await;
    assert_eq!(none.text(), "{\"results\":[],\"next\":null}");
}

#[tokio::test]
async fn a_stale_read_says_so_and_asks_any_replica() {
    let router = Router::start().await;
    let client = router.client(WILL);
    client.post("/api/v2/update", "a").await.is(200, "Updated 1 bytes");
    router.shards.take_calls();
    for path in ["select?x", "read/1.1.1/1.1.1/1.1.1?x", "get?x", "toc?x", "list?x", "status?x"] {
        let reply = client.get(&format!("/api/v2/{path}&consistency=stale")).await;
        assert_eq!(reply.status.as_u16(), 200, "{path}");
        assert_eq!(reply.header("x-ranch-applied"), "1", "{path}");
        let strict = client.get(&format!("/api/v2/{path}")).await;
        assert_eq!(strict.header("x-ranch-applied"), "", "{path}");
    }
    let asked: std::collections::HashSet<u32> =
        router.shards.take_calls().iter().map(|call| call.node).collect();
    assert_eq!(asked.len(), 3, "stale reads are spread over replicas");
    for (path, status) in [("read/2.1.1/1.1.1/1.1.1?", 404), ("select?c=2.1.1/1.1.1/1.1.1", 200)] {
        let reply = client.get(&format!("/api/v2/{path}&consistency=stale")).await;
        assert_eq!(reply.status.as_u16(), status, "{path}");
        assert_eq!(reply.header("x-ranch-applied"), "1", "that there is nothing may be stale, too");
    }
    let reply = client.get("/api/v2/select?consistency=quick").await;
    reply.is(400, "consistency must be linearizable or stale");
}

#[tokio::test]
async fn errors_are_problems_where_json_is_asked_for() {
    let router = Router::start().await;
    let json = router.client(WILL).with("accept", "application/json");
    let reply = json.get("/api/v2/read/abc").await;
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let problem = reply.json();
    assert_eq!(problem["status"], 400);
    assert_eq!(problem["title"], "Bad Request");
    assert_eq!(problem["type"], "urn:ranch:error:coordinate");
    assert_eq!(problem["field"], "c");
    assert!(problem["detail"].as_str().unwrap().starts_with("malformed coordinate \"abc\""));
    let any = router.client(WILL).with("accept", "*/*").get("/api/v2/read/abc").await;
    assert_eq!(any.header("content-type"), "text/plain; charset=utf-8");
}
