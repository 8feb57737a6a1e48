//! A client of the HTTP API, no cleverer than curl: one connection, kept alive, one request at a
//! time. What matters to the checker is kept apart: a request that cannot have arrived, and one
//! whose fate is open.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// All but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No connection, so nothing was asked.
    #[error("{addr} cannot be reached: {detail}")]
    NotSent {
        /// The address tried.
        addr: SocketAddr,
        /// What failed.
        detail: String,
    },
    /// It was sent, wholly or in part, and no whole answer came.
    #[error("{addr} gave no answer: {detail}")]
    Unanswered {
        /// The address asked.
        addr: SocketAddr,
        /// What failed.
        detail: String,
    },
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text; bytes that are no UTF-8 are shown as replacement characters.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header field; empty when absent or not printable.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The revision a write was given, from `X-Ranch-Revision`.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.header("x-ranch-revision").parse().ok()
    }

    /// The revision of the scroll read, from `ETag`.
    #[must_use]
    pub fn etag(&self) -> Option<u64> {
        self.header("etag").trim_matches('"').parse().ok()
    }
}

/// A client with one connection to one address, made when first needed.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    key: Option<String>,
    limit: Duration,
    link: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client that presents `key`, or none, with each request.
    #[must_use]
    pub fn new(addr: SocketAddr, key: Option<&str>) -> Self {
        let key = key.map(|key| format!("Bearer {key}"));
        Self { addr, key, limit: Duration::from_secs(20), link: None }
    }

    /// Waits at most so long for each answer.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Sends one request and reads the whole answer. `target` is path and query, escaped.
    ///
    /// # Errors
    /// [`ClientError::NotSent`] when it cannot have arrived, else [`ClientError::Unanswered`].
    pub async fn send(
        &mut self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        let mut request =
            Request::builder().method(method).uri(target).header("host", self.addr.to_string());
        if let Some(key) = &self.key {
            request = request.header("authorization", key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).map_err(|e| self.not_sent(&e))?;
        let asked = timeout(self.limit, self.exchange(request)).await;
        let answer = asked.unwrap_or_else(|elapsed| Err(self.unanswered(&elapsed)));
        if answer.is_err() {
            self.link = None;
        }
        answer
    }

    /// Sends a request without header fields or body of its own.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn call(&mut self, method: Method, target: &str) -> Result<Answer, ClientError> {
        self.send(method, target, &[], Bytes::new()).await
    }

    /// GET of path and query.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn get(&mut self, target: &str) -> Result<Answer, ClientError> {
        self.call(Method::GET, target).await
    }

    /// `select`: the text at a coordinate.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn select(&mut self, phext: &str, at: &str) -> Result<Answer, ClientError> {
        self.get(&endpoint("select", phext, at)).await
    }

    /// `insert`: appends the text.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn insert(
        &mut self,
        phext: &str,
        at: &str,
        text: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        self.send(Method::POST, &endpoint("insert", phext, at), &[], text).await
    }

    /// `update`: replaces the text.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn update(
        &mut self,
        phext: &str,
        at: &str,
        text: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        self.send(Method::POST, &endpoint("update", phext, at), &[], text).await
    }

    /// `read/{c}`: the text with its revision, 404 when absent.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn read(&mut self, phext: &str, at: &str) -> Result<Answer, ClientError> {
        self.get(&resource("read", phext, at)).await
    }

    /// `write/{c}`: replaces the text.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn write(
        &mut self,
        phext: &str,
        at: &str,
        text: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        self.send(Method::PUT, &resource("write", phext, at), &[], text).await
    }

    /// `DELETE delete/{c}`: removes the scroll.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn delete(&mut self, phext: &str, at: &str) -> Result<Answer, ClientError> {
        self.call(Method::DELETE, &resource("delete", phext, at)).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        if let Some(link) = self.link.take_if(|link| link.is_closed()) {
            drop(link);
        }
        let kept = self.link.take();
        let fresh = kept.is_none();
        let mut link = match kept {
            Some(link) => link,
            None => self.connect().await?,
        };
        let mut sent = link.send_request(request.clone()).await;
        // A kept connection may turn out closed by the other side before it took the request.
        if !fresh && sent.as_ref().is_err_and(hyper::Error::is_canceled) {
            link = self.connect().await?;
            sent = link.send_request(request).await;
        }
        let response = sent.map_err(|error| {
            if error.is_canceled() { self.not_sent(&error) } else { self.unanswered(&error) }
        })?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| self.unanswered(&error))?.to_bytes();
        self.link = Some(link);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = TcpStream::connect(self.addr).await.map_err(|e| self.not_sent(&e))?;
        stream.set_nodelay(true).map_err(|e| self.not_sent(&e))?;
        let (link, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.not_sent(&e))?;
        tokio::spawn(connection);
        Ok(link)
    }

    fn not_sent(&self, error: &dyn std::error::Error) -> ClientError {
        ClientError::NotSent { addr: self.addr, detail: error.to_string() }
    }

    fn unanswered(&self, error: &dyn std::error::Error) -> ClientError {
        ClientError::Unanswered { addr: self.addr, detail: error.to_string() }
    }
}

/// Escapes text for a path or a query value.
#[must_use]
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Path and query of an SQ endpoint.
#[must_use]
pub fn endpoint(verb: &str, phext: &str, at: &str) -> String {
    format!("/api/v2/{verb}?p={}&c={}", escape(phext), escape(at))
}

/// Path and query of a REST endpoint.
#[must_use]
pub fn resource(verb: &str, phext: &str, at: &str) -> String {
    format!("/api/v2/{verb}/{}?p={}", escape(at), escape(phext))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\netag: \"7\"\r\n\r\nhi";

    /// Answers each connection with the given chunks, one a request, then closes it.
    async fn server(script: Vec<Vec<&'static [u8]>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answers in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut buffer = [0; 4096];
                    assert!(stream.read(&mut buffer).await.unwrap() > 0);
                    stream.write_all(answer).await.unwrap();
                }
            }
        });
        addr
    }

    #[tokio::test]
    async fn keeps_its_connection_and_makes_a_new_one_when_closed() {
        let addr = server(vec![vec![OK, OK], vec![OK]]).await;
        let mut client = Client::new(addr, Some("k"));
        for _ in 0..3 {
            let answer = client.read("p", "1.1.1/1.1.1/1.1.1").await.unwrap();
            assert_eq!((answer.status, answer.etag(), answer.text()), (200, Some(7), "hi".into()));
        }
    }

    #[tokio::test]
    async fn tells_what_was_not_sent_from_what_was_not_answered() {
        let addr = server(vec![vec![b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi"]]).await;
        let mut client = Client::new(addr, None);
        let cut = client.get("/").await.unwrap_err();
        assert!(matches!(cut, ClientError::Unanswered { .. }), "{cut}");

        let nobody = crate::layout::free_ports(1).unwrap()[0];
        let refused = Client::new(nobody, None).get("/").await.unwrap_err();
        assert!(matches!(refused, ClientError::NotSent { .. }), "{refused}");
    }

    #[test]
    fn escapes_what_a_query_would_misread() {
        assert_eq!(endpoint("select", "a&b c", "x"), "/api/v2/select?p=a%26b%20c&c=x");
        assert_eq!(resource("read", "ü", "1.1/2"), "/api/v2/read/1.1/2?p=%C3%BC");
    }
}
