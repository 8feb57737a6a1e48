//! Changing what may change of a tenant: fields by PATCH, access by DELETE and restore. Only what
//! is named changes, whoever else changes the same tenant at that moment.

use bytes::Bytes;
use http::StatusCode;
use ranch_proto::Shards;
use ranch_proto::schema::patch_tenant::Field;
use ranch_proto::schema::{PatchTenant, TenantRecord, meta_command::What};
use serde::{Deserialize, Serialize};

use super::input::{self, Given, ProfileName};
use super::{decide_tenant, show, status};
use crate::api::Call;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};

/// What PATCH is given: an absent field stays, null clears or lifts a limit.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Changes {
    quota_mb: Given<f64>,
    rate_per_s: Given<f64>,
    calls_per_day: Given<u64>,
    profile: Given<ProfileName>,
    enabled: Given<bool>,
    admin_email: Given<String>,
}

#[derive(Serialize)]
struct State<'a> {
    tenant_id: &'a str,
    status: &'static str,
}

/// Changes the fields given.
pub async fn patch<S: Shards>(
    call: &Call<'_, S>,
    id: &str,
    body: &Bytes,
) -> Result<Answer, ApiError> {
    let changes: Changes = input::json(body)?;
    let what = What::PatchTenant(changes.patch(id)?);
    let tenant = decide_tenant(call, what, ("change tenant", id)).await?;
    let keys = call.app.shards.directory().read().keys_of(id).count();
    Ok(answer::json(StatusCode::OK, &show::listed(&tenant, keys)))
}

/// Switches a tenant on or off. Its data and keys stay as they are.
pub async fn set_enabled<S: Shards>(
    call: &Call<'_, S>,
    id: &str,
    enabled: bool,
) -> Result<Answer, ApiError> {
    let action = if enabled { "restore tenant" } else { "disable tenant" };
    let changes = Changes { enabled: Given::Value(enabled), ..Changes::default() };
    let what = What::PatchTenant(changes.patch(id)?);
    let tenant = decide_tenant(call, what, (action, id)).await?;
    Ok(answer::json(StatusCode::OK, &State { tenant_id: id, status: status(&tenant) }))
}

impl Changes {
    fn patch(self, id: &str) -> Result<PatchTenant, ApiError> {
        let mut values = TenantRecord::default();
        let mut fields = Vec::new();
        if self.quota_mb.is_there() {
            values.quota_bytes = self.quota_mb.value().map(input::quota_bytes).transpose()?;
            fields.push(Field::QuotaBytes);
        }
        if self.rate_per_s.is_there() {
            values.rate_per_s = self.rate_per_s.value().map(input::rate).transpose()?;
            fields.push(Field::RatePerS);
        }
        if self.calls_per_day.is_there() {
            values.calls_per_day = self.calls_per_day.value();
            fields.push(Field::CallsPerDay);
        }
        if self.profile.is_there() {
            values.set_profile(self.profile.value().unwrap_or(ProfileName::Sq).into());
            fields.push(Field::Profile);
        }
        if self.admin_email.is_there() {
            values.admin_email = self.admin_email.value().unwrap_or_default();
            fields.push(Field::AdminEmail);
        }
        if self.enabled.is_there() {
            let not_null =
                ApiError::BadParameter { field: "enabled", expected: "true or false, not null" };
            values.enabled = self.enabled.value().ok_or(not_null)?;
            fields.push(Field::Enabled);
            if values.enabled {
                // Whatever file once disabled it by leaving it out has had its say.
                fields.push(Field::FromFile);
            }
        }
        let fields = fields.into_iter().map(i32::from).collect();
        Ok(PatchTenant { id: id.to_owned(), fields, values: Some(values) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(text: &str) -> Result<PatchTenant, String> {
        let changes: Changes = input::json(text.as_bytes()).map_err(|error| error.to_string())?;
        changes.patch("will").map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_is_named_changes_and_null_clears() {
        assert!(patch("{}").unwrap().fields.is_empty());
        let quota = patch(r#"{"quota_mb":0.5}"#).unwrap();
        assert_eq!(quota.fields, [i32::from(Field::QuotaBytes)]);
        assert_eq!(quota.values.unwrap().quota_bytes, Some(524_288));
        let cleared = patch(r#"{"quota_mb":null,"rate_per_s":null,"admin_email":null}"#).unwrap();
        assert_eq!(cleared.fields.len(), 3);
        assert_eq!(cleared.values, Some(TenantRecord::default()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (r#"{"quota":1}"#, "unknown field `quota`"),
            (r#"{"tenant_id":"other"}"#, "unknown field `tenant_id`"),
            (r#"{"enabled":null}"#, "enabled must be true or false"),
            (r#"{"rate_per_s":-1}"#, "rate_per_s must be"),
            (r#"{"profile":"other"}"#, "wrong type"),
            ("[1]", "an object {…} is expected"),
        ] {
            let message = patch(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
