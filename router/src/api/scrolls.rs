//! One scroll: which one a request means, reading it, changing it. Used by every endpoint that
//! touches single scrolls, so that limits, conditions and headers are the same everywhere.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use hyper::body::Incoming;
use ranch_proto::phext::{PhextName, is_delimiter};
use ranch_proto::schema::{
    Command, GetScroll, Idempotency, Op, OpResult, OpStatus, ReadRequest, Scroll, op::Kind,
    read_reply, read_request,
};
use ranch_proto::{Coordinate, RequestId, Shards};
use xxhash_rust::xxh3::Xxh3;

use crate::api::Call;
use crate::api::source::{Source, Whole};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::http::params::Query;
use crate::http::{body, preconditions};
use crate::large::Share;

/// Says the revision a write was given.
pub const REVISION: HeaderName = HeaderName::from_static("x-ranch-revision");
const STORED_AT: HeaderName = HeaderName::from_static("x-ranch-stored-at");
const APPLIED: HeaderName = HeaderName::from_static("x-ranch-applied");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest Idempotency-Key, in bytes.
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// The address of one scroll of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The phext.
    pub phext: String,
    /// The coordinate in it.
    pub coordinate: Coordinate,
}

/// A scroll as read.
#[derive(Debug)]
pub struct Found {
    /// The scroll, if there is one; a large one with the first part of its text until it is
    /// [made whole](whole).
    pub scroll: Option<Scroll>,
    /// The log index a stale read reflects.
    pub applied: Option<u64>,
}

/// The text a write brings.
#[derive(Debug)]
pub struct Given {
    /// The text.
    pub text: Bytes,
    /// The share of memory it takes, to be kept until it is stored.
    pub share: Option<Share>,
}

/// The phext a request names, or the default one.
pub fn phext(query: &Query<'_>) -> Result<String, ApiError> {
    let name = query.get("p").map(PhextName::parse).transpose()?;
    Ok(name.unwrap_or_default().into_string())
}

impl Place {
    /// The scroll that `p` and `c` name; without `c` the origin.
    pub fn of_query(query: &Query<'_>) -> Result<Self, ApiError> {
        let coordinate = query.get("c").map(Coordinate::parse).transpose()?;
        Ok(Self { phext: phext(query)?, coordinate: coordinate.unwrap_or(Coordinate::ORIGIN) })
    }
}

/// Whether a read may be served by any replica.
pub fn is_stale(query: &Query<'_>) -> Result<bool, ApiError> {
    match query.get("consistency") {
        None | Some("linearizable") => Ok(false),
        Some("stale") => Ok(true),
        Some(_) => {
            Err(ApiError::BadParameter { field: "consistency", expected: "linearizable or stale" })
        }
    }
}

/// Marks an answer that may be behind with how far it goes.
pub fn mark_stale(answer: &mut Answer, applied: Option<u64>) {
    if let Some(applied) = applied {
        answer.headers_mut().insert(APPLIED, HeaderValue::from(applied));
    }
}

/// Reads one scroll.
pub async fn read<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    place: Place,
) -> Result<Found, ApiError> {
    let stale = is_stale(call.query)?;
    let coordinate = place.coordinate.to_key().into();
    let get = GetScroll { phext: place.phext, coordinate };
    let what = Some(read_request::What::Get(get));
    let request = ReadRequest { tenant: caller.tenant.clone(), stale, what };
    let reply = call.app.forward.read(caller.shard, request).await?;
    let applied = stale.then_some(reply.applied);
    match reply.what {
        Some(read_reply::What::Get(get)) => Ok(Found { scroll: get.scroll, applied }),
        _ => Err(ApiError::Garbled),
    }
}

/// The scroll with all of its text; `None` when it went while the text was read.
pub async fn whole<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    phext: &str,
    scroll: Scroll,
) -> Result<Option<Whole>, ApiError> {
    if scroll.parts == 0 {
        return Ok(Some(Whole { scroll, share: None }));
    }
    let source = Source::new(call, caller)?;
    Ok(Box::pin(source.whole(phext, scroll)).await?)
}

/// The text a write brings: the body of the request, or `s` where there is none.
pub async fn text<S: Shards>(call: &Call<'_, S>, body: Incoming) -> Result<Given, ApiError> {
    let options = &call.app.options;
    let limit = options.scroll_max_bytes;
    let (mut text, mut share) = (Bytes::new(), None);
    if call.method != http::Method::GET {
        let read = body::read_large(body, limit, options.body_timeout, &call.app.budget);
        (text, share) = read.await.map_err(|error| match error {
            ApiError::BodyTooLarge { limit } => ApiError::ScrollTooLarge { limit },
            other => other,
        })?;
    }
    if text.is_empty() {
        text = Bytes::from(call.query.get("s").unwrap_or_default().to_owned());
        if text.len() as u64 > limit {
            return Err(ApiError::ScrollTooLarge { limit });
        }
    } else if let Err(error) = std::str::from_utf8(&text) {
        return Err(ApiError::NotUtf8 { at: error.valid_up_to() });
    }
    match delimiter_in(&text) {
        Some(error) => Err(error),
        None => Ok(Given { text, share }),
    }
}

