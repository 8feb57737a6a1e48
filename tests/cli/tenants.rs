//! `ranch tenant` from beginning to end, as an operator would.

use ranch_chaos::ranch::ADMIN_KEY;
use serde_json::Value;

use crate::support::{cli, ranch_with, refusal, stdout};

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

#[tokio::test]
async fn the_life_of_a_tenant() {
    let (ranch, _) = ranch_with("other").await;
    let run = async |line: &str| cli(&ranch, "", line.split_whitespace()).await;
    let out = async |line: &str| stdout(&run(line).await);
    let key = out("tenant add will --quota-mb 1").await.trim().to_owned();
    assert!(key.starts_with("pmb-v1-"), "{key}");
    assert!(out("tenant list").await.contains("will"));

    let quota = object(&out("tenant quota will 2.5 --json").await);
    assert_eq!(quota["quota_mb"], 2.5);
    let set = object(&out("tenant set will --quota-mb none --rate-per-s 50 --json").await);
    assert_eq!((&set["quota_mb"], &set["rate_per_s"]), (&Value::Null, &Value::from(50.0)));
    assert!(out("tenant show will").await.contains("rate_per_s"));

    let reader = out("tenant key add will --role ro --label backup").await.trim().to_owned();
    let keys = object(&out("tenant key list will --json").await);
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let table = out("tenant key list will").await;
    assert!(table.contains("KEY ID") && table.contains("backup") && !table.contains(&reader));
    stdout(&cli(&ranch, &key, ["write", "notes/todo", "hay"]).await);
    stdout(&cli(&ranch, &key, ["write", "1.1.1/1.1.1/1.1.2", "two"]).await);
    assert!(refusal(&cli(&ranch, &reader, ["write", "a/b", "x"]).await).contains("may only read"));
    let backup = keys.iter().find(|key| key["label"] == "backup").unwrap();
    out(&format!("tenant key revoke will {}", backup["key_id"].as_str().unwrap())).await;
    assert!(refusal(&cli(&ranch, &reader, ["read", "notes/todo"]).await).contains("401"));
    assert!(out("tenant stats will").await.contains("storage_used_bytes"));

    let archive = ranch.dir().join("will.tar");
    out("tenant disable will").await;
    out(&format!("tenant archive will {}", archive.display())).await;
    let unpacked = std::process::Command::new("tar")
        .arg("xf")
        .arg(&archive)
        .current_dir(ranch.dir())
        .output()
        .unwrap();
    assert!(unpacked.status.success());
    let named = std::fs::read_to_string(ranch.dir().join("will/named-scrolls.jsonl")).unwrap();
    assert!(named.contains("notes.todo") && named.contains("hay"), "{named}");

    assert!(refusal(&run("tenant purge will").await).contains("--yes"));
    assert!(out("tenant purge will --yes").await.contains("purged"));
    assert!(refusal(&run("tenant show will").await).contains("404"));

    // The archive goes back in, into a tenant that begins anew.
    let key = out("tenant add will").await.trim().to_owned();
    let phexts = ranch.dir().join("will");
    stdout(&cli(&ranch, &key, ["import", phexts.to_str().unwrap()]).await);
    let read = cli(&ranch, &key, ["read", "1.1.1/1.1.1/1.1.2", "--phext", "index"]).await;
    assert_eq!(stdout(&read), "two");
    let log = std::fs::read_to_string(ranch.dir().join("router.log")).unwrap();
    assert!(log.contains("purge tenant") && log.contains("audit"), "it is written down");
    assert!(!log.contains(&key) && !log.contains(&reader) && !log.contains(ADMIN_KEY));
}
