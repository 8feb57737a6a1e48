//! A whole ranch, backed up under load and put into another one.

use std::time::Instant;

use http::Method;
use ranch_chaos::Layout;
use ranch_chaos::ranch::ADMIN_KEY;
use serde_json::{Value, json};

use crate::support::{launch, refusal};
use crate::{
    LIMIT, admin, back_up, backups, empty, everything, fill, moment, out, path, run, support,
};

/// R1: everything that was acknowledged when the backup began is in the ranch it is put into, one
/// of another size, with its revisions, times, keys and counts; and goes on from there.
#[tokio::test]
async fn everything_comes_back_in_a_ranch_of_another_size() {
    let (ranch, key) = launch(&Layout::default(), "will").await;
    let reader = out(&ranch, &["tenant", "key", "add", "will", "--role", "ro"]).await;
    let gone = out(&ranch, &["tenant", "key", "add", "will", "--label", "gone"]).await;
    let (_, keys) = admin(&ranch, Method::GET, "tenants/will/keys", Value::Null).await;
    let keys = keys["keys"].as_array().unwrap();
    let name = keys.iter().find(|key| key["label"] == "gone").unwrap()["key_id"].as_str().unwrap();
    out(&ranch, &["tenant", "key", "revoke", "will", name]).await;
    let quiet = ranch.add_tenant_with("quiet", 1.0, Some(50)).await.unwrap();
    ranch.add_tenant("nothing").await.unwrap();
    out(&ranch, &["tenant", "disable", "nothing"]).await;
    ranch.add_tenant("busy").await.unwrap();
    let busy = out(&ranch, &["tenant", "key", "add", "busy"]).await;

    fill(&ranch, &key, 0..600, 4_000).await;
    let mut client = ranch.client(Some(&key)).with_limit(LIMIT);
    let large = "large ".repeat(500_000);
    assert_eq!(client.write("barn", "loft/large", large).await.unwrap().status, 200);
    assert_eq!(client.write("notes", "notes/todo", "feed horses").await.unwrap().status, 200);
    // The last revision is that of a scroll that is gone.
    client.write("notes", "a/b", "x").await.unwrap();
    let last = client.delete("notes", "a/b").await.unwrap();
    assert_eq!(last.status, 200, "{}", last.text());
    let phexts = ["barn", "notes"];
    let before = everything(&ranch, "will", &phexts).await;

    let running = support::load(&ranch, ("busy", &busy), 71, LIMIT).await;
    let dir = backups(&ranch);
    let (started, began_us) = (Instant::now(), running.elapsed_us());
    let taken = back_up(&ranch, &dir).await;
    let during = began_us..running.elapsed_us();
    println!("backup under load: {taken} in {:?}", started.elapsed());
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    let history = support::judge(&ranch, running).await;
    let after = everything(&ranch, "will", &phexts).await;
    assert_eq!(after, before);
    let said = out(&ranch, &["verify", path(&dir)]).await;
    assert!(said.contains("is whole"), "{said}");

    let other = empty(1, 7).await;
    let started = Instant::now();
    let said = out(&other, &["restore", path(&dir)]).await;
    println!("{said} in {:?}", started.elapsed());
    assert!(said.contains("4 tenants"), "{said}");
    assert_eq!(everything(&other, "will", &phexts).await, before);
    moment::is_of_one(&other, &busy, &history, during).await;
    keys_work(&other, &key, &reader, &gone).await;
    let (_, shown) = admin(&other, Method::GET, "tenants/quiet", Value::Null).await;
    assert_eq!((&shown["quota_mb"], &shown["rate_per_s"]), (&json!(1.0), &json!(50.0)));
    let (_, shown) = admin(&other, Method::GET, "tenants/nothing", Value::Null).await;
    assert_eq!(shown["status"], "disabled");
    let mut client = other.client(Some(&quiet));
    assert_eq!(client.write("p", "1.1.1/1.1.1/1.1.1", "new").await.unwrap().status, 200);

    // Revisions go on from the last one given out, not from the last one that is left.
    let mut client = other.client(Some(&key)).with_limit(LIMIT);
    let next = client.write("notes", "notes/todo", "feed cows").await.unwrap();
    let todo = client.read("notes", "notes/todo").await.unwrap();
    assert_eq!((next.status, todo.text().as_str()), (200, "feed cows"));
    assert_eq!(todo.etag().unwrap(), 600 + 2 + 2 + 1);

    // What is there is not overwritten, and what was finished is left alone.
    let again = out(&other, &["restore", path(&dir)]).await;
    assert!(again.contains("0 tenants") && again.contains("4 were there already"), "{again}");
    other.add_tenant("stranger").await.unwrap();
    let said = refusal(&run(&other, &["restore", path(&dir)]).await);
    assert!(said.contains("stranger") && said.contains("empty ranch"), "{said}");
}

