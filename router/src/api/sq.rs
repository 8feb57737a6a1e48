//! SQ's endpoints for single scrolls, in the words of SQ 0.6.

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Incoming;
use ranch_proto::Shards;
use ranch_proto::schema::{Profile, op::Kind};
use serde::Serialize;

use crate::api::describe::{
    self, C, FRESH, HttpMethod, IF_MATCH, IF_NONE_MATCH, ONCE, Operation, P, Parameter, Reply, S,
    SCROLL, operation, query, reply, text,
};
use crate::api::scrolls::{self, Given, Place};
use crate::api::{Call, Methods, infer};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::http::negotiate;

/// SQ's endpoints that concern one scroll or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The version of this router.
    Version,
    /// Says that a phext is at hand; in a ranch all always are.
    Load,
    /// The text at a coordinate.
    Select,
    /// Appends to a scroll.
    Insert,
    /// Replaces a scroll.
    Update,
    /// Removes a scroll.
    Delete,
    /// Calculates a coordinate for a text.
    Where,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Endpoint {
    /// The endpoint of this name.
    pub fn find(name: &str) -> Option<Self> {
        Some(match name {
            "version" => Self::Version,
            "load" => Self::Load,
            "select" => Self::Select,
            "insert" => Self::Insert,
            "update" => Self::Update,
            "delete" => Self::Delete,
            "where" => Self::Where,
            _ => return None,
        })
    }

    /// The methods it takes.
    pub fn methods(self) -> Methods {
        match self {
            Self::Version | Self::Load | Self::Select => Methods::READ,
            Self::Insert | Self::Update => Methods::SQ_WRITE,
            Self::Delete => Methods::SQ_DELETE,
            Self::Where => Methods::ASK_BY_POST,
        }
    }
}

/// Answers one of SQ's endpoints.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    endpoint: Endpoint,
    body: Incoming,
) -> Result<Answer, ApiError> {
    match endpoint {
        Endpoint::Version if negotiate::admits_json(call.headers) => {
            Ok(answer::json(StatusCode::OK, &Version { version: VERSION }))
        }
        Endpoint::Version => Ok(answer::text(VERSION)),
        Endpoint::Load => {
            let phext = scrolls::phext(call.query)?;
            Ok(answer::text(format!("Loaded {phext}.phext")))
        }
        Endpoint::Select => select(call, caller).await,
        Endpoint::Insert => insert(call, caller, body).await,
        Endpoint::Update => update(call, caller, Place::of_query(call.query)?, body).await,
        Endpoint::Delete => delete(call, caller, Place::of_query(call.query)?).await,
        Endpoint::Where => Box::pin(infer::answer(call, body)).await,
    }
}

async fn select<S: Shards>(call: &Call<'_, S>, caller: &Caller) -> Result<Answer, ApiError> {
    let place = Place::of_query(call.query)?;
    let printed = (caller.profile == Profile::Memory).then(|| place.coordinate.to_string());
    let phext = place.phext.clone();
    let found = scrolls::read(call, caller, place).await?;
    let whole = match found.scroll {
        Some(scroll) => scrolls::whole(call, caller, &phext, scroll).await?,
        None => None,
    };
    let (text, share) = match (whole, printed) {
        (Some(whole), _) => (whole.scroll.text.unwrap_or_default(), whole.share),
        (None, Some(coordinate)) => {
            return Err(ApiError::NoScroll { coordinate, applied: found.applied });
        }
        (None, None) => (Bytes::new(), None),
    };
    let mut answer = answer::text(text);
    answer.body_mut().share = share;
    scrolls::mark_stale(&mut answer, found.applied);
    Ok(answer)
}

async fn insert<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let place = Place::of_query(call.query)?;
    let Given { text, share: _share } = scrolls::text(call, body).await?;
    let kind = match caller.profile {
        Profile::Sq => Kind::Append,
        Profile::Memory => Kind::Write,
    };
    let length = text.len();
    let sentence = |_| format!("Inserted {length} bytes");
    scrolls::change(call, caller, place, (kind, text), sentence).await
}

/// Replaces a scroll; also what `write/{c}` does.
pub async fn update<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    place: Place,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let Given { text, share: _share } = scrolls::text(call, body).await?;
    let length = text.len();
    let sentence = |_| format!("Updated {length} bytes");
    scrolls::change(call, caller, place, (Kind::Write, text), sentence).await
}

/// Removes a scroll; also what `delete/{c}` does.
pub async fn delete<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    place: Place,
) -> Result<Answer, ApiError> {
    let change = (Kind::Delete, Bytes::new());
    scrolls::change(call, caller, place, change, |bytes| format!("Removed {bytes} bytes")).await
}

const VERSION_SCHEMA: &str =
    r#"{"type":"object","required":["version"],"properties":{"version":{"type":"string"}}}"#;
const WRITE: &[Parameter] = &[P, C, S, ONCE, IF_MATCH, IF_NONE_MATCH];
const REMOVE: &[Parameter] = &[P, C, ONCE, IF_MATCH, IF_NONE_MATCH];
const INSERTED: &[Reply] = &[text("`Inserted N bytes`.")];
const UPDATED: &[Reply] = &[text("`Updated N bytes`.")];
const REMOVED: &[Reply] = &[text("`Removed N bytes`.")];

/// SQ's endpoints for single scrolls, described.
pub static OPERATIONS: &[Operation] = &[
    operation(
        HttpMethod::Get,
        "version",
        "The version",
        &[],
        &[reply(
            200,
            &[("text/plain", describe::STRING), ("application/json", VERSION_SCHEMA)],
            "As JSON where Accept admits it.",
        )],
    ),
    operation(
        HttpMethod::Get,
        "load",
        "Says that a phext is at hand",
        &[P],
        &[text("`Loaded P.phext`.")],
    ),
    operation(
        HttpMethod::Get,
        "select",
        "The text at a coordinate; empty where there is none",
        &[P, C, FRESH],
        &[text("The text.")],
    ),
    operation(HttpMethod::Get, "insert", "Appends to a scroll", WRITE, INSERTED),
    operation(HttpMethod::Post, "insert", "Appends to a scroll", WRITE, INSERTED).with_body(SCROLL),
    operation(HttpMethod::Get, "update", "Replaces a scroll", WRITE, UPDATED),
    operation(HttpMethod::Post, "update", "Replaces a scroll", WRITE, UPDATED).with_body(SCROLL),
    operation(HttpMethod::Get, "delete", "Removes a scroll", REMOVE, REMOVED),
    operation(HttpMethod::Post, "delete", "Removes a scroll", REMOVE, REMOVED),
    operation(HttpMethod::Delete, "delete", "Removes a scroll", REMOVE, REMOVED),
    operation(
        HttpMethod::Post,
        "where",
        "Calculates a coordinate for a text",
        &[
            P,
            S,
            query(
                "algo",
                r#"{"type": "string", "enum":["xor","checksum"]}"#,
                "How; `xor` is the default.",
            ),
            query("limit", describe::NUMBER, "For `xor`: shortest scroll that counts; 100."),
        ],
        &[text("`Calculated coordinate C for input (algo=A, limit=N).`")],
    )
    .with_body(SCROLL),
];
