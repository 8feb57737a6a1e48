//! Tenants as they are: all of them, and what one has stored.

use http::StatusCode;
use ranch_proto::Shards;
use ranch_proto::schema::{ReadRequest, TenantRecord, TenantUsage, read_reply, read_request};
use serde::Serialize;

use super::input::{ProfileName, mb};
use super::{data_dir, known, status};
use crate::api::Call;
use crate::error::ApiError;
use crate::forward::Home;
use crate::http::answer::{self, Answer};
use crate::http::date;

#[derive(Serialize)]
struct List {
    tenants: Vec<Listed>,
}

/// A tenant in the list, by itself, and as PATCH answers it.
#[derive(Serialize)]
pub(super) struct Listed {
    tenant_id: String,
    status: &'static str,
    shard: u32,
    data_dir: String,
    quota_mb: Option<f64>,
    rate_per_s: Option<f64>,
    calls_per_day: Option<u64>,
    profile: ProfileName,
    admin_email: Option<String>,
    created: String,
    keys: usize,
}

/// What a tenant has stored, and how it calls.
#[derive(Serialize)]
struct Stats<'a> {
    tenant_id: &'a str,
    storage_used_mb: f64,
    storage_used_bytes: u64,
    quota_mb: Option<f64>,
    scrolls: u64,
    phexts: u64,
    api_calls_today: u64,
    last_active: Option<String>,
    shard: u32,
}

/// Lists all tenants.
pub fn list<S: Shards>(call: &Call<'_, S>) -> Answer {
    let directory = call.app.shards.directory().read();
    let tenants = directory.tenants.values();
    let tenants = tenants.map(|tenant| listed(tenant, directory.keys_of(&tenant.id).count()));
    answer::json(StatusCode::OK, &List { tenants: tenants.collect() })
}

/// One tenant.
pub fn one<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<Answer, ApiError> {
    let tenant = known(call, id)?;
    let keys = call.app.shards.directory().read().keys_of(id).count();
    Ok(answer::json(StatusCode::OK, &listed(&tenant, keys)))
}

/// A tenant with so many keys.
pub(super) fn listed(tenant: &TenantRecord, keys: usize) -> Listed {
    Listed {
        tenant_id: tenant.id.clone(),
        status: status(tenant),
        shard: tenant.shard,
        data_dir: data_dir(tenant),
        quota_mb: tenant.quota_bytes.map(mb),
        rate_per_s: tenant.rate_per_s,
        calls_per_day: tenant.calls_per_day,
        profile: tenant.profile().into(),
        admin_email: (!tenant.admin_email.is_empty()).then(|| tenant.admin_email.clone()),
        created: date::rfc3339(tenant.created_ms),
        keys,
    }
}

/// What a tenant has stored, from its shard.
pub async fn stats<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<Answer, ApiError> {
    let tenant = known(call, id)?;
    let what = Some(read_request::What::Usage(TenantUsage {}));
    let request = ReadRequest { tenant: tenant.id.clone(), stale: false, what };
    let reply = call.app.forward.read(Home::from(&tenant), request).await?;
    let Some(read_reply::What::Usage(usage)) = reply.what else {
        return Err(ApiError::Garbled);
    };
    let last_active_ms = usage.last_active_ms.max(usage.last_write_ms);
    let stats = Stats {
        tenant_id: id,
        storage_used_mb: mb(usage.storage_bytes),
        storage_used_bytes: usage.storage_bytes,
        quota_mb: tenant.quota_bytes.map(mb),
        scrolls: usage.scrolls,
        phexts: usage.phexts,
        api_calls_today: usage.calls_today,
        last_active: (last_active_ms > 0).then(|| date::rfc3339(last_active_ms)),
        shard: tenant.shard,
    };
    Ok(answer::json(StatusCode::OK, &stats))
}
