//! Tenants as administrators see and change them: a file a subject. The meta group decides; here is
//! checked what can be checked before, keys are made, and it is waited until this router knows
//! what was decided.

pub(crate) mod add;
pub(crate) mod archive;
pub(crate) mod change;
pub(crate) mod input;
pub(crate) mod keys;
pub(crate) mod operations;
pub(crate) mod purge;
pub(crate) mod restore;
pub(crate) mod schemas;
pub(crate) mod show;

use bytes::Bytes;
use ranch_proto::schema::{
    MetaCommand, MetaStatus, Record, TenantRecord, meta_command::What, record,
};
use ranch_proto::{RequestId, Shards};

use crate::api::Call;
use crate::auth;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::shown::{SHOW_MAX, until_shown};

pub(crate) use input::MB;
pub(crate) use keys::key_record;

/// Has the meta group carry out a change, writes down who asked for it, and waits until this
/// router knows it, so that whoever made it can rely on it at once. The record concerned as it
/// now stands.
async fn decide<S: Shards>(
    call: &Call<'_, S>,
    what: What,
    (action, id): (&'static str, &str),
) -> Result<Record, ApiError> {
    let request_id = Bytes::copy_from_slice(&RequestId::random().0);
    let command = MetaCommand { request_id, what: Some(what) };
    let result = call.app.forward.meta(command).await?;
    match result.status() {
        MetaStatus::MetaOk => {
            audit(call, action, id);
            let epoch = result.epoch;
            if !until_shown(&*call.app.shards, SHOW_MAX, |directory| directory.epoch >= epoch).await
            {
                // It is in force all the same.
                tracing::warn!("the directory is slow to show a change");
            }
            result.record.ok_or(ApiError::Garbled)
        }
        MetaStatus::MetaExists => Err(ApiError::Exists { reason: result.reason }),
        MetaStatus::MetaNotFound => Err(ApiError::NoTenant { tenant: id.to_owned() }),
        MetaStatus::MetaInvalid => Err(ApiError::Refused { reason: result.reason }),
        MetaStatus::MetaNotBootstrapped => Err(ForwardError::Unavailable.into()),
        MetaStatus::MetaUnspecified => Err(ApiError::Garbled),
    }
}

/// As [`decide`], for changes of a tenant itself.
async fn decide_tenant<S: Shards>(
    call: &Call<'_, S>,
    what: What,
    audited: (&'static str, &str),
) -> Result<TenantRecord, ApiError> {
    match decide(call, what, audited).await?.what {
        Some(record::What::Tenant(tenant)) => Ok(tenant),
        _ => Err(ApiError::Garbled),
    }
}

/// One line a change: which administrator did what to which tenant. Keys go by their public names.
pub(crate) fn audit<S: Shards>(call: &Call<'_, S>, action: &'static str, tenant: &str) {
    let admin = auth::key_name(&call.app.shards.directory().read(), call.headers);
    let admin = admin.as_deref().unwrap_or("unknown");
    tracing::info!(target: "audit", admin, action, tenant, "an administrator's change");
}

fn known<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<TenantRecord, ApiError> {
    let directory = call.app.shards.directory().read();
    let tenant = directory.tenants.get(id).cloned();
    tenant.ok_or_else(|| ApiError::NoTenant { tenant: id.to_owned() })
}

/// The place of a tenant's data, as the API names it.
fn data_dir(tenant: &TenantRecord) -> String {
    format!("shard-{}/{}", tenant.shard, tenant.id)
}

fn status(tenant: &TenantRecord) -> &'static str {
    match (tenant.purging, tenant.enabled) {
        (true, _) => "purging",
        (false, true) => "active",
        (false, false) if tenant.restored.as_ref().is_some_and(|from| !from.whole) => "restoring",
        (false, false) => "disabled",
    }
}