async fn keys_work(other: &ranch_chaos::Ranch, key: &str, reader: &str, gone: &str) {
    let text = "feed horses";
    for good in [key, reader] {
        let read = other.client(Some(good)).read("notes", "notes/todo").await.unwrap();
        assert_eq!((read.status, read.text().as_str()), (200, text));
    }
    let mut client = other.client(Some(reader));
    assert_eq!(client.write("notes", "notes/todo", "x").await.unwrap().status, 403);
    let mut client = other.client(Some(gone));
    assert_eq!(client.read("notes", "notes/todo").await.unwrap().status, 401);
    // A key that is known under the other salt is not given a second time.
    let body = json!({ "key": key });
    let (status, said) = admin(other, Method::POST, "tenants/quiet/keys", body).await;
    assert_eq!(status, 409, "{said}");
}

/// Only what has changed is stored, and old backups go when they are not wanted any more.
#[tokio::test]
async fn a_second_backup_moves_only_what_changed() {
    let (ranch, key) = launch(&Layout { nodes: 1, replicas: 1, ..Layout::default() }, "will").await;
    fill(&ranch, &key, 0..4_000, 4_000).await;
    let dir = backups(&ranch);
    let number = |taken: &Value, name: &str| taken[name].as_u64().unwrap();
    let first = back_up(&ranch, &dir).await;
    assert!(number(&first, "new_bytes") > 15 << 20, "{first}");
    let same = back_up(&ranch, &dir).await;
    // The records are the same, too.
    assert_eq!((number(&same, "new_chunks"), number(&same, "new_bytes")), (0, 0), "{same}");
    fill(&ranch, &key, 10_000..10_001, 100).await;
    let mut client = ranch.client(Some(&key));
    client.write("barn", &crate::at(2_000), "changed").await.unwrap();
    let third = back_up(&ranch, &dir).await;
    let (chunks, bytes) = (number(&third, "new_chunks"), number(&third, "new_bytes"));
    println!("first {first}\nthird {third}");
    assert!((1..=6).contains(&chunks), "{third}");
    assert!(bytes * 2 < number(&first, "new_bytes"), "{third}");

    let list = out(&ranch, &["backup", path(&dir), "--list"]).await;
    assert_eq!(list.lines().count(), 4, "{list}");
    out(&ranch, &["backup", path(&dir), "--keep", "2"]).await;
    let list = out(&ranch, &["backup", path(&dir), "--list", "--json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    out(&ranch, &["verify", path(&dir)]).await;
}

/// The bytes of a chunk may be had in parts, which is how a backup at a bounded rate has them.
#[tokio::test]
async fn parts_of_a_chunk_make_the_whole() {
    let (ranch, key) = launch(&Layout { nodes: 1, replicas: 1, ..Layout::default() }, "will").await;
    let mut client = ranch.client(Some(&key)).with_limit(LIMIT);
    let large = "large ".repeat(500_000);
    assert_eq!(client.write("barn", "loft/large", large).await.unwrap().status, 200);
    let mut admin = ranch.client(Some(ADMIN_KEY)).with_limit(LIMIT);
    let mut ask = async |method, below: &str| {
        let target = format!("/api/v2/admin/backup{below}");
        let accept = [("accept", "application/json, application/octet-stream")];
        let answer = admin.send(method, &target, &accept, String::new()).await.unwrap();
        (answer.status, answer.body)
    };
    let (_, about) = ask(Method::GET, "").await;
    let about: Value = serde_json::from_slice(&about).unwrap();
    let mut whole = Vec::new();
    for shard in about["shards"].as_array().unwrap() {
        let (_, opened) = ask(Method::POST, &format!("/copies?shard={shard}")).await;
        let opened: Value = serde_json::from_slice(&opened).unwrap();
        let first = format!("/copies/{}/0", opened["copy"].as_str().unwrap());
        let (_, piece) = ask(Method::GET, &first).await;
        let piece: Value = serde_json::from_slice(&piece).unwrap();
        let Some(length) = piece["chunk"]["bytes"].as_u64() else { continue };
        whole = ask(Method::GET, &format!("{first}/bytes")).await.1.to_vec();
        assert_eq!(whole.len() as u64, length);
        // A megabyte is the most there is, whatever is asked for.
        for (length, most) in
            [("", 1 << 20), ("&length=70000", 70_000), ("&length=9999999", 1 << 20)]
        {
            let (mut parts, mut sizes) = (Vec::new(), Vec::new());
            while parts.len() < whole.len() {
                let offset = parts.len();
                let asked = format!("{first}/bytes?offset={offset}{length}");
                let (status, part) = ask(Method::GET, &asked).await;
                assert!(status == 200 && !part.is_empty(), "{asked}: {status}");
                sizes.push(part.len());
                parts.extend_from_slice(&part);
            }
            assert!(parts == whole, "{length}");
            assert_eq!(sizes[0], most, "{length}");
        }
        let after = format!("{first}/bytes?offset={length}");
        assert_eq!(ask(Method::GET, &after).await, (200, Vec::new().into()));
        for bad in ["length=0", "length=x", "offset=-1"] {
            let (status, said) = ask(Method::GET, &format!("{first}/bytes?{bad}")).await;
            let field = bad.split('=').next().unwrap();
            assert!(String::from_utf8_lossy(&said).contains(field), "{bad}: {said:?}");
            assert_eq!(status, 400, "{bad}");
        }
    }
    assert!(whole.len() > 2 << 20, "one shard has the text");
}
