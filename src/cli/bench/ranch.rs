//! A ranch as a target: HTTP/1.1, a kept-alive connection for each client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use ranch_proto::api_key::Secret;
use ranch_proto::tls::Stream;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::super::api;
use super::super::error::CliError;
use super::super::http::authorization;
use super::load::Target;
use super::{BenchArgs, BenchError};

/// The phext the scrolls are in.
const PHEXT: &str = "bench";
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// What all clients have in common.
struct Shared {
    authority: String,
    /// For https://, with the name the certificate must be for.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    host: HeaderValue,
    reads: Vec<Uri>,
    writes: Vec<Uri>,
    size: usize,
}

/// One client.
pub struct RanchClient {
    shared: Arc<Shared>,
    authorization: HeaderValue,
    /// `None` before the first request and after a failure.
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// All clients, dealt out over the keys in turn; the first of each key has tried it.
pub async fn clients(args: &BenchArgs, keys: &[Secret]) -> Result<Vec<RanchClient>, CliError> {
    let unusable =
        |reason: String| BenchError::Unusable { target: args.admin.url.url.clone(), reason };
    let shared = Shared::new(args).map_err(unusable)?;
    let headers: Result<Vec<_>, _> = keys.iter().map(authorization).collect();
    let headers = headers?;
    let clients: Vec<_> = headers
        .iter()
        .cycle()
        .take(args.clients as usize)
        .map(|authorization| RanchClient {
            shared: Arc::clone(&shared),
            authorization: authorization.clone(),
            connection: None,
        })
        .collect();
    for key in keys {
        // Finds out in words what would otherwise only be counted.
        let http = args.admin.url.http(Some(key))?;
        http.ask_whole(&api_call()).await?;
    }
    Ok(clients)
}

fn api_call() -> super::super::http::Call {
    let path = api::path("list/*", Some(PHEXT), &[("limit", "1")]);
    super::super::http::Call::get(path, "trying the key")
}

impl Shared {
    fn new(args: &BenchArgs) -> Result<Arc<Self>, String> {
        let http = args.admin.url.http(None).map_err(|error| error.to_string())?;
        let base: Uri = http.base().parse().map_err(|_| "it is no address".to_owned())?;
        let host = base.host().unwrap_or_default();
        let secure = base.scheme_str() == Some("https");
        let port = base.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authority = format!("{host}:{port}");
        let tls = secure.then(|| tls(args, host)).transpose()?;
        let uris = |verb: &str| {
            let uri = |key| {
                let path = api::path(&format!("{verb}/{}", coordinate(key)), Some(PHEXT), &[]);
                format!("{}{path}", base.path().trim_end_matches('/')).parse::<Uri>()
            };
            (0..args.keys).map(uri).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())
        };
        Ok(Arc::new(Self {
            host: HeaderValue::try_from(&authority).map_err(|error| error.to_string())?,
            authority,
            tls,
            reads: uris("read")?,
            writes: uris("write")?,
            size: args.size as usize,
        }))
    }
}

/// Where a numbered scroll is: a hundred to a section.
fn coordinate(key: u32) -> String {
    format!("1.1.1/1.1.1/1.{}.{}", 1 + key / 100, 1 + key % 100)
}

impl RanchClient {
    async fn request(&mut self, method: Method, uri: Uri, body: Bytes) -> Result<usize, String> {
        let answer = tokio::time::timeout(ANSWER_MAX, self.exchange(method, uri, body)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, method: Method, uri: Uri, body: Bytes) -> Result<usize, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, self.shared.host.clone());
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        let connection = self.connection().await?;
        connection.ready().await.map_err(|error| error.to_string())?;
        let sent = connection.send_request(request).await;
        let response = sent.map_err(|error| error.to_string())?;
        let status = response.status();
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            length += frame.data_ref().map_or(0, Bytes::len);
        }
        if status.is_success() { Ok(length) } else { Err(status.to_string()) }
    }

    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, String> {
        let connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => connect(&self.shared).await.map_err(|error| error.to_string())?,
        };
        Ok(self.connection.insert(connection))
    }
}

/// What makes TLS connections to `host`.
fn tls(args: &BenchArgs, host: &str) -> Result<(TlsConnector, ServerName<'static>), String> {
    let config = args.admin.url.trust().config().map_err(|error| error.to_string())?;
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|error| error.to_string())?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

async fn connect(
    shared: &Shared,
) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(&shared.authority).await?;
    stream.set_nodelay(true)?;
    let stream: Stream = match &shared.tls {
        None => stream.into(),
        Some((tls, name)) => TlsStream::from(tls.connect(name.clone(), stream).await?).into(),
    };
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection; its failures are those of the requests on it.
    tokio::spawn(connection);
    Ok(sender)
}

impl Target for RanchClient {
    fn name(&self) -> String {
        self.shared.authority.clone()
    }

    async fn read(&mut self, key: u32) -> Result<(), String> {
        let uri = self.shared.reads[key as usize].clone();
        let length = self.request(Method::GET, uri, Bytes::new()).await?;
        let expected = self.shared.size;
        if length == expected { Ok(()) } else { Err(format!("{length} bytes, not {expected}")) }
    }

    async fn write(&mut self, key: u32, text: Bytes) -> Result<(), String> {
        let uri = self.shared.writes[key as usize].clone();
        self.request(Method::PUT, uri, text).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use ranch_proto::Coordinate;

    use super::*;

    #[test]
    fn every_number_has_a_coordinate_of_its_own() {
        let all: std::collections::BTreeSet<_> =
            (0..1_000).map(|key| Coordinate::parse(&coordinate(key)).unwrap()).collect();
        assert_eq!(all.len(), 1_000);
    }
}
