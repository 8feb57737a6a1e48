//! What is wrong is said, with the remedy, and nothing is changed.

use std::fs;
use std::time::{Duration, Instant};

use http::Method;
use ranch_chaos::wait::until;
use ranch_chaos::{Layout, Ranch};
use serde_json::Value;

use crate::support::{BINARY, launch, refusal};
use crate::{LIMIT, admin, back_up, backups, chunk_files, empty, everything, fill, out, path, run};

/// What can be done where a chunk is spoilt.
const REMEDY: &str = "use another backup; the next `ranch backup` stores it anew if the data is \
                      still the same and the file is gone";

/// Longer than a ranch takes from one thing it does by itself to the next.
const REST: Duration = Duration::from_secs(2);

/// What must not change by a restore that is refused: the tenants, and the rows of all groups, the
/// meta group first.
async fn facts(ranch: &Ranch) -> (Value, Vec<Value>) {
    let tenants = admin(ranch, Method::GET, "tenants", Value::Null).await.1;
    let compared = out(ranch, &["verify-state", "--json"]).await;
    let compared: Value = serde_json::from_str(&compared).unwrap();
    let groups = [&compared["meta"]].into_iter().chain(compared["shards"].as_array().unwrap());
    let hashes: Vec<Value> = groups.map(|group| group["hash"].clone()).collect();
    assert!(hashes.iter().all(Value::is_string), "{compared}");
    (tenants, hashes)
}

/// These facts once they have stayed the same for a while: at first a ranch notes that its shards
/// have begun.
async fn facts_at_rest(ranch: &Ranch) -> (Value, Vec<Value>) {
    let mut last = (facts(ranch).await, Instant::now());
    until("nothing to be written any more", LIMIT, async || {
        let now = facts(ranch).await;
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > REST).then(|| last.0.clone())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_changes_nothing() {
    let (ranch, key) = launch(&Layout { nodes: 1, replicas: 1, ..Layout::default() }, "will").await;
    fill(&ranch, &key, 0..300, 2_000).await;
    let dir = backups(&ranch);
    let taken = back_up(&ranch, &dir).await;
    let name = taken["name"].as_str().unwrap();
    let other = empty(1, 3).await;
    let nothing = facts_at_rest(&other).await;
    let refused = async |expected: &str, remedy: &str| {
        let said = refusal(&run(&other, &["restore", path(&dir)]).await);
        assert!(said.contains(expected) && said.contains(remedy), "{said}");
        let verified = refusal(&run(&other, &["verify", path(&dir)]).await);
        assert!(verified.contains(expected) && verified.contains(remedy), "{verified}");
        assert_eq!(facts(&other).await, nothing);
    };

    for file in chunk_files(&dir) {
        let whole = fs::read(&file).unwrap();
        let mut bits = whole.clone();
        bits[whole.len() / 2] ^= 1;
        fs::write(&file, &bits).unwrap();
        refused(&format!("{} is damaged", file.display()), REMEDY).await;
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        refused(&format!("{} is damaged", file.display()), REMEDY).await;
        fs::remove_file(&file).unwrap();
        refused(&format!("{} is missing", file.display()), REMEDY).await;
        fs::write(&file, &whole).unwrap();
    }
    let manifest = dir.join("backups").join(name).join("manifest");
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, &whole[..whole.len() - 7]).unwrap();
    let remedy = "use another backup, or get the directory back from where it was copied to";
    refused(&format!("the manifest of backup {name} is damaged"), remedy).await;
    fs::write(&manifest, &whole).unwrap();

    // A chunk that is gone is stored anew as long as the ranch has it.
    let lost = chunk_files(&dir).remove(0);
    fs::remove_file(&lost).unwrap();
    let again = back_up(&ranch, &dir).await;
    assert_eq!(again["new_chunks"], 1, "{again}");
    assert!(out(&other, &["verify", path(&dir)]).await.contains("is whole"));
    assert!(out(&other, &["restore", path(&dir)]).await.contains("1 tenants"));
}

/// One tenant of a damaged backup, into the ranch that has it and another one: neither is touched,
/// and there is no third.
#[tokio::test]
async fn a_damaged_tenant_is_refused_by_a_ranch_that_serves_others() {
    let (ranch, key) = launch(&Layout { nodes: 1, replicas: 1, ..Layout::default() }, "will").await;
    fill(&ranch, &key, 0..300, 2_000).await;
    let dir = backups(&ranch);
    back_up(&ranch, &dir).await;
    let other = ranch.add_tenant("other").await.unwrap();
    fill(&ranch, &other, 0..50, 1_000).await;
    let all = async || {
        let (tenants, hashes) = facts(&ranch).await;
        let will = everything(&ranch, "will", &["barn"]).await;
        let other = everything(&ranch, "other", &["barn"]).await;
        // In shards calls are counted now and then; who and what there is, is in the meta group.
        (will, other, tenants, hashes[0].clone())
    };
    facts_at_rest(&ranch).await;
    let before = all().await;
    let restore = ["restore", path(&dir), "--tenant", "will", "--as", "old"];
    let files = chunk_files(&dir);
    assert!(files.len() > 1, "records and scrolls: {files:?}");
    for file in files {
        let whole = fs::read(&file).unwrap();
        let mut bits = whole.clone();
        bits[whole.len() / 3] ^= 1;
        for (spoilt, what) in [(Some(bits), "damaged"), (None, "missing")] {
            match spoilt {
                Some(bytes) => fs::write(&file, bytes).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let said = refusal(&run(&ranch, &restore).await);
            let expected = format!("{} is {what}", file.display());
            assert!(said.contains(&expected) && said.contains(REMEDY), "{said}");
            assert_eq!(all().await, before);
        }
        fs::write(&file, &whole).unwrap();
    }
    assert!(out(&ranch, &restore).await.starts_with("pmb-v1-"), "whole again, it is restored");
    assert_eq!(everything(&ranch, "old", &["barn"]).await, before.0);
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
