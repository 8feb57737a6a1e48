//! The ranch's endpoints as the commands use them: paths, queries and the form of answers.

use bytes::Bytes;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use ranch_proto::api_key::Secret;
use ranch_proto::{Coordinate, Pattern};
use serde::{Deserialize, Serialize};

use super::http::{Call, ClientError, Http, escaped};

/// Most coordinates asked for in one page of a list.
pub const PAGE: u64 = 10_000;

/// The scrolls of one phext.
#[derive(Clone)]
pub struct Scrolls {
    /// Where they are.
    pub http: Http,
    /// The phext; `None` for the tenant's default.
    pub phext: Option<String>,
    /// Whose they are, where that is not said by the key: an administrator's.
    pub tenant: Option<String>,
}

/// What a write must find, or be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing there.
    Absent,
    /// The scroll at this revision.
    Revision(u64),
}

impl Scrolls {
    /// The scroll at `at`; `None` when there is none.
    pub async fn read(&self, at: &Coordinate) -> Result<Option<Bytes>, ClientError> {
        let call = Call::get(self.path(&format!("read/{at}"), &[]), format!("reading {at}"));
        match self.http.ask_whole(&call).await {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the scroll at `at`; returns what the ranch says to it.
    pub async fn write(
        &self,
        at: &Coordinate,
        text: Bytes,
        only_if: Option<Precondition>,
    ) -> Result<Bytes, ClientError> {
        let path = self.path(&format!("write/{at}"), &[]);
        let mut call = Call::new(Method::PUT, path, format!("writing {at}"));
        call.headers.extend(only_if.map(|condition| match condition {
            Precondition::Absent => ("if-none-match", "*".to_owned()),
            Precondition::Revision(revision) => ("if-match", format!("\"{revision}\"")),
        }));
        call.headers.push(("content-type", "text/plain; charset=utf-8".to_owned()));
        call.body = text;
        self.http.ask_whole(&call).await
    }

    /// Adds to the end of the scroll at `at`; a repetition under the same `id` changes nothing.
    pub async fn append(
        &self,
        at: &Coordinate,
        text: Bytes,
        id: &str,
    ) -> Result<Bytes, ClientError> {
        let path = self.path("insert", &[("c", &at.to_string())]);
        let mut call = Call::new(Method::POST, path, format!("appending to {at}"));
        call.headers.push(("content-type", "text/plain; charset=utf-8".to_owned()));
        call.headers.push(("idempotency-key", id.to_owned()));
        call.body = text;
        self.http.ask_whole(&call).await
    }

    /// Removes the scroll at `at`.
    pub async fn delete(&self, at: &Coordinate) -> Result<Bytes, ClientError> {
        let path = self.path(&format!("delete/{at}"), &[]);
        let call = Call::new(Method::DELETE, path, format!("deleting {at}"));
        self.http.ask_whole(&call).await
    }

    /// One page of coordinates below `pattern`, after `after`, one a line.
    pub async fn list(&self, pattern: &Pattern, page: &Page) -> Result<Bytes, ClientError> {
        let mut pairs = vec![("limit", page.limit.to_string())];
        pairs.extend(page.after.iter().map(|after| ("after", after.clone())));
        if page.long {
            pairs.push(("long", "true".to_owned()));
        }
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let path = self.path(&format!("list/{pattern}"), &pairs);
        self.http.ask_whole(&Call::get(path, format!("listing {pattern}"))).await
    }

    /// The whole phext as text, as it comes.
    pub async fn export(&self) -> Result<Incoming, ClientError> {
        let call = Call::get(self.path("get", &[]), format!("exporting {}", self.name()));
        Ok(self.http.ask(&call).await?.into_body())
    }

    /// The checksum of the phext's text; `None` where the text is too large to be exported.
    pub async fn checksum(&self) -> Result<Option<String>, ClientError> {
        let what = format!("calculating the checksum of {}", self.name());
        match self.http.ask_whole(&Call::get(self.path("checksum", &[]), what)).await {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())),
            Err(ClientError::Refused { status, .. }) if status == StatusCode::PAYLOAD_TOO_LARGE => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The phext as messages name it.
    pub fn name(&self) -> String {
        self.phext.as_ref().map_or_else(|| "the default phext".into(), |p| format!("phext {p}"))
    }

    /// The path of an endpoint, with the phext and other parameters as its query.
    fn path(&self, endpoint: &str, pairs: &[(&str, &str)]) -> String {
        let tenant = self.tenant.iter().map(|tenant| ("tenant", tenant.as_str()));
        let pairs: Vec<_> = tenant.chain(pairs.iter().copied()).collect();
        path(endpoint, self.phext.as_deref(), &pairs)
    }
}

/// The path of a scroll endpoint with its query.
pub fn path(endpoint: &str, phext: Option<&str>, pairs: &[(&str, &str)]) -> String {
    let pairs = phext.iter().map(|phext| ("p", *phext)).chain(pairs.iter().copied());
    let query: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/api/v2/{endpoint}{mark}{}", query.join("&"))
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Most lines.
    pub limit: u64,
    /// The last coordinate seen.
    pub after: Option<String>,
    /// With size, revision and time.
    pub long: bool,
}

impl ClientError {
    fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// Whether a precondition of the request did not hold.
    pub fn is_precondition(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::PRECONDITION_FAILED)
    }

    /// Whether the same request may succeed a little later: nothing was wrong with it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Unreachable { .. } | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Url { .. } | Self::Ca { .. } | Self::Untrusted { .. } => false,
            Self::NoKey | Self::Unexpected { .. } => false,
        }
    }
}

