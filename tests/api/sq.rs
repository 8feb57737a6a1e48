//! SQ's endpoints as a table, line by line in the order of the specification (section 2.2): what is
//! asked, and the answer to the letter. The lines follow one another on one ranch, so each finds
//! what those before it have stored.

use http::Method;
use ranch_chaos::{Answer, Client};
use xxhash_rust::xxh3::xxh3_128;

use crate::support::{assert_answer, ranch_with};

/// Method, path and query below `/api/v2/`, body, status, answer.
type Line = (&'static str, &'static str, &'static str, u16, &'static str);

const TABLE: &[Line] = &[
    // version: plain text without an Accept header. (With one: see below.)
    ("GET", "version", "", 200, env!("CARGO_PKG_VERSION")),
    // load
    ("GET", "load?p=notes", "", 200, "Loaded notes.phext"),
    ("GET", "load?p=gr%C3%BC%C3%9Fe+an+alle", "", 200, "Loaded grüße an alle.phext"),
    ("GET", "load?p=a/b", "", 403, "Forbidden: Invalid phext path"),
    // select: nothing there is empty; without c the origin
    ("GET", "select?p=one&c=2.1.1/1.1.1/1.1.1", "", 200, ""),
    ("GET", "select?p=one", "", 200, ""),
    // insert appends, by GET and POST; bytes are UTF-8 bytes of the addition; + is a space
    ("POST", "insert?p=one&c=2.1.1/1.1.1/1.1.1", "grüße", 200, "Inserted 7 bytes"),
    ("POST", "insert?p=one&c=2.1.1/1.1.1/1.1.1", " dich", 200, "Inserted 5 bytes"),
    ("GET", "insert?p=one&c=2.1.1/1.1.1/1.1.1&s=+a%2Bb", "", 200, "Inserted 4 bytes"),
    ("GET", "select?p=one&c=2.1.1/1.1.1/1.1.1", "", 200, "grüße dich a+b"),
    ("GET", "insert?p=one&s=top", "", 200, "Inserted 3 bytes"),
    ("GET", "select?p=one&c=1.1.1/1.1.1/1.1.1", "", 200, "top"),
    ("GET", "select?p=two", "", 200, ""),
    ("GET", "select?p=one&c=2.1.1;1.1.1;1.1.1", "", 200, "grüße dich a+b"),
    ("GET", "select?p=one&c=2.1.1%2F1.1.1%3B1.1.1", "", 200, "grüße dich a+b"),
    ("GET", "select?p=one&c=02.1.1/1.1.001/1.1.1", "", 200, "grüße dich a+b"),
    // update replaces; a body beats s; an empty text removes
    ("POST", "update?p=one&c=2.1.1/1.1.1/1.1.1", "neu", 200, "Updated 3 bytes"),
    ("POST", "update?p=one&c=2.1.1/1.1.1/1.1.1&s=query", "body", 200, "Updated 4 bytes"),
    ("GET", "select?p=one&c=2.1.1/1.1.1/1.1.1", "", 200, "body"),
    ("GET", "update?p=one&c=2.1.1/1.1.1/1.1.1&s=query", "", 200, "Updated 5 bytes"),
    ("POST", "update?p=one&c=2.1.1/1.1.1/1.1.1&s=by+post", "", 200, "Updated 7 bytes"),
    ("GET", "select?p=one&c=2.1.1/1.1.1/1.1.1", "", 200, "by post"),
    ("POST", "update?p=one&c=2.1.1/1.1.1/1.1.1", "", 200, "Updated 0 bytes"),
    ("GET", "toc?p=one", "", 200, "* 1.1.1/1.1.1/1.1.1: top\n"),
    // delete, by GET, POST and DELETE
    ("GET", "delete?p=one", "", 200, "Removed 3 bytes"),
    ("GET", "delete?p=one", "", 200, "Removed 0 bytes"),
    ("POST", "update?p=one", "12345", 200, "Updated 5 bytes"),
    ("POST", "delete?p=one", "", 200, "Removed 5 bytes"),
    ("POST", "update?p=one", "12345", 200, "Updated 5 bytes"),
    ("DELETE", "delete?p=one", "", 200, "Removed 5 bytes"),
    ("GET", "select?p=one", "", 200, ""),
    // an empty phext, whole
    ("GET", "toc?p=none", "", 200, "* 1.1.1/1.1.1/1.1.1: \n"),
    ("GET", "get?p=none", "", 200, ""),
    ("GET", "checksum?p=none", "", 200, "99aa06d3014798d86001c324468d497f"),
    ("GET", "json-export?p=none", "", 200, "[]"),
    // one with scrolls near, far, named, of several lines, with what JSON escapes
    ("POST", "update?p=w&c=1.1.1/1.1.1/1.1.2", "second\nline", 200, "Updated 11 bytes"),
    ("POST", "update?p=w&c=10.1.1/1.1.1/1.1.1", "far", 200, "Updated 3 bytes"),
    ("POST", "update?p=w", "a\"b\\\u{7}\u{2028}", 200, "Updated 8 bytes"),
    ("POST", "update?p=w&c=2.1.1/1.1.1/1.1.1", "near", 200, "Updated 4 bytes"),
    ("POST", "update?p=w&c=notes/todo", "named", 200, "Updated 5 bytes"),
    // toc: a line a scroll in numeric order, ... where more follows; c and limit are ignored
    ("GET", "toc?p=w&c=abc&limit=1", "", 200, TOC),
    // get: delimiters between scrolls as libphext has them; named ones have no place
    ("GET", "get?p=w", "", 200, TEXT),
    // json-export: valid, in order
    ("GET", "json-export?p=w", "", 200, EXPORT),
    // delta: what differs or is not listed, at its place; a mark where there is none
    ("GET", "delta?p=w", "", 200, TEXT),
    ("POST", "delta?p=w", LISTED, 200, "\u{17}second\nline"),
    ("POST", "delta?p=none", "1.1.1/1.1.1/1.1.1: 0", 200, "---sq:Scroll-Missing---"),
    ("POST", "delta?p=none", "1.1.1/1.1.1/1.1.2: 0", 200, "\u{17}---sq:Scroll-Missing---"),
    // where
    ("POST", "where", "short", 200, WHERE),
    ("POST", "where?algo=xor&limit=100", "short", 200, WHERE),
    ("POST", "where?algo=checksum", "", 200, WHERE_CHECKSUM),
    ("POST", "where?algo=checksum&limit=7", "", 200, WHERE_CHECKSUM_7),
    // query: ranges, sets, both; SQ's texts for bad input
    ("GET", "query?p=w&from=2.1.1/1.1.1/1.1.1&to=10.1.1/1.1.1/1.1.1", "", 200, RANGE),
    ("GET", "query?p=w&set=9.1.1/1.1.1/1.1.1,notes/todo", "", 200, SET),
    ("POST", "query?p=w", "notes/todo\n9.1.1/1.1.1/1.1.1", 200, SET),
    ("GET", "query?p=w&set=9.1.1/1.1.1/1.1.1&limit=0", "", 200, "[]"),
    ("GET", "query?p=w", "", 400, NEEDS_A_RANGE),
    ("GET", "query?p=w&from=1.1.1/1.1.1/1.1.1", "", 400, NEEDS_BOTH),
    ("GET", "query?p=w&from=x&to=y", "", 400, "Bad Request: invalid 'from' coordinate: x"),
    ("GET", "query?p=w&set=x", "", 400, "Bad Request: invalid coordinate in set: x"),
    ("GET", "query?p=w&set=a/b&limit=x", "", 400, "Bad Request: invalid limit: x"),
    // routes match whole segments; the path is right, the method is not
    ("GET", "versions", "", 404, "Not Found"),
    ("GET", "select/1.1.1/1.1.1/1.1.1", "", 404, "Not Found"),
    ("GET", "getx?p=w", "", 404, "Not Found"),
    ("GET", "where", "", 405, "Method Not Allowed: use POST"),
    ("PUT", "select?p=w", "x", 405, "Method Not Allowed: use GET, HEAD"),
];

