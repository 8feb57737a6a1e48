//! A tenants file followed both ways.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use ranch_proto::{Directory, Shards};
use ranch_router::{Options, TenantsFile, TenantsFileError};
use serde_json::{Value, json};

use crate::support::{ADMIN, Fault, MemoryShards, Router, WILL};

const FILE: &str = r#"{"tenants":[
    {"id":"will","api_key":"pmb-v1-0000000000000000000000000000000000000001","quota_mb":2},
    {"id":"ann","api_key":"pmb-v1-anns-second-key"},
    {"id":"new","api_key":"pmb-v1-new-key","quota_mb":0.5},
    {"id":"off","api_key":"pmb-v1-off-key","enabled":false}
],"admin_key":"the-file-admin-key"}"#;
/// What a change may take, by SPEC.
const SOON: Duration = Duration::from_secs(5);

/// A directory with a tenants file in it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn with(text: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.write(text);
        place
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("tenants.json")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path()).unwrap()).unwrap_or_default()
    }

    /// Saves as most editors do: a new file in the old one's place.
    fn rename_over(&self, text: &str) {
        let aside = self.dir.path().join("tenants.json.swp");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.path()).unwrap();
    }

    fn options(&self) -> Options {
        Options { tenants_file: Some(self.path()), ..Router::options() }
    }
}

/// Waits until something holds, at most as long as a change may take.
async fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn shows(shards: &Arc<MemoryShards>, what: &str, holds: impl Fn(&Directory) -> bool) {
    soon(what, || holds(&shards.directory().read())).await;
}

/// A file that has been brought into force.
async fn follow(shards: &Arc<MemoryShards>, path: &Path) -> TenantsFile {
    let file = TenantsFile::start(Arc::clone(shards), path.to_owned());
    file.reload().await.unwrap();
    file
}

