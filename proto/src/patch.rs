//! Changes of a tenant, field by field.

use crate::schema::patch_tenant::Field;
use crate::schema::{PatchTenant, TenantRecord};

impl PatchTenant {
    /// Changes the fields named, and nothing else of the tenant. Returns `false` at a field this
    /// version does not know; the tenant is then of no use any more.
    #[must_use]
    pub fn apply(&self, tenant: &mut TenantRecord) -> bool {
        let absent = TenantRecord::default();
        let values = self.values.as_ref().unwrap_or(&absent);
        for &field in &self.fields {
            match Field::try_from(field).unwrap_or_default() {
                Field::QuotaBytes => tenant.quota_bytes = values.quota_bytes,
                Field::RatePerS => tenant.rate_per_s = values.rate_per_s,
                Field::CallsPerDay => tenant.calls_per_day = values.calls_per_day,
                Field::Profile => tenant.profile = values.profile,
                Field::Enabled => tenant.enabled = values.enabled,
                Field::AdminEmail => tenant.admin_email.clone_from(&values.admin_email),
                Field::FromFile => tenant.from_file = values.from_file,
                Field::Unspecified => return false,
            }
        }
        true
    }
}
