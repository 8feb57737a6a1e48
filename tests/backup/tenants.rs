//! One tenant of a backup, put into a ranch that serves others.

use http::Method;
use ranch_chaos::Layout;
use serde_json::Value;

use crate::support::{self, launch, refusal};
use crate::{LIMIT, admin, back_up, backups, everything, fill, out, path, run};

/// R1, R7: and those who write into another tenant meanwhile notice nothing of it.
#[tokio::test]
async fn a_tenant_comes_back_beside_itself_or_in_its_own_place() {
    let (ranch, key) = launch(&Layout::default(), "will").await;
    let other = ranch.add_tenant("other").await.unwrap();
    fill(&ranch, &key, 0..300, 1_000).await;
    fill(&ranch, &other, 0..50, 1_000).await;
    let dir = backups(&ranch);
    back_up(&ranch, &dir).await;
    let before = everything(&ranch, "will", &["barn"]).await;
    let mut client = ranch.client(Some(&key));
    client.write("barn", &crate::at(1), "spoilt").await.unwrap();
    let busy = ranch.add_tenant("busy").await.unwrap();
    let running = support::load(&ranch, ("busy", &busy), 74, LIMIT).await;

    // Beside itself it needs a key of its own, which is shown once.
    let new = out(&ranch, &["restore", path(&dir), "--tenant", "will", "--as", "old"]).await;
    assert!(new.starts_with("pmb-v1-"), "{new}");
    assert_eq!(everything(&ranch, "old", &["barn"]).await, before);
    let read = ranch.client(Some(&new)).read("barn", &crate::at(1)).await.unwrap();
    assert!(read.status == 200 && read.text().starts_with("1 hay"), "{}", read.text());
    let read = ranch.client(Some(&key)).read("barn", &crate::at(1)).await.unwrap();
    assert_eq!(read.text(), "spoilt", "the one there was is as it was");
    let again = run(&ranch, &["restore", path(&dir), "--tenant", "will", "--as", "old"]).await;
    assert!(refusal(&again).contains("there is a tenant old already"));

    // In its own place its old keys are free again.
    out(&ranch, &["tenant", "purge", "will", "--yes"]).await;
    assert_eq!(ranch.client(Some(&key)).read("barn", &crate::at(1)).await.unwrap().status, 401);
    let said = out(&ranch, &["restore", path(&dir), "--tenant", "will"]).await;
    assert_eq!(said, "", "no key is made");
    assert_eq!(everything(&ranch, "will", &["barn"]).await, before);
    let read = ranch.client(Some(&key)).read("barn", &crate::at(1)).await.unwrap();
    assert!(read.text().starts_with("1 hay"), "{}", read.text());
    let (_, others) = admin(&ranch, Method::GET, "tenants/other/stats", Value::Null).await;
    assert_eq!(others["scrolls"], 50);
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    support::judge(&ranch, running).await;
}
