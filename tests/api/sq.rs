//! SQ's endpoints, with the texts of SQ 0.6.

use http::Method;
use ranch_chaos::{Answer, Client};
use xxhash_rust::xxh3::xxh3_128;

use crate::support::{assert_answer, ranch_with};

/// GET of an endpoint, path and query below `/api/v2/`.
async fn get(client: &mut Client, target: &str) -> Answer {
    client.get(&format!("/api/v2/{target}")).await.unwrap()
}

async fn send(client: &mut Client, method: Method, target: &str, body: &'static str) -> Answer {
    client.send(method, &format!("/api/v2/{target}"), &[], body).await.unwrap()
}

#[tokio::test]
async fn sq_endpoints_answer_in_sqs_words() {
    let (ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key));
    version(&mut client).await;
    single_scrolls(&mut client).await;
    ways_to_bring_text(&mut client).await;
    removing(&mut client).await;
    whole_phexts(&mut client).await;
    revisions_grow(&mut client).await;
}

async fn version(client: &mut Client) {
    let version = env!("CARGO_PKG_VERSION");
    assert_answer(&get(client, "version").await, 200, version);
    for accept in ["*/*", "application/json"] {
        let answer = client.send(Method::GET, "/api/v2/version", &[("accept", accept)], "").await;
        assert_answer(&answer.unwrap(), 200, &format!("{{\"version\":\"{version}\"}}"));
    }
    assert_answer(&get(client, "load?p=notes").await, 200, "Loaded notes.phext");
}

async fn single_scrolls(client: &mut Client) {
    let at = "p=one&c=2.1.1/1.1.1/1.1.1";
    assert_answer(&get(client, &format!("select?{at}")).await, 200, "");
    let inserted = send(client, Method::POST, &format!("insert?{at}"), "grüße").await;
    assert_answer(&inserted, 200, "Inserted 7 bytes");
    assert_eq!(inserted.header("x-ranch-stored-at"), "will.2.1.1/1.1.1/1.1.1");
    assert_eq!(inserted.header("content-type"), "text/plain; charset=utf-8");
    let appended = send(client, Method::POST, &format!("insert?{at}"), " dich").await;
    assert_answer(&appended, 200, "Inserted 5 bytes");
    assert_answer(&get(client, &format!("select?{at}")).await, 200, "grüße dich");
    let updated = send(client, Method::POST, &format!("update?{at}"), "neu").await;
    assert_answer(&updated, 200, "Updated 3 bytes");
    assert_answer(&get(client, &format!("select?{at}")).await, 200, "neu");

    // Without a coordinate the origin is meant; another phext is another place.
    assert_answer(&get(client, "insert?p=one&s=top").await, 200, "Inserted 3 bytes");
    assert_answer(&get(client, "select?p=one&c=1.1.1/1.1.1/1.1.1").await, 200, "top");
    assert_answer(&get(client, "select?p=two&c=1.1.1/1.1.1/1.1.1").await, 200, "");
    // One scroll, many spellings.
    for spelling in ["2.1.1;1.1.1;1.1.1", "2.1.1%2F1.1.1%3B1.1.1", "02.1.1/1.1.001/1.1.1"] {
        let answer = get(client, &format!("select?p=one&c={spelling}")).await;
        assert_answer(&answer, 200, "neu");
    }
}

async fn ways_to_bring_text(client: &mut Client) {
    let select = "select?p=ways";
    let inserted = get(client, "insert?p=ways&s=a+b%20c%2B").await;
    assert_answer(&inserted, 200, "Inserted 6 bytes");
    assert_answer(&get(client, select).await, 200, "a b c+");
    let beaten = send(client, Method::POST, "update?p=ways&s=query", "body").await;
    assert_answer(&beaten, 200, "Updated 4 bytes");
    assert_answer(&get(client, select).await, 200, "body");
    for content_type in ["application/x-www-form-urlencoded", "application/json", "image/png"] {
        let headers = [("content-type", content_type)];
        let target = "/api/v2/update?p=ways";
        let raw = client.send(Method::POST, target, &headers, "s=%20+{}").await.unwrap();
        assert_answer(&raw, 200, "Updated 8 bytes");
        assert_answer(&get(client, select).await, 200, "s=%20+{}");
    }
}

async fn removing(client: &mut Client) {
    for method in [Method::GET, Method::POST, Method::DELETE] {
        send(client, Method::POST, "update?p=gone", "12345").await;
        let removed = send(client, method, "delete?p=gone", "").await;
        assert_answer(&removed, 200, "Removed 5 bytes");
        assert_answer(&get(client, "select?p=gone").await, 200, "");
    }
    assert_answer(&get(client, "delete?p=gone").await, 200, "Removed 0 bytes");
    send(client, Method::POST, "update?p=gone", "12345").await;
    assert_answer(&send(client, Method::POST, "update?p=gone", "").await, 200, "Updated 0 bytes");
    assert_answer(&get(client, "toc?p=gone").await, 200, "* 1.1.1/1.1.1/1.1.1: \n");
}

async fn whole_phexts(client: &mut Client) {
    assert_answer(&get(client, "get?p=whole").await, 200, "");
    for (at, text) in [
        ("1.1.1/1.1.1/1.1.2", "second\nline"),
        ("10.1.1/1.1.1/1.1.1", "far"),
        ("1.1.1/1.1.1/1.1.1", "first"),
        ("2.1.1/1.1.1/1.1.1", "near"),
        ("notes/todo", "named"),
    ] {
        client.update("whole", at, text).await.unwrap();
    }
    let far = "\u{1}".repeat(8);
    let text = format!("first\u{17}second\nline\u{1}near{far}far");
    assert_answer(&get(client, "get?p=whole").await, 200, &text);
    let checksum = format!("{:032x}", xxh3_128(text.as_bytes()));
    assert_answer(&get(client, "checksum?p=whole").await, 200, &checksum);
    let toc = "* 1.1.1/1.1.1/1.1.1: first\n* 1.1.1/1.1.1/1.1.2: second...\n\
               * 2.1.1/1.1.1/1.1.1: near\n* 10.1.1/1.1.1/1.1.1: far\n\
               * 1.1/notes.todo.1/1.1.1: named\n";
    assert_answer(&get(client, "toc?p=whole").await, 200, toc);
    let export = get(client, "json-export?p=whole").await;
    let export: serde_json::Value = serde_json::from_slice(&export.body).unwrap();
    assert_eq!(export[1]["coord"], "1.1.1/1.1.1/1.1.2");
    assert_eq!(export[1]["scroll"], "second\nline");
    assert_eq!(export.as_array().unwrap().len(), 5);
    let status = get(client, "status?p=whole").await.text();
    let lines: Vec<_> = status.lines().collect();
    assert_eq!(lines.len(), 4, "{status}");
    assert_eq!(lines[0], "Hosting: whole.phext");
    let connection = lines[1].strip_prefix("Connection ID: ").unwrap();
    assert!(connection.parse::<u64>().is_ok(), "{status}");
    // The named scroll counts, too.
    assert_eq!(lines[2], format!("Phext Size: {}", text.len() + "named".len()));
    assert_eq!(lines[3], "Scrolls: 5");
}

async fn revisions_grow(client: &mut Client) {
    let mut last = 0;
    for (verb, phext) in [("insert", "x"), ("update", "y"), ("insert", "x"), ("delete", "y")] {
        let answer = get(client, &format!("{verb}?p={phext}&s=text")).await;
        let revision = answer.revision().unwrap_or_else(|| panic!("{verb}: {answer:?}"));
        assert!(revision > last, "{verb}: {revision} after {last}");
        last = revision;
    }
}
