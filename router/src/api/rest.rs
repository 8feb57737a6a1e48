//! Endpoints that name their coordinate or pattern in the path.

use http::StatusCode;
use http::header::{ETAG, HeaderValue, LAST_MODIFIED};
use hyper::body::Incoming;
use ranch_proto::{Coordinate, Shards};

use crate::api::describe::{
    self, AT, FRESH, HttpMethod, IF_MATCH, IF_NONE_MATCH, ONCE, Operation, P, Parameter, Reply, S,
    SCROLL, argument, operation, query, reply, text,
};
use crate::api::scrolls::{self, Place};
use crate::api::{Call, Methods, list, sq};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::http::params::path_argument;
use crate::http::{date, preconditions};

/// The REST endpoints with an argument in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A scroll.
    Read,
    /// Replaces a scroll.
    Write,
    /// The coordinates a pattern covers.
    List,
    /// Removes a scroll.
    Delete,
}

impl Endpoint {
    /// The endpoint of this name.
    pub fn find(name: &str) -> Option<Self> {
        Some(match name {
            "read" => Self::Read,
            "write" => Self::Write,
            "list" => Self::List,
            "delete" => Self::Delete,
            _ => return None,
        })
    }

    /// The methods it takes.
    pub fn methods(self) -> Methods {
        match self {
            Self::Read | Self::List => Methods::READ,
            Self::Write => Methods::PUT,
            Self::Delete => Methods::DELETE,
        }
    }
}

/// Answers one of the REST endpoints.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    endpoint: Endpoint,
    argument: &str,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let argument = path_argument(argument)?;
    if endpoint == Endpoint::List {
        return Box::pin(list::answer(call, caller, &argument)).await;
    }
    let coordinate = Coordinate::parse(&argument)?;
    let place = Place { phext: scrolls::phext(call.query)?, coordinate };
    match endpoint {
        Endpoint::Write => sq::update(call, caller, place, body).await,
        Endpoint::Delete => sq::delete(call, caller, place).await,
        Endpoint::Read | Endpoint::List => read(call, caller, place).await,
    }
}

async fn read<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    place: Place,
) -> Result<Answer, ApiError> {
    let Place { phext, coordinate } = place.clone();
    let found = scrolls::read(call, caller, place).await?;
    let applied = found.applied;
    let none = || ApiError::NoScroll { coordinate: coordinate.to_string(), applied };
    let scroll = found.scroll.ok_or_else(none)?;
    let (revision, modified_ms, mut answer);
    if preconditions::is_known(call.headers, scroll.revision) {
        (revision, modified_ms) = (scroll.revision, scroll.modified_ms);
        answer = answer::empty(StatusCode::NOT_MODIFIED);
    } else {
        let whole = scrolls::whole(call, caller, &phext, scroll).await?.ok_or_else(none)?;
        (revision, modified_ms) = (whole.scroll.revision, whole.scroll.modified_ms);
        answer = answer::text(whole.scroll.text.unwrap_or_default());
        answer.body_mut().share = whole.share;
    }
    let headers = answer.headers_mut();
    headers.insert(ETAG, preconditions::etag(revision));
    if let Ok(modified) = HeaderValue::from_maybe_shared(date::http(modified_ms)) {
        headers.insert(LAST_MODIFIED, modified);
    }
    scrolls::mark_stale(&mut answer, applied);
    Ok(answer)
}

const WRITE: &[Parameter] = &[AT, P, S, ONCE, IF_MATCH, IF_NONE_MATCH];
const UPDATED: &[Reply] = &[text("`Updated N bytes`.")];
const LIST: &str = r#"{
    "type": "object",
    "required": ["results", "next"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["coordinate", "size", "revision", "modified"],
                "properties": {
                    "coordinate": {"type": "string"},
                    "size": {"type": "integer"},
                    "revision": {"type": "integer"},
                    "modified": {"type": "string"}
                }
            }
        },
        "next": {"type": ["string", "null"]}
    }
}"#;
const LISTED: &[Reply] = &[reply(
    200,
    &[("text/plain", describe::STRING), ("application/json", LIST)],
    "A coordinate a line; as JSON when asked for.",
)];
const LONG: Parameter = query("long", describe::FLAG, "Sizes, revisions and times, too.");
const LIMIT: Parameter = query("limit", describe::NUMBER, "Most coordinates.");
const AFTER: Parameter = query("after", describe::STRING, "Continues behind this coordinate.");
const PREFIX: Parameter =
    argument("prefix", describe::STRING, "A pattern: `1.5.*/3.7.3/*`, `2.1`.");

/// The REST endpoints, described.
pub static OPERATIONS: &[Operation] = &[
    operation(
        HttpMethod::Get,
        "read/{c}",
        "A scroll",
        &[AT, P, IF_NONE_MATCH, FRESH],
        &[text("The text."), reply(304, &[], "It is at the revision given.")],
    ),
    operation(HttpMethod::Post, "write/{c}", "Replaces a scroll", WRITE, UPDATED).with_body(SCROLL),
    operation(HttpMethod::Put, "write/{c}", "Replaces a scroll", WRITE, UPDATED).with_body(SCROLL),
    operation(
        HttpMethod::Delete,
        "delete/{c}",
        "Removes a scroll",
        &[AT, P, ONCE, IF_MATCH, IF_NONE_MATCH],
        &[text("`Removed N bytes`.")],
    ),
    operation(HttpMethod::Get, "list", "All coordinates", &[P, LONG, LIMIT, AFTER, FRESH], LISTED),
    operation(
        HttpMethod::Get,
        "list/{prefix}",
        "The coordinates a pattern covers",
        &[PREFIX, P, LONG, LIMIT, AFTER, FRESH],
        LISTED,
    ),
];
