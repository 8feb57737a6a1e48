//! Tenants run like a business, on real processes: keys that end everywhere at once, deletion that
//! nothing survives, a tenants file followed under load.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use ranch_chaos::layout::free_ports;
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::wait::until;
use ranch_chaos::{Client, Layout, Ranch};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::{BINARY, launch, ranch_with};

const LIMIT: Duration = Duration::from_secs(30);
/// What a change of a tenants file may take (SPEC 3).
const IN_FORCE: Duration = Duration::from_secs(5);
const AT: &str = "1.1.1/1.1.1/1.1.1";

/// Asks the admin API; status and answer.
async fn admin(client: &mut Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let path = format!("/api/v2/admin/tenants/{path}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.send(method, &path, &[], body).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// R4 and SPEC 2.1: a key that is revoked opens nothing anywhere, a second later.
#[tokio::test]
async fn a_revoked_key_is_refused_by_every_router_within_a_second() {
    let layout = Layout { embedded: true, ..Layout::default() };
    let (ranch, key) = launch(&layout, "will").await;
    let inside = ranch.node_ids().into_iter().map(|id| ranch.node_place(id).unwrap().listen);
    let routers: Vec<SocketAddr> = inside.flatten().chain([ranch.addr()]).collect();
    assert_eq!(routers.len(), 4);
    let mut boss = ranch.client(Some(ADMIN_KEY));
    for round in 0..3 {
        let (status, made) = admin(&mut boss, Method::POST, "will/keys", json!({})).await;
        assert_eq!(status, 201, "{made}");
        let fresh = made["api_key"].as_str().unwrap();
        let mut clients: Vec<_> =
            routers.iter().map(|addr| Client::new(*addr, Some(fresh))).collect();
        for client in &mut clients {
            let known =
                async || (client.select("p", AT).await.unwrap().status == 200).then_some(());
            until("the new key to be known", Duration::from_secs(1), known).await.unwrap();
        }
        let path = format!("will/keys/{}", made["key_id"].as_str().unwrap());
        assert_eq!(admin(&mut boss, Method::DELETE, &path, Value::Null).await.0, 200);
        let revoked = Instant::now();
        for client in &mut clients {
            while client.select("p", AT).await.unwrap().status != 401 {
                assert!(revoked.elapsed() < Duration::from_secs(1), "round {round}");
            }
        }
        assert!(revoked.elapsed() < Duration::from_secs(1));
    }
    let mut client = ranch.client(Some(&key));
    assert_eq!(client.select("p", AT).await.unwrap().status, 200, "the other key goes on");
}

/// Writers that go on whatever they are told, until stopped.
fn writers(ranch: &Ranch, key: &str, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<u64>> {
    let writer = |number: u32| {
        let (mut client, stop) = (ranch.client(Some(key)), Arc::clone(stop));
        tokio::spawn(async move {
            let mut stored = 0;
            for nth in 1_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let at = format!("{number}.1.1/1.1.1/1.1.{}", nth % 50 + 1);
                let answer = client.write("late", &at, "of the old tenant").await;
                stored += u64::from(answer.is_ok_and(|answer| answer.status == 200));
            }
            stored
        })
    };
    (1..=6).map(writer).collect()
}

/// R4: whoever gets an id after a purge meets nothing of who had it before.
#[tokio::test]
async fn a_purge_under_load_leaves_nothing_and_lets_nothing_late_in() {
    let (ranch, mut key) = ranch_with("will").await;
    let mut boss = ranch.client(Some(ADMIN_KEY));
    for _ in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let running = writers(&ranch, &key, &stop);
        let mut client = ranch.client(Some(&key));
        for phext in ["index", "notes"] {
            assert_eq!(client.write(phext, AT, "old").await.unwrap().status, 200);
        }
        let (status, gone) = admin(&mut boss, Method::DELETE, "will?purge=true", Value::Null).await;
        assert_eq!((status, &gone["status"]), (200, &json!("purged")));
        let (status, made) =
            admin(&mut boss, Method::POST, "add", json!({"tenant_id": "will"})).await;
        assert_eq!(status, 201, "{made}");
        let mut new = ranch.client(made["api_key"].as_str());
        assert_eq!(new.read("index", AT).await.unwrap().status, 404);
        let begun = new.write("index", AT, "new").await.unwrap();
        assert_eq!((begun.status, begun.revision()), (200, Some(1)));
        assert_eq!(client.read("index", AT).await.unwrap().status, 401);
        stop.store(true, Ordering::Relaxed);
        let mut stored = 0;
        for writer in running {
            stored += writer.await.unwrap();
        }
        assert!(stored > 0, "there was a load");
        let (_, left) = admin(&mut boss, Method::GET, "will/stats", Value::Null).await;
        assert_eq!((&left["scrolls"], &left["storage_used_bytes"]), (&json!(1), &json!(67)));
        key = made["api_key"].as_str().unwrap().to_owned();
    }
}

/// A purge is finished by itself whatever dies on the way, and stays finished.
#[tokio::test]
async fn a_purge_survives_the_death_of_all_nodes() {
    let (mut ranch, _) = ranch_with("stays").await;
    for delay_ms in [0, 2, 5, 10, 20] {
        let id = format!("t{delay_ms}");
        let key = ranch.add_tenant(&id).await.unwrap();
        let mut client = ranch.client(Some(&key));
        for n in 1..=20 {
            let at = format!("1.1.1/1.1.1/1.1.{n}");
            assert_eq!(client.write("p", &at, "old").await.unwrap().status, 200);
        }
        let mut boss = ranch.client(Some(ADMIN_KEY));
        let path = format!("/api/v2/admin/tenants/{id}?purge=true");
        let purge = tokio::spawn(async move { boss.call(Method::DELETE, &path).await });
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        ranch.kill_all_nodes().unwrap();
        ranch.start_all().unwrap();
        ranch.wait_ready().await.unwrap();
        let answer = purge.await.unwrap().unwrap();
        let mut boss = ranch.client(Some(ADMIN_KEY)).with_limit(Duration::from_secs(15));
        if !matches!(answer.status, 200 | 202) {
            // It cannot be known whether it began: it may be asked for again.
            let path = format!("{id}?purge=true");
            let (status, again) = admin(&mut boss, Method::DELETE, &path, Value::Null).await;
            assert!(matches!(status, 200 | 202 | 404), "{status} {again}");
        }
        let path = format!("{id}/stats");
        let gone = async || {
            let (status, _) = admin(&mut boss, Method::GET, &path, Value::Null).await;
            (status == 404).then_some(())
        };
        until("the purge to end by itself", LIMIT, gone).await.unwrap();
        let fresh = ranch.add_tenant(&id).await.unwrap();
        let mut fresh = ranch.client(Some(&fresh));
        assert_eq!(fresh.read("p", AT).await.unwrap().status, 404, "killed after {delay_ms} ms");
        assert_eq!(client.read("p", AT).await.unwrap().status, 401);
    }
}

/// A second router that follows a tenants file.
struct Following {
    _process: Child,
    addr: SocketAddr,
    dir: tempfile::TempDir,
}

impl Following {
    async fn start(ranch: &Ranch, dir: tempfile::TempDir) -> Self {
        let addr = free_ports(1).unwrap()[0];
        let process = Command::new(BINARY)
            .args(["router", "--config"])
            .arg(ranch.config())
            .args(["--listen", &addr.to_string(), "--tenants"])
            .arg(dir.path().join("tenants.json"))
            .kill_on_drop(true)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut client = Client::new(addr, None).with_limit(Duration::from_secs(2));
        let ready =
            async || client.get("/health/ready").await.is_ok_and(|a| a.status == 200).then_some(());
        until("the second router", LIMIT, ready).await.unwrap();
        Self { _process: process, addr, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("tenants.json")
    }
}

fn save(path: &Path, file: &Value) {
    let aside = path.with_extension("new");
    std::fs::write(&aside, file.to_string()).unwrap();
    std::fs::rename(aside, path).unwrap();
}

/// SPEC 3: a change of the file is in force within 5 s, under load, and disturbs nobody.
#[tokio::test]
async fn a_tenants_file_is_followed_under_load() {
    let (ranch, key) = ranch_with("busy").await;
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("tenants.json"), &json!({"tenants": []}));
    let following = Following::start(&ranch, dir).await;

    let stop = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Client::new(following.addr, Some(&key));
            let (stop, failed) = (Arc::clone(&stop), Arc::clone(&failed));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.write("p", AT, "x").await;
                    if !answer.is_ok_and(|answer| answer.status == 200) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for round in 1..=3 {
        let key = format!("the-key-of-round-{round}");
        let mut file: Value =
            serde_json::from_slice(&std::fs::read(following.path()).unwrap()).unwrap();
        let list = file["tenants"].as_array_mut().unwrap();
        list.push(json!({"id": format!("round-{round}"), "api_key": key, "quota_mb": round}));
        save(&following.path(), &file);
        let mut client = ranch.client(Some(&key));
        let known = async || (client.select("p", AT).await.unwrap().status == 200).then_some(());
        until("the tenant of the file", IN_FORCE, known).await.unwrap();
    }
    // The other way: added by the API at the other router.
    let added = ranch.add_tenant("by-api").await.unwrap();
    let written = async || {
        let text = std::fs::read_to_string(following.path()).unwrap();
        assert!(!text.contains(&added));
        text.contains("by-api").then_some(())
    };
    until("the tenant in the file", IN_FORCE, written).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(failed.load(Ordering::Relaxed), 0, "nobody was disturbed");
}

/// SPEC 6: 500 tenants from the first day.
#[tokio::test]
async fn five_hundred_tenants_of_a_file_are_there_soon() {
    let (ranch, _) = ranch_with("first").await;
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("tenants.json"), &json!({"tenants": [], "reload_on_change": false}));
    let following = Following::start(&ranch, dir).await;
    let tenants: Vec<_> = (0..500)
        .map(|n| json!({"id": format!("founding-{n:03}"), "api_key": format!("pmb-v1-{n:032}")}))
        .collect();
    let mut file: Value =
        serde_json::from_slice(&std::fs::read(following.path()).unwrap()).unwrap();
    file["tenants"].as_array_mut().unwrap().extend(tenants);
    save(&following.path(), &file);
    let mut boss = Client::new(following.addr, Some(ADMIN_KEY));
    let started = Instant::now();
    let answer = boss.call(Method::POST, "/api/v2/reload").await.unwrap();
    let took = started.elapsed();
    println!("500 tenants in {took:?}");
    let summary: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &summary["added"]), (200, &json!(500)), "{summary}");
    let last = Client::new(ranch.addr(), Some(&format!("pmb-v1-{:032}", 499)));
    let mut last = last;
    let known = async || (last.select("p", AT).await.unwrap().status == 200).then_some(());
    until("the last of them on the other router", Duration::from_secs(1), known).await.unwrap();
}
