//! Scrolls up to 64 MiB over real processes: whole, appended to, refused a byte later, and neither
//! lost nor doubled when the leader dies during uploads.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use ranch_chaos::Cluster;
use ranch_chaos::client::resource;
use ranch_proto::phext::Checksum;

use crate::support::{assert_answer, ranch_with};

const AT: &str = "1.1.1/1.1.1/1.1.1";
const LARGEST: usize = 64 << 20;
/// Longest wait for a leader.
const LIMIT: Duration = Duration::from_secs(30);

/// A text of so many bytes in which no two places look alike.
fn text(bytes: usize) -> Bytes {
    let mut text = Vec::with_capacity(bytes + 16);
    for line in 0_u32.. {
        if text.len() >= bytes {
            break;
        }
        text.extend_from_slice(format!("line {line:08}\n").as_bytes());
    }
    text.truncate(bytes);
    text.into()
}

fn checksum(text: &[u8]) -> String {
    let mut checksum = Checksum::new();
    checksum.update(text);
    checksum.hex()
}

#[tokio::test]
async fn the_largest_scroll_is_stored_read_and_removed() {
    let (mut ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key));
    let largest = text(LARGEST);
    let target = resource("write", "large", AT);
    let one_more = [&largest[..], b"x"].concat();
    let refused = client.send(Method::PUT, &target, &[], one_more).await.unwrap();
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert_eq!(client.read("large", AT).await.unwrap().status, 404);

    let written = client.send(Method::PUT, &target, &[], largest.clone()).await.unwrap();
    assert_answer(&written, 200, "Updated 67108864 bytes");
    let read = client.read("large", AT).await.unwrap();
    assert!(read.status == 200 && read.body == largest);
    assert_eq!(read.header("content-length"), "67108864");
    let full = client.insert("large", AT, "x").await.unwrap();
    assert_eq!(full.status, 413, "{}", full.text());
    let sum = client.get("/api/v2/checksum?p=large").await.unwrap();
    assert_answer(&sum, 200, &checksum(&largest));

    // An append touches its end only, and all of it is there after every node has died.
    let half = largest.slice(..LARGEST / 2);
    client.send(Method::PUT, &target, &[], half.clone()).await.unwrap();
    let appended = client.insert("large", AT, "the end").await.unwrap();
    assert_answer(&appended, 200, "Inserted 7 bytes");
    ranch.kill_all_nodes().unwrap();
    ranch.start_all().unwrap();
    ranch.wait_ready().await.expect("every shard has a leader again");
    let whole = [&half[..], b"the end"].concat();
    let mut client = ranch.client(Some(&key));
    let read = client.select("large", AT).await.unwrap();
    assert!(read.status == 200 && read.body == whole);
    let removed = client.delete("large", AT).await.unwrap();
    assert_answer(&removed, 200, &format!("Removed {} bytes", whole.len()));
    assert_answer(&client.get("/api/v2/get?p=large").await.unwrap(), 200, "");
}

#[tokio::test]
async fn a_batch_is_one_step_over_real_processes() {
    let (ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key));
    let at = |n: usize| format!("1.1.1/1.1.1/1.1.{n}");
    let long = "long ".repeat(60_000);
    let ops = |op: &str| -> Vec<_> {
        let op = |n| match op {
            "read" => serde_json::json!({"op": "read", "p": "b", "c": at(n)}),
            op => {
                serde_json::json!({"op": op, "p": "b", "c": at(n), "text": format!("{n} {long}")})
            }
        };
        (1..=20).map(op).collect()
    };
    let mut send = async |ops: serde_json::Value| {
        let answer = client.send(Method::POST, "/api/v2/batch", &[], ops.to_string()).await;
        let answer = answer.unwrap();
        (answer.status, serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap())
    };
    // Larger than a log entry, so it is staged and committed by one.
    let (status, answer) = send(serde_json::json!({"ops": ops("append")})).await;
    assert_eq!((status, &answer["results"][19]["revision"]), (200, &20.into()));
    let (status, answer) = send(serde_json::json!({"ops": ops("read")})).await;
    assert_eq!(status, 200);
    for n in 1..=20 {
        assert_eq!(answer["results"][n - 1]["text"], format!("{n} {long}"));
    }
    let mut failing = ops("append");
    failing.push(serde_json::json!({"op": "delete", "p": "b", "c": at(1), "if_rev": 99}));
    let (status, answer) = send(serde_json::json!({"ops": failing})).await;
    assert_eq!((status, &answer["failed"]), (412, &20.into()));
    let (_, answer) = send(serde_json::json!({"ops": ops("read")})).await;
    assert_eq!(answer["results"][3]["revision"], 4, "nothing was applied");
}

#[tokio::test]
async fn a_leader_killed_during_uploads_loses_and_doubles_nothing() {
    let (mut ranch, key) = ranch_with("will").await;
    let piece = text(6 << 20);
    let mut uploads = tokio::task::JoinSet::new();
    for n in 0..4 {
        let mut client = ranch.client(Some(&key));
        let piece = piece.clone();
        uploads.spawn(async move {
            let target = format!("/api/v2/insert?p=up&c=1.1.1/1.1.1/1.1.{}", n + 1);
            let mut stored = Vec::new();
            for round in 0..6 {
                let key = format!("upload-{n}-{round}");
                loop {
                    let header = [("idempotency-key", key.as_str())];
                    let sent = client.send(Method::POST, &target, &header, piece.clone()).await;
                    // What was not acknowledged is tried again under the same key.
                    if sent.is_ok_and(|answer| answer.status == 200) {
                        break;
                    }
                }
                stored.push(round);
            }
            stored.len()
        });
    }
    for _ in 0..2 {
        let led = |cluster: &Cluster| cluster.leader_of("will").is_some();
        let cluster = ranch.wait_cluster("a leader", LIMIT, led).await.expect("a leader");
        let leader = cluster.leader_of("will").expect("just seen");
        ranch.node(leader).unwrap().kill().unwrap();
        ranch.node(leader).unwrap().start().unwrap();
        ranch.wait_ready().await.expect("every shard has a leader again");
    }
    while let Some(done) = uploads.join_next().await {
        assert_eq!(done.unwrap(), 6);
    }
    let mut client = ranch.client(Some(&key));
    for n in 1..=4 {
        let read = client.select("up", &format!("1.1.1/1.1.1/1.1.{n}")).await.unwrap();
        assert_eq!(read.body.len(), 6 * piece.len(), "scroll {n}");
        assert!(read.body.chunks(piece.len()).all(|part| part == piece));
    }
}
