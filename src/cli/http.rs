//! A small HTTP client: one address, one key, kept-alive connections, streamed answers.
//!
//! Every failure becomes a sentence that says what was tried, where, and what to do about it. A
//! key never appears in one.

mod error;

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ranch_proto::api_key::Secret;

pub use error::ClientError;

use super::trust::{self, Trust};

/// Longest wait for an answer to begin; a router answers or gives up well before.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// Most that is kept of an answer that is wanted as a whole.
const WHOLE_MAX: usize = 256 << 20;
/// Most that is kept of the explanation of a refusal.
const DETAIL_MAX: usize = 64 << 10;
/// What a query value and a word of a path may hold as it is (RFC 3986: unreserved).
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What is sent.
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path below the address, with its query.
    pub path: String,
    /// Headers beside the key's.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// What it is for, as in "reading 1.1.1/1.1.1/1.1.1".
    pub what: String,
}

impl Call {
    /// A call without a body.
    pub fn new(method: Method, path: String, what: String) -> Self {
        Self { method, path, headers: Vec::new(), body: Bytes::new(), what }
    }

    /// A `GET`.
    pub fn get(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), what.into())
    }
}

/// A client of one router.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

impl Http {
    /// A client for the router at `url`, believed as `trust` has it where that is https://, that
    /// presents `key`. Connects when first used.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::Ca`].
    pub fn new(url: &str, trust: &Trust, key: Option<&Secret>) -> Result<Self, ClientError> {
        let base = base_of(url)?;
        // Finding the system's CAs takes a while.
        let needed = base.starts_with("https://");
        let none = Trust::Own(std::path::PathBuf::new());
        let tls = if needed { trust } else { &none }.config()?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        let authorization = key.map(authorization).transpose()?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(
                HttpsConnectorBuilder::new()
                    .with_tls_config(tls)
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(connector),
            ),
            base,
            authorization,
        })
    }

    /// The address, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a call and returns the answer, whatever its status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, call: &Call) -> Result<Response<Incoming>, ClientError> {
        let uri = format!("{}{}", self.base, call.path);
        let mut request = Request::builder().method(&call.method).uri(uri);
        if let Some(key) = &self.authorization {
            request = request.header(AUTHORIZATION, key);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(call.body.clone())).map_err(|_| ClientError::Url {
            url: format!("{}{}", self.base, call.path),
            reason: "it cannot be sent",
        })?;
        match tokio::time::timeout(ANSWER_MAX, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => {
                if let Some(reason) = trust::fault(&error) {
                    return Err(ClientError::Untrusted { url: self.base.clone(), reason });
                }
                Err(ClientError::Unreachable { url: self.base.clone(), reason: innermost(&error) })
            }
            Ok(Err(error)) => Err(self.broken(&call.what, &error)),
            Err(_) => Err(self.timed_out(&call.what)),
        }
    }

    /// Sends a call and returns the answer if it is a success (2xx).
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn ask(&self, call: &Call) -> Result<Response<Incoming>, ClientError> {
        let response = self.send(call).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            return Err(ClientError::NoKey);
        }
        let body = Limited::new(response.into_body(), DETAIL_MAX).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(ClientError::Refused { what: call.what.clone(), status, detail: detail_of(&body) })
    }

    /// Sends a call and returns the whole body of a success.
    ///
    /// # Errors
    /// As [`Http::ask`], and when the body breaks off or is beyond all measure.
    pub async fn ask_whole(&self, call: &Call) -> Result<Bytes, ClientError> {
        let body = self.ask(call).await?.into_body();
        let whole = Limited::new(body, WHOLE_MAX).collect();
        match tokio::time::timeout(ANSWER_MAX, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.broken(&call.what, &*error)),
            Err(_) => Err(self.timed_out(&call.what)),
        }
    }

    /// Sends a call and reads the JSON of a success.
    ///
    /// # Errors
    /// As [`Http::ask_whole`], and [`ClientError::Unexpected`].
    pub async fn ask_json<T>(&self, call: &Call) -> Result<T, ClientError>
    where
        T: serde::de::DeserializeOwned,
    {
        let body = self.ask_whole(call).await?;
        serde_json::from_slice(&body).map_err(|error| self.unexpected(&call.what, &error))
    }

    /// Reads the form agreed upon out of an answer's JSON.
    ///
    /// # Errors
    /// [`ClientError::Unexpected`].
    pub fn understood<T>(&self, what: &str, answer: serde_json::Value) -> Result<T, ClientError>
    where
        T: serde::de::DeserializeOwned,
    {
        serde_json::from_value(answer).map_err(|error| self.unexpected(what, &error))
    }

    /// The error for JSON of another form than agreed upon.
    pub fn unexpected(&self, what: &str, error: &serde_json::Error) -> ClientError {
        ClientError::Unexpected {
            what: what.to_owned(),
            reason: error.to_string(),
            url: self.base.clone(),
        }
    }

    /// The error for an answer that broke off.
    pub fn broken(&self, what: &str, error: &(dyn std::error::Error + 'static)) -> ClientError {
        ClientError::Broken {
            url: self.base.clone(),
            what: what.to_owned(),
            reason: innermost(error),
        }
    }

    /// The next piece of a streamed body; `None` at its end.
    ///
    /// # Errors
    /// When it breaks off or falls silent.
    pub async fn piece(
        &self,
        body: &mut Incoming,
        what: &str,
    ) -> Result<Option<Bytes>, ClientError> {
        loop {
            match tokio::time::timeout(ANSWER_MAX, body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    // Trailers say nothing of interest.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Ok(Some(Err(error))) => return Err(self.broken(what, &error)),
                Err(_) => return Err(self.timed_out(what)),
            }
        }
    }

    fn timed_out(&self, what: &str) -> ClientError {
        ClientError::TimedOut {
            url: self.base.clone(),
            what: what.to_owned(),
            seconds: ANSWER_MAX.as_secs(),
        }
    }
}

