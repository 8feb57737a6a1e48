//! Machines that no `ranch.toml` lists: they join by token, and start again by what they remember.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ranch_chaos::Layout;
use ranch_chaos::layout::free_ports;
use ranch_chaos::process::{Process, Recipe};
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::reaper::Reaper;
use ranch_chaos::wait::until;
use serde_json::Value;

use crate::growing::{Growing, leads, loads};
use crate::support::{BINARY, cli, stdout};
use crate::{LIMIT, judge, load};

/// A machine beside those of the layout.
pub struct Newcomer {
    /// Its data directory, and where it is started: nothing else of the ranch is there.
    pub dir: PathBuf,
    pub addr: SocketAddr,
    reaper: Arc<Reaper>,
}

impl Newcomer {
    pub fn new(growing: &Growing, name: &str) -> Self {
        let dir = growing.ranch.dir().join(format!("machine-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        let addr = free_ports(1).unwrap()[0];
        Self { dir, addr, reaper: Arc::new(Reaper::start().unwrap()) }
    }

    /// A process of `ranch` there.
    pub fn process(&self, args: &[&str]) -> Process {
        let recipe = Recipe {
            name: "newcomer".to_owned(),
            wrapper: vec!["env".into(), "-C".into(), self.dir.to_string_lossy().into_owned()],
            program: BINARY.into(),
            args: args.iter().map(Into::into).collect(),
            env: vec![("RANCH_ADMIN_KEY".to_owned(), ADMIN_KEY.to_owned())],
            log: self.dir.join("newcomer.log"),
        };
        Process::new(recipe, Arc::clone(&self.reaper))
    }

    fn joining(&self, at: SocketAddr, token: &str, name: &str) -> Process {
        self.joining_as(at, token, (name, &self.addr.to_string()), &[])
    }

    pub fn joining_as(
        &self,
        at: SocketAddr,
        token: &str,
        (name, addr): (&str, &str),
        more: &[&str],
    ) -> Process {
        let (at, dir) = (at.to_string(), self.data());
        let dir = dir.to_string_lossy().into_owned();
        let args = ["node", "join", &at, "--token", token, "--name", name, "--addr", addr];
        self.process(&[&args, &["--data-dir", &dir][..], more].concat())
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn is_empty(&self) -> bool {
        let data = self.data();
        let entries = |dir: &Path| std::fs::read_dir(dir).map_or(0, Iterator::count);
        entries(&data) == 0
    }
}

pub fn said(process: &Process) -> String {
    let log = process.log();
    log.lines().rfind(|line| line.starts_with("ranch: ")).unwrap_or_default().to_owned()
}

pub async fn token(growing: &Growing, key: &str, more: &[&str]) -> Value {
    let args = ["node", "token", "--json"].iter().chain(more);
    serde_json::from_str(&stdout(&cli(&growing.ranch, key, args).await)).unwrap()
}

/// R1, R2, R3, R7: a machine that nobody has listed joins under load, gets its share, and starts
/// again from its data directory alone, or with the others' `ranch.toml`.
#[tokio::test]
async fn a_machine_joins_by_token_and_starts_again_by_what_it_remembers() {
    let (growing, key) = Growing::found(&Layout::default(), 3).await;
    let running = load(&growing.ranch, &key, 71).await;
    let made = token(&growing, &key, &[]).await;
    let token = made["token"].as_str().unwrap();
    let at = growing.ranch.node_place(2).unwrap().addr;
    let newcomer = Newcomer::new(&growing, "late");
    let mut late = newcomer.joining(at, token, "late");
    late.start().unwrap();
    let account = growing.settled(&[1, 2, 3, 4], 3).await;
    assert_eq!(account["nodes"][3]["name"], "late", "{account:#}");
    assert_eq!(account["nodes"][3]["addr"], newcomer.addr.to_string());
    assert_eq!(loads(&account)[&4], 3, "{account:#}");
    assert!(late.log().contains("late is node 4 of test"), "{}", late.log());
    assert!(late.stop(LIMIT).await.unwrap().success(), "{}", late.log());
    assert!(!late.log().contains(&token[20..]), "tokens are not written down");

    let data = newcomer.data().to_string_lossy().into_owned();
    let config = growing.ranch.config().to_string_lossy().into_owned();
    for more in [&[][..], &["--name", "late"], &["--config", &config]] {
        let args: Vec<&str> = ["node", "--data-dir", &data].iter().chain(more).copied().collect();
        let mut again = newcomer.process(&args);
        again.start().unwrap();
        growing
            .wait("it to be back", |account| {
                account["nodes"][3]["state"] == "up"
                    && account["problems"].as_array().is_some_and(Vec::is_empty)
                    && leads(account).contains_key(&4)
            })
            .await;
        assert!(again.stop(LIMIT).await.unwrap().success(), "{}", again.log());
    }
    assert_eq!(running.failed(), 0, "no request failed");
    // What is left is a majority without it.
    growing.wait("it to be away", |account| account["nodes"][3]["state"] == "down").await;
    judge(&growing.ranch, running).await;
}

/// R11: whoever may not join is told why and what to do, and nothing is changed by it, here or
/// there.
#[tokio::test]
async fn who_may_not_join_is_told_why_and_nothing_changes() {
    let (growing, key) = Growing::found(&Layout::default(), 3).await;
    let good = token(&growing, &key, &["--uses", "1"]).await;
    let good = good["token"].as_str().unwrap();
    let short = token(&growing, &key, &["--lifetime-s", "1"]).await;
    let short = short["token"].as_str().unwrap().to_owned();
    let made = SystemTime::now();
    let expired = async || (made.elapsed().unwrap() > Duration::from_millis(1_200)).then_some(());
    until("a token to expire", LIMIT, expired).await.unwrap();
    let at = growing.ranch.node_place(1).unwrap().addr;
    let taken = growing.ranch.node_place(2).unwrap().addr.to_string();
    let (of_ranch, random) = good["ranch-join-".len()..].split_once('-').unwrap();
    let wrong = format!("ranch-join-{of_ranch}-{}", "0".repeat(random.len()));
    let foreign = format!("ranch-join-ffffffff-{random}");
    let newcomer = Newcomer::new(&growing, "x");
    let own = newcomer.addr.to_string();
    let before = growing.account().await.unwrap()["nodes"].clone();
    for (token, name, addr, versions, words) in [
        (wrong.as_str(), "x", own.as_str(), None, "not one of this ranch: make a new one with"),
        (&short, "x", &own, None, "the token has expired: make a new one with"),
        (&foreign, "x", &own, None, "the token is of another ranch"),
        ("hello", "x", &own, None, "no join token"),
        (good, "node2", &own, None, "cannot have the name node2: node 2 has it; give it another"),
        (good, "x", &taken, None, "cannot listen on"),
        (good, "x", &own, Some("1-1/1-1"), "cluster version 2, and version"),
        (good, "x", &own, Some("1-2/5-6"), "speaks protocol 5 to 6 and this one 1"),
    ] {
        let mut process = newcomer.joining_as(at, token, (name, addr), &[]);
        process.set_env("RANCH_TEST_VERSIONS", versions);
        process.start().unwrap();
        let ended = process.wait_exit(LIMIT).await.expect("it ends by itself");
        assert!(!ended.success() && said(&process).contains(words), "{words}: {}", process.log());
        assert!(newcomer.is_empty(), "{words}: nothing is left of it");
    }
    // Nor with a certificate where nobody shows one.
    let certs = newcomer.dir.join("certs").to_string_lossy().into_owned();
    for words in [&["init", "--ca-only"][..], &["issue", "x", "--id", "9"]] {
        let words = [words, &["--dir", &certs]].concat();
        stdout(&crate::tls::certs(&growing.ranch, &words).await);
    }
    let mut process = newcomer.joining_as(at, good, ("x", &own), &["--tls-dir", &certs]);
    process.start().unwrap();
    assert!(!process.wait_exit(LIMIT).await.expect("it ends by itself").success());
    assert!(said(&process).contains("no TLS is spoken at"), "{}", process.log());
    assert!(newcomer.is_empty(), "nothing is left of it");
    assert_eq!(growing.account().await.unwrap()["nodes"], before);

    // The token was not used up by all that; now it is, and then no more.
    let mut first = newcomer.joining(at, good, "x");
    first.start().unwrap();
    growing.settled(&[1, 2, 3, 4], 3).await;
    let second = Newcomer::new(&growing, "y");
    let mut late = second.joining(at, good, "y");
    late.start().unwrap();
    late.wait_exit(LIMIT).await.expect("it ends by itself");
    let words = "as many machines as it may: make a new one with `ranch node token`";
    assert!(said(&late).contains(words), "{}", late.log());
    assert!(second.is_empty());
    // Whoever is in does not join again.
    first.stop(LIMIT).await.unwrap();
    first.start().unwrap();
    first.wait_exit(LIMIT).await.expect("it ends by itself");
    assert!(said(&first).contains("this is node 4 of a ranch already"), "{}", first.log());
}
