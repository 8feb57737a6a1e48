//! Each shape written to, and left alone where nothing differs.

use ranch_proto::schema::{ClusterRecord, KeyRecord, Record, record::What};

use super::*;

const SALT: [u8; 32] = [7; 32];

fn hash(key: &str) -> String {
    written(&KeyHash::of(&SALT, key))
}

/// Tenants with a key named after each.
fn directory(tenants: &[TenantRecord]) -> Directory {
    let mut directory = Directory::default();
    let mut put = |what| directory.apply(Record { what: Some(what), removed: false });
    put(What::Cluster(ClusterRecord { key_salt: SALT.to_vec().into(), ..Default::default() }));
    for tenant in tenants {
        put(What::Tenant(tenant.clone()));
        let mut key = KeyRecord {
            hash: KeyHash::of(&SALT, &format!("key-{}", tenant.id)).0.to_vec().into(),
            key_id: "k".into(),
            tenant: tenant.id.clone(),
            ..Default::default()
        };
        key.set_role(Role::ReadWrite);
        put(What::Key(key));
    }
    directory
}

fn tenant(id: &str, quota_bytes: Option<u64>) -> TenantRecord {
    TenantRecord { id: id.into(), shard: 3, enabled: true, quota_bytes, ..Default::default() }
}

fn rendered(file: &Value, directory: &Directory, before: &Lives) -> Value {
    let mut file = file.clone();
    render(&mut file, directory, before);
    let mut again = file.clone();
    assert!(!render(&mut again, directory, before), "a second time changes nothing");
    file
}

#[test]
fn new_tenants_take_the_shape_of_the_file() {
    let directory = directory(&[tenant("a", None), tenant("b", Some(3 << 19))]);
    let (key_b, dir) = (hash("key-b"), "shard-3/b");
    for (file, at, expected) in [
        (
            json!({"tenants": [{"id": "a", "api_key": "key-a"}]}),
            "/tenants/1",
            json!({"id": "b", "api_key_hash": key_b, "quota_mb": 1.5}),
        ),
        (
            json!([{"token": "key-a", "data_dir": "/x/a"}]),
            "/1",
            json!({"token": key_b, "data_dir": dir, "quota_mb": 1.5}),
        ),
        (
            json!({"tenants": [{"token": "key-a", "data_dir": "/x/a"}]}),
            "/tenants/1",
            json!({"token": key_b, "data_dir": dir, "quota_mb": 1.5}),
        ),
        (
            json!({"tenants": {"key-a": {"name": "a", "data_dir": "/x"}}}),
            &format!("/tenants/{key_b}"),
            json!({"name": "b", "data_dir": dir, "quota_mb": 1.5}),
        ),
    ] {
        let file = rendered(&file, &directory, &Lives::new());
        assert_eq!(file.pointer(at), Some(&expected), "{file}");
        // And it is read back as what it is.
        let contents = crate::tenants_file::parse(file.to_string().as_bytes()).unwrap();
        let ids: Vec<_> = contents.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert!(contents.warnings.is_empty());
    }
}

#[test]
fn what_the_file_leaves_out_stays_out() {
    let directory = directory(&[TenantRecord { enabled: false, ..tenant("a", Some(5)) }]);
    let silent = json!({"tenants": [{"id": "a", "api_key": "key-a", "extra": [1]}], "more": {}});
    assert_eq!(rendered(&silent, &directory, &Lives::new()), silent);
    let says =
        json!({"tenants": [{"id": "a", "api_key": "key-a", "quota_mb": 1, "enabled": true}]});
    let file = rendered(&says, &directory, &Lives::new());
    assert_eq!(file["tenants"][0]["enabled"], false);
    assert_eq!(file["tenants"][0]["quota_mb"], json!(5.0 / MB));
}

#[test]
fn who_was_deleted_for_good_leaves_and_who_never_was_here_stays() {
    let directory = directory(&[TenantRecord { life: 9, ..tenant("again", None) }]);
    let file = json!({"tenants": [
        {"id": "purged", "api_key": "key-purged"},
        {"id": "seen", "api_key_hash": hash("key-seen")},
        {"id": "foreign", "api_key_hash": hash("key-foreign")},
        {"id": "again", "api_key": "key-of-the-first"},
    ]});
    let before = Lives::from([("seen".to_owned(), 1), ("again".to_owned(), 2)]);
    let file = rendered_with(&file, &directory, &before);
    let ids: Vec<_> = file["tenants"].as_array().unwrap().iter().map(|t| &t["id"]).collect();
    assert_eq!(ids, ["foreign", "again"]);
    assert_eq!(file["tenants"][1]["api_key_hash"], hash("key-again"));
    assert!(file["tenants"][1].get("api_key").is_none());
}

/// As [`rendered`], where the lives change with it.
fn rendered_with(file: &Value, directory: &Directory, before: &Lives) -> Value {
    let mut file = file.clone();
    assert!(render(&mut file, directory, before));
    file
}

#[test]
fn dead_keys_give_way_to_living_ones() {
    let mut directory = directory(&[tenant("a", None)]);
    let dead = KeyRecord {
        hash: KeyHash::of(&SALT, "old").0.to_vec().into(),
        tenant: "a".into(),
        revoked: true,
        ..Default::default()
    };
    directory.apply(Record { what: Some(What::Key(dead)), removed: false });
    let live = hash("key-a");
    for (file, expected) in [
        (
            json!({"tenants": [{"id": "a", "api_key": "old"}]}),
            json!({"tenants": [{"id": "a", "api_key_hash": live}]}),
        ),
        (json!([{"token": "old", "data_dir": "/a"}]), json!([{"token": live, "data_dir": "/a"}])),
        (
            json!({"tenants": {"old": {"name": "a"}}}),
            json!({"tenants": {live.as_str(): {"name": "a"}}}),
        ),
    ] {
        assert_eq!(rendered(&file, &directory, &Lives::new()), expected);
    }
}
