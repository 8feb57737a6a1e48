//! What a file asks to be changed in the directory. Pure.

use std::collections::HashSet;

use ranch_proto::Directory;
use ranch_proto::api_key::KeyHash;
use ranch_proto::schema::patch_tenant::Field;
use ranch_proto::schema::{
    KeyRecord, PatchTenant, PutTenant, RemoveKey, Role, TenantRecord, meta_command::What,
};

use super::{FileContents, FileKey, FileTenant, Quota, TenantsFileError};
use crate::api::tenants::key_record;
use crate::http::date;

/// Tenants from which on disabling most of them at once needs to be confirmed.
const MANY: usize = 4;

/// What has to be done for one tenant, or for the administrators.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) tenant: String,
    pub(super) commands: Vec<What>,
    pub(super) kind: Kind,
}

/// What a change amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Adds,
    Changes,
    Disables,
    /// Nothing that counts.
    Other,
}

/// All that has to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    pub(super) unchanged: usize,
    pub(super) warnings: Vec<String>,
}

/// What differs between file and directory.
pub(super) fn plan(
    directory: &Directory,
    contents: &FileContents,
) -> Result<Plan, TenantsFileError> {
    let mut plan = Plan::default();
    let admin: Vec<FileKey> = contents.admin_key.iter().cloned().collect();
    let commands = keys(directory, ("", &admin), Role::Admin, &mut plan.warnings)?;
    if !commands.is_empty() {
        plan.changes.push(Change { tenant: String::new(), commands, kind: Kind::Other });
    }
    for tenant in &contents.tenants {
        plan.tenant(directory, tenant)?;
    }
    let listed: HashSet<&str> = contents.tenants.iter().map(|tenant| &*tenant.id).collect();
    for known in directory.tenants.values() {
        if known.from_file && known.enabled && !listed.contains(&*known.id) {
            let values = TenantRecord::default();
            let commands = vec![patch(&known.id, &[Field::Enabled], values)];
            plan.changes.push(Change { tenant: known.id.clone(), commands, kind: Kind::Disables });
        }
    }
    check_removals(directory, contents, &plan)?;
    Ok(plan)
}

/// Refuses what looks like a file that was cut off.
fn check_removals(
    directory: &Directory,
    contents: &FileContents,
    plan: &Plan,
) -> Result<(), TenantsFileError> {
    let switched_off = contents.tenants.iter().filter(|tenant| {
        let known = directory.tenants.get(&tenant.id);
        tenant.enabled == Some(false) && known.is_some_and(|known| known.enabled)
    });
    let missing = plan.changes.iter().filter(|change| change.kind == Kind::Disables);
    let disabled = switched_off.count() + missing.count();
    let tenants = directory.tenants.values().filter(|known| known.from_file && known.enabled);
    let tenants = tenants.count().max(disabled);
    if contents.confirmed || tenants < MANY || disabled * 2 <= tenants {
        return Ok(());
    }
    Err(TenantsFileError::TooManyRemovals { disabled, tenants })
}

impl Plan {
    fn tenant(
        &mut self,
        directory: &Directory,
        wanted: &FileTenant,
    ) -> Result<(), TenantsFileError> {
        let id = &wanted.id;
        let known = directory.tenants.get(id);
        if known.is_some_and(|known| known.purging) {
            self.warnings.push(format!("tenant {id:?} is being deleted for good; passed over"));
            return Ok(());
        }
        if known.is_some_and(is_being_restored) {
            self.warnings.push(format!("tenant {id:?} is being restored; passed over"));
            return Ok(());
        }
        let mut commands =
            keys(directory, (id, &wanted.keys), Role::ReadWrite, &mut self.warnings)?;
        let kind = match known {
            Some(known) => {
                commands.extend(settings(known, wanted));
                Kind::Changes
            }
            None if commands.is_empty() => {
                self.warnings.push(format!(
                    "tenant {id:?} is not in this ranch, and without its key it cannot be added; \
                     give it an api_key, or remove it"
                ));
                return Ok(());
            }
            None => {
                commands = vec![What::AddTenant(add(wanted, commands))];
                Kind::Adds
            }
        };
        if commands.is_empty() {
            self.unchanged += 1;
        } else {
            self.changes.push(Change { tenant: id.clone(), commands, kind });
        }
        Ok(())
    }
}

