//! Tokens by which machines join that no `ranch.toml` lists.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use ranch_proto::schema::{JoinToken, meta_command::What};
use ranch_proto::versions::Feature;
use ranch_proto::{Shards, join_token};
use serde::{Deserialize, Serialize};

use super::decide;
use crate::api::Call;
use crate::api::tenants::input;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer};
use crate::http::date;

/// How long a token is good where that is not said, and at most, in seconds.
const LIFETIME_S: u64 = 3_600;
const LIFETIME_MAX_S: u64 = 30 * 86_400;
/// Most machines one token lets in.
const USES_MAX: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    lifetime_s: u64,
    uses: u32,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { lifetime_s: LIFETIME_S, uses: 1 }
    }
}

#[derive(Serialize)]
struct TokenAnswer<'a> {
    /// Shown this once; the ranch keeps a hash.
    token: &'a str,
    expires_at: String,
    uses: u32,
    /// Where a machine that joins may ask.
    nodes: Vec<String>,
}

/// Makes a token.
pub(super) async fn make<S: Shards>(call: &Call<'_, S>, body: &Bytes) -> Result<Answer, ApiError> {
    let wanted: Wanted = input::json(body)?;
    if !(1..=LIFETIME_MAX_S).contains(&wanted.lifetime_s) {
        let expected = "a number of seconds from 1 to 2592000 (30 days)";
        return Err(ApiError::BadParameter { field: "lifetime_s", expected });
    }
    if !(1..=USES_MAX).contains(&wanted.uses) {
        return Err(ApiError::BadParameter { field: "uses", expected: "a number from 1 to 1000" });
    }
    let (token, hash, nodes) = {
        let directory = call.app.shards.directory().read();
        if !directory.allows(Feature::JoinTokens) {
            let (at, from) = (directory.version(), Feature::JoinTokens.since());
            let reason = format!(
                "machines can join by token from cluster version {from} on, and the ranch is at \
                 {at}: upgrade all its machines, see `ranch status`"
            );
            return Err(ApiError::NotNow { reason });
        }
        let cluster = directory.cluster.as_ref().ok_or(ForwardError::Unavailable)?;
        let token = join_token::generate(&cluster.cluster_id);
        let token = token.map_err(|_| ApiError::NoRandomness)?;
        let hash = directory.hash_key(token.expose()).ok_or(ForwardError::Unavailable)?;
        let nodes = directory.nodes.values().map(|node| node.addr.clone()).collect();
        (token, hash, nodes)
    };
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let expires_ms = now_ms + wanted.lifetime_s * 1_000;
    let record = JoinToken {
        hash: hash.0.to_vec().into(),
        expires_ms,
        uses: wanted.uses,
        ..JoinToken::default()
    };
    decide(call, What::AddToken(record), ("make a join token", "")).await?;
    let expires_at = date::rfc3339(expires_ms);
    let answer = TokenAnswer { token: token.expose(), expires_at, uses: wanted.uses, nodes };
    Ok(answer::json(StatusCode::CREATED, &answer))
}
