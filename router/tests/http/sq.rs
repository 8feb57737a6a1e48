//! SQ's endpoints: texts exactly as SQ has them, and what is refused.

use http::Method;

use crate::support::{ANN, Router, TINY, WILL};

#[tokio::test]
async fn writing_and_reading_in_sqs_words() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let at = "p=notes&c=1.1.1/2.2.2/3.3.3";
    for (method, path, body, text) in [
        (Method::GET, format!("/api/v2/select?{at}"), "", ""),
        (Method::POST, format!("/api/v2/insert?{at}"), "héllo", "Inserted 6 bytes"),
        (Method::GET, format!("/api/v2/insert?{at}&s=+a%2Bb"), "", "Inserted 4 bytes"),
        (Method::GET, format!("/api/v2/select?{at}"), "", "héllo a+b"),
        (Method::GET, "/api/v2/select?p=notes&c=1.1.1;2.2.2%2F03.3.3".into(), "", "héllo a+b"),
        (Method::POST, format!("/api/v2/update?{at}&s=loses"), "body wins", "Updated 9 bytes"),
        (Method::GET, format!("/api/v2/select?{at}"), "", "body wins"),
        (Method::POST, format!("/api/v2/update?{at}&s=from+query"), "", "Updated 10 bytes"),
        (Method::GET, format!("/api/v2/delete?{at}"), "", "Removed 10 bytes"),
        (Method::POST, format!("/api/v2/delete?{at}"), "", "Removed 0 bytes"),
        (Method::GET, format!("/api/v2/update?{at}&s=x"), "", "Updated 1 bytes"),
        (Method::GET, format!("/api/v2/update?{at}"), "", "Updated 0 bytes"),
        (Method::GET, format!("/api/v2/select?{at}"), "", ""),
        (Method::DELETE, format!("/api/v2/delete?{at}"), "", "Removed 0 bytes"),
        (Method::GET, "/api/v2/load?p=notes".into(), "", "Loaded notes.phext"),
        (Method::GET, "/api/v2/load".into(), "", "Loaded index.phext"),
        (Method::GET, "/api/v2/version".into(), "", env!("CARGO_PKG_VERSION")),
    ] {
        let reply = client.send(method.clone(), &path, body).await;
        assert_eq!(reply.text(), text, "{method} {path}");
        assert_eq!(reply.status.as_u16(), 200, "{method} {path}");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8", "{path}");
    }
}

#[tokio::test]
async fn without_p_and_c_it_is_the_default_phext_at_the_origin() {
    let router = Router::start().await;
    let client = router.client(WILL);
    client.post("/api/v2/update", "home").await.is(200, "Updated 4 bytes");
    client.get("/api/v2/select?p=index&c=1.1.1/1.1.1/1.1.1").await.is(200, "home");
}

#[tokio::test]
async fn every_write_says_its_revision_and_place() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let mut last = 0;
    for (path, place) in [
        ("/api/v2/insert?s=a", "will.1.1.1/1.1.1/1.1.1"),
        ("/api/v2/update?c=2.1.1/1.1.1/1.1.1&s=b", "will.2.1.1/1.1.1/1.1.1"),
        ("/api/v2/update?c=notes/todo&s=b", "will.1.1/notes.todo.1/1.1.1"),
        ("/api/v2/delete?c=notes/todo", "will.1.1/notes.todo.1/1.1.1"),
    ] {
        let reply = client.get(path).await;
        let revision: u64 = reply.header("x-ranch-revision").parse().unwrap();
        assert!(revision > last, "{path}");
        last = revision;
        assert_eq!(reply.header("x-ranch-stored-at"), place);
    }
}

#[tokio::test]
async fn version_is_json_where_the_client_takes_it() {
    let router = Router::start().await;
    for (accept, json) in [("*/*", true), ("application/json", true), ("text/plain", false)] {
        let reply = router.client(WILL).with("accept", accept).get("/api/v2/version").await;
        if json {
            assert_eq!(reply.header("content-type"), "application/json");
            assert_eq!(reply.json()["version"], env!("CARGO_PKG_VERSION"));
        } else {
            assert_eq!(reply.text(), env!("CARGO_PKG_VERSION"));
        }
    }
}

