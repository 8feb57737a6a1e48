//! Tenants from backups: there and disabled at first, in use when everything of them is.

use bytes::Bytes;
use ranch_proto::directory::Directory;
use ranch_proto::ids::GroupId;
use ranch_proto::placement::ShardRing;
use ranch_proto::schema::{
    ClusterRecord, FinishRestore, KeyRecord, MetaStatus, Record, RestoreTenant, RestoredFrom,
    TenantRecord, record::What,
};

use super::keys::check_key;
use super::tenants::{check_tenant, find_usable};
use super::{Plan, Refused, put};

/// Bytes of the digest of a backup, and of a salt.
const DIGEST_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
/// Most ranches whose keys are known here. Each costs a hash for every key that is not of this one.
const SALTS_MAX: usize = 16;

/// Adds a tenant as it was in a backup, with its keys, where the ring says. It is disabled until
/// [`finish`]. One that is there from the same backup is left as it is.
pub(super) fn begin(
    directory: &Directory,
    ring: &ShardRing,
    asked: RestoreTenant,
) -> Result<Plan, Refused> {
    let (Some(tenant), Some(cluster)) = (asked.tenant, &directory.cluster) else {
        return Err(Refused::invalid("a command without a tenant"));
    };
    check_tenant(&tenant)?;
    let from = tenant.restored.clone().unwrap_or_default();
    if from.backup.len() != DIGEST_BYTES {
        return Err(Refused::invalid("a restored tenant must say which backup it is from"));
    }
    if let Some(known) = directory.tenants.get(&tenant.id) {
        return same(known, &from);
    }
    let salted = with_salts(cluster, &asked.salts)?;
    let keys = match keys(directory, &tenant.id, &asked.keys) {
        Err(Refused { status, .. }) if asked.keys_or_none && status == MetaStatus::MetaExists => {
            Vec::new()
        }
        keys => keys?,
    };
    let GroupId(shard) = ring.shard_of(&tenant.id);
    let restored = Some(RestoredFrom { whole: false, ..from });
    let tenant = TenantRecord {
        shard,
        life: directory.epoch + 1,
        purging: false,
        from_file: false,
        enabled: false,
        restored,
        ..tenant
    };
    let answer = put(What::Tenant(tenant));
    let mut records = vec![answer.clone()];
    records.extend(salted.filter(|_| !keys.is_empty()).map(|known| put(What::Cluster(known))));
    records.extend(keys);
    Ok(Plan { records, answer: Some(answer) })
}

/// Says that everything of a tenant is here: it is enabled if it was.
pub(super) fn finish(directory: &Directory, asked: &FinishRestore) -> Result<Plan, Refused> {
    let known = find_usable(directory, &asked.id)?;
    let Some(from) = known.restored.as_ref().filter(|_| known.life == asked.life) else {
        return Err(Refused::invalid(format!("tenant {} is not being restored", known.id)));
    };
    if from.whole {
        return Ok(Plan { records: Vec::new(), answer: Some(put(What::Tenant(known.clone()))) });
    }
    let restored = Some(RestoredFrom { whole: true, ..from.clone() });
    let enabled = from.enabled;
    Ok(super::one(put(What::Tenant(TenantRecord { enabled, restored, ..known.clone() }))))
}

fn same(known: &TenantRecord, from: &RestoredFrom) -> Result<Plan, Refused> {
    let id = &known.id;
    if known.purging {
        return Err(Refused::exists(format!("tenant {id} is being deleted for good")));
    }
    if known.restored.as_ref().is_some_and(|known| known.backup == from.backup) {
        return Ok(Plan { records: Vec::new(), answer: Some(put(What::Tenant(known.clone()))) });
    }
    Err(Refused::exists(format!("there is a tenant {id} already")))
}

/// The cluster's record with these salts, too; `None` where it has them.
fn with_salts(cluster: &ClusterRecord, salts: &[Bytes]) -> Result<Option<ClusterRecord>, Refused> {
    if salts.iter().any(|salt| salt.len() != SALT_BYTES) {
        return Err(Refused::invalid("a salt of a backup's keys must have 32 bytes"));
    }
    let mut more = cluster.clone();
    for salt in salts {
        if *salt != more.key_salt && !more.other_salts.contains(salt) {
            more.other_salts.push(salt.clone());
        }
    }
    if more.other_salts.len() > SALTS_MAX {
        return Err(Refused::exists(format!(
            "with this backup the ranch would know keys of more than {SALTS_MAX} other ranches: \
             restore it into another ranch"
        )));
    }
    Ok((more != *cluster).then_some(more))
}

/// The records of keys as they were: revoked ones stay so.
fn keys(directory: &Directory, owner: &str, keys: &[KeyRecord]) -> Result<Vec<Record>, Refused> {
    let mut records: Vec<Record> = Vec::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        let hash = check_key(key, owner)?;
        if directory.has_key(&hash) || keys[..at].iter().any(|other| other.hash == key.hash) {
            let name = &key.key_id;
            return Err(Refused::exists(format!("the key {name} of {owner} is in use already")));
        }
        records.push(put(What::Key(KeyRecord { from_file: false, ..key.clone() })));
    }
    Ok(records)
}
