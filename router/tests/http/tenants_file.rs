//! A tenants file brought into force.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use ranch_proto::Shards;
use ranch_router::{Summary, TenantsFileError, load_tenants};

use crate::support::{Fault, MemoryShards, Router, WILL};

const FILE: &str = r#"{"tenants":[
    {"id":"will","api_key":"pmb-v1-0000000000000000000000000000000000000001","quota_mb":2},
    {"id":"ann","api_key":"pmb-v1-anns-second-key"},
    {"id":"new","api_key":"pmb-v1-new-key","quota_mb":0.5},
    {"id":"off","api_key":"pmb-v1-off-key","enabled":false}
],"admin_key":"the-file-admin-key"}"#;

#[tokio::test]
async fn a_file_adds_and_changes_what_differs() {
    let router = Router::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants.json");
    std::fs::write(&path, FILE).unwrap();
    router.shards.fail_next(&[Fault::LostRequest, Fault::NotLeader(None)]);
    let summary = load_tenants(&router.shards, &path).await.unwrap();
    assert_eq!(summary, Summary { made: false, added: 2, changed: 2, unchanged: 0 });
    {
        let directory = router.shards.directory().read();
        assert_eq!(directory.tenants["new"].quota_bytes, Some(524_288));
        assert_eq!(directory.tenants["will"].quota_bytes, Some(2 << 20));
        assert!(directory.tenants["new"].from_file && !directory.tenants["will"].from_file);
    }
    for (key, path, status) in [
        (WILL, "/api/v2/select", 200),
        ("pmb-v1-new-key", "/api/v2/select", 200),
        ("pmb-v1-anns-second-key", "/api/v2/load", 200),
        ("pmb-v1-off-key", "/api/v2/select", 403),
        ("the-file-admin-key", "/api/v2/admin/tenants", 200),
    ] {
        assert_eq!(router.client(key).get(path).await.status.as_u16(), status, "{key}");
    }
    let again = load_tenants(&router.shards, &path).await.unwrap();
    assert_eq!(again, Summary { made: false, added: 0, changed: 0, unchanged: 4 });
}

#[tokio::test]
async fn a_missing_file_is_made_for_its_owner_only() {
    let shards = MemoryShards::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants.json");
    assert!(load_tenants(&shards, &path).await.unwrap().made);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(load_tenants(&shards, &path).await.unwrap(), Summary::default());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing_and_shows_no_key() {
    let shards = MemoryShards::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants.json");
    for (text, words) in [
        ("{", "changes nothing: the file: this is not JSON"),
        (r#"[{"token":"SECRET-1","id":"new"},{"token":"SECRET-2","id":"Bad"}]"#, "[1]: \"Bad\""),
        (
            r#"[{"token":"pmb-v1-0000000000000000000000000000000000000001","id":"new"}]"#,
            "the key given for tenant \"new\" is in use for another tenant",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let before = shards.directory().read().epoch;
        let error = load_tenants(&shards, &path).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("SECRET") && !error.contains("pmb-v1"), "{error}");
        assert_eq!(shards.directory().read().epoch, before);
    }
    let error = load_tenants(&shards, directory.path()).await.unwrap_err();
    assert!(matches!(error, TenantsFileError::Io { .. }), "{error}");
}

#[tokio::test]
async fn hundreds_of_tenants_take_a_moment() {
    let shards = MemoryShards::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants.json");
    let entries: Vec<String> = (0..500)
        .map(|n| format!(r#""pmb-v1-{n:032}":{{"name":"founding-{n:03}","data_dir":"/d"}}"#))
        .collect();
    std::fs::write(&path, format!(r#"{{"tenants":{{{}}}}}"#, entries.join(","))).unwrap();
    let started = std::time::Instant::now();
    let summary = load_tenants(&Arc::clone(&shards), &path).await.unwrap();
    assert_eq!(summary.added, 500);
    assert!(started.elapsed() < std::time::Duration::from_secs(1), "{:?}", started.elapsed());
}