/// The header that presents a key.
///
/// # Errors
/// [`ClientError::NoKey`] for a text that no header can hold.
pub fn authorization(key: &Secret) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose()))
        .map_err(|_| ClientError::NoKey)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A word as it may stand in a path or a query.
pub fn escaped(word: &str) -> String {
    utf8_percent_encode(word, &PLAIN).to_string()
}

/// An address in the one form that paths are put after.
fn base_of(url: &str) -> Result<String, ClientError> {
    let fault = |reason| ClientError::Url { url: url.to_owned(), reason };
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = with_scheme.parse().map_err(|_| fault("it cannot be read"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(fault("only http:// and https:// are spoken"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(fault("the host is missing"));
    }
    if uri.query().is_some() {
        return Err(fault("it must not have a query"));
    }
    Ok(with_scheme.trim_end_matches('/').to_owned())
}

/// The sentence in the body of a refusal: `detail` of problem+json, else the first line.
fn detail_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    let line = detail.unwrap_or_else(|| text.lines().next().unwrap_or_default());
    line.chars().filter(|c| !c.is_control()).take(400).collect()
}

/// The error at the bottom of a chain, which says what really happened.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_several_spellings() {
        for given in ["http://h:1", "http://h:1/", "h:1"] {
            assert_eq!(base_of(given).unwrap(), "http://h:1", "{given}");
        }
        assert_eq!(base_of("http://h/ranch/").unwrap(), "http://h/ranch");
        assert_eq!(base_of("https://h/").unwrap(), "https://h");
        for bad in ["", "ftp://h", "http://", "http://h/?q", "http://h h"] {
            assert!(base_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refusals_are_one_sentence() {
        let refused = |status: u16, detail: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            let detail = detail_of(detail.as_bytes());
            ClientError::Refused { what: "reading x".into(), status, detail }.to_string()
        };
        assert_eq!(refused(404, "nothing here\nmore"), "reading x: 404 nothing here");
        assert_eq!(refused(409, r#"{"detail":"taken"}"#), "reading x: 409 taken");
        assert!(refused(401, "Unauthorized").contains("key is not valid"));
        assert_eq!(refused(413, ""), "reading x: 413 Payload Too Large");
    }

    #[test]
    fn keys_are_not_shown() {
        let header = authorization(&Secret::new("pmb-v1-00")).unwrap();
        assert!(!format!("{header:?}").contains("pmb"));
    }
}
