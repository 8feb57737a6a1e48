//! One line a request, with the id that also goes back to the client. Never a key, a query or a
//! body: what may hold one is left out, and a path that holds a key is not shown.

use std::time::Instant;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, Uri};
use ranch_proto::RequestId;

/// Carries the id of a request, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What these lines are logged under, so that whoever writes the log can tell them from others.
pub const TARGET: &str = "request";

/// Longest id taken over from a client.
const ID_MAX: usize = 64;
/// What all keys made by a ranch begin with.
const KEY_START: &str = "pmb-";

/// What is said of a request when its answer has been sent, which is when this is dropped.
#[derive(Debug)]
pub struct Line {
    /// Goes back to the client, too.
    pub id: HeaderValue,
    /// The method.
    pub method: Method,
    /// Of which only the path is shown.
    pub uri: Uri,
    /// The answer's status.
    pub status: u16,
    /// Bytes of the answer's body sent so far.
    pub bytes: u64,
    /// Whose call it was.
    pub tenant: Option<String>,
    /// Number of the connection.
    pub connection: u64,
    /// When the request's head had been read.
    pub started: Instant,
}

impl Drop for Line {
    fn drop(&mut self) {
        let path = self.uri.path();
        tracing::info!(
            target: TARGET,
            id = self.id.to_str().unwrap_or_default(),
            method = self.method.as_str(),
            path = if holds_key(path) { "(hidden: a key is in it)" } else { path },
            status = self.status,
            bytes = self.bytes,
            us = self.started.elapsed().as_micros() as u64,
            tenant = self.tenant.as_deref().unwrap_or("-"),
            connection = self.connection,
            "request"
        );
    }
}

/// The id of a request: the client's own, where it is short and plain, or a new one.
pub fn id_of(headers: &HeaderMap) -> HeaderValue {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let given = headers.get(REQUEST_ID).filter(|id| {
        (1..=ID_MAX).contains(&id.len())
            && id.as_bytes().iter().copied().all(plain)
            && id.to_str().is_ok_and(|id| !holds_key(id))
    });
    given.cloned().unwrap_or_else(|| hex(RequestId::random()))
}

fn holds_key(text: &str) -> bool {
    text.contains(KEY_START)
}

fn hex(id: RequestId) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(id.0) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    // Hex digits are always valid in a header.
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_plain_ids_are_taken_over_and_others_are_not() {
        let with = |id: &str| {
            let value = HeaderValue::from_str(id).unwrap();
            id_of(&[(REQUEST_ID, value)].into_iter().collect())
        };
        let longest = "x".repeat(ID_MAX);
        for id in ["a", "Trace-1.2_3", &longest] {
            assert_eq!(with(id), id);
        }
        for id in ["", "a b", "a\"b", "ä", &"x".repeat(ID_MAX + 1), "pmb-v1-0123"] {
            let made = with(id);
            assert!(made.len() == 32 && made != id, "{id:?}");
        }
        assert_ne!(id_of(&HeaderMap::new()), id_of(&HeaderMap::new()));
    }
}
