//! What the meta group decides, in memory and for tests only, and the directory tests start with.

use ranch_proto::api_key::KeyHash;
use ranch_proto::schema::{
    ClusterRecord, KeyRecord, MetaCommand, MetaResult, MetaStatus, NodeRecord, Profile, PutTenant,
    Record, Role, ShardRecord, TenantRecord, meta_command, record::What,
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
        put(What::Shard(ShardRecord { id, replicas, initialized: true }));
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
        meta_command::What::SetTenant(put) => Ok(vec![What::Tenant(put.tenant.unwrap())]),
        meta_command::What::AddKey(key) => Ok(vec![What::Key(key)]),
        other => panic!("tests do not send {other:?}"),
    };
    match outcome {
        Err(reason) => MetaResult { status: MetaStatus::MetaExists.into(), reason, record: None },
        Ok(records) => {
            let record = Some(Record { what: records.first().cloned(), removed: false });
            for what in records {
                directory.apply(Record { what: Some(what), removed: false });
                directory.epoch += 1;
            }
            MetaResult { status: MetaStatus::MetaOk.into(), record, reason: String::new() }
        }
    }
}

fn add(directory: &Directory, put: PutTenant) -> Result<Vec<What>, String> {
    let tenant = TenantRecord { shard: 2, ..put.tenant.unwrap() };
    if directory.tenants.contains_key(&tenant.id) {
        return Err(format!("there is a tenant {} already", tenant.id));
    }
    Ok([What::Tenant(tenant)].into_iter().chain(put.keys.into_iter().map(What::Key)).collect())
}
