//! What the meta group decides, in memory and for tests only, and the directory tests start with.

use ranch_proto::api_key::KeyHash;
use ranch_proto::schema::{
    ClusterRecord, KeyRecord, MetaCommand, MetaResult, MetaStatus, NodeRecord, PatchTenant,
    Profile, PutTenant, Record, RemoveKey, Role, ShardRecord, TenantRecord, meta_command,
    record::What,
};
use ranch_proto::{Directory, NodeId, ReplicaId};

use super::{ADMIN, ANN, GONE, READER, TINY, WILL};

const SALT: [u8; 32] = [7; 32];

fn key(secret: &str, tenant: &str, role: Role) -> KeyRecord {
    let hash = KeyHash::of(&SALT, secret);
    KeyRecord {
        hash: hash.0.to_vec().into(),
        key_id: format!("k-{}", &secret[secret.len() - 2..]),
        tenant: tenant.into(),
        role: role.into(),
        ..Default::default()
    }
}

/// Three nodes, two shards, a few tenants.
pub fn directory() -> Directory {
    let mut directory = Directory::default();
    let mut put = |what| {
        directory.apply(Record { what: Some(what), removed: false });
        directory.epoch += 1;
    };
    let key_salt = SALT.to_vec().into();
    put(What::Cluster(ClusterRecord { name: "test".into(), key_salt, ..Default::default() }));
    for id in 1..=3 {
        let (name, addr) = (format!("node{id}"), format!("127.0.0.1:{}", 7100 + id));
        put(What::Node(NodeRecord { id, name, addr, incarnation: 1, ..Default::default() }));
    }
    for id in 1..=2 {
        let replicas = (1..=3).map(|node| ReplicaId::new(NodeId(node), 1).0).collect();
        let initialized = true;
        put(What::Shard(ShardRecord { id, replicas, initialized, ..Default::default() }));
    }
    for (id, shard, profile, quota_bytes) in [
        ("will", 1, Profile::Sq, None),
        ("ann", 2, Profile::Memory, None),
        ("tiny", 1, Profile::Sq, Some(200)),
        ("gone", 1, Profile::Sq, None),
    ] {
        let mut tenant = TenantRecord {
            id: id.into(),
            shard,
            quota_bytes,
            enabled: id != "gone",
            ..Default::default()
        };
        tenant.set_profile(profile);
        put(What::Tenant(tenant));
    }
    put(What::Key(key(WILL, "will", Role::ReadWrite)));
    put(What::Key(key(ANN, "ann", Role::ReadWrite)));
    put(What::Key(key(READER, "will", Role::ReadOnly)));
    put(What::Key(key(TINY, "tiny", Role::ReadWrite)));
    put(What::Key(key(GONE, "gone", Role::ReadWrite)));
    put(What::Key(key(ADMIN, "", Role::Admin)));
    directory
}

/// Carries out a command on the directory.
pub fn decide(directory: &mut Directory, command: MetaCommand) -> MetaResult {
    let outcome = match command.what.unwrap() {
        meta_command::What::AddTenant(put) => add(directory, put),
        meta_command::What::PatchTenant(patch) => patched(directory, &patch),
        meta_command::What::AddKey(key) => add_key(directory, key),
        meta_command::What::RemoveKey(remove) => revoke(directory, &remove),
        meta_command::What::PurgeTenant(id) => purge(directory, &id),
        meta_command::What::DrainNode(drain) => match directory.nodes.get(&NodeId(drain.id)) {
            None => Err((MetaStatus::MetaNotFound, "there is no such node".to_owned())),
            Some(node) => {
                let node = NodeRecord { draining: drain.draining, ..node.clone() };
                Ok(vec![now(What::Node(node))])
            }
        },
        meta_command::What::RemoveNode(3) => {
            Err((MetaStatus::MetaExists, "without node 3 there would be too few".to_owned()))
        }
        meta_command::What::RemoveNode(id) => {
            let node = NodeRecord { leaving: true, ..directory.nodes[&NodeId(id)].clone() };
            Ok(vec![now(What::Node(node))])
        }
        other => panic!("tests do not send {other:?}"),
    };
    match outcome {
        Err((status, reason)) => {
            MetaResult { status: status.into(), reason, ..MetaResult::default() }
        }
        Ok(records) => {
            let record = records.last().cloned();
            for record in records {
                directory.apply(record);
                directory.epoch += 1;
            }
            let epoch = directory.epoch;
            MetaResult { status: MetaStatus::MetaOk.into(), record, epoch, ..Default::default() }
        }
    }
}

type Outcome = Result<Vec<Record>, (MetaStatus, String)>;

fn now(what: What) -> Record {
    Record { what: Some(what), removed: false }
}

fn gone(what: What) -> Record {
    Record { what: Some(what), removed: true }
}

fn find<'a>(directory: &'a Directory, id: &str) -> Result<&'a TenantRecord, (MetaStatus, String)> {
    let missing = || (MetaStatus::MetaNotFound, format!("there is no tenant {id}"));
    directory.tenants.get(id).ok_or_else(missing)
}

fn add(directory: &Directory, put: PutTenant) -> Outcome {
    let tenant = TenantRecord { shard: 2, life: directory.epoch + 1, ..put.tenant.unwrap() };
    if directory.tenants.contains_key(&tenant.id) {
        let reason = format!("there is a tenant {} already", tenant.id);
        return Err((MetaStatus::MetaExists, reason));
    }
    let keys = put.keys.into_iter().map(What::Key);
    Ok(keys.chain([What::Tenant(tenant)]).map(now).collect())
}

fn patched(directory: &Directory, patch: &PatchTenant) -> Outcome {
    let mut tenant = find(directory, &patch.id)?.clone();
    assert!(patch.apply(&mut tenant), "a field without a name");
    Ok(vec![now(What::Tenant(tenant))])
}

fn add_key(directory: &Directory, key: KeyRecord) -> Outcome {
    if directory.has_key(&KeyHash::from_slice(&key.hash).unwrap()) {
        return Err((MetaStatus::MetaExists, "this key is in use already".to_owned()));
    }
    Ok(vec![now(What::Key(key))])
}

fn revoke(directory: &Directory, remove: &RemoveKey) -> Outcome {
    let key = directory.keys_of(&remove.tenant).find(|key| key.key_id == remove.key_id);
    let missing = || (MetaStatus::MetaNotFound, "there is no such key".to_owned());
    let key = KeyRecord { revoked: true, ..key.ok_or_else(missing)?.clone() };
    Ok(vec![if remove.forget { gone(What::Key(key)) } else { now(What::Key(key)) }])
}

/// All at once: what becomes of the rows meanwhile is for the tests of real nodes.
fn purge(directory: &Directory, id: &str) -> Outcome {
    let tenant = find(directory, id)?.clone();
    let keys = directory.all_keys_of(id).cloned().map(What::Key).map(gone);
    Ok(keys.chain([gone(What::Tenant(tenant))]).collect())
}
