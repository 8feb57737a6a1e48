//! Batches made at random from the words of batches: what is carried out is answered op by op, what
//! is refused leaves nothing behind and says why.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::support::{Router, WILL};

/// Batches a run.
const BATCHES: usize = 600;

/// Values for any member, right and wrong ones.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "read", "write", "append", "delete", "1.1.1/1.1.1/1.1.1", "1.1.1/1.1.1/1.1.2",
            "notes/todo", "5", "", "a\u{17}b", "ä", "notes", "..",
        ]).prop_map(Value::from),
        2 => (-2_i64..6).prop_map(Value::from),
        1 => prop::sample::select(vec![
            Value::Null, json!(true), json!(1.5), json!([]), json!({}), json!(u64::MAX),
        ]),
    ]
}

/// An op that is right as a rule.
fn op() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["read", "write", "append", "delete"]);
    let at = prop::sample::select(vec!["1.1.1/1.1.1/1.1.1", "1.1.1/1.1.1/1.1.2", "notes/todo"]);
    let wrong = (prop::sample::select(vec!["op", "c", "p", "text", "if_rev", "more"]), value());
    (kind, at, prop::option::weighted(0.1, wrong), prop::option::weighted(0.1, 0_u64..3)).prop_map(
        |(kind, at, wrong, revision)| {
            let mut op =
                Map::from_iter([("op".to_owned(), kind.into()), ("c".to_owned(), at.into())]);
            if matches!(kind, "write" | "append") {
                op.insert("text".to_owned(), "text".into());
            }
            if let Some(revision) = revision {
                op.insert("if_rev".to_owned(), revision.into());
            }
            if let Some((name, value)) = wrong {
                op.insert(name.to_owned(), value);
            }
            op.into()
        },
    )
}

/// A document, whole or with a byte changed, or something else altogether.
fn document() -> impl Strategy<Value = Vec<u8>> {
    let ops = prop::collection::vec(op(), 0..5);
    let atomic =
        prop::option::of(prop_oneof![9 => any::<bool>().prop_map(Value::from), 1 => value()]);
    let right = (ops, atomic).prop_map(|(ops, atomic)| {
        let mut document = json!({"ops": ops});
        if let Some(atomic) = atomic {
            document["atomic"] = atomic;
        }
        document.to_string().into_bytes()
    });
    let damage = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    let damaged = (right, damage).prop_map(|(mut text, damage)| {
        if let Some((at, byte)) = damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        text
    });
    prop_oneof![
        9 => damaged,
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (1_usize..3_000).prop_map(|depth| "[".repeat(depth).into_bytes()),
    ]
}

#[tokio::test]
async fn a_batch_is_answered_op_by_op_or_changes_nothing() {
    let router = Router::start().await;
    let client = router.client(WILL);
    let mut runner = TestRunner::default();
    let mut carried_out = 0;
    for _ in 0..BATCHES {
        let body = document().new_tree(&mut runner).unwrap().current();
        let shown = String::from_utf8_lossy(&body).into_owned();
        let scrolls = client.get("/api/v2/json-export?p=index").await.json();
        let reply = client.post("/api/v2/batch", body.clone()).await;
        let status = reply.status.as_u16();
        match status {
            200 => {
                carried_out += 1;
                let asked: Value = serde_json::from_slice(&body).unwrap();
                let asked = asked["ops"].as_array().unwrap().len();
                assert_eq!(reply.json()["results"].as_array().unwrap().len(), asked, "{shown}");
            }
            400 | 403 | 412 | 413 | 422 => {
                assert!(reply.json()["detail"].is_string(), "{shown}: {:?}", reply.body);
                let after = client.get("/api/v2/json-export?p=index").await.json();
                assert_eq!(after, scrolls, "{shown} was refused");
            }
            _ => panic!("{status} for {shown}: {:?}", reply.body),
        }
    }
    assert!(carried_out > BATCHES / 5, "{carried_out} of {BATCHES} were carried out");
}
