//! Requests made at random from the words of the API and from nonsense: none may break the router,
//! and none that is refused may leave anything behind. New ones each run; a failure prints its own.

use http::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::{Client, Router, WILL};

/// Requests a run.
const REQUESTS: usize = 1_500;
const PATHS: &[&str] = &[
    "version",
    "load",
    "select",
    "insert",
    "update",
    "delete",
    "status",
    "checksum",
    "toc",
    "get",
    "delta",
    "json-export",
    "query",
    "where",
    "list",
    "read/",
    "write/",
    "delete/",
    "list/",
    "",
];
const NAMES: &[&str] = &[
    "p",
    "c",
    "s",
    "from",
    "to",
    "set",
    "limit",
    "algo",
    "after",
    "long",
    "consistency",
    "tenant",
];

#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: &'static str,
    argument: Vec<u8>,
    query: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    json: bool,
}

/// Pieces of coordinates put together in any order, and anything at all.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "1",
        "0",
        "2",
        "9",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "-1",
        "+1",
        " ",
        ".",
        "/",
        ";",
        ",",
        "*",
        "a",
        "notes",
        "..",
        "\\",
        "%2F",
        "\u{17}",
        "\u{1}",
        "\0",
        "\n",
        ":",
        "ä",
        "1.1.1",
        "1.1.1/1.1.1/1.1.1",
        "notes/todo",
        "stale",
        "xor",
        "true",
    ]);
    prop_oneof![
        4 => prop::collection::vec(piece, 0..8).prop_map(|parts| parts.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        2 => Just(b"1.1.1/1.1.1/1.1.1".to_vec()),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop::sample::select(vec![
        Method::GET,
        Method::GET,
        Method::POST,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::HEAD,
        Method::PATCH,
        Method::OPTIONS,
    ]);
    let parameter = (prop::sample::select(NAMES), text());
    let query = prop::collection::vec(parameter, 0..5);
    (method, prop::sample::select(PATHS), text(), query, text(), any::<bool>()).prop_map(
        |(method, path, argument, query, body, json)| Asked {
            method,
            path,
            argument,
            query,
            body,
            json,
        },
    )
}

/// Every byte escaped, so that any bytes make a request that can be sent.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat()
}

fn target(asked: &Asked) -> String {
    let mut target = format!("/api/v2/{}", asked.path);
    if asked.path.ends_with('/') {
        target.push_str(&escaped(&asked.argument));
    }
    for (index, (name, value)) in asked.query.iter().enumerate() {
        let mark = if index == 0 { '?' } else { '&' };
        target.extend([mark]);
        target.extend([*name, "=", &escaped(value)]);
    }
    target
}

#[tokio::test]
async fn nothing_that_is_asked_breaks_the_router() {
    let router = Router::start().await;
    let plain = router.client(WILL);
    let json = plain.with("accept", "application/json");
    let mut runner = TestRunner::default();
    let mut accepted = 0;
    for _ in 0..REQUESTS {
        let asked = asked().new_tree(&mut runner).unwrap().current();
        let client: &Client = if asked.json { &json } else { &plain };
        let before = router.shards.state.lock().applied;
        let body = match asked.method {
            Method::GET | Method::HEAD | Method::OPTIONS => Vec::new(),
            _ => asked.body.clone(),
        };
        let reply = client.try_send(asked.method.clone(), &target(&asked), body).await;
        let reply = reply.unwrap_or_else(|error| panic!("{asked:?}: {error}"));
        let status = reply.status.as_u16();
        assert!(status < 500 || status == 507, "{status} {asked:?}: {:?}", reply.body);
        accepted += usize::from(status < 400);
        if status >= 400 {
            assert_eq!(router.shards.state.lock().applied, before, "{status} {asked:?}");
            if asked.method != Method::HEAD {
                assert!(!reply.body.is_empty(), "{status} {asked:?}");
            }
            assert!(!reply.body.contains(&b'\n'), "{status} {asked:?}: {:?}", reply.body);
        }
    }
    assert!(accepted > REQUESTS / 10, "{accepted} of {REQUESTS} were accepted");
    // What was stored can be shown in every form.
    for phext in ["index", "1", "a"] {
        let export = plain.get(&format!("/api/v2/json-export?p={phext}")).await;
        assert!(export.json().is_array());
        assert_eq!(plain.get(&format!("/api/v2/toc?p={phext}")).await.status, 200);
    }
}
