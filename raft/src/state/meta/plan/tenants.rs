//! Tenants and keys.

use ranch_proto::api_key::KeyHash;
use ranch_proto::directory::Directory;
use ranch_proto::ids::{GroupId, is_tenant_id};
use ranch_proto::placement::ShardRing;
use ranch_proto::schema::{
    KeyRecord, PutTenant, Record, RemoveKey, Role, TenantRecord, record::What,
};

use super::{Plan, Refused, one, put};

/// Adds a tenant on the shard the ring names, together with its first keys.
pub(super) fn add(directory: &Directory, asked: PutTenant, stamp_ms: u64) -> Result<Plan, Refused> {
    let tenant = asked.tenant.ok_or_else(|| Refused::invalid("a command without a tenant"))?;
    check_tenant(&tenant)?;
    if directory.tenants.contains_key(&tenant.id) {
        return Err(Refused::exists(format!("there is a tenant {} already", tenant.id)));
    }
    let GroupId(shard) = ShardRing::new(directory.shards.keys().copied()).shard_of(&tenant.id);
    let tenant = TenantRecord { shard, created_ms: stamp_ms, ..tenant };
    let keys = new_keys(directory, &tenant.id, asked.keys, stamp_ms)?;
    Ok(with_keys(tenant, keys))
}

/// Replaces what may change of a tenant; its place and age stay. Keys given are added, unless it
/// has them.
pub(super) fn set(directory: &Directory, asked: PutTenant, stamp_ms: u64) -> Result<Plan, Refused> {
    let tenant = asked.tenant.ok_or_else(|| Refused::invalid("a command without a tenant"))?;
    check_tenant(&tenant)?;
    let known = find_tenant(directory, &tenant.id)?;
    let tenant = TenantRecord { shard: known.shard, created_ms: known.created_ms, ..tenant };
    let has = |key: &KeyRecord| directory.keys_of(&tenant.id).any(|old| old.hash == key.hash);
    let missing = asked.keys.into_iter().filter(|key| !has(key)).collect();
    let keys = new_keys(directory, &tenant.id, missing, stamp_ms)?;
    if keys.is_empty() && tenant == *known {
        return Ok(Plan { records: Vec::new(), answer: Some(put(What::Tenant(tenant))) });
    }
    Ok(with_keys(tenant, keys))
}

/// Adds a key of a tenant, or of administrators when it names none.
pub(super) fn add_key(
    directory: &Directory,
    key: KeyRecord,
    stamp_ms: u64,
) -> Result<Plan, Refused> {
    if !key.tenant.is_empty() {
        find_tenant(directory, &key.tenant)?;
    }
    let owner = key.tenant.clone();
    let keys = new_keys(directory, &owner, vec![key], stamp_ms)?;
    let answer = keys.first().cloned();
    Ok(Plan { records: keys, answer })
}

/// Removes a key by its public name.
pub(super) fn remove_key(directory: &Directory, remove: &RemoveKey) -> Result<Plan, Refused> {
    let mut keys = directory.keys_of(&remove.tenant);
    let Some(key) = keys.find(|key| key.key_id == remove.key_id) else {
        return Err(Refused::not_found(format!("there is no key {}", remove.key_id)));
    };
    Ok(one(Record { what: Some(What::Key(key.clone())), removed: true }))
}

fn with_keys(tenant: TenantRecord, keys: Vec<Record>) -> Plan {
    let answer = put(What::Tenant(tenant));
    let mut records = vec![answer.clone()];
    records.extend(keys);
    Plan { records, answer: Some(answer) }
}

fn check_tenant(tenant: &TenantRecord) -> Result<(), Refused> {
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

fn find_tenant<'a>(directory: &'a Directory, id: &str) -> Result<&'a TenantRecord, Refused> {
    let found = directory.tenants.get(id);
    found.ok_or_else(|| Refused::not_found(format!("there is no tenant {id}")))
}

/// The records of new keys of `owner`: hashes unused anywhere, names unused by this owner.
fn new_keys(
    directory: &Directory,
    owner: &str,
    keys: Vec<KeyRecord>,
    stamp_ms: u64,
) -> Result<Vec<Record>, Refused> {
    let mut names: Vec<String> = directory.keys_of(owner).map(|key| key.key_id.clone()).collect();
    let mut hashes: Vec<KeyHash> = Vec::new();
    let mut records = Vec::with_capacity(keys.len());
    for key in keys {
        let hash = check_key(&key, owner)?;
        if directory.has_key(&hash) || hashes.contains(&hash) {
            return Err(Refused::exists("this key is in use already"));
        }
        if names.contains(&key.key_id) {
            let name = &key.key_id;
            return Err(Refused::exists(format!("there is a key named {name} already")));
        }
        names.push(key.key_id.clone());
        hashes.push(hash);
        records.push(put(What::Key(KeyRecord { created_ms: stamp_ms, ..key })));
    }
    Ok(records)
}

fn check_key(key: &KeyRecord, owner: &str) -> Result<KeyHash, Refused> {
    let hash = KeyHash::from_slice(&key.hash)
        .ok_or_else(|| Refused::invalid("a key's hash must have 32 bytes"))?;
    if key.tenant != owner {
        return Err(Refused::invalid("a key must name the tenant it is made with"));
    }
    if key.key_id.is_empty() {
        return Err(Refused::invalid("a key needs a name"));
    }
    let role = match key.role() {
        Role::Admin => owner.is_empty(),
        Role::ReadWrite | Role::ReadOnly => !owner.is_empty(),
        Role::Unspecified => false,
    };
    if !role {
        return Err(Refused::invalid(
            "tenants have keys to read or write, administrators admin keys",
        ));
    }
    Ok(hash)
}