fn is_being_restored(known: &TenantRecord) -> bool {
    known.restored.as_ref().is_some_and(|from| !from.whole)
}

fn add(wanted: &FileTenant, keys: Vec<What>) -> PutTenant {
    let keys = keys.into_iter().filter_map(|what| match what {
        What::AddKey(key) => Some(key),
        _ => None,
    });
    let tenant = TenantRecord {
        id: wanted.id.clone(),
        enabled: wanted.enabled.unwrap_or(true),
        quota_bytes: wanted.quota.and_then(bytes),
        created_ms: date::now_ms(),
        from_file: true,
        ..TenantRecord::default()
    };
    PutTenant { tenant: Some(tenant), keys: keys.collect() }
}

/// What the file says otherwise of a tenant than its record does.
fn settings(known: &TenantRecord, wanted: &FileTenant) -> Option<What> {
    let mut fields = Vec::new();
    let mut values = TenantRecord { from_file: true, ..TenantRecord::default() };
    if !known.from_file {
        fields.push(Field::FromFile);
    }
    if let Some(quota) = wanted.quota
        && bytes(quota) != known.quota_bytes
    {
        values.quota_bytes = bytes(quota);
        fields.push(Field::QuotaBytes);
    }
    if let Some(enabled) = wanted.enabled
        && enabled != known.enabled
    {
        values.enabled = enabled;
        fields.push(Field::Enabled);
    }
    (!fields.is_empty()).then(|| patch(&known.id, &fields, values))
}

fn bytes(quota: Quota) -> Option<u64> {
    match quota {
        Quota::Unlimited => None,
        Quota::Bytes(bytes) => Some(bytes),
    }
}

/// A change of these fields of a tenant.
pub(super) fn patch(id: &str, fields: &[Field], values: TenantRecord) -> What {
    let fields = fields.iter().map(|&field| field.into()).collect();
    What::PatchTenant(PatchTenant { id: id.to_owned(), fields, values: Some(values) })
}

/// Adds the keys that are missing, and takes away those that an earlier version of the file
/// brought. A revoked key stays revoked, whatever the file says.
fn keys(
    directory: &Directory,
    (owner, keys): (&str, &[FileKey]),
    role: Role,
    warnings: &mut Vec<String>,
) -> Result<Vec<What>, TenantsFileError> {
    let whose = || if owner.is_empty() { "admin_key".to_owned() } else { format!("{owner:?}") };
    let mut commands = Vec::new();
    let mut listed = HashSet::<KeyHash>::new();
    for key in keys {
        let hash = key.hash(directory).ok_or(TenantsFileError::NoRanch)?;
        listed.insert(hash);
        match directory.key_of(&hash) {
            None if matches!(key, FileKey::Hash(_)) => warnings.push(format!(
                "the hash given for {} is of no key of this ranch; passed over",
                whose()
            )),
            None => commands
                .push(What::AddKey(KeyRecord { from_file: true, ..key_record(hash, owner, role) })),
            Some(known) if known.tenant != owner => {
                return Err(TenantsFileError::KeyTaken { tenant: owner.to_owned() });
            }
            Some(known) if known.revoked => warnings.push(format!(
                "the key given for {} was revoked and stays so; give another",
                whose()
            )),
            Some(_) => {}
        }
    }
    let gone = directory.keys_of(owner).filter(|key| {
        let hash = KeyHash::from_slice(&key.hash);
        key.from_file && hash.is_none_or(|hash| !listed.contains(&hash))
    });
    commands.extend(gone.map(|key| {
        What::RemoveKey(RemoveKey {
            tenant: owner.to_owned(),
            key_id: key.key_id.clone(),
            forget: true,
        })
    }));
    Ok(commands)
}
