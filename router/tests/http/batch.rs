//! `batch`: the forms of requests and answers, and that it is one hop.

use http::Method;
use ranch_router::Options;
use serde_json::{Value, json};

use crate::support::{Client, Fault, READER, Router, TINY, WILL};

const A: &str = "1.1.1/1.1.1/1.1.1";
const B: &str = "1.1.1/1.1.1/1.1.2";

async fn batch(client: &Client, body: &Value) -> (u16, Value) {
    let reply = client.post("/api/v2/batch", body.to_string()).await;
    (reply.status.as_u16(), reply.json())
}

#[tokio::test]
async fn results_come_in_order_with_revisions_and_texts() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let ops = json!({"ops": [
        {"op": "write", "c": A, "text": "one"},
        {"op": "append", "p": "notes", "c": "notes/todo", "text": "ä"},
        {"op": "read", "c": A},
        {"op": "delete", "c": A, "if_rev": 1},
        {"op": "read", "c": A},
        {"op": "write", "c": B, "text": ""},
        {"op": "append", "c": B, "text": "b", "if_rev": 0},
    ]});
    let reply = client.post("/api/v2/batch", ops.to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-ranch-revision")), (200, "4"));
    assert_eq!(reply.header("content-type"), "application/json");
    let absent = format!("no scroll at {A}");
    let expected = json!({"results": [
        {"status": 200, "revision": 1},
        {"status": 200, "revision": 2},
        {"status": 200, "revision": 1, "text": "one"},
        {"status": 200, "revision": 3},
        {"status": 404, "revision": 0, "error": absent},
        {"status": 200, "revision": 3},
        {"status": 200, "revision": 4},
    ]});
    assert_eq!(reply.json(), expected);
    client.get("/api/v2/select?p=notes&c=notes/todo").await.is(200, "ä");
    assert_eq!(batch(&client, &json!({"ops": []})).await, (200, json!({"results": []})));
}

#[tokio::test]
async fn fifty_scrolls_are_one_read() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let at = |n: usize| format!("1.1.1/1.1.1/1.1.{n}");
    let writes: Vec<_> =
        (1..=50).map(|n| json!({"op": "write", "c": at(n), "text": format!("text {n}")})).collect();
    router.knows_leaders().await;
    assert_eq!(batch(&client, &json!({"ops": writes})).await.0, 200);
    assert_eq!(router.shards.take_calls().len(), 1);
    let reads: Vec<_> = (1..=50).map(|n| json!({"op": "read", "c": at(n)})).collect();
    let reader = router.client(READER);
    let (status, answer) = batch(&reader, &json!({"ops": reads[..5]})).await;
    assert_eq!(status, 200);
    let calls = router.shards.take_calls();
    assert_eq!((calls.len(), calls[0].request_id.len()), (1, 0), "one read, no command");
    assert_eq!(answer["results"][4], json!({"status": 200, "revision": 5, "text": "text 5"}));
    // What the shard leaves out is fetched at the same revisions.
    let reply = reader.post("/api/v2/batch", json!({"ops": reads}).to_string()).await;
    assert_eq!(reply.header("x-ranch-revision"), "");
    let answer = reply.json();
    for n in 1..=50 {
        assert_eq!(answer["results"][n - 1]["text"], format!("text {n}"));
        assert_eq!(answer["results"][n - 1]["revision"], n);
    }
    let stale = reader.post("/api/v2/batch?consistency=stale", json!({"ops": reads}).to_string());
    assert_eq!(stale.await.header("x-ranch-applied"), "1");
}

#[tokio::test]
async fn an_atomic_batch_fails_as_a_whole_and_names_the_op() {
    let router = Router::start().await;
    let client = router.client(WILL);
    client.post(&format!("/api/v2/update?c={A}"), "old").await;
    for (op, status, detail, field) in [
        (
            json!({"op": "write", "c": A, "text": "x", "if_rev": 9}),
            412,
            "op 1: the scroll is at revision 1, not the one asked for",
            json!("if_rev"),
        ),
        (json!({"op": "write", "c": "abc", "text": "x"}), 400, "op 1: ", json!("c")),
        (json!({"op": "write", "text": "x"}), 400, "op 1: c must be given", json!("c")),
        (json!({"op": "write", "c": A}), 400, "op 1: text must be given", json!("text")),
        (json!({"op": "read", "c": A, "text": "x"}), 400, "op 1: text must be left", json!("text")),
        (json!({"op": "append", "c": A, "text": "\u{17}"}), 400, "op 1: the scroll", json!("text")),
        (json!({"op": "write", "p": "../x", "c": A, "text": "x"}), 403, "op 1: Forb", json!("p")),
        (json!({"op": "copy", "c": A}), 400, "op 1: the body is not", json!("body")),
        (json!({"op": "read", "c": 7}), 400, "c: invalid type", json!("body")),
    ] {
        let ops = json!({"ops": [{"op": "append", "c": B, "text": "no"}, op]});
        let (found, answer) = batch(&client, &ops).await;
        assert_eq!((found, &answer["failed"], &answer["field"]), (status, &json!(1), &field));
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{answer}");
    }
    client.get(&format!("/api/v2/select?c={B}")).await.is(200, "");
    // Reads, too, may ask for a revision.
    let ops =
        json!({"ops": [{"op": "read", "c": A, "if_rev": 1}, {"op": "read", "c": B, "if_rev": 1}]});
    let (status, answer) = batch(&client, &ops).await;
    assert_eq!((status, &answer["failed"]), (412, &json!(1)));
    let tiny = router.client(TINY);
    let ops = json!({"ops": [{"op": "write", "c": A, "text": "x"},
                             {"op": "write", "c": B, "text": "x".repeat(99)}]});
    let (status, answer) = batch(&tiny, &ops).await;
    assert_eq!((status, &answer["failed"]), (507, &json!(1)));
    tiny.get(&format!("/api/v2/select?c={A}")).await.is(200, "");
}