const TOC: &str = "* 1.1.1/1.1.1/1.1.1: a\"b\\\u{7}\u{2028}\n* 1.1.1/1.1.1/1.1.2: second...\n\
                   * 2.1.1/1.1.1/1.1.1: near\n* 10.1.1/1.1.1/1.1.1: far\n\
                   * 1.1/notes.todo.1/1.1.1: named\n";
const TEXT: &str = "a\"b\\\u{7}\u{2028}\u{17}second\nline\u{1}near\
                    \u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}far";
const EXPORT: &str = "[{\"coord\":\"1.1.1/1.1.1/1.1.1\",\"scroll\":\"a\\\"b\\\\\\u0007\u{2028}\"},\
                      {\"coord\":\"1.1.1/1.1.1/1.1.2\",\"scroll\":\"second\\nline\"},\
                      {\"coord\":\"2.1.1/1.1.1/1.1.1\",\"scroll\":\"near\"},\
                      {\"coord\":\"10.1.1/1.1.1/1.1.1\",\"scroll\":\"far\"},\
                      {\"coord\":\"1.1/notes.todo.1/1.1.1\",\"scroll\":\"named\"}]";
/// All of `w` but the second scroll, with the checksums they have.
const LISTED: &str = "1.1.1/1.1.1/1.1.1: @1\n2.1.1/1.1.1/1.1.1: @2\n10.1.1/1.1.1/1.1.1: @3\n";
const WHERE: &str = "Calculated coordinate 1.1.1/1.1.1/1.1.1 for input (algo=xor, limit=100).";
const WHERE_CHECKSUM: &str = "Calculated coordinate 663.953.354/676.349.380/662.681.885 for input \
                              (algo=checksum, limit=100).";
const WHERE_CHECKSUM_7: &str = "Calculated coordinate 663.953.354/676.349.380/662.681.885 for \
                                input (algo=checksum, limit=7).";
