//! Backups with real processes: taken from a ranch that serves, looked at, damaged, and put back
//! into ranches of other sizes, with clients and nodes killed in the middle. Promises are those
//! of `RELIABILITY.md`: R1 nothing acknowledged is lost, R10 what was begun ends.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;
mod kills;
mod moment;
mod tenants;
mod whole;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::wait::until;
use ranch_chaos::{Layout, Ranch};
use serde_json::{Value, json};

use support::{BINARY, cli, stdout};

/// How long anything may take on a slow machine.
const LIMIT: Duration = Duration::from_mins(2);

/// Runs the CLI with the admin key.
async fn run(ranch: &Ranch, args: &[&str]) -> std::process::Output {
    cli(ranch, "", args).await
}

/// The standard output of a run that must succeed.
async fn out(ranch: &Ranch, args: &[&str]) -> String {
    stdout(&run(ranch, args).await).trim().to_owned()
}

/// Takes a backup and returns what it says of itself.
async fn back_up(ranch: &Ranch, dir: &Path) -> Value {
    let text = out(ranch, &["backup", path(dir), "--json", "--rate-mb-s", "0"]).await;
    serde_json::from_str(&text).unwrap()
}

/// A run in a process that can be killed.
fn start(ranch: &Ranch, args: &[&str]) -> tokio::process::Child {
    tokio::process::Command::new(BINARY)
        .args(args)
        .env("RANCH_URL", ranch.url())
        .env("RANCH_ADMIN_KEY", ADMIN_KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn path(dir: &Path) -> &str {
    dir.to_str().unwrap()
}

/// Where a ranch's test keeps its backups.
fn backups(ranch: &Ranch) -> PathBuf {
    ranch.dir().join("backups")
}

/// A ranch without tenants.
async fn empty(nodes: u32, shards: u32) -> Ranch {
    let layout = Layout { nodes, shards, replicas: nodes.min(3), ..Layout::default() };
    Ranch::launch(BINARY, &layout).await.expect("a ranch starts")
}

/// Asks an administrators' endpoint.
async fn admin(ranch: &Ranch, method: Method, below: &str, body: Value) -> (u16, Value) {
    let mut client = ranch.client(Some(ADMIN_KEY)).with_limit(LIMIT);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let json = [("content-type", "application/json"), ("accept", "application/json")];
    let target = format!("/api/v2/admin/{below}");
    let answer = client.send(method, &target, &json, body).await.expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

/// Writes scrolls `from..to` of some size, each another text.
async fn fill(ranch: &Ranch, key: &str, numbers: std::ops::Range<u32>, bytes: usize) {
    for start in numbers.clone().step_by(200) {
        let end = numbers.end.min(start + 200);
        let ops = (start..end).map(|number| {
            let text = format!("{number} {}", "hay ".repeat(bytes / 4));
            json!({"op": "write", "p": "barn", "c": at(number), "text": text})
        });
        let body = json!({ "ops": ops.collect::<Vec<_>>() }).to_string();
        let mut client = ranch.client(Some(key)).with_limit(LIMIT);
        let json = [("content-type", "application/json")];
        let sent = client.send(Method::POST, "/api/v2/batch", &json, body).await.unwrap();
        assert_eq!(sent.status, 200, "{}", sent.text());
    }
}

fn at(number: u32) -> String {
    format!("1.1.1/1.1.{}/1.1.{}", 1 + number / 500, 1 + number % 500)
}

/// Everything a tenant has, with revisions and times, and what it counts.
#[derive(Debug, PartialEq)]
struct Everything {
    /// By phext, then as listed: coordinate, size, revision, time.
    lists: BTreeMap<String, String>,
    /// Checksums of phexts as text.
    checksums: BTreeMap<String, String>,
    stored: (u64, u64, u64),
}

async fn everything(ranch: &Ranch, tenant: &str, phexts: &[&str]) -> Everything {
    let mut client = ranch.client(Some(ADMIN_KEY)).with_limit(LIMIT);
    let (mut lists, mut checksums) = (BTreeMap::new(), BTreeMap::new());
    for phext in phexts {
        let query = format!("tenant={tenant}&p={phext}");
        let list = client.get(&format!("/api/v2/list?{query}&long=true&limit=100000")).await;
        let list = list.unwrap();
        assert_eq!(list.status, 200, "{}", list.text());
        lists.insert((*phext).to_owned(), list.text());
        let checksum = client.get(&format!("/api/v2/checksum?{query}")).await.unwrap();
        checksums.insert((*phext).to_owned(), checksum.text());
    }
    let (_, stats) =
        admin(ranch, Method::GET, &format!("tenants/{tenant}/stats"), Value::Null).await;
    let number = |name: &str| stats[name].as_u64().unwrap();
    let stored = (number("scrolls"), number("storage_used_bytes"), number("phexts"));
    Everything { lists, checksums, stored }
}

/// Waits until a file is there that says how far a backup has come: so many chunks.
async fn chunks_in(dir: &Path, least: usize) {
    until("chunks in the backup", LIMIT, async || (chunk_files(dir).len() >= least).then_some(()))
        .await
        .unwrap();
}

/// All chunks in a directory of backups.
fn chunk_files(dir: &Path) -> Vec<PathBuf> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
    };
    let mut files: Vec<_> =
        below(&dir.join("chunks")).iter().flat_map(|first| below(first)).collect();
    files.retain(|file| file.extension().is_none());
    files.sort();
    files
}
