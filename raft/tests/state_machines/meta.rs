//! The meta machine: what each command does to the directory.

use ranch_proto::ids::{GroupId, NodeId, ReplicaId};
use ranch_proto::placement::ShardRing;
use ranch_proto::schema::{
    Bootstrap, KeyRecord, MetaCommand, MetaStatus, NodeRecord, PatchTenant, PutTenant, RemoveKey,
    TenantPurged, TenantRecord, meta_command::What, patch_tenant::Field, record::What as Is,
};

use crate::meta_support::*;

#[test]
fn nothing_goes_before_bootstrap_and_that_goes_once() {
    let mut meta = Meta::new();
    assert_eq!(meta.refused(add("will", Vec::new())).0, MetaStatus::MetaNotBootstrapped);
    assert_eq!(meta.refused(join(node(1, 1))).0, MetaStatus::MetaNotBootstrapped);
    assert_eq!(meta.run(What::Bootstrap(bootstrap())).status(), MetaStatus::MetaOk);
    assert_eq!(meta.refused(What::Bootstrap(bootstrap())).0, MetaStatus::MetaExists);
    let directory = meta.directory();
    assert_eq!((directory.epoch, directory.nodes.len(), directory.shards.len()), (1, 3, 4));
    assert_eq!(directory.keys_of("").count(), 1);
}

#[test]
fn a_bootstrap_must_make_sense() {
    let broken: [fn(&mut Bootstrap); 9] = [
        |b| b.cluster = None,
        |b| b.cluster.as_mut().unwrap().key_salt = vec![1].into(),
        |b| b.nodes.clear(),
        |b| b.nodes[1] = NodeRecord { name: "other".into(), addr: "x:1".into(), ..node(1, 1) },
        |b| b.nodes[1].addr.clone_from(&node(1, 1).addr),
        |b| b.shards.clear(),
        |b| b.shards[1].id = 1,
        |b| b.shards[1].replicas = vec![replica(4, 1)],
        |b| b.keys[0].tenant = "will".into(),
    ];
    for (at, change) in broken.into_iter().enumerate() {
        let mut asked = bootstrap();
        change(&mut asked);
        let mut meta = Meta::new();
        assert_eq!(meta.refused(What::Bootstrap(asked)).0, MetaStatus::MetaInvalid, "{at}");
    }
}

#[test]
fn a_restarted_node_finds_its_place() {
    let mut meta = Meta::bootstrapped();
    let before = meta.directory();
    let again = meta.run(join(node(1, 1)));
    assert_eq!(is_node(&again), &before.nodes[&NodeId(1)]);
    assert_eq!(meta.directory().epoch, before.epoch, "nothing to change");
    let moved = NodeRecord { addr: "10.0.0.1:7".into(), version: "0.2".into(), ..node(1, 1) };
    assert_eq!(is_node(&meta.run(join(moved.clone()))), &moved);
    assert_eq!(meta.directory().shards, before.shards);
    // Listed at bootstrap, but never started so far: its first nonce is no new life.
    assert_eq!(is_node(&meta.run(join(node(2, 9)))), &node(2, 9));
    assert_eq!(meta.directory().shards, before.shards);
}

#[test]
fn a_node_without_its_data_gets_a_new_incarnation() {
    let mut meta = Meta::bootstrapped();
    let back = meta.run(join(NodeRecord { incarnation: 0, ..node(1, 99) }));
    assert_eq!(is_node(&back).incarnation, 2);
    let directory = meta.directory();
    for shard in directory.shards.values() {
        assert_eq!(shard.replicas, [replica(2, 1), replica(3, 1), replica(1, 2)]);
    }
    assert_eq!(directory.replica_on(NodeId(1)), Some(ReplicaId::new(NodeId(1), 2)));
    assert_eq!(is_node(&meta.run(join(node(1, 99)))).incarnation, 2, "the same life");
    assert_eq!(is_node(&meta.run(join(node(1, 98)))).incarnation, 3);
}

