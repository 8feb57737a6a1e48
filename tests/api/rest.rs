//! The endpoints with a coordinate in their path: revisions, conditions, lists, retries.

use http::Method;
use ranch_chaos::client::resource;
use ranch_chaos::{Answer, Client};

use crate::support::{assert_answer, ranch_with};

const AT: &str = "3.1.1/4.1.1/5.1.1";

#[tokio::test]
async fn scrolls_have_revisions_and_conditions() {
    let (ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key));
    reading_and_writing(&mut client).await;
    conditions(&mut client).await;
    retries_apply_once(&mut client).await;
    named_scrolls(&mut client).await;
    lists(&mut client).await;
    memory_profile(&ranch).await;
}

async fn with(client: &mut Client, method: Method, target: &str, header: (&str, &str)) -> Answer {
    client.send(method, target, &[header], "text").await.unwrap()
}

async fn reading_and_writing(client: &mut Client) {
    let absent = client.read("rw", AT).await.unwrap();
    assert_eq!(absent.status, 404);
    assert!(absent.text().contains(AT), "{}", absent.text());

    let written = client.write("rw", AT, "one").await.unwrap();
    assert_answer(&written, 200, "Updated 3 bytes");
    let read = client.read("rw", AT).await.unwrap();
    assert_answer(&read, 200, "one");
    let revision = written.revision().unwrap();
    assert_eq!(read.header("etag"), format!("\"{revision}\""));
    assert!(read.header("last-modified").ends_with(" GMT"), "{:?}", read.headers);

    // Percent-encoded, with semicolons, or posted: the same scroll.
    let posted = client.call(Method::POST, "/api/v2/write/3.1.1;4.1.1;5.1.1?p=rw&s=two").await;
    assert_answer(&posted.unwrap(), 200, "Updated 3 bytes");
    let encoded = client.get("/api/v2/read/3.1.1%2F4.1.1%2F5.1.1?p=rw").await.unwrap();
    assert_answer(&encoded, 200, "two");
    let known = encoded.header("etag").to_owned();
    let target = resource("read", "rw", AT);
    let again = with(client, Method::GET, &target, ("if-none-match", &known)).await;
    assert_answer(&again, 304, "");

    let removed = client.delete("rw", AT).await.unwrap();
    assert_answer(&removed, 200, "Removed 3 bytes");
    assert_eq!(client.read("rw", AT).await.unwrap().status, 404);
}

async fn conditions(client: &mut Client) {
    let target = resource("write", "if", AT);
    let fresh = with(client, Method::PUT, &target, ("if-none-match", "*")).await;
    assert_eq!(fresh.status, 200);
    assert_eq!(with(client, Method::PUT, &target, ("if-none-match", "*")).await.status, 412);
    let revision = fresh.revision().unwrap();
    let quoted = format!("\"{revision}\"");
    let matching = with(client, Method::PUT, &target, ("if-match", &quoted)).await;
    assert_eq!(matching.status, 200);
    let late = with(client, Method::PUT, &target, ("if-match", &quoted)).await;
    assert_eq!(late.status, 412);
    let bare = matching.revision().unwrap().to_string();
    assert_eq!(with(client, Method::PUT, &target, ("if-match", &bare)).await.status, 200);
    assert_eq!(with(client, Method::PUT, &target, ("if-match", "soon")).await.status, 400);
}

async fn retries_apply_once(client: &mut Client) {
    let target = format!("/api/v2/insert?p=once&c={AT}");
    let insert = async |client: &mut Client, key: &str, text: &'static str| {
        client.send(Method::POST, &target, &[("idempotency-key", key)], text).await.unwrap()
    };
    let first = insert(client, "k1", "once").await;
    assert_answer(&first, 200, "Inserted 4 bytes");
    let retry = insert(client, "k1", "once").await;
    assert_eq!((retry.status, retry.revision()), (200, first.revision()));
    assert_answer(&client.select("once", AT).await.unwrap(), 200, "once");
    assert_eq!(insert(client, "k1", "other").await.status, 422);
    assert_eq!(insert(client, "k2", ", twice").await.status, 200);
    assert_answer(&client.select("once", AT).await.unwrap(), 200, "once, twice");
}

async fn named_scrolls(client: &mut Client) {
    let written = client.write("names", "notes/todo", "buy hay").await.unwrap();
    assert_eq!(written.header("x-ranch-stored-at"), "will.1.1/notes.todo.1/1.1.1");
    let arms = client.read("names", "1.1/notes.todo.1/1.1.1").await.unwrap();
    assert_answer(&arms, 200, "buy hay");
    client.write("names", "test-agent.1.1/test.multi.item1/1.1.1", "agent").await.unwrap();
    let listed = client.get("/api/v2/list/notes?p=names").await.unwrap();
    assert_eq!(listed.text().lines().count(), 1, "{}", listed.text());
    assert_answer(&client.get("/api/v2/get?p=names").await.unwrap(), 200, "");
}

async fn lists(client: &mut Client) {
    for at in ["2.1.1/1.1.1/1.1.1", "2.1.2/1.1.1/1.1.1", "2.10.1/1.1.1/1.1.1", "21.1.1/1.1.1/1.1.1"]
    {
        client.write("list", at, "x").await.unwrap();
    }
    let list = async |client: &mut Client, rest: &str| {
        client.get(&format!("/api/v2/list/{rest}")).await.unwrap().text()
    };
    let two = "2.1.1/1.1.1/1.1.1\n2.1.2/1.1.1/1.1.1\n";
    assert_eq!(list(client, "2.1?p=list").await, two);
    assert_eq!(list(client, "2.*.1?p=list").await, "2.1.1/1.1.1/1.1.1\n2.10.1/1.1.1/1.1.1\n");
    assert_eq!(list(client, "*?p=list&limit=2").await, two);
    let rest = list(client, "*?p=list&after=2.1.2/1.1.1/1.1.1").await;
    assert_eq!(rest, "2.10.1/1.1.1/1.1.1\n21.1.1/1.1.1/1.1.1\n");
    let target = "/api/v2/list/2.1?p=list&limit=1";
    let json = client.send(Method::GET, target, &[("accept", "application/json")], "").await;
    let json: serde_json::Value = serde_json::from_slice(&json.unwrap().body).unwrap();
    assert_eq!(json["results"][0]["coordinate"], "2.1.1/1.1.1/1.1.1");
    assert_eq!(json["results"][0]["size"], 1);
    assert_eq!(json["next"], "2.1.1/1.1.1/1.1.1");
}

/// Agents that expect a key-value memory: `insert` replaces, a `select` of nothing is 404.
async fn memory_profile(ranch: &ranch_chaos::Ranch) {
    let body = r#"{"tenant_id":"agent","profile":"memory"}"#;
    let mut admin = ranch.client(Some(ranch_chaos::ranch::ADMIN_KEY));
    let added = admin.send(Method::POST, "/api/v2/admin/tenants/add", &[], body).await.unwrap();
    let added: serde_json::Value = serde_json::from_slice(&added.body).unwrap();
    let mut agent = ranch.client(added["api_key"].as_str());
    assert_eq!(agent.select("m", AT).await.unwrap().status, 404);
    agent.insert("m", AT, "old").await.unwrap();
    agent.insert("m", AT, "new").await.unwrap();
    assert_answer(&agent.select("m", AT).await.unwrap(), 200, "new");
}
