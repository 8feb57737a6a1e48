//! Leave for browsers to call from other origins (the Fetch standard's CORS protocol).

use http::StatusCode;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, VARY,
};

use crate::http::answer::{self, Answer};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS");
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, X-SQ-API-Key, Idempotency-Key, If-Match, If-None-Match",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Retry-After, X-Request-Id, X-Ranch-Revision, X-Ranch-Stored-At, X-Ranch-Applied",
);
const DAY: HeaderValue = HeaderValue::from_static("86400");
const ANY: HeaderValue = HeaderValue::from_static("*");
const ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// Which origins may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Any.
    Any,
    /// These, as browsers spell them: `https://example.org`.
    Listed(Vec<HeaderValue>),
}

/// An origin in the configuration that no header could carry.
#[derive(Debug, thiserror::Error)]
#[error("the origin {origin:?} in cors_origins is no origin: write it like https://example.org")]
pub struct OriginError {
    /// As configured.
    pub origin: String,
}

impl Cors {
    /// Reads the configured list; `*` anywhere in it means any origin.
    ///
    /// # Errors
    /// An entry with characters no header may hold.
    pub fn new(origins: &[String]) -> Result<Self, OriginError> {
        if origins.iter().any(|origin| origin == "*") {
            return Ok(Self::Any);
        }
        let values = origins.iter().map(|origin| {
            let value = origin.trim_end_matches('/').parse();
            value.map_err(|_| OriginError { origin: origin.clone() })
        });
        Ok(Self::Listed(values.collect::<Result<_, _>>()?))
    }

    /// What an answer to `origin` carries, added to `headers`. With a list, an origin that is not
    /// on it is named the first one, which its browser will take as a no.
    pub fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        match self {
            Self::Any => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
            }
            Self::Listed(origins) => {
                let listed = origins.iter().find(|listed| Some(*listed) == origin);
                if let Some(allowed) = listed.or(origins.first()) {
                    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
                }
                headers.append(VARY, ORIGIN);
            }
        }
        if origin.is_some() {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// The answer to a preflight; it needs no key, since browsers send none.
pub fn preflight() -> Answer {
    let mut answer = answer::empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED);
    headers.insert(ACCESS_CONTROL_MAX_AGE, DAY);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(cors: &Cors, origin: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        let origin = origin.map(|origin| origin.parse().unwrap());
        cors.mark(origin.as_ref(), &mut headers);
        headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn listed_origins_are_echoed_and_others_are_not() {
        let list = ["https://a.example".to_owned(), "https://b.example/".to_owned()];
        let cors = Cors::new(&list).unwrap();
        assert_eq!(allowed(&cors, Some("https://b.example")).unwrap(), "https://b.example");
        assert_eq!(allowed(&cors, Some("https://c.example")).unwrap(), "https://a.example");
        assert_eq!(allowed(&cors, None).unwrap(), "https://a.example");
        assert_eq!(allowed(&Cors::Any, Some("https://c.example")).unwrap(), "*");
        assert_eq!(allowed(&Cors::new(&[]).unwrap(), Some("https://c.example")), None);
    }

    #[test]
    fn an_impossible_origin_is_refused_by_name() {
        let error = Cors::new(&["https://a\n".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("https://a"), "{error}");
    }
}