#[tokio::test]
async fn a_file_adds_and_changes_what_differs() {
    let place = Place::with(FILE);
    let shards = MemoryShards::new();
    shards.fail_next(&[Fault::LostRequest, Fault::NotLeader(None)]);
    let router = Router::over(shards, place.options()).await;
    let again = router.client(ADMIN).post("/api/v2/reload", "").await;
    assert_eq!(again.status.as_u16(), 200, "{}", again.text());
    assert_eq!((&again.json()["added"], &again.json()["unchanged"]), (&json!(0), &json!(5)));
    {
        let directory = router.shards.directory().read();
        assert_eq!(directory.tenants["new"].quota_bytes, Some(524_288));
        assert_eq!(directory.tenants["will"].quota_bytes, Some(2 << 20));
        assert!(directory.tenants["new"].from_file && directory.tenants["will"].from_file);
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
    let metrics = router.client(ADMIN).get("/api/v2/metrics").await;
    assert!(metrics.text().contains("\nranch_tenants_file_errors_total 0"), "{}", metrics.text());
    // Tiny was not in the file: now it is, with a hash.
    let tiny = place.json()["tenants"][4].clone();
    assert_eq!(tiny["id"], "tiny");
    assert!(tiny["api_key_hash"].as_str().unwrap().starts_with("blake3:"));
    assert!(tiny.get("api_key").is_none());
}

#[tokio::test]
async fn every_way_of_saving_is_noticed() {
    let place = Place::with(r#"{"tenants":[]}"#);
    let shards = MemoryShards::new();
    let _file = follow(&shards, &place.path()).await;
    let with = |id: &str| format!(r#"{{"tenants":[{{"id":"{id}","api_key":"key-of-{id}"}}]}}"#);
    place.write(&with("written"));
    shows(&shards, "a plain write", |d| d.tenants.contains_key("written")).await;
    place.rename_over(&with("renamed"));
    shows(&shards, "a rename", |d| {
        d.tenants.contains_key("renamed") && !d.tenants["written"].enabled
    })
    .await;
    // Two writes in a row, the first of them cut short.
    place.write("{\"tenants\":[");
    place.write(&with("second"));
    shows(&shards, "the second of two", |d| d.tenants.contains_key("second")).await;
    std::fs::remove_file(place.path()).unwrap();
    place.write(&with("anew"));
    shows(&shards, "a new file", |d| d.tenants.contains_key("anew")).await;
    let directory = shards.directory().read();
    assert!(directory.tenants.contains_key("written"), "disabled is not deleted");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_is_counted_once_and_shows_no_key() {
    let place = Place::with(r#"{"tenants":[]}"#);
    let shards = MemoryShards::new();
    let file = follow(&shards, &place.path()).await;
    let mut errors = 0;
    for (text, words) in [
        ("{", "changes nothing: the file: this is not JSON"),
        (r#"[{"token":"SECRET-1","id":"new"},{"token":"SECRET-2","id":"Bad"}]"#, "[1]: \"Bad\""),
        (
            r#"[{"token":"pmb-v1-0000000000000000000000000000000000000001","id":"new"}]"#,
            "the key given for tenant \"new\" is in use for another tenant",
        ),
    ] {
        let before = shards.directory().read().epoch;
        place.write(text);
        errors += 1;
        soon("the error is counted", || file.errors() == errors).await;
        let error = file.reload().await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("SECRET") && !error.contains("pmb-v1"), "{error}");
        let dir = place.dir.path().to_str().unwrap();
        assert!(!error.contains(dir), "{error}");
        assert_eq!(file.errors(), errors, "said once");
        assert_eq!(shards.directory().read().epoch, before);
        assert_eq!(std::fs::read_to_string(place.path()).unwrap(), text, "left alone");
    }
    std::fs::remove_file(place.path()).unwrap();
    soon("its absence is counted", || file.errors() == errors + 1).await;
    assert!(matches!(file.reload().await, Err(TenantsFileError::Missing)));
    assert!(!place.path().exists(), "a file that went is not made again");
    place.write(r#"{"tenants":[{"id":"mended","api_key":"key-mended"}]}"#);
    shows(&shards, "the mended file", |d| d.tenants.contains_key("mended")).await;
}

#[tokio::test]
async fn a_missing_file_is_made_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tenants.json");
    let shards = MemoryShards::new();
    let _file = follow(&shards, &path).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    let listed = || {
        let text = std::fs::read(&path).unwrap();
        let file: Value = serde_json::from_slice(&text).unwrap_or_default();
        file["tenants"].as_array().map_or(0, Vec::len)
    };
    soon("its tenants are written into it", || listed() == 3).await;
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn changes_by_the_api_are_written_back_and_stay() {
    let place = Place::with(
        r#"{"admin_key":"the-file-admin-key","note":"mine","tenants":[
            {"id":"will","api_key":"key-of-will","quota_mb":2,"port":7},
            {"id":"gone","api_key":"key-of-gone","enabled":false}]}"#,
    );
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o640)).unwrap();
    let router = Router::with(place.options()).await;
    let admin = router.client(ADMIN);
    admin.post("/api/v2/reload", "").await;
    let add = json!({"tenant_id": "added", "quota_mb": 3, "key": "the-key-of-added-1"});
    admin.post("/api/v2/admin/tenants/add", add.to_string()).await;
    let change = json!({"quota_mb": 2.5}).to_string();
    admin.send(Method::PATCH, "/api/v2/admin/tenants/will", change).await;
    admin.post("/api/v2/admin/tenants/gone/restore", "").await;
    let entry = |id: &str| {
        let file = place.json();
        let list = file["tenants"].as_array().cloned().unwrap_or_default();
        list.into_iter().find(|tenant| tenant["id"] == id).unwrap_or_default()
    };
    soon("all are written back", || {
        entry("will")["quota_mb"] == 2.5
            && entry("gone")["enabled"] == true
            && entry("added")["quota_mb"] == 3
    })
    .await;
    let text = std::fs::read_to_string(place.path()).unwrap();
    assert!(!text.contains("the-key-of-added-1"), "{text}");
    assert!(text.find("admin_key").unwrap() < text.find("note").unwrap(), "in its own order");
    assert_eq!(
        (&entry("will")["port"], &entry("will")["api_key"]),
        (&json!(7), &json!("key-of-will"))
    );
    assert_eq!(std::fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o640);

    // A key revoked by the API is replaced, one that was purged leaves.
    let keys = admin.get("/api/v2/admin/tenants/will/keys").await.json();
    let from_file =
        router.shards.directory().read().find_key("key-of-will").unwrap().key_id.clone();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
    admin.delete(&format!("/api/v2/admin/tenants/will/keys/{from_file}")).await;
    admin.delete("/api/v2/admin/tenants/gone?purge=true").await;
    soon("dead keys leave", || {
        entry("will").get("api_key").is_none()
            && entry("will")["api_key_hash"].is_string()
            && entry("gone").is_null()
    })
    .await;
    // Another edit brings neither back.
    let text = std::fs::read_to_string(place.path()).unwrap();
    place.write(&text.replace("\"mine\"", "\"yours\""));
    let summary = admin.post("/api/v2/reload", "").await.json();
    assert_eq!((&summary["added"], &summary["changed"]), (&json!(0), &json!(0)), "{summary}");
    router.client("key-of-will").get("/api/v2/select").await.is(401, "Unauthorized");
    // And an added tenant left out is disabled.
    let mut file = place.json();
    file["tenants"].as_array_mut().unwrap().retain(|tenant| tenant["id"] != "added");
    place.rename_over(&file.to_string());
    let shards = &router.shards;
    shows(shards, "added is disabled", |d| !d.tenants["added"].enabled).await;
    router
        .client("the-key-of-added-1")
        .get("/api/v2/select")
        .await
        .is(403, "Forbidden: this tenant is disabled");
}

#[tokio::test]
async fn a_key_replaced_in_the_file_is_revoked() {
    let place = Place::with(r#"[{"token":"first-key-of-new","data_dir":"/x/new"}]"#);
    let router = Router::with(place.options()).await;
    router.client(ADMIN).post("/api/v2/reload", "").await;
    router.client("first-key-of-new").get("/api/v2/select").await.is(200, "");
    let text = std::fs::read_to_string(place.path()).unwrap();
    assert!(text.contains("\"token\": \"blake3:"), "in its own shape: {text}");
    place.write(&text.replace("first-key-of-new", "second-key-of-new"));
    router.client(ADMIN).post("/api/v2/reload", "").await;
    router.client("first-key-of-new").get("/api/v2/select").await.is(401, "Unauthorized");
    router.client("second-key-of-new").get("/api/v2/select").await.is(200, "");
    place.write(&text);
    router.client(ADMIN).post("/api/v2/reload", "").await;
    router.client("first-key-of-new").get("/api/v2/select").await.is(200, "");
}

#[tokio::test]
async fn most_tenants_are_not_disabled_by_accident() {
    let list = |range: std::ops::Range<u32>| {
        let tenants =
            range.map(|n| json!({"id": format!("t{n}"), "api_key": format!("key-{n:020}")}));
        tenants.collect::<Vec<_>>()
    };
    let place = Place::with(&json!({"tenants": list(0..8)}).to_string());
    let shards = MemoryShards::new();
    let file = follow(&shards, &place.path()).await;
    let all = || place.json()["tenants"].as_array().cloned().unwrap_or_default();
    soon("those of the API are there, too", || all().len() == 11).await;
    let few = all()[..5].to_vec();
    place.write(&json!({"tenants": few}).to_string());
    let error = file.reload().await.unwrap_err().to_string();
    assert!(error.contains("6 of 11") && error.contains("confirm_removals"), "{error}");
    assert!(shards.directory().read().tenants.values().filter(|t| t.enabled).count() == 11);
    place.write(&json!({"tenants": few, "confirm_removals": true}).to_string());
    file.reload().await.unwrap();
    assert_eq!(shards.directory().read().tenants.values().filter(|t| t.enabled).count(), 5);
    soon("it was for once", || place.json().get("confirm_removals").is_none()).await;
}

#[tokio::test]
async fn two_routers_share_a_file_without_a_fight() {
    let place = Place::with(r#"{"tenants":[{"id":"will","api_key":"key-of-will","quota_mb":1}]}"#);
    let shards = MemoryShards::new();
    let one = Router::over(Arc::clone(&shards), place.options()).await;
    let two = Router::over(Arc::clone(&shards), place.options()).await;
    for router in [&one, &two] {
        router.client(ADMIN).post("/api/v2/reload", "").await;
    }
    for n in 1..=20 {
        let router = if n % 2 == 0 { &one } else { &two };
        let body = json!({"quota_mb": n}).to_string();
        router.client(ADMIN).send(Method::PATCH, "/api/v2/admin/tenants/will", body).await;
        let id = format!("t{n}");
        let add = json!({"tenant_id": id, "quota_mb": 1}).to_string();
        router.client(ADMIN).post("/api/v2/admin/tenants/add", add).await;
    }
    let quota = || place.json()["tenants"][0]["quota_mb"].clone();
    let count = || place.json()["tenants"].as_array().map_or(0, Vec::len);
    soon("the last word is in the file", || quota() == 20 && count() == 23).await;
    let (text, stamp) = (std::fs::read(place.path()).unwrap(), modified(&place));
    for router in [&one, &two] {
        let summary = router.client(ADMIN).post("/api/v2/reload", "").await.json();
        assert_eq!((&summary["changed"], &summary["written_back"]), (&json!(0), &json!(false)));
    }
    assert_eq!((std::fs::read(place.path()).unwrap(), modified(&place)), (text, stamp));
    assert_eq!(shards.directory().read().tenants["will"].quota_bytes, Some(20 << 20));
    let mut file = place.json();
    file["tenants"][0]["quota_mb"] = json!(7);
    place.rename_over(&file.to_string());
    shows(&shards, "an edit wins", |d| d.tenants["will"].quota_bytes == Some(7 << 20)).await;
}

fn modified(place: &Place) -> std::time::SystemTime {
    std::fs::metadata(place.path()).unwrap().modified().unwrap()
}

#[tokio::test]
async fn a_file_may_wait_to_be_asked_for() {
    let place = Place::with(r#"{"tenants":[],"reload_on_change":false}"#);
    let router = Router::with(place.options()).await;
    let local = router.client(WILL);
    assert_eq!(local.post("/api/v2/reload", "").await.status.as_u16(), 200);
    let mut file = place.json();
    file["tenants"][0]["quota_mb"] = json!(5);
    let first = file["tenants"][0]["id"].as_str().unwrap().to_owned();
    place.write(&file.to_string());
    // A later change of the directory wakes the follower, which must leave the edit alone.
    let add = json!({"tenant_id": "later"}).to_string();
    router.client(ADMIN).post("/api/v2/admin/tenants/add", add).await;
    let quota = || router.shards.directory().read().tenants[&first].quota_bytes;
    let before = quota();
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(quota(), before);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = local.post("/api/v2/reload", "").await.json();
    assert_eq!((&answer["changed"], quota()), (&json!(1), Some(5 << 20)), "{answer}");
}

#[tokio::test]
async fn reload_without_a_file_or_a_key() {
    let router = Router::start().await;
    let answer = router.client(ADMIN).post("/api/v2/reload", "").await;
    assert_eq!(answer.status.as_u16(), 409);
    assert!(answer.json()["detail"].as_str().unwrap().contains("--tenants"));
    router.client("nobody").post("/api/v2/reload", "").await.is(401, "Unauthorized");
    assert_eq!(router.client(ADMIN).get("/api/v2/reload").await.status.as_u16(), 405);
}

#[tokio::test]
async fn hundreds_of_tenants_take_a_moment() {
    let entries: Vec<String> = (0..500)
        .map(|n| format!(r#""pmb-v1-{n:032}":{{"name":"founding-{n:03}","data_dir":"/d"}}"#))
        .collect();
    let place = Place::with(&format!(r#"{{"tenants":{{{}}}}}"#, entries.join(",")));
    let shards = MemoryShards::new();
    let started = Instant::now();
    let _file = follow(&shards, &place.path()).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(shards.directory().read().tenants.len(), 504);
}