/// A tenant to be added, as the admin endpoint takes it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewTenant {
    /// Its id.
    pub tenant_id: String,
    /// Most it may store, in MB of 2^20 bytes; unlimited when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_mb: Option<f64>,
    /// Whom to write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_email: Option<String>,
    /// A key chosen by the operator; made by the ranch when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Most requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<f64>,
    /// Most requests a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_day: Option<u64>,
    /// `sq` or `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<&'static str>,
}

/// A tenant that was added.
#[derive(Debug, Deserialize)]
pub struct AddedTenant {
    /// Its key, shown this once.
    pub api_key: String,
}

/// Adds a tenant; returns the answer as JSON.
pub async fn add_tenant(http: &Http, tenant: &NewTenant) -> Result<serde_json::Value, ClientError> {
    let what = format!("adding tenant {}", tenant.tenant_id);
    let mut call = Call::new(Method::POST, "/api/v2/admin/tenants/add".to_owned(), what);
    call.headers.push(("content-type", "application/json".to_owned()));
    call.headers.push(("accept", "application/json".to_owned()));
    let body = serde_json::to_vec(tenant).map_err(|error| http.unexpected(&call.what, &error))?;
    call.body = body.into();
    http.ask_json(&call).await
}

/// Gives a tenant one more key, of the operator's choice.
pub async fn add_key(http: &Http, tenant: &str, key: &Secret) -> Result<(), ClientError> {
    let what = format!("adding a key of tenant {tenant}");
    let path = format!("/api/v2/admin/tenants/{tenant}/keys");
    let mut call = Call::new(Method::POST, path, what);
    call.headers.push(("content-type", "application/json".to_owned()));
    let body = serde_json::json!({ "key": key.expose(), "label": "from SQ" });
    call.body = body.to_string().into();
    http.ask_whole(&call).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_hold_any_phext_name() {
        assert_eq!(path("get", None, &[]), "/api/v2/get");
        assert_eq!(path("get", Some("a b&c"), &[]), "/api/v2/get?p=a%20b%26c");
        let pairs = [("c", "1.1.1/1.1.1/1.1.1")];
        assert_eq!(path("insert", Some("x"), &pairs), "/api/v2/insert?p=x&c=1.1.1%2F1.1.1%2F1.1.1");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let refused = |status: u16| ClientError::Refused {
            what: String::new(),
            status: http::StatusCode::from_u16(status).unwrap(),
            detail: String::new(),
        };
        assert!(refused(503).is_passing() && refused(429).is_passing());
        assert!(!refused(400).is_passing() && !refused(507).is_passing());
        assert!(!ClientError::NoKey.is_passing());
    }
}
