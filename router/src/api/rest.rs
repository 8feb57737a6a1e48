//! Endpoints that name their coordinate or pattern in the path.

use http::StatusCode;
use http::header::{ETAG, HeaderValue, LAST_MODIFIED};
use hyper::body::Incoming;
use ranch_proto::{Coordinate, Shards};

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
    let coordinate = place.coordinate.clone();
    let found = scrolls::read(call, caller, place).await?;
    let Some(scroll) = found.scroll else {
        return Err(ApiError::NoScroll { coordinate: coordinate.to_string() });
    };
    let mut answer = if preconditions::is_known(call.headers, scroll.revision) {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        answer::text(scroll.text.unwrap_or_default())
    };
    let headers = answer.headers_mut();
    headers.insert(ETAG, preconditions::etag(scroll.revision));
    if let Ok(modified) = HeaderValue::from_maybe_shared(date::http(scroll.modified_ms)) {
        headers.insert(LAST_MODIFIED, modified);
    }
    scrolls::mark_stale(&mut answer, found.applied);
    Ok(answer)
}
