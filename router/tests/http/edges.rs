//! The edge itself: protocols, limits, slow and rude clients, stopping.

use std::time::{Duration, Instant};

use http::Method;
use ranch_router::Options;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::client::{Client, raw, read_to_end};
use crate::support::{Fault, Router, WILL};

#[tokio::test]
async fn http_1_0_1_1_and_2() {
    let router = Router::start().await;
    let request = |version: &str| {
        format!("GET /api/v2/update?s=hi {version}\r\nHost: x\r\nAuthorization: {WILL}\r\n")
    };
    let answer = raw(router.addr, format!("{}\r\n", request("HTTP/1.0")).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    assert!(answer.ends_with("Updated 2 bytes"), "{answer}");
    // Two requests at once on one connection are answered in order.
    let first = format!("{}\r\n", request("HTTP/1.1"));
    let second =
        first.replace("update?s=hi", "select").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer = raw(router.addr, format!("{first}{second}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert!(answer.ends_with("hi"), "{answer}");
    let client = Client::http2(router.addr, WILL);
    client.get("/api/v2/select").await.is(200, "hi");
    let writes = (0..50).map(|n| {
        let client = &client;
        async move { client.get(&format!("/api/v2/update?c=1.1.1/1.1.1/2.1.{}&s=x", n + 1)).await }
    });
    for reply in futures_util::future::join_all(writes).await {
        reply.is(200, "Updated 1 bytes");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let router = Router::start().await;
    let client = router.client(WILL);
    client.post("/api/v2/update", "twelve bytes").await.is(200, "Updated 12 bytes");
    for path in ["/api/v2/select", "/api/v2/read/1.1.1/1.1.1/1.1.1"] {
        let head = client.send(Method::HEAD, path, "").await;
        head.is(200, "");
        assert_eq!(head.header("content-length"), "12", "{path}");
    }
    client.send(Method::HEAD, "/api/v2/get", "").await.is(200, "");
    let refused = client.send(Method::HEAD, "/api/v2/delete", "").await;
    assert_eq!(refused.status.as_u16(), 405);
    client.get("/api/v2/select").await.is(200, "twelve bytes");
}

#[tokio::test]
async fn a_scroll_over_the_limit_is_refused_before_it_is_read() {
    let router = Router::with(Options { scroll_max_bytes: 100, ..Router::options() }).await;
    let client = router.client(WILL);
    let text = "the scroll is larger than the 100 bytes a scroll may have";
    client.post("/api/v2/update", "x".repeat(100)).await.is(200, "Updated 100 bytes");
    client.post("/api/v2/update", "x".repeat(101)).await.is(413, text);
    client.get(&format!("/api/v2/update?s={}", "x".repeat(101))).await.is(413, text);
    // Announced, and never sent: the answer does not wait for it.
    let head = format!(
        "POST /api/v2/update HTTP/1.1\r\nHost: x\r\nAuthorization: {WILL}\r\n\
         Content-Length: 99999999999\r\n\r\n"
    );
    let answer = raw(router.addr, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // In chunks of unknown number: read no further than the limit.
    let mut chunked = format!(
        "POST /api/v2/update HTTP/1.1\r\nHost: x\r\nAuthorization: {WILL}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    for _ in 0..3 {
        chunked.push_str("32\r\n");
        chunked.push_str(&"x".repeat(0x32));
        chunked.push_str("\r\n");
    }
    let answer = raw(router.addr, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    client.get("/api/v2/select").await.is(200, &"x".repeat(100));
}

#[tokio::test]
async fn a_large_body_in_many_pieces_arrives_whole() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let text = (0..100_000).map(|n| format!("{n:08}")).collect::<Vec<_>>().join(" ");
    client.post("/api/v2/update", text.clone()).await.is(200, "Updated 899999 bytes");
    client.get("/api/v2/select").await.is(200, &text);
}

#[tokio::test]
async fn heads_that_are_too_large_or_broken_are_refused() {
    let router = Router::start().await;
    let many = (0..200).map(|n| format!("X-{n}: y\r\n")).collect::<Vec<_>>().concat();
    let head = format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    let answer = raw(router.addr, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    for broken in [
        "nonsense\r\n\r\n",
        "GET /health/live HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        "POST /api/v2/update HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let answer = raw(router.addr, broken.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{broken}: {answer}");
    }
}

fn hurried() -> Options {
    Options {
        head_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(600),
        ..Router::options()
    }
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let router = Router::with(hurried()).await;
    // Half a head.
    let answer = raw(router.addr, b"GET /health/live HTTP/1.1\r\nHost: x\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    // Half an HTTP/2 preface, and nothing at all.
    let started = Instant::now();
    assert!(raw(router.addr, b"PRI * HT").await.len() < 300);
    assert_eq!(raw(router.addr, b"").await, "");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // Half a body.
    let head = format!(
        "POST /api/v2/update HTTP/1.1\r\nHost: x\r\nAuthorization: {WILL}\r\n\
         Content-Length: 10\r\n\r\nhalf"
    );
    let answer = raw(router.addr, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.ends_with("the body arrived too slowly"), "{answer}");
}

#[tokio::test]
async fn an_unused_connection_ends_quietly_and_later_than_a_slow_head() {
    let router = Router::with(hurried()).await;
    let mut stream = TcpStream::connect(router.addr).await.unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let started = Instant::now();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    assert!(started.elapsed() >= Duration::from_millis(550), "{:?}", started.elapsed());
    // The second head on a connection has its own deadline.
    let answer =
        raw(router.addr, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /health/live HTT");
    let answer = answer.await;
    assert!(answer.contains("{\"status\":\"ok\"}"), "{answer}");
}

#[tokio::test]
async fn a_slow_shard_is_not_a_slow_client() {
    let router = Router::with(hurried()).await;
    router.shards.fail_next(&[Fault::Hang]);
    router.client(WILL).post("/api/v2/update", "x").await.is(200, "Updated 1 bytes");
}

#[tokio::test]
async fn too_many_connections_are_told_to_come_back() {
    let router = Router::with(Options { max_connections: 1, ..Router::options() }).await;
    let first = router.client(WILL);
    first.get("/api/v2/select").await.is(200, "");
    let second = router.client(WILL).get("/api/v2/select").await;
    second.is(503, "too many connections; try again in a moment");
    assert_eq!(second.header("retry-after"), "1");
    assert_eq!(second.header("access-control-allow-origin"), "*");
    first.get("/api/v2/select").await.is(200, "");
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    while router.client(WILL).get("/api/v2/select").await.status.as_u16() != 200 {
        assert!(Instant::now() < deadline, "room is made again");
    }
}

#[tokio::test]
async fn stopping_lets_running_requests_finish() {
    let mut router = Router::start().await;
    router.shards.fail_next(&[Fault::Hang]);
    let client = router.client(WILL);
    let write = tokio::spawn(async move { client.post("/api/v2/insert", "late").await });
    while router.shards.calls.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    router.ask_to_stop();
    let (shards, addr) = (router.shards.clone(), router.addr);
    router.stop().await;
    write.await.unwrap().is(200, "Inserted 4 bytes");
    assert_eq!(shards.state.lock().applied, 1);
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn stopping_takes_a_bounded_time() {
    let options = Options {
        drain_timeout: Duration::from_millis(100),
        request_deadline: Duration::from_mins(1),
        ..Router::options()
    };
    let router = Router::with(options).await;
    *router.shards.leader.lock() = None;
    let client = router.client(WILL);
    let write =
        tokio::spawn(async move { client.try_send(Method::POST, "/api/v2/insert", "never").await });
    while router.shards.calls.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    router.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(write.await.unwrap().is_err());
}
