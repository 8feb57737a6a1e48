//! From a request to its answer: find the endpoint, recognise the caller, check what it may do,
//! hand over, and give every answer, errors too, the headers all answers have.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_LENGTH, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use hyper::body::Incoming;
use ranch_proto::schema::CallMethod;
use ranch_proto::{Directory, Shards};

use crate::api::{self, Audience, Call, Target, Use};
use crate::app::App;
use crate::auth::{self, Caller, Identity};
use crate::charge;
use crate::error::ApiError;
use crate::http::answer::{Answer, AnswerBody};
use crate::http::params::Query;
use crate::http::{cors, negotiate};
use crate::metrics::Endpoint;
use crate::request_log::{self, Line, REQUEST_ID};
use crate::shown::{SHOW_MAX, until_shown};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Number of the connection.
    pub connection: u64,
    /// It is a process of this machine.
    pub is_local: bool,
}

/// Answers one request of a connection. Never fails: what goes wrong is an
/// answer too.
pub async fn answer<S: Shards>(
    app: &Arc<App<S>>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    let started = Instant::now();
    let id = request_log::id_of(request.headers());
    let (parts, body) = request.into_parts();
    let target = Target::find(parts.uri.path());
    let mut caller = None;
    let outcome = if parts.method == Method::OPTIONS {
        Ok(cors::preflight())
    } else {
        route((app, peer), &parts, body, &target, &mut caller).await
    };
    let mut answer = outcome.unwrap_or_else(|error| {
        app.metrics.error(error.kind());
        let json = target.speaks_json() || negotiate::asks_for_json(&parts.headers);
        error.answer(json)
    });
    if parts.method == Method::HEAD {
        without_body(&mut answer);
    }
    let headers = answer.headers_mut();
    app.cors.mark(parts.headers.get(ORIGIN), headers);
    headers.insert(REQUEST_ID, id.clone());
    let endpoint = Endpoint::at(parts.uri.path());
    app.metrics.request(endpoint, answer.status(), started.elapsed());
    if app.options.log_requests {
        let (method, uri, status) = (parts.method, parts.uri, answer.status().as_u16());
        let tenant = caller.map(|caller| caller.tenant);
        let (bytes, connection) = (0, peer.connection);
        let line = Line { id, method, uri, status, bytes, tenant, connection, started };
        answer.body_mut().log(line);
    }
    answer
}

/// Finds out who asks, which is left in `seen`, and whether it may, and has the request served.
async fn route<S: Shards>(
    (app, peer): (&Arc<App<S>>, Peer),
    parts: &Parts,
    body: Incoming,
    target: &Target<'_>,
    seen: &mut Option<Caller>,
) -> Result<Answer, ApiError> {
    if let Target::Health(endpoint) = target {
        target.usage(&parts.method)?;
        return Ok(Box::pin(api::health::answer(app, *endpoint)).await);
    }
    let identity = recognise(app, &parts.headers).await?;
    let query = Query::parse(parts.uri.query());
    *seen = match target.audience() {
        Audience::Nobody => return Err(ApiError::NotFound),
        Audience::Administrators => {
            if identity != Identity::Admin {
                return Err(ApiError::AdminKeyNeeded);
            }
            None
        }
        Audience::Anyone => None,
        Audience::Local => {
            target.usage(&parts.method)?;
            return Box::pin(api::reload::answer(app, &identity, peer.is_local)).await;
        }
        Audience::Tenants => Some(tenant(app, identity, query.as_ref().ok())?),
    };
    let served = serve((app, peer.connection), parts, body, (target, seen.as_ref()), query);
    match &*seen {
        Some(caller) => {
            let method = CallMethod::of_verb(api::verb(parts.uri.path()));
            charge::counted(app, caller, method, served).await
        }
        None => served.await,
    }
}

/// Whose request it is. A router that has just started knows nobody yet, and waits until it does.
async fn recognise<S: Shards>(app: &App<S>, headers: &HeaderMap) -> Result<Identity, ApiError> {
    let ranch_is_known = |directory: &Directory| directory.cluster.is_some();
    {
        let directory = app.shards.directory().read();
        if ranch_is_known(&directory) {
            return auth::identify(&directory, headers);
        }
    }
    let longest = SHOW_MAX.min(app.options.request_deadline);
    until_shown(&*app.shards, longest, ranch_is_known).await;
    auth::identify(&app.shards.directory().read(), headers)
}

/// Carries a request out for a caller that may ask.
async fn serve<S: Shards>(
    (app, connection): (&Arc<App<S>>, u64),
    parts: &Parts,
    body: Incoming,
    (target, caller): (&Target<'_>, Option<&Caller>),
    query: Result<Query<'_>, ApiError>,
) -> Result<Answer, ApiError> {
    let usage = target.usage(&parts.method)?;
    if usage == Use::Write && caller.is_some_and(|caller| !caller.may_write) {
        return Err(ApiError::ReadOnlyKey);
    }
    let query = query?;
    let (headers, method) = (&parts.headers, &parts.method);
    let call = Call { app, connection, method, headers, query: &query };
    // What is rare or long is boxed, so that the future of a plain read or write stays small.
    match (target, caller) {
        (Target::Sq(endpoint), Some(caller)) => {
            api::sq::answer(&call, caller, *endpoint, body).await
        }
        (Target::Rest(endpoint, argument), Some(caller)) => {
            api::rest::answer(&call, caller, *endpoint, argument, body).await
        }
        (Target::Whole(endpoint), Some(caller)) => {
            Box::pin(api::whole::answer(&call, caller, *endpoint, body)).await
        }
        (Target::Batch, Some(caller)) => Box::pin(api::batch::answer(&call, caller, body)).await,
        (Target::Admin(endpoint), _) => Box::pin(api::admin::answer(&call, endpoint, body)).await,
        (Target::OpenApi, _) => Ok(api::openapi::answer()),
        (Target::Later(endpoint), _) => Err(endpoint.refusal()),
        _ => Err(ApiError::NotFound),
    }
}

/// The tenant a request is for. A tenant's key may name its own tenant, an administrator's must
/// name one.
fn tenant<S: Shards>(
    app: &App<S>,
    identity: Identity,
    query: Option<&Query<'_>>,
) -> Result<Caller, ApiError> {
    let named = query.and_then(|query| query.get("tenant"));
    match (identity, named) {
        (Identity::Admin, None) => Err(ApiError::TenantNeeded),
        (Identity::Admin, Some(id)) => auth::on_behalf_of(&app.shards.directory().read(), id),
        (Identity::Tenant(caller), Some(id)) if id != caller.tenant => Err(ApiError::OtherTenant),
        (Identity::Tenant(caller), _) => Ok(caller),
    }
}

/// What HEAD answers: the headers of a GET, its length included.
fn without_body(answer: &mut Answer) {
    let length = answer.body().known_length();
    *answer.body_mut() = AnswerBody::from(bytes::Bytes::new());
    if let Some(length) = length {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}
