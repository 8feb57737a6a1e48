//! Scrolls larger than a log entry or an answer: on their way to the shard in parts, and back.

use ranch_proto::phext::Checksum;
use ranch_router::Options;
use serde_json::json;

use crate::support::{Fault, Router, WILL};

const A: &str = "1.1.1/1.1.1/1.1.1";
const LENGTH: usize = 2_600_000;

fn text() -> String {
    let mut text: String = (0_u32..).map(|n| format!("{n:08}ä\n")).take(LENGTH / 11 + 1).collect();
    text.truncate(text.floor_char_boundary(LENGTH));
    text
}

#[tokio::test]
async fn large_scrolls_come_and_go_in_parts() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let (path, text) = (format!("/api/v2/write/{A}"), text());
    router.knows_leaders().await;
    client.post(&path, text.clone()).await.is(200, &format!("Updated {} bytes", text.len()));
    assert_eq!(router.shards.take_calls().len(), text.len().div_ceil(511 << 10) + 1);
    client.post(&format!("/api/v2/insert?c={A}"), "end").await.is(200, "Inserted 3 bytes");
    let whole = format!("{text}end");
    let read = client.get(&format!("/api/v2/read/{A}")).await;
    read.is(200, &whole);
    let tag = read.header("etag").to_owned();
    router.shards.take_calls();
    let known = client.with("if-none-match", &tag).get(&format!("/api/v2/read/{A}")).await;
    known.is(304, "");
    assert_eq!(router.shards.take_calls().len(), 1, "no part is fetched for nothing");
    client.get(&format!("/api/v2/select?c={A}")).await.is(200, &whole);
    client.post("/api/v2/update?c=1.1.1/1.1.1/1.1.2", "two").await;
    client.post("/api/v2/update?c=1.1.1/1.1.1/1.1.3", text.clone()).await;
    let phext = format!("{whole}\u{17}two\u{17}{text}");
    assert_eq!(client.get("/api/v2/get").await.text(), phext);
    let mut checksum = Checksum::new();
    checksum.update(phext.as_bytes());
    client.get("/api/v2/checksum").await.is(200, &checksum.hex());
    let export = client.get("/api/v2/json-export").await.json();
    assert_eq!(export.as_array().unwrap().len(), 3);
    assert_eq!((&export[0]["scroll"], &export[2]["scroll"]), (&json!(whole), &json!(text)));
    let batch = json!({"ops": [{"op": "read", "c": A}, {"op": "read", "c": "1.1.1/1.1.1/1.1.2"}]});
    let answer = client.post("/api/v2/batch", batch.to_string()).await.json();
    assert_eq!(answer["results"][0]["text"], json!(whole));
    client
        .delete(&format!("/api/v2/delete/{A}"))
        .await
        .is(200, &format!("Removed {} bytes", whole.len()));
}

#[tokio::test]
async fn an_upload_survives_what_befalls_its_parts_and_applies_once() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let path = format!("/api/v2/insert?c={A}");
    for faults in [
        [Fault::LostAnswer, Fault::NotLeader(Some(1)), Fault::Unavailable],
        [Fault::LostRequest, Fault::LostAnswer, Fault::NoReplica],
    ] {
        client.delete(&format!("/api/v2/delete?c={A}")).await;
        router.shards.fail_next(&faults);
        client.post(&path, text()).await.is(200, &format!("Inserted {} bytes", text().len()));
        assert_eq!(client.get(&format!("/api/v2/select?c={A}")).await.text(), text());
    }
    // The answer to the commit is lost: asked again, the shard knows it.
    client.delete(&format!("/api/v2/delete?c={A}")).await;
    router.shards.lose_commits(1);
    client.post(&path, text()).await.is(200, &format!("Inserted {} bytes", text().len()));
    assert_eq!(client.get(&format!("/api/v2/select?c={A}")).await.text(), text());
    // Parts that are gone when they are wanted are sent again.
    router.shards.forget_uploads(1);
    client.post(&path, text()).await.is(200, &format!("Inserted {} bytes", text().len()));
    assert_eq!(client.get(&format!("/api/v2/select?c={A}")).await.body.len(), 2 * text().len());
    router.shards.forget_uploads(9);
    let reply = client.post(&path, text()).await;
    assert_eq!(reply.status.as_u16(), 503);
    assert!(reply.text().contains("nothing was done"), "{}", reply.text());
}

#[tokio::test]
async fn a_text_that_changes_while_it_is_read_is_read_anew() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let path = format!("/api/v2/write/{A}");
    client.post(&path, text()).await;
    let other = "other".repeat(400_000);
    router.shards.change_before_next_part("will", &other);
    client.get(&format!("/api/v2/read/{A}")).await.is(200, &other);
    router.shards.change_before_next_part("will", "small");
    client.get("/api/v2/get").await.is(200, "small");
    client.post(&path, text()).await;
    router.shards.change_before_next_part("will", "");
    let gone = client.get(&format!("/api/v2/read/{A}")).await;
    assert_eq!(gone.status.as_u16(), 404);
    client.post(&path, text()).await;
    router.shards.change_before_next_part("will", "");
    client.get("/api/v2/json-export").await.is(200, "[]");
}

#[tokio::test]
async fn memory_for_large_texts_is_shared_and_limited() {
    let request_deadline = std::time::Duration::from_millis(300);
    let options = Options { large_bytes_max: 3 << 20, request_deadline, ..Router::options() };
    let router = Router::with(options).await;
    let client = router.client(WILL);
    let path = format!("/api/v2/write/{A}");
    client.post(&path, text()).await;
    // Somebody announces a large text and does not send it.
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: r\r\nauthorization: {WILL}\r\n\
         content-length: 2500000\r\n\r\n"
    );
    let mut slow = tokio::net::TcpStream::connect(router.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let reply = client.get(&format!("/api/v2/read/{A}")).await;
        if reply.status.as_u16() == 503 {
            assert_eq!(reply.header("retry-after"), "1");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "nobody was turned away");
    }
    client.post("/api/v2/update?p=small", "x").await.is(200, "Updated 1 bytes");
    drop(slow);
    loop {
        let reply = client.get(&format!("/api/v2/read/{A}")).await;
        if reply.status.as_u16() == 200 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the share was not given back");
    }
}

#[tokio::test]
async fn toc_shows_whole_first_lines() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let long = "x".repeat(700);
    client.post("/api/v2/update?c=1.1.1/1.1.1/1.1.1", format!("{long}\nmore")).await;
    client.post("/api/v2/update?c=1.1.1/1.1.1/1.1.2", long.clone()).await;
    client.post("/api/v2/update?c=1.1.1/1.1.1/1.1.3", "y".repeat(1 << 21)).await;
    client.post("/api/v2/update?c=1.1.1/1.1.1/1.1.4", "short\n").await;
    let lines = [
        format!("* 1.1.1/1.1.1/1.1.1: {long}...\n"),
        format!("* 1.1.1/1.1.1/1.1.2: {long}\n"),
        format!("* 1.1.1/1.1.1/1.1.3: {}\n", "y".repeat(1 << 21)),
        "* 1.1.1/1.1.1/1.1.4: short...\n".to_owned(),
    ];
    assert_eq!(client.get("/api/v2/toc").await.text(), lines.concat());
}
