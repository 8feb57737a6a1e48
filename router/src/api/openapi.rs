//! `openapi.json`: the whole API in the form of the `OpenAPI` specification 3.1, made once from the
//! endpoints' own tables. Any valid key opens it.

use std::sync::LazyLock;

use bytes::Bytes;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, RefOr,
    Required, Schema,
};

use crate::api::describe::{HttpMethod, Operation, Parameter, Place, Reply, operation, reply};
use crate::api::{
    BASE, admin, backup, batch, health, lifecycle, reload, rest, sq, tenants, verify, whole,
};
use crate::http::answer::{self, Answer, JSON};

/// An error, in the form RFC 9457 gives it.
const PROBLEM: &str = r#"{
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "The parameter, header or member at fault."},
        "failed": {"type": "integer", "description": "The operation of a batch at fault, from 0."},
        "outcome": {"type": "string", "description": "The write may or may not take effect."}
    }
}"#;
const ABOUT: &str =
    "A replicated store of scrolls at phext coordinates, in SQ's words and in REST's.";
const REFUSED: &str = "Refused: one plain line, or a problem where JSON is asked for or answered.";
/// Names of the ways to present a key.
const SCHEMES: [&str; 2] = ["bearer", "header"];

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    // Serializing fails only for maps with other keys than strings, of which there are none.
    serde_json::to_vec(&document()).unwrap_or_default().into()
});

/// Answers `openapi.json`.
pub fn answer() -> Answer {
    answer::of(JSON, DOCUMENT.clone())
}

/// All operations there are.
fn operations() -> impl Iterator<Item = &'static Operation> {
    let tables = [health::OPERATIONS, sq::OPERATIONS, whole::OPERATIONS, rest::OPERATIONS];
    let others = [batch::OPERATIONS, admin::OPERATIONS, tenants::operations::OPERATIONS];
    tables
        .into_iter()
        .chain(others)
        .chain([lifecycle::OPERATIONS, verify::OPERATIONS, reload::OPERATIONS, OPERATIONS])
        .chain([backup::OPERATIONS, tenants::restore::OPERATIONS])
        .flatten()
}

/// The description of itself.
static OPERATIONS: &[Operation] = &[operation(
    HttpMethod::Get,
    "openapi.json",
    "This description",
    &[],
    &[reply(200, &[("application/json", r#"{"type":"object"}"#)], "OpenAPI 3.1")],
)];

fn document() -> OpenApi {
    let mut paths = Paths::new();
    for operation in operations() {
        let item = PathItem::new(operation.method.clone(), operation_of(operation));
        paths.paths.entry(path(operation)).or_default().merge_operations(item);
    }
    let info = InfoBuilder::new()
        .title("Ranch")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let header = ApiKey::Header(ApiKeyValue::new("X-SQ-API-Key"));
    let shared = tenants::schemas::COMPONENTS.iter();
    let components = ComponentsBuilder::new()
        .schema("Problem", schema(PROBLEM))
        .schemas_from_iter(shared.map(|(name, form)| (*name, schema(form))))
        .security_scheme(SCHEMES[0], SecurityScheme::Http(bearer))
        .security_scheme(SCHEMES[1], SecurityScheme::ApiKey(header));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .security(Some(SCHEMES.map(|name| SecurityRequirement::new(name, NO_SCOPES))))
        .build()
}

const NO_SCOPES: [&str; 0] = [];

fn path(operation: &Operation) -> String {
    match operation.path {
        whole if whole.starts_with('/') => whole.to_owned(),
        below => format!("{BASE}{below}"),
    }
}

fn verb(operation: &Operation) -> &'static str {
    match operation.method {
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Delete => "DELETE",
        _ => "GET",
    }
}

fn operation_of(operation: &Operation) -> utoipa::openapi::path::Operation {
    let name = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let id: String = operation.path.trim_matches('/').chars().map(name).collect();
    let mut built = OperationBuilder::new()
        .operation_id(Some(format!("{}_{id}", verb(operation).to_lowercase())))
        .summary(Some(operation.summary))
        .parameters(Some(operation.parameters.iter().map(parameter)));
    if let Some(body) = operation.body {
        let required = if body.required { Required::True } else { Required::False };
        let content = ContentBuilder::new().schema(Some(schema(body.schema))).build();
        let body = RequestBodyBuilder::new().content(body.content_type, content);
        built = built.request_body(Some(body.required(Some(required)).build()));
    }
    if operation.path.starts_with('/') {
        built = built.security(SecurityRequirement::default());
    }
    let mut responses = ResponsesBuilder::new();
    for reply in operation.answers {
        responses = responses.response(reply.status.to_string(), response(reply));
    }
    let problem = RefOr::Ref(utoipa::openapi::Ref::from_schema_name("Problem"));
    let plain = ContentBuilder::new().schema(Some(schema(r#"{"type":"string"}"#)));
    let refused = ResponseBuilder::new()
        .description(REFUSED)
        .content("text/plain", plain.build())
        .content("application/problem+json", ContentBuilder::new().schema(Some(problem)).build());
    built.responses(responses.response("default", refused.build()).build()).build()
}

fn parameter(parameter: &Parameter) -> utoipa::openapi::path::Parameter {
    let (place, required) = match parameter.place {
        Place::Query => (ParameterIn::Query, Required::False),
        Place::Path => (ParameterIn::Path, Required::True),
        Place::Header => (ParameterIn::Header, Required::False),
    };
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(place)
        .required(required)
        .description(Some(parameter.about))
        .schema(Some(schema(parameter.schema)))
        .build()
}

fn response(reply: &Reply) -> utoipa::openapi::Response {
    let mut built = ResponseBuilder::new().description(reply.about);
    for (content_type, form) in reply.content {
        let content = ContentBuilder::new().schema(Some(schema(form))).build();
        built = built.content(*content_type, content);
    }
    built.build()
}

/// A schema as the tables write it; the tests read all of them.
fn schema(text: &str) -> RefOr<Schema> {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
