//! Keys of a tenant: made (and shown this once), listed by their public names, revoked. A tenant
//! may have several, so that one can be replaced without a gap.

use bytes::Bytes;
use http::StatusCode;
use ranch_proto::Shards;
use ranch_proto::api_key::{self, CHOSEN_KEY_MIN, KeyHash, Secret};
use ranch_proto::schema::{KeyRecord, RemoveKey, Role, meta_command::What, record};
use serde::{Deserialize, Serialize};

use super::{decide, input, known};
use crate::api::Call;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer};
use crate::http::date;
use crate::tenants_file::HASH_PREFIX;

/// Longest label, in characters.
const LABEL_MAX: usize = 100;

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    #[default]
    Rw,
    Ro,
}

/// What `POST …/keys` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    #[serde(default)]
    role: RoleName,
    label: Option<String>,
    expires_at: Option<String>,
    key: Option<String>,
}

/// A key as it is shown. Only its maker ever sees `api_key`.
#[derive(Serialize)]
struct Shown {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    role: &'static str,
    label: Option<String>,
    status: &'static str,
    expires_at: Option<String>,
    created: String,
}

#[derive(Serialize)]
struct OfTenant<'a, T: Serialize> {
    tenant_id: &'a str,
    #[serde(flatten)]
    shown: T,
}

#[derive(Serialize)]
struct List {
    keys: Vec<Shown>,
}

#[derive(Serialize)]
struct Revoked<'a> {
    key_id: &'a str,
    status: &'static str,
}

/// Makes a key.
pub async fn add<S: Shards>(
    call: &Call<'_, S>,
    tenant: &str,
    body: &Bytes,
) -> Result<Answer, ApiError> {
    let new: NewKey = input::json(body)?;
    known(call, tenant)?;
    let secret = secret(new.key.as_deref())?;
    let role = match new.role {
        RoleName::Rw => Role::ReadWrite,
        RoleName::Ro => Role::ReadOnly,
    };
    let key = KeyRecord {
        label: new.label.map(label).transpose()?.unwrap_or_default(),
        expires_ms: new.expires_at.as_deref().map(expiry).transpose()?,
        ..new_key(call, tenant, &secret, role)?
    };
    let record = decide(call, What::AddKey(key), ("add key", tenant)).await?;
    let Some(record::What::Key(key)) = record.what else { return Err(ApiError::Garbled) };
    let shown = Shown { api_key: Some(secret.expose().to_owned()), ..shown(&key) };
    Ok(answer::json(StatusCode::CREATED, &OfTenant { tenant_id: tenant, shown }))
}

/// Lists the keys of a tenant, the oldest first.
pub fn list<S: Shards>(call: &Call<'_, S>, tenant: &str) -> Result<Answer, ApiError> {
    known(call, tenant)?;
    let mut keys: Vec<KeyRecord> = {
        let directory = call.app.shards.directory().read();
        directory.keys_of(tenant).cloned().collect()
    };
    keys.sort_unstable_by(|a, b| (a.created_ms, &a.key_id).cmp(&(b.created_ms, &b.key_id)));
    let shown = List { keys: keys.iter().map(shown).collect() };
    Ok(answer::json(StatusCode::OK, &OfTenant { tenant_id: tenant, shown }))
}

/// Revokes a key: it opens nothing any more, and never will again.
pub async fn revoke<S: Shards>(
    call: &Call<'_, S>,
    tenant: &str,
    key_id: &str,
) -> Result<Answer, ApiError> {
    known(call, tenant)?;
    let remove = RemoveKey { tenant: tenant.to_owned(), key_id: key_id.to_owned(), forget: false };
    let decided = decide(call, What::RemoveKey(remove), ("revoke key", tenant)).await;
    decided.map_err(|error| match error {
        ApiError::NoTenant { .. } => ApiError::NoKey,
        other => other,
    })?;
    let shown = Revoked { key_id, status: "revoked" };
    Ok(answer::json(StatusCode::OK, &OfTenant { tenant_id: tenant, shown }))
}

fn shown(key: &KeyRecord) -> Shown {
    let expired = key.expires_ms.is_some_and(|expires| expires <= date::now_ms());
    Shown {
        key_id: key.key_id.clone(),
        api_key: None,
        role: match key.role() {
            Role::ReadOnly => "ro",
            Role::ReadWrite | Role::Admin | Role::Unspecified => "rw",
        },
        label: (!key.label.is_empty()).then(|| key.label.clone()),
        status: if expired { "expired" } else { "active" },
        expires_at: key.expires_ms.map(date::rfc3339),
        created: date::rfc3339(key.created_ms),
    }
}

/// The key chosen, or a new one.
pub(super) fn secret(chosen: Option<&str>) -> Result<Secret, ApiError> {
    match chosen {
        Some(key) => check_chosen(key).map(Secret::new),
        None => api_key::generate().map_err(|_| ApiError::NoRandomness),
    }
}

/// A key the operator chose.
fn check_chosen(key: &str) -> Result<&str, ApiError> {
    // It travels in headers: what would not survive there could never be presented. And it must
    // not look like the hash of a key in a tenants file.
    let fits = key.bytes().all(|byte| byte.is_ascii_graphic()) && !key.starts_with(HASH_PREFIX);
    if key.chars().count() < CHOSEN_KEY_MIN || !fits {
        return Err(ApiError::BadParameter {
            field: "key",
            expected: "at least 16 printable ASCII characters without spaces",
        });
    }
    Ok(key)
}

/// The record of a key nobody has yet.
pub(super) fn new_key<S: Shards>(
    call: &Call<'_, S>,
    tenant: &str,
    secret: &Secret,
    role: Role,
) -> Result<KeyRecord, ApiError> {
    let directory = call.app.shards.directory().read();
    let hash = directory.hash_key(secret.expose()).ok_or(ForwardError::Unavailable)?;
    if directory.has_key(&hash) {
        return Err(ApiError::KeyTaken);
    }
    Ok(key_record(hash, tenant, role))
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

fn label(label: String) -> Result<String, ApiError> {
    if label.chars().count() <= LABEL_MAX && !label.contains(char::is_control) {
        return Ok(label);
    }
    Err(ApiError::BadParameter {
        field: "label",
        expected: "at most 100 characters without control characters",
    })
}

fn expiry(text: &str) -> Result<u64, ApiError> {
    let moment = date::parse_rfc3339(text).filter(|moment| *moment > date::now_ms());
    moment.ok_or(ApiError::BadParameter {
        field: "expires_at",
        expected: "a moment to come as RFC 3339 writes it, like 2030-01-31T12:00:00Z",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_keys_are_long_and_plain() {
        assert!(check_chosen("short").is_err());
        assert!(check_chosen("long enough but spaced").is_err());
        assert!(check_chosen("blake3:00000000000000000000").is_err());
        assert!(check_chosen("long-enough-and-plain").is_ok());
    }

    #[test]
    fn expiry_is_a_moment_to_come() {
        for bad in ["", "tomorrow", "2030-01-31", "2001-01-01T00:00:00Z", "2030-13-01T00:00:00Z"] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
        let utc = expiry("2099-12-31T23:59:59Z").unwrap();
        assert_eq!(utc, 4_102_444_799_000);
        assert_eq!(expiry("2100-01-01T00:59:59+01:00"), Ok(utc));
    }
}
