//! Tenants as administrators see and change them. The meta group decides; this file checks what
//! can be checked before, makes keys, and waits until this router knows what was decided.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use ranch_proto::api_key::{self, CHOSEN_KEY_MIN, KeyHash, Secret};
use ranch_proto::ids::is_tenant_id;
use ranch_proto::schema::{
    KeyRecord, MetaCommand, MetaStatus, Profile, PutTenant, ReadRequest, Role, TenantRecord,
    TenantUsage, meta_command, read_reply, read_request, record,
};
use ranch_proto::{Directory, GroupId, RequestId, Shards};
use serde::{Deserialize, Serialize};

use crate::api::Call;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer};
use crate::http::date;

/// Bytes of a megabyte, here as in every quota.
pub(crate) const MB: f64 = 1_048_576.0;
/// Longest wait for this router's own directory to show what was decided.
const SHOW_MAX: Duration = Duration::from_secs(2);

/// What `tenants/add` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    tenant_id: String,
    quota_mb: Option<f64>,
    admin_email: Option<String>,
    key: Option<String>,
    rate_per_s: Option<f64>,
    calls_per_day: Option<u64>,
    profile: Option<ProfileName>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum ProfileName {
    Sq,
    Memory,
}

#[derive(Serialize)]
struct Added<'a> {
    tenant_id: &'a str,
    api_key: &'a str,
    data_dir: String,
    status: &'static str,
}

