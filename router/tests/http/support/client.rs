//! A client for tests, over hyper, and raw bytes over a socket where a client would not do.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client with one key.
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    addr: SocketAddr,
    headers: Vec<(&'static str, String)>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new(addr: SocketAddr, key: &str) -> Self {
        Self::build(addr, key, false)
    }

    /// A client that speaks HTTP/2 from the start.
    pub fn http2(addr: SocketAddr, key: &str) -> Self {
        Self::build(addr, key, true)
    }

    fn build(addr: SocketAddr, key: &str, http2: bool) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let headers = match key {
            "" => Vec::new(),
            key => vec![("authorization", format!("Bearer {key}"))],
        };
        Self { pool, addr, headers }
    }

    /// The same client with one more header.
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.push((name, value.to_owned()));
        Self { pool: self.pool.clone(), addr: self.addr, headers }
    }

    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Reply {
        self.try_send(method, path, body).await.unwrap()
    }

    /// Sends a request; an error when the answer breaks off.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let uri = format!("http://{}{path}", self.addr);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body.into()))?;
        let answer = tokio::time::timeout(Duration::from_secs(20), self.pool.request(request));
        let (parts, body) = answer.await??.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, "").await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, "").await
    }
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and text at once, for tables.
    pub fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text()), (status, text));
    }
}

/// Sends bytes as they are and reads until the router closes the connection.
pub async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

/// Reads until the router closes the connection.
pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}
