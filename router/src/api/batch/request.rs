//! The JSON of a batch, read strictly: whatever is wrong is said with the op and the field it is
//! in, and nothing is kept beyond the number of ops there may be.

use std::cell::Cell;
use std::fmt;

use ranch_proto::schema::op::Kind;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::ApiError;

/// A batch as it was sent.
#[derive(Debug)]
pub struct Request {
    /// Its operations.
    pub ops: Vec<Given>,
    /// Whether they are all carried out or none.
    pub atomic: bool,
}

/// An operation as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    /// What it does.
    pub kind: Kind,
    /// The phext.
    pub p: Option<String>,
    /// The coordinate.
    pub c: Option<String>,
    /// The text.
    pub text: Option<String>,
    /// The revision the scroll must have.
    pub if_rev: Option<u64>,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// [`ApiError::BadJson`], with the op where it is one; [`ApiError::TooManyOps`].
    pub fn parse(body: &[u8], ops_max: usize) -> Result<Self, ApiError> {
        let progress = Progress { ops_max, at: Cell::new(None) };
        let mut json = serde_json::Deserializer::from_slice(body);
        let parsed = Whole(&progress).deserialize(&mut json);
        let request = parsed.and_then(|request| json.end().map(|()| request)).map_err(|error| {
            let broken = ApiError::BadJson { detail: error.to_string() };
            match progress.at.get() {
                Some(at) => broken.of_op(at),
                None => broken,
            }
        })?;
        if request.ops.len() > ops_max {
            return Err(ApiError::TooManyOps { limit: ops_max });
        }
        Ok(request)
    }
}

/// Where reading is.
struct Progress {
    ops_max: usize,
    /// The op that is being read.
    at: Cell<Option<usize>>,
}

/// Reads the object that is the whole body.
struct Whole<'a>(&'a Progress);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Request;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Request, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Request;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with ops, and atomic where it is false")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Request, A::Error> {
        let (mut ops, mut atomic) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "ops" if ops.is_none() => ops = Some(map.next_value_seed(Ops(self.0))?),
                "atomic" if atomic.is_none() => atomic = Some(field(&mut map, "atomic")?),
                _ => return Err(unexpected(&name, "ops and atomic")),
            }
        }
        let ops = ops.ok_or_else(|| de::Error::missing_field("ops"))?;
        Ok(Request { ops, atomic: atomic.flatten().unwrap_or(true) })
    }
}

/// Reads the operations.
struct Ops<'a>(&'a Progress);

impl<'de> DeserializeSeed<'de> for Ops<'_> {
    type Value = Vec<Given>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<Given>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Ops<'_> {
    type Value = Vec<Given>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ops, an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Given>, A::Error> {
        let mut ops = Vec::new();
        // One more than allowed is enough to see that there are too many.
        while ops.len() <= self.0.ops_max {
            self.0.at.set(Some(ops.len()));
            match seq.next_element()? {
                Some(op) => ops.push(op),
                None => break,
            }
        }
        self.0.at.set(None);
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ops)
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(OneOp)
    }
}

/// Reads one operation.
struct OneOp;

impl<'de> Visitor<'de> for OneOp {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with op, p, c, text or if_rev")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        let mut kind = None;
        let (mut p, mut c, mut text, mut if_rev) = (None, None, None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "op" if kind.is_none() => {
                    kind = Some(kind_of(&field::<_, String>(&mut map, "op")?)?);
                }
                "p" if p.is_none() => p = Some(field(&mut map, "p")?),
                "c" if c.is_none() => c = Some(field(&mut map, "c")?),
                "text" if text.is_none() => text = Some(field(&mut map, "text")?),
                "if_rev" if if_rev.is_none() => if_rev = Some(field(&mut map, "if_rev")?),
                _ => return Err(unexpected(&name, "op, p, c, text and if_rev")),
            }
        }
        let kind = kind.ok_or_else(|| de::Error::missing_field("op"))?;
        let (p, c, text) = (p.flatten(), c.flatten(), text.flatten());
        Ok(Given { kind, p, c, text, if_rev: if_rev.flatten() })
    }
}

/// The value of a field, whose name goes with what is wrong with it.
fn field<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    name: &str,
) -> Result<T, A::Error> {
    map.next_value().map_err(|error| de::Error::custom(format_args!("{name}: {error}")))
}

fn unexpected<E: de::Error>(name: &str, known: &str) -> E {
    E::custom(format_args!("{name:?} is given twice or not known; there are {known}"))
}

fn kind_of<E: de::Error>(name: &str) -> Result<Kind, E> {
    Ok(match name {
        "read" => Kind::Read,
        "write" => Kind::Write,
        "append" => Kind::Append,
        "delete" => Kind::Delete,
        _ => {
            let known = "read, write, append or delete";
            return Err(E::custom(format_args!("op: {name:?} is not one of {known}")));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        Request::parse(body.as_bytes(), 3).unwrap_err().to_string()
    }

    #[test]
    fn a_batch_is_read() {
        let body = r#"{"ops":[{"op":"append","p":"n","c":"1.1","text":"ä\n","if_rev":0},
                       {"c":null,"op":"read"}],"atomic":false}"#;
        let request = Request::parse(body.as_bytes(), 2).unwrap();
        assert!(!request.atomic);
        let some = |text: &str| Some(text.to_owned());
        let first = Given {
            kind: Kind::Append,
            p: some("n"),
            c: some("1.1"),
            text: some("ä\n"),
            if_rev: Some(0),
        };
        let second = Given { kind: Kind::Read, p: None, c: None, text: None, if_rev: None };
        assert_eq!(request.ops, [first, second]);
        assert!(Request::parse(br#"{"ops":[]}"#, 0).unwrap().atomic);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (body, expected) in [
            (r#"{"ops":[{"op":"read"},{"op":"read","c":5}]}"#, "op 1: "),
            (r#"{"ops":[{"op":"read"},{"op":"read","c":5}]}"#, "c: invalid type: integer `5`"),
            (r#"{"ops":[{"op":"move"}]}"#, "op: \"move\" is not one of read, write"),
            (r#"{"ops":[{"op":"read","if_rev":-1}]}"#, "if_rev: invalid value: integer `-1`"),
            (r#"{"ops":[{"op":"read","colour":1}]}"#, "\"colour\" is given twice or not known"),
            (r#"{"ops":[{"op":"read","c":"1","c":"2"}]}"#, "\"c\" is given twice"),
            (r#"{"ops":[{"c":"1"}]}"#, "missing field `op`"),
            (r#"{"ops":[7]}"#, "expected an object with op, p, c, text or if_rev"),
            (r#"{"ops":[{"op":"read""#, "op 0: "),
            (r#"{"ops":{}}"#, "expected ops, an array"),
            (r#"{"ops":[],"atomic":1}"#, "atomic: invalid type"),
            (r#"{"ops":[],"atomic":true,"x":1}"#, "there are ops and atomic"),
            (r#"{"atomic":true}"#, "missing field `ops`"),
            ("[]", "expected an object with ops"),
            (r#"{"ops":[]} x"#, "trailing characters"),
            ("", "EOF while parsing"),
        ] {
            let refusal = refusal(body);
            assert!(refusal.contains(expected), "{body}: {refusal}");
        }
        let four = r#"{"ops":[{"op":"read"},{"op":"read"},{"op":"read"},{"op":"read"},9]}"#;
        assert!(refusal(four).contains("more than the 3 operations"), "{}", refusal(four));
    }
}
