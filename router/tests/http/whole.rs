//! Phexts as a whole: text, contents, checksum, status, JSON; over several pages each, since the
//! shards of these tests give three scrolls a page.

use std::time::Duration;

use ranch_router::Options;

use crate::support::{Fault, Router, WILL};

/// Puts scrolls into a phext and returns its text as libphext writes it.
async fn fill(router: &Router, phext: &str) -> String {
    let mut map = std::collections::HashMap::new();
    for (coordinate, text) in [
        ("7.11.13/3.8.5/1.12.1", "far\naway"),
        ("1.1.1/1.1.1/1.1.1", "first"),
        ("1.1.1/1.1.1/1.1.2", "second \"quoted\""),
        ("1.1.1/1.1.2/1.1.1", "third"),
        ("13.13.13/13.13.13/13.13.13", "last"),
    ] {
        map.insert(libphext::phext::to_coordinate(coordinate), text.to_owned());
        let path = format!("/api/v2/update?p={phext}&c={coordinate}");
        assert_eq!(router.client(WILL).post(&path, text).await.status.as_u16(), 200);
    }
    let named = format!("/api/v2/update?p={phext}&c=notes/todo");
    assert_eq!(router.client(WILL).post(&named, "named").await.status.as_u16(), 200);
    libphext::phext::implode(map)
}

#[tokio::test]
async fn the_whole_phext_in_every_form() {
    let router = Router::start().await;
    let text = fill(&router, "x").await;
    let client = router.client(WILL);
    client.get("/api/v2/get?p=x").await.is(200, &text);
    let checksum = libphext::phext::checksum(&text);
    client.get("/api/v2/checksum?p=x").await.is(200, &checksum);
    let toc = "* 1.1.1/1.1.1/1.1.1: first\n* 1.1.1/1.1.1/1.1.2: second \"quoted\"\n\
               * 1.1.1/1.1.2/1.1.1: third\n* 7.11.13/3.8.5/1.12.1: far...\n\
               * 13.13.13/13.13.13/13.13.13: last\n* 1.1/notes.todo.1/1.1.1: named\n";
    client.get("/api/v2/toc?p=x&c=2.2.2&limit=1").await.is(200, toc);
    let export = client.get("/api/v2/json-export?p=x").await;
    assert_eq!(export.header("content-type"), "application/json");
    let export = export.json();
    assert_eq!(export.as_array().unwrap().len(), 6);
    let second = serde_json::json!({
        "coord": "1.1.1/1.1.1/1.1.2", "scroll": "second \"quoted\"",
    });
    assert_eq!(export[1], second);
    let status = client.get("/api/v2/status?p=x").await;
    let lines: Vec<_> = status.text().split('\n').collect();
    let [hosting, connection, size, scrolls] = lines[..] else { panic!("{lines:?}") };
    assert_eq!(hosting, "Hosting: x.phext");
    assert!(connection.strip_prefix("Connection ID: ").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(size, format!("Phext Size: {}", text.len() + "named".len()));
    assert_eq!(scrolls, "Scrolls: 6");
}

#[tokio::test]
async fn an_empty_phext() {
    let router = Router::start().await;
    let client = router.client(WILL);
    for (path, text) in [
        ("get", ""),
        ("toc", "* 1.1.1/1.1.1/1.1.1: \n"),
        ("checksum", "99aa06d3014798d86001c324468d497f"),
        ("json-export", "[]"),
    ] {
        client.get(&format!("/api/v2/{path}?p=none")).await.is(200, text);
    }
    let status = client.get("/api/v2/status?p=none").await;
    assert!(status.text().ends_with("\nPhext Size: 0\nScrolls: 0"), "{}", status.text());
}

#[tokio::test]
async fn an_export_over_the_limit_is_refused_before_its_first_byte() {
    let router = Router::with(Options { export_max_bytes: 1_000, ..Router::options() }).await;
    let client = router.client(WILL);
    client.post("/api/v2/update?c=1.1.1/1.1.1/1.1.900", "x".repeat(101)).await;
    let refusal = "the text of this phext is larger than the 1000 bytes an export may have";
    assert_eq!(client.get("/api/v2/get").await.body.len(), 1_000);
    client.post("/api/v2/insert?c=1.1.1/1.1.1/1.1.900", "y").await;
    client.get("/api/v2/get").await.is(413, refusal);
    client.get("/api/v2/checksum").await.is(413, refusal);
    // A phext that would take 4 GB of delimiters is refused as quickly.
    client.post("/api/v2/update?p=far&c=4294967295.1.1/1.1.1/1.1.1", "z").await;
    client.get("/api/v2/get?p=far").await.is(413, refusal);
    // Over several pages, too: the limit counts all of them.
    for scroll in 1..=5 {
        let path = format!("/api/v2/update?p=many&c=1.1.1/1.1.1/1.1.{scroll}");
        client.post(&path, "x".repeat(250)).await;
    }
    client.get("/api/v2/get?p=many").await.is(413, refusal);
    let status = client.get("/api/v2/status?p=far").await;
    assert!(status.text().contains("\nPhext Size: 4294967295\n"), "{}", status.text());
}

#[tokio::test]
async fn an_export_that_breaks_off_is_not_taken_for_whole() {
    let options = Options { request_deadline: Duration::from_millis(200), ..Router::options() };
    let router = Router::with(options).await;
    fill(&router, "x").await;
    // The first page and both pages of headers come, the second page of texts does not.
    let client = router.client(WILL);
    *router.shards.pages_until_silence.lock() = Some(3);
    let broken = client.try_send(http::Method::GET, "/api/v2/get?p=x", "").await;
    assert!(broken.is_err(), "{broken:?}");
    *router.shards.pages_until_silence.lock() = Some(0);
    let reply = client.get("/api/v2/get?p=x").await;
    assert_eq!(reply.status.as_u16(), 503);
    *router.shards.pages_until_silence.lock() = None;
    router.shards.fail_next(&[Fault::LostRequest]);
    assert_eq!(client.get("/api/v2/get?p=x").await.status.as_u16(), 200);
}