#[test]
fn a_new_node_is_added_unless_it_is_mistaken_for_another() {
    let mut meta = Meta::bootstrapped();
    let before = meta.directory();
    let added = meta.run(join(NodeRecord { incarnation: 7, ..node(4, 4) }));
    assert_eq!(is_node(&added).incarnation, 1);
    assert_eq!(meta.directory().shards, before.shards, "placement is another matter");
    for (bad, word) in [
        (NodeRecord { name: "node1".into(), ..node(5, 5) }, "name"),
        (NodeRecord { addr: "127.0.0.1:1".into(), ..node(5, 5) }, "address"),
        (NodeRecord { addr: "127.0.0.1:2".into(), ..node(1, 1) }, "address"),
        (NodeRecord { boot_nonce: vec![1].into(), ..node(5, 5) }, "nonce"),
        (node(0, 5), "id"),
    ] {
        let (status, reason) = meta.refused(join(bad));
        assert_eq!(status, MetaStatus::MetaInvalid);
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn tenants_get_the_shard_of_the_ring() {
    let mut meta = Meta::bootstrapped();
    let ring = ShardRing::new((1..=4).map(GroupId));
    for id in ["will", "0", "a-b_c", "mesh"] {
        let result = meta.run(add(id, Vec::new()));
        let Some(Is::Tenant(added)) = result.record.unwrap().what else { panic!("no tenant") };
        assert_eq!((added.shard, added.created_ms), (ring.shard_of(id).0, 1_000 + meta.next - 1));
        assert_eq!(meta.directory().tenants[id], added);
    }
    assert_eq!(meta.refused(add("will", Vec::new())).0, MetaStatus::MetaExists);
    for bad in ["", "Will", "-a", "a b", "a\0"] {
        assert_eq!(meta.refused(add(bad, Vec::new())).0, MetaStatus::MetaInvalid);
    }
}

#[test]
fn settings_of_a_tenant_change_but_not_its_place() {
    let mut meta = Meta::bootstrapped();
    meta.run(add("will", vec![key(2, "will", "first")]));
    let before = meta.directory().tenants["will"].clone();
    let asked = TenantRecord {
        quota_bytes: Some(5),
        shard: 99,
        created_ms: 99,
        enabled: false,
        ..tenant("will")
    };
    let keys = vec![key(2, "will", "first"), key(3, "will", "second")];
    let put = PutTenant { tenant: Some(asked.clone()), keys };
    assert_eq!(meta.run(What::SetTenant(put.clone())).status(), MetaStatus::MetaOk);
    let TenantRecord { shard, created_ms, life, .. } = before;
    let expected = TenantRecord { shard, created_ms, life, ..asked };
    assert_eq!(meta.directory().tenants["will"], expected);
    assert_eq!(meta.directory().keys_of("will").count(), 2);
    let epoch = meta.directory().epoch;
    assert_eq!(meta.run(What::SetTenant(put)).status(), MetaStatus::MetaOk);
    assert_eq!(meta.directory().epoch, epoch, "as wanted already");
    let unknown = PutTenant { tenant: Some(tenant("nobody")), keys: Vec::new() };
    assert_eq!(meta.refused(What::SetTenant(unknown)).0, MetaStatus::MetaNotFound);
}

#[test]
fn keys_are_used_once_and_go() {
    let mut meta = Meta::bootstrapped();
    meta.run(add("will", vec![key(2, "will", "k")]));
    let taken = |keys| add("other", keys);
    assert_eq!(meta.refused(taken(vec![key(2, "other", "k")])).0, MetaStatus::MetaExists);
    let twice = vec![key(5, "other", "a"), key(5, "other", "b")];
    assert_eq!(meta.refused(taken(twice)).0, MetaStatus::MetaExists);
    assert_eq!(meta.refused(taken(vec![key(5, "will", "a")])).0, MetaStatus::MetaInvalid);
    assert!(!meta.directory().tenants.contains_key("other"), "all or nothing");
    assert_eq!(meta.refused(What::AddKey(key(3, "will", "k"))).0, MetaStatus::MetaExists);
    assert_eq!(meta.refused(What::AddKey(key(3, "nobody", "k"))).0, MetaStatus::MetaNotFound);
    assert_eq!(meta.refused(What::AddKey(key(3, "", "k"))).0, MetaStatus::MetaInvalid);
    let short = KeyRecord { hash: vec![1].into(), ..key(3, "will", "s") };
    assert_eq!(meta.refused(What::AddKey(short)).0, MetaStatus::MetaInvalid);
    assert_eq!(meta.run(What::AddKey(key(3, "will", "l"))).status(), MetaStatus::MetaOk);
    let remove = |name: &str| {
        What::RemoveKey(RemoveKey { tenant: "will".into(), key_id: name.into(), forget: false })
    };
    assert_eq!(meta.run(remove("k")).status(), MetaStatus::MetaOk);
    assert_eq!(meta.refused(remove("k")).0, MetaStatus::MetaNotFound);
    meta.reopen();
    let names: Vec<_> = meta.directory().keys_of("will").map(|key| key.key_id.clone()).collect();
    assert_eq!(names, ["l"]);
}

#[test]
fn shards_are_initialized_once() {
    let mut meta = Meta::bootstrapped();
    for _ in 0..2 {
        let result = meta.run(What::ShardInitialized(2));
        let Some(Is::Shard(shard)) = result.record.unwrap().what else { panic!("no shard") };
        assert!(shard.initialized);
        assert_eq!(meta.directory().epoch, 2);
    }
    assert_eq!(meta.refused(What::ShardInitialized(9)).0, MetaStatus::MetaNotFound);
}

#[test]
fn a_retry_gets_the_first_answer_even_after_a_restart() {
    let mut meta = Meta::bootstrapped();
    let first = command(add("will", Vec::new()));
    let answer = meta.send(first.clone());
    let refusal = command(add("will", Vec::new()));
    let refused = meta.send(refusal.clone());
    assert_eq!(refused.status(), MetaStatus::MetaExists);
    for _ in 0..2 {
        assert_eq!(meta.send(first.clone()), answer);
        assert_eq!(meta.send(refusal.clone()), refused);
        assert_eq!(meta.directory().epoch, 2);
        meta.reopen();
    }
    let nameless = MetaCommand { request_id: Vec::new().into(), ..first };
    assert_eq!(meta.send(nameless).status(), MetaStatus::MetaInvalid);
}

fn patch(id: &str, fields: &[Field], values: TenantRecord) -> What {
    let fields = fields.iter().map(|&field| field.into()).collect();
    What::PatchTenant(PatchTenant { id: id.into(), fields, values: Some(values) })
}

#[test]
fn a_patch_changes_the_fields_it_names_and_no_others() {
    let mut meta = Meta::bootstrapped();
    meta.run(add("will", Vec::new()));
    let first = meta.directory().tenants["will"].clone();
    let values = TenantRecord {
        quota_bytes: Some(5),
        rate_per_s: Some(2.0),
        admin_email: "w@example.org".into(),
        shard: 99,
        life: 99,
        ..TenantRecord::default()
    };
    meta.run(patch("will", &[Field::QuotaBytes], values.clone()));
    meta.run(patch("will", &[Field::RatePerS, Field::AdminEmail], values.clone()));
    let expected = TenantRecord {
        quota_bytes: Some(5),
        rate_per_s: Some(2.0),
        admin_email: "w@example.org".into(),
        ..first.clone()
    };
    assert_eq!(meta.directory().tenants["will"], expected);
    let epoch = meta.directory().epoch;
    let same = meta.run(patch("will", &[Field::QuotaBytes], values.clone()));
    assert_eq!((same.epoch, meta.directory().epoch), (epoch, epoch), "as wanted already");
    meta.run(patch("will", &[Field::QuotaBytes, Field::RatePerS], TenantRecord::default()));
    let cleared = TenantRecord { admin_email: "w@example.org".into(), ..first };
    assert_eq!(meta.directory().tenants["will"], cleared);

    let unknown = PatchTenant { id: "will".into(), fields: vec![99], values: None };
    assert_eq!(meta.refused(What::PatchTenant(unknown)).0, MetaStatus::MetaInvalid);
    assert_eq!(meta.refused(patch("nobody", &[], values)).0, MetaStatus::MetaNotFound);
}

#[test]
fn a_revoked_key_never_comes_back_while_its_tenant_is_there() {
    let mut meta = Meta::bootstrapped();
    meta.run(add("will", vec![key(2, "will", "k"), key(3, "will", "l")]));
    let remove = |name: &str, forget| {
        What::RemoveKey(RemoveKey { tenant: "will".into(), key_id: name.into(), forget })
    };
    meta.run(remove("k", false));
    meta.run(remove("l", true));
    assert_eq!(meta.refused(remove("k", false)).0, MetaStatus::MetaNotFound);
    assert_eq!(meta.refused(What::AddKey(key(2, "will", "m"))).0, MetaStatus::MetaExists);
    assert_eq!(meta.refused(What::AddKey(key(9, "will", "k"))).0, MetaStatus::MetaExists);
    assert_eq!(meta.run(What::AddKey(key(3, "will", "l"))).status(), MetaStatus::MetaOk);
    meta.reopen();
    assert_eq!(meta.directory().keys_of("will").count(), 1);
    assert_eq!(meta.directory().all_keys_of("will").count(), 2);
}

#[test]
fn a_purged_tenant_is_closed_at_once_and_gone_when_its_shard_says_so() {
    let mut meta = Meta::bootstrapped();
    meta.run(add("will", vec![key(2, "will", "k"), key(3, "will", "l")]));
    let remove = RemoveKey { tenant: "will".into(), key_id: "l".into(), forget: false };
    meta.run(What::RemoveKey(remove));
    let life = meta.directory().tenants["will"].life;
    let purged = |life| What::TenantPurged(TenantPurged { id: "will".into(), life });
    assert_eq!(meta.refused(purged(life)).0, MetaStatus::MetaInvalid, "it has not begun");
    for _ in 0..2 {
        assert_eq!(meta.run(What::PurgeTenant("will".into())).status(), MetaStatus::MetaOk);
        let tenant = meta.directory().tenants["will"].clone();
        assert!(tenant.purging && !tenant.enabled);
        meta.reopen();
    }
    let enable = patch("will", &[Field::Enabled], tenant("will"));
    assert_eq!(meta.refused(enable).0, MetaStatus::MetaExists);
    assert_eq!(meta.refused(What::AddKey(key(4, "will", "m"))).0, MetaStatus::MetaExists);
    assert_eq!(meta.refused(add("will", Vec::new())).0, MetaStatus::MetaExists);
    assert_eq!(meta.refused(purged(life + 1)).0, MetaStatus::MetaInvalid);
    assert_eq!(meta.run(purged(life)).status(), MetaStatus::MetaOk);
    meta.reopen();
    assert!(!meta.directory().tenants.contains_key("will"));
    assert_eq!(meta.directory().all_keys_of("will").count(), 0);

    // The id and both keys are free again, and the next tenant is told apart from the last.
    meta.run(add("will", vec![key(2, "will", "k"), key(3, "will", "l")]));
    assert!(meta.directory().tenants["will"].life > life);
    assert_eq!(meta.refused(purged(life)).0, MetaStatus::MetaInvalid);
    assert_eq!(meta.refused(What::PurgeTenant("nobody".into())).0, MetaStatus::MetaNotFound);
}
