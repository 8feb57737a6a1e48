//! A whole SQ installation moves: its tenants with their keys, their phexts with every byte, and
//! what is damaged is named and left behind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;

use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::{Layout, Ranch};

use crate::support::{BINARY, refusal, stdout};

const ANN_KEY: &str = "pmb-v1-0123456789abcdef0123456789abcdef";

fn write(path: PathBuf, text: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// An installation of two tenants: one with a key a ranch takes, one with a short key, a quota and
/// no access any more.
fn installation(dir: &Path) -> PathBuf {
    let file = dir.join("tenants.json");
    let tenants = serde_json::json!({"tenants": [
        {"id": "ann", "api_key": ANN_KEY, "data_dir": "/var/lib/sq/ann"},
        {"id": "bob", "api_key": "short", "data_dir": "bob", "quota_mb": 0.5, "enabled": false},
    ]});
    write(file.clone(), tenants.to_string().as_bytes());
    write(dir.join("ann/index.phext"), "Grüße\u{17}two\u{1}library two".as_bytes());
    write(dir.join("ann/notes.phext"), b"a note");
    write(dir.join("bob/diary.phext"), b"\x18a section");
    file
}

/// Runs `ranch` with the admin key alone.
async fn as_admin(ranch: &Ranch, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    tokio::process::Command::new(BINARY)
        .args(args)
        .env("RANCH_URL", ranch.url())
        .env("RANCH_ADMIN_KEY", ADMIN_KEY)
        .env_remove("RANCH_KEY")
        .kill_on_drop(true)
        .output()
        .await
        .expect("the binary runs")
}

#[tokio::test]
async fn an_installation_moves_with_its_tenants_and_can_be_moved_again() {
    let ranch = Ranch::launch(BINARY, &Layout::default()).await.expect("a ranch starts");
    let file = installation(&ranch.dir().join("sq"));
    let import = ["import", file.to_str().unwrap()];

    let rehearsed = stdout(&as_admin(&ranch, import.iter().chain(&["--dry-run"])).await);
    assert!(rehearsed.contains("ann     index  3"), "{rehearsed}");
    let mut ann = ranch.client(Some(ANN_KEY));
    assert_eq!(ann.get("/api/v2/toc").await.unwrap().status, 401, "a rehearsal moves nothing");

    let moved = stdout(&as_admin(&ranch, import).await);
    let bob_key = moved.trim().strip_prefix("bob\t").expect("the key made for bob");
    assert!(bob_key.starts_with("pmb-v1-"), "{bob_key}");
    for name in ["index", "notes"] {
        let file = std::fs::read(ranch.dir().join(format!("sq/ann/{name}.phext"))).unwrap();
        let got = ann.get(&format!("/api/v2/get?p={name}")).await.unwrap();
        assert_eq!(got.body, file, "{name}");
    }
    let mut bob = ranch.client(Some(bob_key));
    assert_eq!(bob.get("/api/v2/get?p=diary").await.unwrap().status, 403, "bob is disabled");
    let mut admin = ranch.client(Some(ADMIN_KEY));
    let stats = admin.get("/api/v2/admin/tenants/bob/stats").await.unwrap().text();
    assert!(stats.contains(r#""quota_mb":0.5"#) && stats.contains(r#""scrolls":1"#), "{stats}");
    let restored =
        admin.call(http::Method::POST, "/api/v2/admin/tenants/bob/restore").await.unwrap();
    assert_eq!(restored.status, 200, "{}", restored.text());

    // Someone went on working here; the rest is recognised by its checksums.
    ann.insert("notes", "2.1.1/1.1.1/1.1.1", "new").await.unwrap();
    ann.update("index", "1.1.1/1.1.1/1.1.2", "edited").await.unwrap();
    let again = as_admin(&ranch, import).await;
    let said = refusal(&again);
    assert!(said.contains("phexts there already: 1"), "{said}");
    assert!(said.contains("notes.phext: the ranch's text has checksum"), "{said}");
    assert!(said.contains("1 scroll(s) have another text in the ranch"), "{said}");
    let edited = ann.select("index", "1.1.1/1.1.1/1.1.2").await.unwrap().text();
    assert_eq!(edited, "edited", "work done since is not undone");
    let kept = ann.select("notes", "2.1.1/1.1.1/1.1.1").await.unwrap().text();
    assert_eq!(kept, "new");
}

#[tokio::test]
async fn what_is_damaged_is_left_behind_and_named() {
    let ranch = Ranch::launch(BINARY, &Layout::default()).await.expect("a ranch starts");
    let dir = ranch.dir().join("single");
    write(dir.join("good.phext"), b"fine");
    write(dir.join("bad.phext"), b"one\x17t\xffo");
    let said = refusal(&as_admin(&ranch, ["import", dir.to_str().unwrap()]).await);
    assert!(said.contains("left behind") && said.contains("bad.phext"), "{said}");
    assert!(said.contains("not UTF-8 at byte 5"), "{said}");
    let mut admin = ranch.client(Some(ADMIN_KEY));
    let good = admin.get("/api/v2/get?p=good&tenant=default").await.unwrap();
    assert_eq!((good.status, good.text().as_str()), (200, "fine"));
    let bad = admin.get("/api/v2/toc?p=bad&tenant=default").await.unwrap();
    assert_eq!(bad.text(), "* 1.1.1/1.1.1/1.1.1: \n", "nothing of a damaged file is stored");
}
