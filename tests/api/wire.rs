//! HTTP itself: old clients, pipelining, HEAD, and what is no HTTP at all.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::ranch_with;

const LIMIT: Duration = Duration::from_secs(20);

/// Sends bytes and returns all that comes until the other side closes, or `enough` of it has come.
async fn exchange(addr: SocketAddr, bytes: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while !enough(&text) {
            let read = stream.read(&mut buffer).await.unwrap();
            if read == 0 {
                break;
            }
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    tokio::time::timeout(LIMIT, reading).await.unwrap_or_else(|_| panic!("no end in sight"));
    text
}

#[tokio::test]
async fn http_as_clients_really_speak_it() {
    let (ranch, key) = ranch_with("will").await;
    let addr = ranch.addr();
    let mut client = ranch.client(Some(&key));
    let at = "1.1.1/1.1.1/1.1.1";
    client.write("p", at, "text").await.unwrap();

    let head = client.call(Method::HEAD, &format!("/api/v2/read/{at}?p=p")).await.unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "4", 0));

    let path = "/api/v2/select?p=p";
    let old = format!("GET {path} HTTP/1.0\r\nAuthorization: {key}\r\n\r\n");
    let answer = exchange(addr, &old, |_| false).await;
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\ntext"), "{answer}");

    let one = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n");
    let both = |text: &str| text.matches("HTTP/1.1 200").count() == 3 && text.ends_with("text");
    exchange(addr, &one.repeat(3), both).await;

    let nonsense = exchange(addr, "EHLO ranch\r\n\r\n", |_| false).await;
    assert!(nonsense.starts_with("HTTP/1.1 400"), "{nonsense}");
    // Small enough to be read whole, so that the answer is not lost with an unread rest.
    let many = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(500));
    let refused = exchange(addr, &many, |text| text.contains("\r\n\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    // A client that asks first, as curl does with a large body, is told before it sends it.
    let target = format!("PUT /api/v2/write/{at}?p=large HTTP/1.1\r\nHost: x\r\n");
    let headers = "Expect: 100-continue\r\nContent-Length: 67108865\r\n";
    let large = format!("{target}Authorization: {key}\r\n{headers}\r\n");
    let refused = exchange(addr, &large, |text| text.contains("\r\n\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    assert_eq!(client.read("large", at).await.unwrap().status, 404);
    assert_eq!(client.get(path).await.unwrap().text(), "text", "and the router goes on");
}