#[tokio::test]
async fn independent_ops_have_results_of_their_own() {
    let router = Router::start().await;
    let client = router.client(TINY);
    let ops = json!({"atomic": false, "ops": [
        {"op": "write", "c": A, "text": "x"},
        {"op": "write", "c": "abc", "text": "x"},
        {"op": "append", "c": A, "text": "y", "if_rev": 7},
        {"op": "write", "c": B, "text": "x".repeat(99)},
        {"op": "append", "c": A, "text": "z"},
        {"op": "read", "c": A},
    ]});
    let reply = client.post("/api/v2/batch", ops.to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-ranch-revision")), (200, "2"));
    let answer = reply.json();
    let column = |name: &str| -> Vec<Value> {
        let results = answer["results"].as_array().unwrap();
        results.iter().map(|result| result[name].clone()).collect()
    };
    assert_eq!(column("status"), [200, 400, 412, 507, 200, 200]);
    assert_eq!(column("revision"), [1, 0, 1, 0, 2, 2]);
    assert_eq!(answer["results"][5]["text"], "xz");
    assert!(answer["results"][1]["error"].as_str().unwrap().contains("abc"));
    let ops = json!({"atomic": false, "ops": [{"op": "read", "c": "abc"}]});
    assert_eq!(batch(&client, &ops).await.1["results"][0]["status"], 400);
}

#[tokio::test]
async fn keys_methods_and_limits() {
    let options = Options { scroll_max_bytes: 20, ..Router::options() };
    let router = Router::with(options).await;
    let client = router.client(WILL);
    let reader = router.client(READER);
    let write = json!({"ops": [{"op": "read", "c": A}, {"op": "delete", "c": A}]});
    let (status, answer) = batch(&reader, &write).await;
    assert_eq!((status, &answer["type"]), (403, &json!("urn:ranch:error:read-only-key")));
    let put = client.send(Method::PUT, "/api/v2/batch", "{}").await;
    assert_eq!((put.status.as_u16(), put.header("allow")), (405, "POST"));
    let many = |count: usize| json!({"ops": vec![json!({"op": "read", "c": A}); count]});
    assert_eq!(batch(&client, &many(10_000)).await.0, 200);
    assert_eq!(batch(&client, &many(10_001)).await.0, 413);
    let long = json!({"ops": [{"op": "write", "c": A, "text": "x".repeat(21)}]});
    let (status, answer) = batch(&client, &long).await;
    assert_eq!((status, &answer["failed"]), (413, &json!(0)));
    let body = format!("{{\"ops\":[{}]}}", " ".repeat(16 << 20));
    let reply = client.post("/api/v2/batch", body).await;
    assert_eq!(reply.status.as_u16(), 413);
    for broken in ["", "[]", "{", "{\"ops\":1}", "{\"ops\":[]}x", "\u{FF}"] {
        let reply = client.post("/api/v2/batch", broken).await;
        assert_eq!(reply.status.as_u16(), 400, "{broken}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn an_idempotency_key_is_the_whole_batchs() {
    let router = Router::start().await;
    let client = router.client(WILL).with("idempotency-key", "k");
    let append = |c, text: &str| json!({"op": "append", "c": c, "text": text});
    let ops = |text| json!({"ops": [append(A, text), append(B, "b")]});
    let first = batch(&client, &ops("a")).await;
    assert_eq!((first.0, &first.1["results"][1]["revision"]), (200, &json!(2)));
    assert_eq!(batch(&client, &ops("a")).await, first);
    assert_eq!(batch(&client, &ops("x")).await.0, 422);
    let same = json!({"atomic": false, "ops": ops("a")["ops"]});
    assert_eq!(batch(&client, &same).await.0, 422, "another mode is another request");
    client.get(&format!("/api/v2/select?c={A}")).await.is(200, "a");
    // A lost answer is no second batch.
    router.shards.fail_next(&[Fault::LostAnswer]);
    assert_eq!(batch(&router.client(WILL), &ops("a")).await.0, 200);
    client.get(&format!("/api/v2/select?c={A}")).await.is(200, "aa");
}
