//! Parameters of a request: form-urlencoded queries and percent-encoded paths, decoded strictly.
//! A broken escape or invalid UTF-8 is the client's mistake and is said, never papered over.

use std::borrow::Cow;

use crate::error::ApiError;

/// The pairs of a query, decoded. Without escapes nothing is copied.
#[derive(Debug)]
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Decodes a whole query.
    ///
    /// # Errors
    /// [`ApiError::BadEncoding`] for a `%` without two hex digits, or bytes that are no UTF-8.
    pub fn parse(raw: Option<&'a str>) -> Result<Self, ApiError> {
        let raw = raw.unwrap_or_default();
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, true).ok_or(ApiError::BadEncoding { what: "the query" })?;
            let value = decode(value, true).ok_or(ApiError::BadEncoding { what: "the query" })?;
            Ok((name, value))
        });
        Ok(Self { pairs: pairs.collect::<Result<_, ApiError>>()? })
    }

    /// The value of a parameter; the first one where it is given twice.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|pair| pair.0 == name);
        pair.map(|pair| pair.1.as_ref())
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`ApiError::BadParameter`] for anything else.
    pub fn number(&self, name: &'static str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().map_err(|_| ApiError::BadParameter {
            field: name,
            expected: "a whole number, 0 or more",
        })?;
        Ok(Some(number))
    }

    /// `true` or `false`; absent is false, given without a value is true.
    ///
    /// # Errors
    /// [`ApiError::BadParameter`] for anything else.
    pub fn flag(&self, name: &'static str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "") => Ok(true),
            Some(_) => Err(ApiError::BadParameter { field: name, expected: "true or false" }),
        }
    }
}

/// Decodes the part of a path an endpoint takes as its argument; `+` is itself there.
///
/// # Errors
/// As [`Query::parse`].
pub fn path_argument(raw: &str) -> Result<Cow<'_, str>, ApiError> {
    decode(raw, false).ok_or(ApiError::BadEncoding { what: "the path" })
}

fn decode(raw: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    let special = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    let Some(first) = raw.as_bytes().iter().position(special) else {
        return Some(Cow::Borrowed(raw));
    };
    let mut decoded = Vec::with_capacity(raw.len());
    decoded.extend_from_slice(&raw.as_bytes()[..first]);
    let mut bytes = raw.as_bytes()[first..].iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_forms() {
        let query = Query::parse(Some("p=notes&c=1.1.1%2f1.1.1;1.1.1&s=a+b%2B%C3%A4&&flag&p=x"));
        let query = query.unwrap();
        assert_eq!(query.get("p"), Some("notes"));
        assert_eq!(query.get("c"), Some("1.1.1/1.1.1;1.1.1"));
        assert_eq!(query.get("s"), Some("a b+ä"));
        assert_eq!(query.get("flag"), Some(""));
        assert!(query.flag("flag").unwrap());
        assert_eq!(query.get("q"), None);
        assert!(Query::parse(None).unwrap().get("p").is_none());
    }

    #[test]
    fn refuses_broken_escapes_and_bytes() {
        for bad in ["s=%", "s=%4", "s=%zz", "s=%C3", "%=a", "s=%+1"] {
            assert!(Query::parse(Some(bad)).is_err(), "{bad}");
        }
        assert!(path_argument("a%2").is_err());
    }

    #[test]
    fn plus_is_itself_in_a_path() {
        assert_eq!(path_argument("a+b%20c").unwrap(), "a+b c");
    }

    #[test]
    fn numbers_and_flags_are_checked() {
        let query = Query::parse(Some("limit=12&bad=-1&yes=true&no=false&odd=maybe")).unwrap();
        assert_eq!(query.number("limit").unwrap(), Some(12));
        assert!(query.number("bad").is_err());
        assert!(query.flag("yes").unwrap());
        assert!(!query.flag("no").unwrap());
        assert!(query.flag("odd").is_err());
    }
}
