//! Revisions in headers: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13).

use http::header::{HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use crate::error::ApiError;

const IF_MATCH_FORM: &str = "one revision, like \"42\" or 42";
const IF_NONE_MATCH_FORM: &str = "* (the scroll must be absent)";

/// A revision as an entity tag: `"42"`.
pub fn etag(revision: u64) -> HeaderValue {
    // Digits and quotes are always valid in a header.
    HeaderValue::from_maybe_shared(format!("\"{revision}\""))
        .unwrap_or(HeaderValue::from_static(""))
}

/// The revision a write asks the scroll to have; 0 means it must be absent.
///
/// # Errors
/// [`ApiError::BadParameter`] for a form that cannot be kept, so that no condition is dropped
/// silently.
pub fn for_write(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let bad = |field, expected| ApiError::BadParameter { field, expected };
    let if_match = headers.get(IF_MATCH);
    let Some(none_match) = headers.get(IF_NONE_MATCH) else {
        let Some(value) = if_match else { return Ok(None) };
        let revision = value.to_str().ok().and_then(revision);
        return revision.map(Some).ok_or(bad("If-Match", IF_MATCH_FORM));
    };
    if if_match.is_some() || none_match.as_bytes().trim_ascii() != b"*" {
        return Err(bad("If-None-Match", IF_NONE_MATCH_FORM));
    }
    Ok(Some(0))
}

/// Whether a reader has the scroll at this revision already.
pub fn is_known(headers: &HeaderMap, revision_now: u64) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|tag| {
            // For a read a weak tag counts like a strong one.
            tag == "*" || revision(tag.strip_prefix("W/").unwrap_or(tag)) == Some(revision_now)
        })
    })
}

/// A revision, quoted or bare.
fn revision(tag: &str) -> Option<u64> {
    let tag = tag.trim();
    let bare = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(tag);
    if !bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    bare.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn conditions_of_writes() {
        for (pairs, expected) in [
            (&[][..], Some(None)),
            (&[("if-match", "\"7\"")], Some(Some(7))),
            (&[("if-match", " 7 ")], Some(Some(7))),
            (&[("if-match", "0")], Some(Some(0))),
            (&[("if-none-match", "*")], Some(Some(0))),
            (&[("if-match", "*")], None),
            (&[("if-match", "+7")], None),
            (&[("if-match", "\"7\", \"8\"")], None),
            (&[("if-match", "W/\"7\"")], None),
            (&[("if-none-match", "7")], None),
            (&[("if-match", "7"), ("if-none-match", "*")], None),
        ] {
            assert_eq!(for_write(&headers(pairs)).ok(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn conditions_of_reads() {
        for (value, known) in [
            ("\"7\"", true),
            ("7", true),
            ("W/\"7\"", true),
            ("\"6\", \"7\"", true),
            ("*", true),
            ("\"6\"", false),
            ("seven", false),
        ] {
            assert_eq!(is_known(&headers(&[("if-none-match", value)]), 7), known, "{value}");
        }
        assert!(!is_known(&HeaderMap::new(), 7));
        assert_eq!(etag(7), "\"7\"");
    }
}
