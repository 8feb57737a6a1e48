//! R10: clients and nodes are killed in the middle, and it ends all the same.

use std::fs;

use http::Method;
use ranch_chaos::Layout;
use ranch_chaos::wait::until;
use serde_json::Value;

use crate::support::{launch, refusal};
use crate::{
    LIMIT, admin, back_up, backups, chunk_files, chunks_in, empty, everything, fill, out, path,
    run, start,
};

/// Of the thread of a process that others wait for the most, from -20 to 19 (`proc_pid_stat(5)`).
fn niceness(pid: u32) -> i32 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|thread| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        // The name may have blanks; 16 fields after it stands what we look for.
        let after_name = stat.rsplit_once(") ").unwrap().1;
        after_name.split(' ').nth(16).unwrap().parse().unwrap()
    });
    threads.min().unwrap()
}

/// A backup that is cut short is none; the next one uses what it left.
#[tokio::test]
async fn a_backup_goes_on_where_it_was_killed() {
    let (ranch, key) = launch(&Layout { nodes: 1, replicas: 1, ..Layout::default() }, "will").await;
    fill(&ranch, &key, 0..3_000, 4_000).await;
    let dir = backups(&ranch);
    let mut killed = start(&ranch, &["backup", path(&dir), "--rate-mb-s", "2"]);
    chunks_in(&dir, 3).await;
    let behind = (niceness(std::process::id()) + 10).min(19);
    assert_eq!(niceness(killed.id().unwrap()), behind, "a backup with a rate gives way");
    killed.kill().await.unwrap();
    let left = chunk_files(&dir).len() as u64;
    let said = refusal(&run(&ranch, &["restore", path(&dir), "--tenant", "will"]).await);
    assert!(said.contains("no whole backup"), "{said}");
    let taken = back_up(&ranch, &dir).await;
    let (all, new) = (taken["chunks"].as_u64().unwrap(), taken["new_chunks"].as_u64().unwrap());
    assert_eq!(new, all - left, "{taken}, {left} were left");
    assert!(out(&ranch, &["verify", path(&dir)]).await.contains("is whole"));
}

/// Nobody sees a tenant before it is whole, and a restore that was killed is finished by the next.
#[tokio::test]
async fn a_restore_goes_on_where_it_was_killed() {
    let (ranch, key) = launch(&Layout { nodes: 1, replicas: 1, ..Layout::default() }, "will").await;
    fill(&ranch, &key, 0..3_000, 4_000).await;
    let dir = backups(&ranch);
    back_up(&ranch, &dir).await;
    let before = everything(&ranch, "will", &["barn"]).await;

    let mut other = empty(3, 2).await;
    let mut killed = start(&other, &["restore", path(&dir), "--rate-mb-s", "2"]);
    until("scrolls of the tenant", LIMIT, async || {
        let stats = admin(&other, Method::GET, "tenants/will/stats", Value::Null).await.1;
        (stats["scrolls"].as_u64() > Some(0)).then_some(())
    })
    .await
    .unwrap();
    killed.kill().await.unwrap();
    let (_, shown) = admin(&other, Method::GET, "tenants/will", Value::Null).await;
    assert_eq!(shown["status"], "restoring", "{shown}");
    let read = other.client(Some(&key)).read("barn", &crate::at(1)).await.unwrap();
    assert_eq!(read.status, 403, "{}", read.text());
    let (code, said) = admin(&other, Method::POST, "tenants/will/restore", Value::Null).await;
    assert!(code == 409 && said.to_string().contains("ranch restore"), "{code} {said}");

    // A node dies while it goes on; two of three are enough.
    let running = start(&other, &["restore", path(&dir), "--rate-mb-s", "4"]);
    until("more scrolls", LIMIT, async || {
        let stats = admin(&other, Method::GET, "tenants/will/stats", Value::Null).await.1;
        (stats["scrolls"].as_u64() > Some(600)).then_some(())
    })
    .await
    .unwrap();
    other.node(1).unwrap().kill().unwrap();
    let output = running.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(everything(&other, "will", &["barn"]).await, before);
    other.node(1).unwrap().start().unwrap();
    let read = other.client(Some(&key)).read("barn", &crate::at(1)).await.unwrap();
    assert_eq!(read.status, 200, "{}", read.text());
}

/// The node that gives a copy dies: another one gives it from the beginning, and what is stored of
/// it is not sent again.
#[tokio::test]
async fn a_backup_survives_its_node() {
    let (mut ranch, key) = launch(&Layout::default(), "will").await;
    fill(&ranch, &key, 0..3_000, 4_000).await;
    let dir = backups(&ranch);
    let before = everything(&ranch, "will", &["barn"]).await;
    let running = start(&ranch, &["backup", path(&dir), "--rate-mb-s", "1"]);
    chunks_in(&dir, 2).await;
    // Whichever node has the copy of the one shard with data says so in its log.
    let (_, tenant) = admin(&ranch, Method::GET, "tenants/will", Value::Null).await;
    let said = format!("\"group\":\"{}\"", tenant["shard"]);
    let giver = ranch.logs().into_iter().find_map(|(name, log)| {
        let gives = log.lines().any(|line| {
            line.contains("a copy for a backup is opened")
                && (line.contains(&said) || line.contains(&format!("group={}", tenant["shard"])))
        });
        name.strip_prefix("node").filter(|_| gives)?.parse::<u32>().ok()
    });
    ranch.node(giver.expect("a node gives the copy")).unwrap().kill().unwrap();
    let output = running.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("begun anew"), "{said}");
    assert!(out(&ranch, &["verify", path(&dir)]).await.contains("is whole"));
    let other = empty(1, 3).await;
    out(&other, &["restore", path(&dir)]).await;
    assert_eq!(everything(&other, "will", &["barn"]).await, before);
}