#[tokio::test]
async fn a_memory_replaces_and_says_when_there_is_nothing() {
    let router = Router::start().await;
    let client = router.client(ANN);
    client
        .get("/api/v2/select?c=1.1.1/1.1.1/1.1.2")
        .await
        .is(404, "no scroll at 1.1.1/1.1.1/1.1.2");
    client.post("/api/v2/insert", "one").await.is(200, "Inserted 3 bytes");
    client.post("/api/v2/insert", "two").await.is(200, "Inserted 3 bytes");
    client.get("/api/v2/select").await.is(200, "two");
}

#[tokio::test]
async fn bad_input_is_named_and_changes_nothing() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let malformed = |given: &str| {
        format!(
            "malformed coordinate {given}: expected nine numbers like 1.1.1/1.1.1/1.1.1, \
             a named form like agent.1.1/notes.x.1/1.1.1, or a path like notes/todo"
        )
    };
    for (query, body, status, text) in [
        ("c=abc", "x", 400, malformed("\"abc\"")),
        ("c=5", "x", 400, malformed("\"5\"")),
        ("c=2.2.2", "x", 400, malformed("\"2.2.2\"")),
        ("c=0.1.1/1.1.1/1.1.1", "x", 400, malformed("\"0.1.1/1.1.1/1.1.1\"")),
        ("c=../..", "x", 400, malformed("\"../..\"")),
        ("p=../x", "x", 403, "Forbidden: Invalid phext path".into()),
        ("p=a/b", "x", 403, "Forbidden: Invalid phext path".into()),
        ("p=", "x", 400, "malformed phext name: it is empty".into()),
        ("p=a%00", "x", 400, "malformed phext name: it holds a control character".into()),
        ("s=%zz", "", 400, "the query is not valid percent-encoded UTF-8".into()),
        ("s=%ff", "", 400, "the query is not valid percent-encoded UTF-8".into()),
        (
            "s=a%17b",
            "",
            400,
            "the scroll holds the phext delimiter 0x17 at byte 1; use import to split".into(),
        ),
        (
            "",
            "ab\u{1}",
            400,
            "the scroll holds the phext delimiter 0x01 at byte 2; use import to split".into(),
        ),
    ] {
        let reply = client.post(&format!("/api/v2/update?{query}"), body).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (status, text.as_str()), "{query}");
    }
    let reply = client.post("/api/v2/update", vec![b'a', 0xFF]).await;
    reply.is(400, "the scroll is not valid UTF-8 (first wrong byte at 1)");
    assert_eq!(router.shards.state.lock().applied, 0);
}

#[tokio::test]
async fn a_quota_is_kept() {
    let router = Router::start().await;
    let client = router.client(TINY);
    client.post("/api/v2/update", "x".repeat(136)).await.is(200, "Updated 136 bytes");
    let text = "the storage quota of this tenant would be exceeded; nothing was stored";
    client.post("/api/v2/insert", "y").await.is(507, text);
    client.get("/api/v2/delete").await.is(200, "Removed 136 bytes");
    client.post("/api/v2/insert", "y").await.is(200, "Inserted 1 bytes");
}

#[tokio::test]
async fn an_idempotency_key_makes_a_retry_apply_once() {
    let router = Router::start().await;
    let client = router.client(WILL).with("idempotency-key", "turn-1");
    let first = client.post("/api/v2/insert", "once").await;
    first.is(200, "Inserted 4 bytes");
    let again = client.post("/api/v2/insert", "once").await;
    again.is(200, "Inserted 4 bytes");
    assert_eq!(first.header("x-ranch-revision"), again.header("x-ranch-revision"));
    client.get("/api/v2/select").await.is(200, "once");
    let text = "this Idempotency-Key was used before for another request";
    client.post("/api/v2/insert", "else").await.is(422, text);
    client.post("/api/v2/insert?c=1.1.1/1.1.1/1.1.2", "once").await.is(422, text);
    // The same key of another tenant is another key.
    let ann = router.client(ANN).with("idempotency-key", "turn-1");
    ann.post("/api/v2/insert", "else").await.is(200, "Inserted 4 bytes");
    let empty = router.client(WILL).with("idempotency-key", "");
    empty.post("/api/v2/insert", "x").await.is(400, "Idempotency-Key must be 1 to 255 characters");
}
