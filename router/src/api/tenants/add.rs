//! Making a tenant and its first key.

use bytes::Bytes;
use http::StatusCode;
use ranch_proto::Shards;
use ranch_proto::ids::is_tenant_id;
use ranch_proto::schema::{PutTenant, Role, TenantRecord, meta_command::What};
use serde::{Deserialize, Serialize};

use super::input::{self, ProfileName};
use super::{data_dir, decide_tenant, keys, status};
use crate::api::Call;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::http::date;

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

#[derive(Serialize)]
struct Added<'a> {
    tenant_id: &'a str,
    api_key: &'a str,
    data_dir: String,
    status: &'static str,
}

/// Makes a tenant and its first key.
pub async fn add<S: Shards>(call: &Call<'_, S>, body: &Bytes) -> Result<Answer, ApiError> {
    let new: NewTenant = input::json(body)?;
    let id = new.tenant_id.clone();
    let secret = keys::secret(new.key.as_deref())?;
    let tenant = new.record()?;
    if call.app.shards.directory().read().tenants.contains_key(&id) {
        return Err(ApiError::TenantTaken { tenant: id });
    }
    let key = keys::new_key(call, &id, &secret, Role::ReadWrite)?;
    let put = PutTenant { tenant: Some(tenant), keys: vec![key] };
    let tenant = decide_tenant(call, What::AddTenant(put), ("add tenant", &id)).await?;
    let (data_dir, status) = (data_dir(&tenant), status(&tenant));
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
        let mut record = TenantRecord {
            id: self.tenant_id,
            quota_bytes: self.quota_mb.map(input::quota_bytes).transpose()?,
            enabled: true,
            admin_email: self.admin_email.unwrap_or_default(),
            rate_per_s: self.rate_per_s.map(input::rate).transpose()?,
            calls_per_day: self.calls_per_day,
            created_ms: date::now_ms(),
            ..TenantRecord::default()
        };
        record.set_profile(self.profile.unwrap_or(ProfileName::Sq).into());
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ranch_proto::schema::Profile;

    fn parse(text: &str) -> Result<TenantRecord, String> {
        let new: NewTenant = input::json(text.as_bytes()).map_err(|error| error.to_string())?;
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
            ("", "missing field `tenant_id`"),
            ("{", "it ends too early"),
            ("[", "an object {…} is expected"),
            (r#"["a"]"#, "an object {…} is expected"),
            (r#"{"tenant_id":"a","calls_per_day":"pmb-v1-secret"}"#, "a value of the wrong type"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