const RANGE: &str = "[{\"coordinate\":\"2.1.1/1.1.1/1.1.1\",\"scroll\":\"near\"},\
                     {\"coordinate\":\"10.1.1/1.1.1/1.1.1\",\"scroll\":\"far\"}]";
const SET: &str = "[{\"coordinate\":\"9.1.1/1.1.1/1.1.1\",\"scroll\":\"\"},\
                   {\"coordinate\":\"1.1/notes.todo.1/1.1.1\",\"scroll\":\"named\"}]";
const NEEDS_A_RANGE: &str = "Bad Request: query needs a range (from + to) or a set of coordinates";
const NEEDS_BOTH: &str = "Bad Request: a range needs both 'from' and 'to'";

#[tokio::test]
async fn sq_endpoints_answer_in_sqs_words() {
    let (ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key));
    for (method, target, body, status, expected) in TABLE {
        let method: Method = method.parse().unwrap();
        let answer = send(&mut client, method.clone(), target, &with_checksums(body)).await;
        let said = (answer.status, answer.text());
        assert_eq!(said, (*status, (*expected).to_owned()), "{method} {target}");
        let json =
            *status == 200 && ["query", "json-export"].iter().any(|name| target.starts_with(name));
        let content_type = match (json, target.starts_with("json-export")) {
            (true, _) => "application/json",
            (false, true) => "application/problem+json",
            (false, false) => "text/plain; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), content_type, "{method} {target}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{method} {target}");
    }
    the_rest(&mut client).await;
    versions(&mut client).await;
    any_content_type(&mut client).await;
    heads(&mut client).await;
    revisions_grow(&mut client).await;
}

async fn send(client: &mut Client, method: Method, target: &str, body: &str) -> Answer {
    client.send(method, &format!("/api/v2/{target}"), &[], body.to_owned()).await.unwrap()
}

fn checksum(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

fn with_checksums(list: &str) -> String {
    let texts = [("@1", "a\"b\\\u{7}\u{2028}"), ("@2", "near"), ("@3", "far")];
    texts.iter().fold(list.to_owned(), |list, (mark, text)| list.replace(mark, &checksum(text)))
}

/// checksum is that of the text of get; status has four lines, named scrolls counted.
async fn the_rest(client: &mut Client) {
    let answer = send(client, Method::GET, "checksum?p=w", "").await;
    assert_answer(&answer, 200, &checksum(TEXT));
    let status = send(client, Method::GET, "status?p=w", "").await.text();
    let lines: Vec<_> = status.split('\n').collect();
    let [hosting, connection, size, scrolls] = lines[..] else { panic!("{status}") };
    assert_eq!(hosting, "Hosting: w.phext");
    assert!(connection.strip_prefix("Connection ID: ").unwrap().parse::<u64>().is_ok());
    assert_eq!(size, format!("Phext Size: {}", TEXT.len() + "named".len()));
    assert_eq!(scrolls, "Scrolls: 5");
}

/// version is JSON where Accept admits it.
async fn versions(client: &mut Client) {
    let json = concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");
    let plain = env!("CARGO_PKG_VERSION");
    let accepts = [("*/*", json), ("application/json", json), ("text/plain", plain)];
    for (accept, expected) in accepts {
        let headers = [("accept", accept)];
        let answer = client.send(Method::GET, "/api/v2/version", &headers, "").await.unwrap();
        assert_answer(&answer, 200, expected);
    }
}

/// A POST body is the raw scroll for any Content-Type.
async fn any_content_type(client: &mut Client) {
    for kind in ["application/x-www-form-urlencoded", "application/json", "image/png", ""] {
        let headers = [("content-type", kind)];
        let target = "/api/v2/update?p=ways";
        let raw = client.send(Method::POST, target, &headers, "s=%20+{}").await.unwrap();
        assert_answer(&raw, 200, "Updated 8 bytes");
        assert_answer(&send(client, Method::GET, "select?p=ways", "").await, 200, "s=%20+{}");
    }
}

/// HEAD is GET without a body, and changes nothing.
async fn heads(client: &mut Client) {
    for target in ["version", "load?p=w", "select?p=w", "toc?p=w", "get?p=w", "checksum?p=w"] {
        let get = send(client, Method::GET, target, "").await;
        let head = send(client, Method::HEAD, target, "").await;
        assert_answer(&head, 200, "");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{target}");
    }
    assert_eq!(send(client, Method::HEAD, "delete?p=w", "").await.status, 405);
    assert_answer(&send(client, Method::GET, "get?p=w", "").await, 200, TEXT);
}

async fn revisions_grow(client: &mut Client) {
    let mut last = 0;
    for (verb, phext) in [("insert", "x"), ("update", "y"), ("insert", "x"), ("delete", "y")] {
        let answer = send(client, Method::GET, &format!("{verb}?p={phext}&s=text"), "").await;
        let revision = answer.revision().unwrap_or_else(|| panic!("{verb}: {answer:?}"));
        assert!(revision > last, "{verb}: {revision} after {last}");
        assert_eq!(answer.header("x-ranch-stored-at"), "will.1.1.1/1.1.1/1.1.1");
        last = revision;
    }
}
