//! What is wrong is said, with the remedy, and nothing is changed.

use std::fs;

use http::Method;
use ranch_chaos::Layout;
use serde_json::Value;

use crate::support::{BINARY, launch, refusal};
use crate::{admin, back_up, backups, chunk_files, empty, fill, out, path, run};

#[tokio::test]
async fn a_damaged_backup_is_refused_and_changes_nothing() {
    let (ranch, key) = launch(&Layout { nodes: 1, replicas: 1, ..Layout::default() }, "will").await;
    fill(&ranch, &key, 0..300, 2_000).await;
    let dir = backups(&ranch);
    let taken = back_up(&ranch, &dir).await;
    let name = taken["name"].as_str().unwrap();
    let other = empty(1, 3).await;
    let tenants = async || admin(&other, Method::GET, "tenants", Value::Null).await.1;
    let nothing = tenants().await;
    let refused = async |expected: &str| {
        let said = refusal(&run(&other, &["restore", path(&dir)]).await);
        assert!(said.contains(expected), "{said}");
        let verified = refusal(&run(&other, &["verify", path(&dir)]).await);
        assert!(verified.contains(expected), "{verified}");
        assert_eq!(tenants().await, nothing);
    };

    for file in chunk_files(&dir) {
        let whole = fs::read(&file).unwrap();
        let mut bits = whole.clone();
        bits[whole.len() / 2] ^= 1;
        fs::write(&file, &bits).unwrap();
        refused(&format!("{} is damaged", file.display())).await;
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        refused("is damaged").await;
        fs::remove_file(&file).unwrap();
        refused(&format!("{} is missing", file.display())).await;
        fs::write(&file, &whole).unwrap();
    }
    let manifest = dir.join("backups").join(name).join("manifest");
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, &whole[..whole.len() - 7]).unwrap();
    refused(&format!("the manifest of backup {name} is damaged")).await;
    fs::write(&manifest, &whole).unwrap();

    // A chunk that is gone is stored anew as long as the ranch has it.
    let lost = chunk_files(&dir).remove(0);
    fs::remove_file(&lost).unwrap();
    let again = back_up(&ranch, &dir).await;
    assert_eq!(again["new_chunks"], 1, "{again}");
    assert!(out(&other, &["verify", path(&dir)]).await.contains("is whole"));
    assert!(out(&other, &["restore", path(&dir)]).await.contains("1 tenants"));
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_with_the_remedy() {
    let (ranch, key) = launch(&Layout { nodes: 1, replicas: 1, ..Layout::default() }, "will").await;
    fill(&ranch, &key, 0..10, 100).await;
    let dir = backups(&ranch);
    let said = |output| refusal(&output);
    let wrong = tokio::process::Command::new(BINARY)
        .args(["backup", path(&dir), "--url", &ranch.url(), "--admin-key", "pmb-v1-wrong"])
        .output();
    let text = said(wrong.await.unwrap());
    assert!(text.contains("401") && text.contains("--admin-key"), "{text}");
    let tenant = tokio::process::Command::new(BINARY)
        .args(["backup", path(&dir), "--url", &ranch.url(), "--admin-key", &key])
        .output();
    let text = said(tenant.await.unwrap());
    assert!(text.contains("403") && text.contains("admin key"), "{text}");
    let text = said(run(&ranch, &["restore", path(&dir)]).await);
    assert!(text.contains("no whole backup"), "{text}");
    let text = said(run(&ranch, &["verify", path(ranch.dir())]).await);
    assert!(text.contains("no directory of backups"), "{text}");
    let text = said(run(&ranch, &["backup", path(ranch.dir())]).await);
    assert!(text.contains("other things than backups"), "{text}");

    back_up(&ranch, &dir).await;
    let text = said(run(&ranch, &["restore", path(&dir)]).await);
    assert!(text.contains("has tenants (will)") && text.contains("--tenant"), "{text}");
    let text = said(run(&ranch, &["restore", path(&dir), "--backup", "x"]).await);
    assert!(text.contains("no backup x") && text.contains("--list"), "{text}");
    let text = said(run(&ranch, &["restore", path(&dir), "--tenant", "nobody"]).await);
    assert!(text.contains("has no tenant nobody"), "{text}");
    let text = said(run(&ranch, &["restore", path(&dir), "--tenant", "will"]).await);
    assert!(text.contains("--as") && text.contains("purge"), "{text}");

    // Nor is anything done by the endpoints alone.
    for (method, below) in [
        (Method::POST, "restore/tenants"),
        (Method::POST, "restore/tenants/will/scrolls"),
        (Method::POST, "restore/tenants/will/finish"),
        (Method::POST, "backup/copies?shard=99"),
        (Method::POST, "backup/copies"),
        (Method::GET, "backup/copies/1-1-1/0"),
        (Method::GET, "backup/copies/x/0"),
        (Method::DELETE, "backup/copies/1-1-1"),
    ] {
        let (status, answer) = admin(&ranch, method, below, Value::Null).await;
        assert!((400..500).contains(&status), "{below}: {status} {answer}");
    }
}
