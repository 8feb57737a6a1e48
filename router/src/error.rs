//! Everything an HTTP request can be refused with, and the one table that gives each refusal its
//! status, its name and the field at fault. The sentences are the variants' own; none of them
//! shows a path, a key or another tenant.

use bytes::Bytes;
use http::StatusCode;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use ranch_proto::coordinate::CoordinateError;
use ranch_proto::pattern::PatternError;
use ranch_proto::phext::PhextNameError;
use serde::Serialize;

use crate::forward::ForwardError;
use crate::http::answer::{self, Answer};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No key, or none that is valid.
    #[error("Unauthorized")]
    Unauthorized,
    /// The key is fine, its tenant is switched off.
    #[error("Forbidden: this tenant is disabled")]
    TenantDisabled,
    /// A write with a read-only key.
    #[error("Forbidden: this key may only read")]
    ReadOnlyKey,
    /// A tenant's key where an administrator's is needed.
    #[error("Forbidden: this needs the admin key")]
    AdminKeyNeeded,
    /// An admin key on a tenant's endpoint without saying which tenant.
    #[error("Forbidden: with the admin key, name a tenant with ?tenant=ID")]
    TenantNeeded,
    /// A tenant's key with another tenant's name.
    #[error("Forbidden: this key is not of the tenant named")]
    OtherTenant,
    /// A phext name that is forbidden or malformed.
    #[error(transparent)]
    PhextName(#[from] PhextNameError),
    /// A malformed coordinate.
    #[error(transparent)]
    Coordinate(#[from] CoordinateError),
    /// A malformed pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// An escape or bytes that are no text.
    #[error("{what} is not valid percent-encoded UTF-8")]
    BadEncoding {
        /// Where it was found.
        what: &'static str,
    },
    /// A parameter or header of the wrong form.
    #[error("{field} must be {expected}")]
    BadParameter {
        /// Its name.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A JSON body that is none, or not of the expected form.
    #[error("the body is not the JSON expected: {detail}")]
    BadJson {
        /// The parser's words: what was expected where.
        detail: String,
    },
    /// A scroll that is not UTF-8.
    #[error("the scroll is not valid UTF-8 (first wrong byte at {at})")]
    NotUtf8 {
        /// Offset of the first byte that is none.
        at: usize,
    },
    /// A scroll with a phext delimiter in it.
    #[error("the scroll holds the phext delimiter 0x{byte:02X} at byte {at}; use import to split")]
    Delimiter {
        /// The delimiter.
        byte: u8,
        /// Its offset.
        at: usize,
    },
    /// The client stopped sending in the middle of a body.
    #[error("the body ended early")]
    BrokenBody,
    /// The client did not send its body in time.
    #[error("the body arrived too slowly")]
    SlowBody,
    /// A body over its limit.
    #[error("the body is larger than the {limit} bytes allowed here")]
    BodyTooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// A scroll over its limit.
    #[error("the scroll is larger than the {limit} bytes a scroll may have")]
    ScrollTooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// An append after which a scroll would be over its shard's limit.
    #[error("the scroll would grow larger than a scroll may be; nothing was stored")]
    ScrollFull,
    /// A phext whose text is over the export limit.
    #[error("the text of this phext is larger than the {limit} bytes an export may have")]
    ExportTooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// No such path.
    #[error("Not Found")]
    NotFound,
    /// No scroll where one was asked for.
    #[error("no scroll at {coordinate}")]
    NoScroll {
        /// Where, in printed form.
        coordinate: String,
    },
    /// No such tenant.
    #[error("no tenant {tenant:?}")]
    NoTenant {
        /// The id asked for.
        tenant: String,
    },
    /// The path is right, the method is not.
    #[error("Method Not Allowed: use {allowed}")]
    MethodNotAllowed {
        /// The methods that are.
        allowed: &'static str,
    },
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("the scroll is at revision {found}, not the one asked for")]
    Changed {
        /// The revision found; 0 where there is no scroll.
        found: u64,
    },
    /// An idempotency key used before for something else.
    #[error("this Idempotency-Key was used before for another request")]
    KeyReused,
    /// A tenant id that is taken.
    #[error("the tenant id {tenant:?} is taken")]
    TenantTaken {
        /// The id.
        tenant: String,
    },
    /// An API key that is in use.
    #[error("this key is in use; choose another one or let one be made")]
    KeyTaken,
    /// The meta group found that something exists already, in its own words.
    #[error("{reason}")]
    Exists {
        /// What.
        reason: String,
    },
    /// The meta group refused a command, in its own words.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// Over the tenant's quota.
    #[error("the storage quota of this tenant would be exceeded; nothing was stored")]
    QuotaExceeded,
    /// Not built yet.
    #[error("{endpoint} is not available in this version: {meaning}")]
    NotBuilt {
        /// The endpoint, as in the API's documentation.
        endpoint: &'static str,
        /// What it will do.
        meaning: &'static str,
    },
    /// The ranch could not carry the request out, or cannot say whether it did.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The system gave no randomness for a key.
    #[error("no randomness to make a key from; try again")]
    NoRandomness,
    /// Too many connections.
    #[error("too many connections; try again in a moment")]
    TooManyConnections,
    /// A reply that cannot be right.
    #[error("a shard's answer made no sense; this has been logged")]
    Garbled,
}

/// One line of the table: status, the name in problem+json's `type`, and the field at fault.
type Row = (StatusCode, &'static str, Option<&'static str>);

impl ApiError {
    fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", None),
            Self::TenantDisabled => (S::FORBIDDEN, "tenant-disabled", None),
            Self::ReadOnlyKey => (S::FORBIDDEN, "read-only-key", None),
            Self::AdminKeyNeeded => (S::FORBIDDEN, "admin-key-needed", None),
            Self::TenantNeeded => (S::FORBIDDEN, "tenant-needed", Some("tenant")),
            Self::OtherTenant => (S::FORBIDDEN, "other-tenant", Some("tenant")),
            Self::PhextName(PhextNameError::Traversal) => (S::FORBIDDEN, "phext-path", Some("p")),
            Self::PhextName(PhextNameError::Invalid { .. }) => {
                (S::BAD_REQUEST, "phext-name", Some("p"))
            }
            Self::Coordinate(_) => (S::BAD_REQUEST, "coordinate", Some("c")),
            Self::Pattern(_) => (S::BAD_REQUEST, "pattern", Some("prefix")),
            Self::BadEncoding { .. } => (S::BAD_REQUEST, "encoding", None),
            Self::BadParameter { field, .. } => (S::BAD_REQUEST, "parameter", Some(field)),
            Self::BadJson { .. } => (S::BAD_REQUEST, "json", Some("body")),
            Self::NotUtf8 { .. } => (S::BAD_REQUEST, "not-utf8", Some("s")),
            Self::Delimiter { .. } => (S::BAD_REQUEST, "delimiter", Some("s")),
            Self::BrokenBody => (S::BAD_REQUEST, "broken-body", Some("body")),
            Self::SlowBody => (S::REQUEST_TIMEOUT, "slow-body", Some("body")),
            Self::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body-too-large", Some("body")),
            Self::ScrollTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "scroll-too-large", Some("s")),
            Self::ScrollFull => (S::PAYLOAD_TOO_LARGE, "scroll-full", Some("s")),
            Self::ExportTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "export-too-large", Some("p")),
            Self::NotFound => (S::NOT_FOUND, "not-found", None),
            Self::NoScroll { .. } => (S::NOT_FOUND, "no-scroll", Some("c")),
            Self::NoTenant { .. } => (S::NOT_FOUND, "no-tenant", Some("tenant")),
            Self::MethodNotAllowed { .. } => (S::METHOD_NOT_ALLOWED, "method", None),
            Self::Changed { .. } => (S::PRECONDITION_FAILED, "changed", Some("If-Match")),
            Self::KeyReused => {
                (S::UNPROCESSABLE_ENTITY, "idempotency-key", Some("Idempotency-Key"))
            }
            Self::TenantTaken { .. } => (S::CONFLICT, "tenant-taken", Some("tenant_id")),
            Self::KeyTaken => (S::CONFLICT, "key-taken", Some("key")),
            Self::Exists { .. } => (S::CONFLICT, "exists", None),
            Self::Refused { .. } => (S::BAD_REQUEST, "refused", None),
            Self::QuotaExceeded => (S::INSUFFICIENT_STORAGE, "quota-exceeded", None),
            Self::NotBuilt { .. } => (S::NOT_IMPLEMENTED, "not-built", None),
            Self::Forward(error) => forward_row(*error),
            Self::NoRandomness => (S::SERVICE_UNAVAILABLE, "no-randomness", None),
            Self::TooManyConnections => (S::SERVICE_UNAVAILABLE, "overloaded", None),
            Self::Garbled => (S::INTERNAL_SERVER_ERROR, "garbled", None),
        }
    }

    /// The HTTP status of this refusal.
    pub fn status(&self) -> StatusCode {
        self.row().0
    }

    /// The refusal as an answer: one plain line, or problem+json when `json`. 401 is always plain.
    pub fn answer(&self, json: bool) -> Answer {
        let (status, name, field) = self.row();
        let mut answer = if json && status != StatusCode::UNAUTHORIZED {
            let mut answer = answer::json(status, &self.problem(status, name, field));
            answer.headers_mut().insert(http::header::CONTENT_TYPE, answer::PROBLEM);
            answer
        } else {
            answer::text(Bytes::from(self.to_string()))
        };
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        match self {
            Self::MethodNotAllowed { allowed } => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }

    fn problem(&self, status: StatusCode, name: &str, field: Option<&'static str>) -> Problem {
        let unknown = matches!(self, Self::Forward(ForwardError::OutcomeUnknown));
        Problem {
            kind: format!("urn:ranch:error:{name}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            field,
            outcome: unknown.then_some("unknown"),
        }
    }
}

fn forward_row(error: ForwardError) -> Row {
    use StatusCode as S;
    match error {
        ForwardError::Unavailable => (S::SERVICE_UNAVAILABLE, "unavailable", None),
        ForwardError::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded", None),
        ForwardError::OutcomeUnknown => (S::SERVICE_UNAVAILABLE, "outcome-unknown", None),
        ForwardError::Invalid => (S::BAD_REQUEST, "invalid", None),
        ForwardError::DiskFull => (S::INSUFFICIENT_STORAGE, "disk-full", None),
        ForwardError::Garbled => (S::INTERNAL_SERVER_ERROR, "garbled", None),
    }
}

/// An error as RFC 9457 writes it.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_other_programs_rely_on() {
        for (error, status, text) in [
            (ApiError::Unauthorized, 401, "Unauthorized"),
            (ApiError::NotFound, 404, "Not Found"),
            (ApiError::PhextName(PhextNameError::Traversal), 403, "Forbidden: Invalid phext path"),
        ] {
            assert_eq!(error.status().as_u16(), status);
            assert_eq!(error.to_string(), text);
        }
        let unknown = ApiError::Forward(ForwardError::OutcomeUnknown);
        assert_eq!(unknown.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(unknown.to_string().contains("outcome: unknown"));
    }

    #[test]
    fn an_unauthorized_request_is_answered_plainly_even_in_json() {
        let answer = ApiError::Unauthorized.answer(true);
        assert_eq!(answer.headers()[http::header::CONTENT_TYPE], answer::TEXT);
    }

    #[test]
    fn every_503_says_when_to_come_back() {
        for error in [
            ApiError::Forward(ForwardError::Unavailable),
            ApiError::Forward(ForwardError::Overloaded),
            ApiError::Forward(ForwardError::OutcomeUnknown),
            ApiError::TooManyConnections,
        ] {
            assert_eq!(error.answer(false).headers()[RETRY_AFTER], "1", "{error}");
        }
    }
}
