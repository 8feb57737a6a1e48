//! Keys: added where nobody has them, and revoked.

use ranch_proto::api_key::KeyHash;
use ranch_proto::directory::Directory;
use ranch_proto::schema::{KeyRecord, Record, RemoveKey, Role, record::What};

use super::tenants::find_usable;
use super::{Plan, Refused, one, put};

/// Adds a key of a tenant, or of administrators when it names none.
pub(super) fn add_key(
    directory: &Directory,
    key: KeyRecord,
    stamp_ms: u64,
) -> Result<Plan, Refused> {
    if !key.tenant.is_empty() {
        find_usable(directory, &key.tenant)?;
    }
    let owner = key.tenant.clone();
    let keys = new_keys(directory, &owner, vec![key], stamp_ms)?;
    let answer = keys.first().cloned();
    Ok(Plan { records: keys, answer })
}

/// Revokes a key by its public name. It stays known as revoked, unless it is to be forgotten.
pub(super) fn remove_key(directory: &Directory, remove: &RemoveKey) -> Result<Plan, Refused> {
    let mut keys = directory.keys_of(&remove.tenant);
    let Some(key) = keys.find(|key| key.key_id == remove.key_id) else {
        return Err(Refused::not_found(format!("there is no key {}", remove.key_id)));
    };
    let mut record = put(What::Key(KeyRecord { revoked: true, ..key.clone() }));
    record.removed = remove.forget || remove.tenant.is_empty();
    Ok(one(record))
}

/// The records of new keys of `owner`: hashes unused anywhere, names unused by this owner.
pub(super) fn new_keys(
    directory: &Directory,
    owner: &str,
    keys: Vec<KeyRecord>,
    stamp_ms: u64,
) -> Result<Vec<Record>, Refused> {
    let mut names: Vec<String> =
        directory.all_keys_of(owner).map(|key| key.key_id.clone()).collect();
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

pub(super) fn check_key(key: &KeyRecord, owner: &str) -> Result<KeyHash, Refused> {
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
