//! Reading the tenants file again, at once. Open to administrators, and to anybody with a valid
//! key on the router's own machine, as SQ has it.

use http::StatusCode;
use ranch_proto::Shards;

use crate::api::describe::{HttpMethod, Operation, operation, reply};
use crate::app::App;
use crate::auth::Identity;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::tenants_file::TenantsFileError;

/// Answers with what was changed.
pub async fn answer<S: Shards>(
    app: &App<S>,
    identity: &Identity,
    is_local: bool,
) -> Result<Answer, ApiError> {
    if *identity != Identity::Admin && !is_local {
        return Err(ApiError::AdminKeyNeeded);
    }
    let file = app.tenants_file.as_ref().ok_or(ApiError::NoTenantsFile)?;
    match file.reload().await {
        Ok(summary) => Ok(answer::json(StatusCode::OK, &summary)),
        Err(TenantsFileError::Forward { source }) => Err(source.into()),
        Err(error) => Err(ApiError::TenantsFile { reason: error.to_string() }),
    }
}

const SUMMARY: &str = r#"{"type":"object"}"#;

/// The endpoint, described.
pub static OPERATIONS: &[Operation] = &[operation(
    HttpMethod::Post,
    "reload",
    "Reads the tenants file again",
    &[],
    &[reply(200, &[("application/json", SUMMARY)], "What was changed.")],
)];