#[derive(Serialize)]
struct List {
    tenants: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
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

#[derive(Serialize)]
struct State<'a> {
    tenant_id: &'a str,
    status: &'static str,
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

/// Makes a tenant and its first key.
pub async fn add<S: Shards>(call: &Call<'_, S>, body: &Bytes) -> Result<Answer, ApiError> {
    let new: NewTenant = serde_json::from_slice(body)
        .map_err(|error| ApiError::BadJson { detail: described(&error) })?;
    let id = new.tenant_id.clone();
    let secret = match &new.key {
        Some(key) => chosen(key)?,
        None => api_key::generate().map_err(|_| ApiError::NoRandomness)?,
    };
    let tenant = new.record()?;
    let key = {
        let directory = call.app.shards.directory().read();
        if directory.tenants.contains_key(&id) {
            return Err(ApiError::TenantTaken { tenant: id });
        }
        first_key(&directory, &id, &secret)?
    };
    let put = PutTenant { tenant: Some(tenant), keys: vec![key] };
    let tenant = decide(call, meta_command::What::AddTenant(put), &id).await?;
    let status = if tenant.enabled { "active" } else { "disabled" };
    shown(call, |directory| directory.tenants.contains_key(&id)).await;
    let data_dir = data_dir(&tenant);
    let added = Added { tenant_id: &id, api_key: secret.expose(), data_dir, status };
    Ok(answer::json(StatusCode::CREATED, &added))
}

impl NewTenant {
    fn record(self) -> Result<TenantRecord, ApiError> {
        if !is_tenant_id(&self.tenant_id) {
            return Err(ApiError::BadParameter {
                field: "tenant_id",
                expected: "1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit",
            });
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !self.rate_per_s.is_none_or(positive) {
            return Err(ApiError::BadParameter {
                field: "rate_per_s",
                expected: "a number above 0",
            });
        }
        let mut record = TenantRecord {
            id: self.tenant_id,
            quota_bytes: self.quota_mb.map(quota_bytes).transpose()?,
            enabled: true,
            admin_email: self.admin_email.unwrap_or_default(),
            rate_per_s: self.rate_per_s,
            calls_per_day: self.calls_per_day,
            created_ms: date::now_ms(),
            ..TenantRecord::default()
        };
        record.set_profile(match self.profile {
            Some(ProfileName::Memory) => Profile::Memory,
            Some(ProfileName::Sq) | None => Profile::Sq,
        });
        Ok(record)
    }
}

/// A quota as bytes; fractions of a megabyte count.
fn quota_bytes(mb: f64) -> Result<u64, ApiError> {
    let bytes = (mb * MB).round();
    // 2^63 is far beyond any disk, and exact as a float.
    if !bytes.is_finite() || !(0.0..9.2e18).contains(&bytes) {
        return Err(ApiError::BadParameter {
            field: "quota_mb",
            expected: "a number of megabytes, 0 or more",
        });
    }
    #[allow(clippy::cast_sign_loss)] // checked just above
    Ok(bytes as u64)
}

/// A key the operator chose.
fn chosen(key: &str) -> Result<Secret, ApiError> {
    // It travels in headers: what would not survive there could never be presented.
    let fits = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.chars().count() < CHOSEN_KEY_MIN || !fits {
        return Err(ApiError::BadParameter {
            field: "key",
            expected: "at least 16 printable ASCII characters without spaces",
        });
    }
    Ok(Secret::new(key))
}

fn first_key(directory: &Directory, tenant: &str, secret: &Secret) -> Result<KeyRecord, ApiError> {
    let hash = directory.hash_key(secret.expose()).ok_or(ForwardError::Unavailable)?;
    if directory.has_key(&hash) {
        return Err(ApiError::KeyTaken);
    }
    Ok(key_record(hash, tenant, Role::ReadWrite))
}

/// A key as the meta group keeps it. Its public name comes from its hash, which tells nothing.
pub(crate) fn key_record(hash: KeyHash, tenant: &str, role: Role) -> KeyRecord {
    let [a, b, c, d, ..] = hash.0;
    KeyRecord {
        hash: Bytes::copy_from_slice(&hash.0),
        key_id: format!("k-{a:02x}{b:02x}{c:02x}{d:02x}"),
        tenant: tenant.to_owned(),
        role: role.into(),
        created_ms: date::now_ms(),
        ..KeyRecord::default()
    }
}

/// Has the meta group carry out a change of a tenant; the tenant as it now stands.
async fn decide<S: Shards>(
    call: &Call<'_, S>,
    what: meta_command::What,
    id: &str,
) -> Result<TenantRecord, ApiError> {
    let request_id = Bytes::copy_from_slice(&RequestId::random().0);
    let command = MetaCommand { request_id, what: Some(what) };
    let result = call.app.forward.meta(command).await?;
    match result.status() {
        MetaStatus::MetaOk => match result.record.and_then(|record| record.what) {
            Some(record::What::Tenant(tenant)) => Ok(tenant),
            _ => Err(ApiError::Garbled),
        },
        MetaStatus::MetaExists => Err(ApiError::Exists { reason: result.reason }),
        MetaStatus::MetaNotFound => Err(ApiError::NoTenant { tenant: id.to_owned() }),
        MetaStatus::MetaInvalid => Err(ApiError::Refused { reason: result.reason }),
        MetaStatus::MetaNotBootstrapped => Err(ForwardError::Unavailable.into()),
        MetaStatus::MetaUnspecified => Err(ApiError::Garbled),
    }
}

/// Waits until this router's directory shows a change, so that whoever made it can rely on it at
/// once; for a bounded time, since the change is in force anyway.
async fn shown<S: Shards>(call: &Call<'_, S>, there: impl Fn(&Directory) -> bool) {
    let mut epochs = call.app.shards.epochs();
    let wait = async {
        while !there(&call.app.shards.directory().read()) {
            if epochs.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(SHOW_MAX, wait).await.is_err() {
        tracing::warn!("the directory is slow to show a change");
    }
}

/// The place of a tenant's data, as the API names it.
fn data_dir(tenant: &TenantRecord) -> String {
    format!("shard-{}/{}", tenant.shard, tenant.id)
}

fn status(tenant: &TenantRecord) -> &'static str {
    if tenant.enabled { "active" } else { "disabled" }
}

#[allow(clippy::cast_precision_loss)]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / MB
}

/// Lists all tenants.
pub fn list<S: Shards>(call: &Call<'_, S>) -> Answer {
    let directory = call.app.shards.directory().read();
    let mut keys = std::collections::HashMap::<String, usize>::new();
    for record in directory.records() {
        if let Some(record::What::Key(key)) = record.what {
            *keys.entry(key.tenant).or_default() += 1;
        }
    }
    let tenants = directory.tenants.values().map(|tenant| Listed {
        tenant_id: tenant.id.clone(),
        status: status(tenant),
        shard: tenant.shard,
        data_dir: data_dir(tenant),
        quota_mb: tenant.quota_bytes.map(mb),
        rate_per_s: tenant.rate_per_s,
        calls_per_day: tenant.calls_per_day,
        profile: match tenant.profile() {
            Profile::Sq => ProfileName::Sq,
            Profile::Memory => ProfileName::Memory,
        },
        admin_email: (!tenant.admin_email.is_empty()).then(|| tenant.admin_email.clone()),
        created: date::rfc3339(tenant.created_ms),
        keys: keys.get(&tenant.id).copied().unwrap_or(0),
    });
    answer::json(StatusCode::OK, &List { tenants: tenants.collect() })
}

fn known<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<TenantRecord, ApiError> {
    let directory = call.app.shards.directory().read();
    let tenant = directory.tenants.get(id).cloned();
    tenant.ok_or_else(|| ApiError::NoTenant { tenant: id.to_owned() })
}

/// Switches a tenant on or off. Its data and keys stay as they are.
pub async fn set_enabled<S: Shards>(
    call: &Call<'_, S>,
    id: &str,
    enabled: bool,
) -> Result<Answer, ApiError> {
    let tenant = TenantRecord { enabled, ..known(call, id)? };
    let put = PutTenant { tenant: Some(tenant), keys: Vec::new() };
    let tenant = decide(call, meta_command::What::SetTenant(put), id).await?;
    shown(call, |directory| {
        directory.tenants.get(id).is_none_or(|tenant| tenant.enabled == enabled)
    })
    .await;
    Ok(answer::json(StatusCode::OK, &State { tenant_id: id, status: status(&tenant) }))
}

/// What a tenant has stored, from its shard.
pub async fn stats<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<Answer, ApiError> {
    let tenant = known(call, id)?;
    let what = Some(read_request::What::Usage(TenantUsage {}));
    let request = ReadRequest { tenant: tenant.id, stale: false, what };
    let reply = call.app.forward.read(GroupId(tenant.shard), request).await?;
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

/// What is wrong with a JSON body, without quoting values: one of them may be a key.
fn described(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    if reason.starts_with("missing field") || reason.starts_with("unknown field") {
        return format!("{reason} (line {line}, column {column})");
    }
    let what = match error.classify() {
        serde_json::error::Category::Data => "a value of the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "a syntax error",
    };
    format!("{what} at line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TenantRecord, String> {
        let new: NewTenant = serde_json::from_str(text).map_err(|error| described(&error))?;
        new.record().map_err(|error| error.to_string())
    }

    #[test]
    fn a_tenant_in_full() {
        let tenant = parse(
            r#"{"tenant_id":"will","quota_mb":0.5,"admin_email":"w@example.org","key":null,
                "rate_per_s":10,"calls_per_day":null,"profile":"memory"}"#,
        )
        .unwrap();
        assert_eq!(tenant.quota_bytes, Some(524_288));
        assert_eq!(tenant.profile(), Profile::Memory);
        assert!(tenant.enabled && tenant.calls_per_day.is_none());
        assert_eq!(parse(r#"{"tenant_id":"a"}"#).unwrap().quota_bytes, None);
    }

    #[test]
    fn mistakes_are_named_and_values_are_not_shown() {
        for (text, expected) in [
            (r#"{"tenant_id":"Will"}"#, "tenant_id must be"),
            (r#"{"tenant_id":"a","quota_mb":-1}"#, "quota_mb must be"),
            (r#"{"tenant_id":"a","quota_mb":1e300}"#, "quota_mb must be"),
            (r#"{"tenant_id":"a","rate_per_s":0}"#, "rate_per_s must be"),
            (r#"{"tenant_id":"a","quota":1}"#, "unknown field `quota`"),
            ("{}", "missing field `tenant_id`"),
            ("{", "it ends too early"),
            ("[", "it ends too early"),
            (r#"{"tenant_id":"a","calls_per_day":"pmb-v1-secret"}"#, "a value of the wrong type"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(chosen("short").is_err());
        assert!(chosen("long enough but spaced").is_err());
        assert!(chosen("long-enough-and-plain").is_ok());
    }
}
