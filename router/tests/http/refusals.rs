//! Requests that are broken, doubtful or too large, byte by byte: refused in a way the client can
//! read, and nothing of them stored or taken for another request.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{raw, read_to_end};
use crate::support::{Router, WILL};

/// The start of a write without its framing headers.
fn write() -> String {
    format!("POST /api/v2/update HTTP/1.1\r\nHost: x\r\nAuthorization: {WILL}\r\n")
}

#[tokio::test]
async fn framing_that_is_doubtful_is_refused_or_read_one_way() {
    let router = Router::start().await;
    let smuggled =
        format!("GET /api/v2/delete HTTP/1.1\r\nHost: x\r\nAuthorization: {WILL}\r\n\r\n");
    let (te, cl) = ("Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n");
    for (name, framing, body) in [
        ("a length that is no number", "Content-Length: three\r\n", "abc"),
        ("a negative length", "Content-Length: -3\r\n", "abc"),
        ("a signed length", "Content-Length: +3\r\n", "abc"),
        ("a length in hex", "Content-Length: 0x3\r\n", "abc"),
        ("an empty length", "Content-Length:\r\n", "abc"),
        ("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
        ("two lengths in one", "Content-Length: 3, 4\r\n", "abcd"),
        ("a length beyond all numbers", "Content-Length: 99999999999999999999999\r\n", "abc"),
        ("an encoding that is not the last", "Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
        ("an unknown encoding", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("a blank before the colon", "Content-Length : 3\r\n", "abc"),
        ("a folded header", "X-A: b\r\n Content-Length: 3\r\n", "abc"),
        ("a bare line feed in a value", "X-A: b\nc\r\n", ""),
        ("a null in a value", "X-A: b\0c\r\n", ""),
        ("a chunk size that is none", te, "zz\r\nabc\r\n0\r\n\r\n"),
        ("a negative chunk size", te, "-3\r\nabc\r\n0\r\n\r\n"),
        ("a chunk size beyond all numbers", te, "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("a chunk that is too long", te, "3\r\nabcdef\r\n0\r\n\r\n"),
    ] {
        let bytes = format!("{}{framing}\r\n{body}{smuggled}", write());
        let answer = raw(router.addr, bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{name}: {answer}");
        assert_eq!(router.shards.state.lock().applied, 0, "{name}");
    }
    // Both kinds of framing: chunked counts, and the connection ends, so that what another server
    // might take for a body can never be a request here.
    for framing in [format!("{cl}{te}"), format!("{te}{cl}")] {
        let bytes = format!("{}{framing}\r\n2\r\nok\r\n0\r\n\r\n{smuggled}", write());
        let answer = raw(router.addr, bytes.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(answer.ends_with("Updated 2 bytes"), "{answer}");
    }
    router.client(WILL).get("/api/v2/select").await.is(200, "ok");
    let old = write().replace("HTTP/1.1", "HTTP/1.0");
    let answer = raw(router.addr, format!("{old}{te}\r\n2\r\nno\r\n0\r\n\r\n").as_bytes()).await;
    assert!(answer.contains(" 400 Bad Request"), "{answer}");
}

#[tokio::test]
async fn a_body_that_ends_early_stores_nothing() {
    let router = Router::start().await;
    for cut in [
        format!("{}Content-Length: 10\r\n\r\nhalf", write()),
        format!("{}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", write()),
        format!("{}Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", write()),
    ] {
        let mut stream = TcpStream::connect(router.addr).await.unwrap();
        stream.write_all(cut.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.ends_with("the body ended early"), "{answer}");
    }
    assert_eq!(router.shards.state.lock().applied, 0);
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_reads_its_413() {
    let router = Router::start().await;
    let length = 65 << 20;
    for framing in
        [format!("Content-Length: {length}\r\n"), "Transfer-Encoding: chunked\r\n".into()]
    {
        let chunked = framing.starts_with('T');
        let mut stream = TcpStream::connect(router.addr).await.unwrap();
        stream.write_all(format!("{}{framing}\r\n", write()).as_bytes()).await.unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..length >> 20 {
            if chunked {
                stream.write_all(b"100000\r\n").await.unwrap();
            }
            stream.write_all(&piece).await.unwrap();
            if chunked {
                stream.write_all(b"\r\n").await.unwrap();
            }
        }
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("bytes a scroll may have"), "{answer}");
    }
    assert_eq!(router.shards.state.lock().applied, 0);
}

#[tokio::test]
async fn a_client_that_sends_a_huge_head_reads_its_431() {
    let router = Router::start().await;
    let mut stream = TcpStream::connect(router.addr).await.unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\n").await.unwrap();
    let line = format!("X-Filler: {}\r\n", "y".repeat(1000));
    for _ in 0..4_000 {
        stream.write_all(line.as_bytes()).await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    let router = Router::start().await;
    let mut stream = TcpStream::connect(router.addr).await.unwrap();
    let head = format!("{}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", write());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 25];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("Updated 5 bytes") {
        let mut buffer = [0; 512];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{answer}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    // What is too large is refused without it.
    let mut stream = TcpStream::connect(router.addr).await.unwrap();
    let head = format!("{}Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", write());
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_proxy_that_speaks_http_1_0_is_answered_in_kind() {
    let router = Router::start().await;
    let client = router.client(WILL);
    for scroll in 1..=10 {
        client.post(&format!("/api/v2/update?c=1.1.1/1.1.1/1.1.{scroll}"), "text").await;
    }
    // As nginx asks by default, also for an answer whose length is not known before.
    for (path, end) in [("select", "text"), ("get", "text"), ("json-export", "]")] {
        let head = format!(
            "GET /api/v2/{path} HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\
             Authorization: {WILL}\r\n\r\n"
        );
        let answer = raw(router.addr, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
        assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
        assert!(answer.ends_with(end), "{answer}");
    }
    let head = format!(
        "POST /api/v2/insert HTTP/1.0\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\
         Authorization: {WILL}\r\n\r\nagain"
    );
    let answer = raw(router.addr, head.as_bytes()).await;
    assert!(answer.ends_with("Inserted 5 bytes"), "{answer}");
    let kept = format!(
        "GET /api/v2/select HTTP/1.0\r\nConnection: keep-alive\r\nAuthorization: {WILL}\r\n\r\n"
    );
    let twice = format!("{kept}{}", kept.replace("keep-alive", "close"));
    let answer = raw(router.addr, twice.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.0 200 OK").count(), 2, "{answer}");
}

#[tokio::test]
async fn six_hundred_idle_connections_are_no_burden() {
    let router = Router::start().await;
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(TcpStream::connect(router.addr).await.unwrap());
    }
    let started = Instant::now();
    router.client(WILL).post("/api/v2/update", "x").await.is(200, "Updated 1 bytes");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    for stream in &mut idle {
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    }
    for stream in &mut idle {
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
    }
}
