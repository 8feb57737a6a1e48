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
use crate::refusals::{facts, has_words};
use crate::support::{BINARY, cli, stdout};
use crate::{LIMIT, judge, load};

const FOREIGN: &str = "the token is of another ranch: make one with `ranch node token` in this \
                       one, or correct the address";
const NAME_TAKEN: &str = "cannot have the name node2: node 2 has it; give it another one, or \
                          remove node 2 first if this machine is to take its place";
const TOO_OLD: &str = "cluster version 2, and version … can do 1: run the version the other \
                       machines run";
const NO_COMMON_PROTOCOL: &str = "speaks protocol 5 to 6 and this one 1 to 2, so they cannot work \
                                  together: upgrade the older one";

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

/// Runs a machine that must not be let in: it ends by itself, says why and what to do, and nothing
/// is left of it.
pub async fn refused(newcomer: &Newcomer, mut process: Process, words: &str) {
    process.start().unwrap();
    let ended = process.wait_exit(LIMIT).await.expect("it ends by itself");
    let has_words = has_words(&said(&process), words);
    assert!(!ended.success() && has_words, "{words}: {}", process.log());
    assert!(newcomer.is_empty(), "{words}: nothing is left of it");
}

/// R11: whoever may not join is told why and what to do, and nothing is changed by it, here or
/// there.
#[tokio::test]
async fn who_may_not_join_is_told_why_and_nothing_changes() {
    let (mut growing, key) = Growing::found(&Layout::default(), 3).await;
    growing.settled(&[1, 2, 3], 3).await;
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
    let before = facts(&growing).await;
    for (token, name, addr, versions, words) in [
        (wrong.as_str(), "x", own.as_str(), None, "not one of this ranch: make a new one with"),
        (&short, "x", &own, None, "the token has expired: make a new one with"),
        (&foreign, "x", &own, None, FOREIGN),
        ("hello", "x", &own, None, "no join token: they are made by `ranch node token`"),
        (good, "node2", &own, None, NAME_TAKEN),
        (good, "x", &taken, None, "cannot listen on … in use … Choose another `addr`"),
        (good, "x", &own, Some("1-1/1-1"), TOO_OLD),
        (good, "x", &own, Some("1-2/5-6"), NO_COMMON_PROTOCOL),
    ] {
        let mut process = newcomer.joining_as(at, token, (name, addr), &[]);
        process.set_env("RANCH_TEST_VERSIONS", versions);
        refused(&newcomer, process, words).await;
    }
    certified(&growing, &newcomer, good).await;
    assert_eq!(facts(&growing).await, before);
    at_the_address_of_one_that_is_away(&mut growing, &newcomer, good).await;
    assert_eq!(facts(&growing).await, before);

    // The token was not used up by all that; now it is, and then no more.
    let mut first = newcomer.joining(at, good, "x");
    first.start().unwrap();
    growing.settled(&[1, 2, 3, 4], 3).await;
    let second = Newcomer::new(&growing, "y");
    let words = "as many machines as it may: make a new one with `ranch node token`";
    refused(&second, second.joining(at, good, "y"), words).await;
    // Whoever is in does not join again.
    first.stop(LIMIT).await.unwrap();
    first.start().unwrap();
    first.wait_exit(LIMIT).await.expect("it ends by itself");
    let words = "this is node 4 of a ranch already: start it with `ranch node`, or give another \
                 data directory";
    assert!(said(&first).contains(words), "{}", first.log());
}

/// Joins with a certificate where nobody shows one.
async fn certified(growing: &Growing, newcomer: &Newcomer, token: &str) {
    let certs = newcomer.dir.join("certs").to_string_lossy().into_owned();
    for words in [&["init", "--ca-only"][..], &["issue", "x", "--id", "9"]] {
        let words = [words, &["--dir", &certs]].concat();
        stdout(&crate::tls::certs(&growing.ranch, &words).await);
    }
    let at = growing.ranch.node_place(1).unwrap().addr;
    let own = newcomer.addr.to_string();
    let process = newcomer.joining_as(at, token, ("x", &own), &["--tls-dir", &certs]);
    let words = "no TLS is spoken at … join without --tls-dir and without [tls] dir";
    refused(newcomer, process, words).await;
}

/// Joins with the address of a machine that is down, so that nothing but the ranch can know.
async fn at_the_address_of_one_that_is_away(
    growing: &mut Growing,
    newcomer: &Newcomer,
    token: &str,
) {
    let at = growing.ranch.node_place(1).unwrap().addr;
    let third = growing.ranch.node_place(3).unwrap().addr.to_string();
    growing.ranch.node(3).unwrap().stop(LIMIT).await.unwrap();
    let words = format!(
        "cannot have the address {third}: node 3 has it; give it another one, or remove node 3 \
         first if this machine is to take its place"
    );
    let process = newcomer.joining_as(at, token, ("x", &third), &[]);
    refused(newcomer, process, &words).await;
    growing.ranch.node(3).unwrap().start().unwrap();
    growing.settled(&[1, 2, 3], 3).await;
}
