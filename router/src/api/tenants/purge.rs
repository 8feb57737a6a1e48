//! Deleting a tenant for good. The meta group closes it at once; whoever leads that group has the
//! shard delete what is there and then frees the id, also when this router is gone by then.

use http::StatusCode;
use ranch_proto::Shards;
use ranch_proto::schema::meta_command::What;
use serde::Serialize;

use super::decide_tenant;
use crate::api::Call;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::shown::until_shown;

#[derive(Serialize)]
struct State<'a> {
    tenant_id: &'a str,
    status: &'static str,
}

/// Begins to delete a tenant, and waits until it is gone: then 200. When that takes longer than a
/// request may, 202: it goes on by itself.
pub async fn purge<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<Answer, ApiError> {
    let what = What::PurgeTenant(id.to_owned());
    let tenant = decide_tenant(call, what, ("purge tenant", id)).await?;
    let gone = until_shown(&*call.app.shards, call.app.options.request_deadline, |directory| {
        directory.tenants.get(id).is_none_or(|now| now.life != tenant.life)
    })
    .await;
    let (code, status) =
        if gone { (StatusCode::OK, "purged") } else { (StatusCode::ACCEPTED, "purging") };
    Ok(answer::json(code, &State { tenant_id: id, status }))
}