/// What is wrong with a text that holds a delimiter.
pub fn delimiter_in(text: &[u8]) -> Option<ApiError> {
    let at = text.iter().position(|byte| is_delimiter(*byte))?;
    Some(ApiError::Delimiter { byte: text[at], at })
}

/// Changes one scroll, once, and answers in the words of `sentence`, which is given the bytes the
/// shard counted.
///
/// `kind` is write, append or delete. Writing an empty text is deleting: an empty scroll is none.
pub async fn change<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    place: Place,
    (kind, text): (Kind, Bytes),
    sentence: impl FnOnce(u64) -> String,
) -> Result<Answer, ApiError> {
    let kind = if kind == Kind::Write && text.is_empty() { Kind::Delete } else { kind };
    let op = Op {
        kind: kind.into(),
        phext: place.phext,
        coordinate: place.coordinate.to_key().into(),
        text,
        if_revision: preconditions::for_write(call.headers)?,
        ..Op::default()
    };
    let command = Command {
        request_id: Bytes::copy_from_slice(&RequestId::random().0),
        tenant: caller.tenant.clone(),
        idempotency: idempotency(call, &caller.tenant, || content_of(&op))?,
        ops: vec![op],
        ..Command::default()
    };
    let result = call.app.forward.command(caller.shard, command).await?;
    let [result] = <[OpResult; 1]>::try_from(result.results).map_err(|_| ApiError::Garbled)?;
    check(&result)?;
    let mut answer = answer::text(sentence(result.bytes));
    let headers = answer.headers_mut();
    headers.insert(REVISION, HeaderValue::from(result.revision));
    let stored_at = place.coordinate.namespaced(&caller.tenant);
    if let Ok(stored_at) = HeaderValue::from_maybe_shared(Bytes::from(stored_at)) {
        headers.insert(STORED_AT, stored_at);
    }
    Ok(answer)
}

/// What became of an op, as an error unless it succeeded.
pub fn check(result: &OpResult) -> Result<(), ApiError> {
    match result.status() {
        OpStatus::OpOk => Ok(()),
        OpStatus::OpPreconditionFailed => Err(ApiError::Changed { found: result.revision }),
        OpStatus::OpQuotaExceeded => Err(ApiError::QuotaExceeded),
        OpStatus::OpTooLarge => Err(ApiError::ScrollFull),
        OpStatus::OpKeyReused => Err(ApiError::KeyReused),
        OpStatus::OpTenantGone => Err(ApiError::Unauthorized),
        status => {
            tracing::error!(?status, "a shard refused an op the router had checked");
            Err(ApiError::Garbled)
        }
    }
}

/// The Idempotency-Key of a request as shards know it: a hash of the key, and one of what it is
/// used for.
pub fn idempotency<S>(
    call: &Call<'_, S>,
    tenant: &str,
    content: impl FnOnce() -> Bytes,
) -> Result<Option<Idempotency>, ApiError> {
    let Some(key) = call.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.as_bytes();
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX {
        return Err(ApiError::BadParameter {
            field: "Idempotency-Key",
            expected: "1 to 255 characters",
        });
    }
    Ok(Some(Idempotency { key: hash([tenant.as_bytes(), key]), content: content() }))
}

/// What an op does, as a hash.
pub fn content_of(op: &Op) -> Bytes {
    let condition = op.if_revision.map(u64::to_be_bytes);
    hash([
        &op.kind.to_be_bytes()[..],
        op.phext.as_bytes(),
        &op.coordinate,
        &op.text,
        condition.as_ref().map_or(&[], |bytes| &bytes[..]),
    ])
}

/// XXH3-128 over parts, each after its length as u64 big-endian, so that they cannot be cut
/// differently.
pub fn hash<const N: usize>(parts: [&[u8]; N]) -> Bytes {
    let mut hasher = Xxh3::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    Bytes::copy_from_slice(&hasher.digest128().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_where_parts_end() {
        assert_ne!(hash([b"ab", b"c"]), hash([b"a", b"bc"]));
        assert_eq!(hash([b"ab", b"c"]), hash([b"ab", b"c"]));
        // Stored by shards for minutes: must not change between versions.
        assert_eq!(hash([b"will", b"key-1"]), hash_golden());
    }

    fn hash_golden() -> Bytes {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 4]);
        bytes.extend_from_slice(b"will");
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5]);
        bytes.extend_from_slice(b"key-1");
        Bytes::copy_from_slice(&xxhash_rust::xxh3::xxh3_128(&bytes).to_be_bytes())
    }

    #[test]
    fn every_status_of_an_op_has_an_answer() {
        let status = |status: OpStatus| {
            let result = OpResult { status: status.into(), revision: 9, ..OpResult::default() };
            check(&result)
        };
        assert_eq!(status(OpStatus::OpOk), Ok(()));
        assert_eq!(status(OpStatus::OpPreconditionFailed), Err(ApiError::Changed { found: 9 }));
        assert_eq!(status(OpStatus::OpQuotaExceeded), Err(ApiError::QuotaExceeded));
        assert_eq!(status(OpStatus::OpTooLarge), Err(ApiError::ScrollFull));
        assert_eq!(status(OpStatus::OpKeyReused), Err(ApiError::KeyReused));
        assert_eq!(status(OpStatus::OpAborted), Err(ApiError::Garbled));
    }
}
