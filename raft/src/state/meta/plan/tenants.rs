//! Tenants: added on the shard of the ring, changed field by field, deleted in steps.

use ranch_proto::directory::Directory;
use ranch_proto::ids::{GroupId, is_tenant_id};
use ranch_proto::placement::ShardRing;
use ranch_proto::schema::{
    KeyRecord, PatchTenant, PutTenant, Record, TenantPurged, TenantRecord, record::What,
};

use super::keys::new_keys;
use super::{Plan, Refused, one, put};

/// Adds a tenant on the shard the ring names, together with its first keys.
pub(super) fn add(
    directory: &Directory,
    ring: &ShardRing,
    asked: PutTenant,
    stamp_ms: u64,
) -> Result<Plan, Refused> {
    let tenant = asked.tenant.ok_or_else(|| Refused::invalid("a command without a tenant"))?;
    check_tenant(&tenant)?;
    if directory.tenants.contains_key(&tenant.id) {
        return Err(Refused::exists(format!("there is a tenant {} already", tenant.id)));
    }
    let GroupId(shard) = ring.shard_of(&tenant.id);
    // Every change has an epoch of its own, so no two tenants ever have the same life.
    let life = directory.epoch + 1;
    let tenant = TenantRecord {
        shard,
        created_ms: stamp_ms,
        life,
        purging: false,
        restored: None,
        ..tenant
    };
    let keys = new_keys(directory, &tenant.id, asked.keys, stamp_ms)?;
    Ok(with_keys(tenant, keys))
}

/// Replaces what may change of a tenant; its place and age stay. Keys given are added, unless it
/// has them.
pub(super) fn set(directory: &Directory, asked: PutTenant, stamp_ms: u64) -> Result<Plan, Refused> {
    let tenant = asked.tenant.ok_or_else(|| Refused::invalid("a command without a tenant"))?;
    check_tenant(&tenant)?;
    let known = find_usable(directory, &tenant.id)?;
    let tenant = TenantRecord {
        shard: known.shard,
        created_ms: known.created_ms,
        life: known.life,
        purging: known.purging,
        restored: known.restored.clone(),
        ..tenant
    };
    check_whole(&tenant)?;
    let has = |key: &KeyRecord| directory.keys_of(&tenant.id).any(|old| old.hash == key.hash);
    let missing = asked.keys.into_iter().filter(|key| !has(key)).collect();
    let keys = new_keys(directory, &tenant.id, missing, stamp_ms)?;
    if keys.is_empty() && tenant == *known {
        return Ok(Plan { records: Vec::new(), answer: Some(put(What::Tenant(tenant))) });
    }
    Ok(with_keys(tenant, keys))
}

/// Changes the fields named of a tenant, and nothing else of it.
pub(super) fn patch(directory: &Directory, patch: &PatchTenant) -> Result<Plan, Refused> {
    let mut tenant = find_usable(directory, &patch.id)?.clone();
    let before = tenant.clone();
    if !patch.apply(&mut tenant) {
        return Err(Refused::invalid("a change of a field this version does not know"));
    }
    check_tenant(&tenant)?;
    check_whole(&tenant)?;
    if tenant == before {
        return Ok(Plan { records: Vec::new(), answer: Some(put(What::Tenant(tenant))) });
    }
    Ok(one(put(What::Tenant(tenant))))
}

/// Begins to delete a tenant: from now on nobody uses or changes it. Whoever leads the meta group
/// has its shard delete its rows, and then says that it is [`purged`].
pub(super) fn purge(directory: &Directory, id: &str) -> Result<Plan, Refused> {
    let known = find_tenant(directory, id)?;
    if known.purging {
        return Ok(Plan { records: Vec::new(), answer: Some(put(What::Tenant(known.clone()))) });
    }
    Ok(one(put(What::Tenant(TenantRecord { enabled: false, purging: true, ..known.clone() }))))
}

/// The shard has nothing of a tenant any more: its keys go, revoked ones too, and its record last.
pub(super) fn purged(directory: &Directory, purged: &TenantPurged) -> Result<Plan, Refused> {
    let known = find_tenant(directory, &purged.id)?;
    if !known.purging || known.life != purged.life {
        return Err(Refused::invalid(format!("tenant {} is not being deleted", known.id)));
    }
    let mut keys: Vec<&KeyRecord> = directory.all_keys_of(&known.id).collect();
    // Maps have no order, but all replicas must do the same.
    keys.sort_unstable_by(|a, b| a.hash.cmp(&b.hash));
    let gone = |what| Record { what: Some(what), removed: true };
    let mut records: Vec<Record> = keys.into_iter().cloned().map(What::Key).map(gone).collect();
    let answer = gone(What::Tenant(known.clone()));
    records.push(answer.clone());
    Ok(Plan { records, answer: Some(answer) })
}

fn with_keys(tenant: TenantRecord, keys: Vec<Record>) -> Plan {
    let answer = put(What::Tenant(tenant));
    let mut records = vec![answer.clone()];
    records.extend(keys);
    Plan { records, answer: Some(answer) }
}

/// Nobody may use a tenant before everything of it is restored.
fn check_whole(tenant: &TenantRecord) -> Result<(), Refused> {
    if tenant.enabled && tenant.restored.as_ref().is_some_and(|from| !from.whole) {
        let id = &tenant.id;
        return Err(Refused::exists(format!(
            "tenant {id} is being restored from a backup: run `ranch restore` again to finish \
             that, or purge the tenant"
        )));
    }
    Ok(())
}

pub(super) fn check_tenant(tenant: &TenantRecord) -> Result<(), Refused> {
    if !is_tenant_id(&tenant.id) {
        return Err(Refused::invalid(
            "a tenant id has 1 to 63 characters of a-z, 0-9, _ and -, the first a letter or digit",
        ));
    }
    if tenant.rate_per_s.is_some_and(|rate| !rate.is_finite() || rate < 0.0) {
        return Err(Refused::invalid("a rate must be a number of at least 0"));
    }
    Ok(())
}

/// A tenant that is not on its way out.
pub(super) fn find_usable<'a>(
    directory: &'a Directory,
    id: &str,
) -> Result<&'a TenantRecord, Refused> {
    let known = find_tenant(directory, id)?;
    if known.purging {
        return Err(Refused::exists(format!("tenant {id} is being deleted for good")));
    }
    Ok(known)
}

fn find_tenant<'a>(directory: &'a Directory, id: &str) -> Result<&'a TenantRecord, Refused> {
    let found = directory.tenants.get(id);
    found.ok_or_else(|| Refused::not_found(format!("there is no tenant {id}")))
}
