//! Crashes at every durability edge: a child process works on a store until a failpoint aborts
//! it or it is killed, and says on its standard error what had been acknowledged. Then the store
//! is opened again and must hold all of that, over and over on the same directory.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use ranch_raft::log::{GroupLog, LogError, LogOptions, LogStore};

use super::support::*;

const DIRECTORY: &str = "RANCH_TEST_LOG_DIRECTORY";
const GROUPS: u32 = 3;
const ROUNDS: u64 = 40;
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// The edges a test may crash at, and how often each is passed before.
const EDGES: [&str; 12] = [
    "log_before_write",
    "log_after_write",
    "log_after_watermark",
    "log_after_callback",
    "log_before_vote",
    "log_after_vote",
    "log_before_truncate",
    "log_after_truncate",
    "log_before_purge",
    "log_after_purge",
    "log_truncate_queued",
    "log_purge_queued",
];
const PASSED_BEFORE: [u32; 3] = [0, 2, 11];

/// What a group has been promised: entries by index with their term, and a term voted for.
#[derive(Clone, Debug, Default)]
struct Promised {
    entries: BTreeMap<u64, u64>,
    voted: u64,
}

/// What the child says, one line a fact.
#[derive(Clone, Copy, Debug)]
enum Fact {
    /// These entries are on disk.
    Appended { first: u64, end: u64, term: u64 },
    /// Entries from here on are no longer promised.
    Truncating { from: u64 },
    /// Entries before here are no longer promised.
    Purging { end: u64 },
    /// The vote is on disk.
    Voted { term: u64 },
}

impl Fact {
    fn line(self, group: u32) -> String {
        match self {
            Self::Appended { first, end, term } => format!("fact {group} a {first} {end} {term}\n"),
            Self::Truncating { from } => format!("fact {group} t {from}\n"),
            Self::Purging { end } => format!("fact {group} p {end}\n"),
            Self::Voted { term } => format!("fact {group} v {term}\n"),
        }
    }

    /// Reads a line; `None` for one that is no fact.
    fn parse(line: &str) -> Option<(usize, Self)> {
        let words: Vec<&str> = line.strip_prefix("fact ")?.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let fact = match words[1] {
            "a" => Self::Appended { first: number(2), end: number(3), term: number(4) },
            "t" => Self::Truncating { from: number(2) },
            "p" => Self::Purging { end: number(2) },
            "v" => Self::Voted { term: number(2) },
            other => panic!("unknown fact {other}"),
        };
        Some((words[0].parse().unwrap(), fact))
    }
}

impl Promised {
    fn note(&mut self, fact: Fact) {
        match fact {
            Fact::Appended { first, end, term } => {
                self.entries.extend((first..end).map(|index| (index, term)));
            }
            Fact::Truncating { from } => drop(self.entries.split_off(&from)),
            Fact::Purging { end } => self.entries = self.entries.split_off(&end),
            Fact::Voted { term } => self.voted = self.voted.max(term),
        }
    }
}

/// The child's side of a group.
struct Work {
    id: u32,
    log: GroupLog,
    term: u64,
    first: u64,
    end: u64,
}

impl Work {
    async fn new(store: &LogStore, id: u32) -> Self {
        let mut log = group(store, id);
        let state = log.get_log_state().await.unwrap();
        let voted = log.get_log_reader().await.read_vote().await.unwrap();
        let written = state.last_log_id.map_or(0, |id| id.leader_id.term);
        let term = voted.map_or(0, |vote| vote.leader_id.term).max(written) + 1;
        let first = state.last_purged_log_id.map_or(0, |id| id.index + 1);
        let end = state.last_log_id.map_or(0, |id| id.index + 1);
        Self { id, log, term, first, end }
    }

    fn tell(&self, fact: Fact) {
        // Unbuffered and in one piece: what was told survives the abort.
        std::io::stderr().write_all(fact.line(self.id).as_bytes()).unwrap();
    }

    async fn append(&mut self, count: u64) -> (Flushed, Fact) {
        let (first, end, term) = (self.end, self.end + count, self.term);
        self.end = end;
        let flushed = queue(&mut self.log, term, first..end).await;
        (flushed, Fact::Appended { first, end, term })
    }

    /// One round: appends of which some are truncated while they are being written, a vote, and
    /// now and then a purge.
    async fn round(&mut self, round: u64) {
        let (kept, kept_fact) = self.append(3).await;
        let last = log_id(self.term, self.end - 1);
        self.log.save_committed(Some(last)).await.unwrap();
        let (_doomed, _) = self.append(2).await;
        let from = last.index + 1;
        self.tell(Fact::Truncating { from });
        self.log.truncate_after(Some(last)).await.unwrap();
        self.end = from;
        self.term += 1;
        let (again, again_fact) = self.append(1 + round % 3).await;
        kept.await.unwrap().unwrap();
        self.tell(kept_fact);
        again.await.unwrap().unwrap();
        self.tell(again_fact);
        self.log.save_vote(&vote(self.term)).await.unwrap();
        self.tell(Fact::Voted { term: self.term });
        if round % 2 == 1 && self.end > self.first + 8 {
            let end = self.end - 5;
            let mut reader = self.log.get_log_reader().await;
            let upto = reader.try_get_log_entries(end - 1..end).await.unwrap()[0].log_id;
            self.tell(Fact::Purging { end });
            self.log.purge(upto).await.unwrap();
            self.first = end;
        }
    }
}

fn crash_options() -> LogOptions {
    // Small buffers, so that write-ahead files are switched and recycled and the cache evicts.
    LogOptions { write_buffer_bytes: 64 << 10, cache_bytes_max: 2000, ..LogOptions::default() }
}

#[tokio::test]
#[ignore = "run as a child process by the other tests of this file"]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let _scenario = fail::FailScenario::setup();
    let store = LogStore::open(Path::new(&directory), crash_options()).unwrap();
    let mut groups = Vec::new();
    for id in 0..GROUPS {
        groups.push(Work::new(&store, id).await);
    }
    for round in 0..ROUNDS {
        join_all(groups.iter_mut().map(|group| group.round(round))).await;
    }
    store.close().await;
}

fn spawn(test: &str, directory: &Path, failpoints: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env("FAILPOINTS", failpoints)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The store's parent side: what all children so far were promised.
#[derive(Default)]
struct Promises {
    groups: [Promised; GROUPS as usize],
}

impl Promises {
    /// Notes what a line says; `false` for one that is no fact.
    fn note(&mut self, line: &str) -> bool {
        let Some((group, fact)) = Fact::parse(line) else { return false };
        self.groups[group].note(fact);
        true
    }

    /// Notes the child's facts until it ends, or kills it after `kill_after` of them. Returns the
    /// signal that ended it.
    fn follow(&mut self, mut child: Child, kill_after: Option<usize>) -> Option<i32> {
        let mut facts = 0;
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            if !self.note(&line) {
                said = said + &line + "\n";
                continue;
            }
            facts += 1;
            if kill_after == Some(facts) {
                child.kill().unwrap();
            }
        }
        let signal = child.wait().unwrap().signal();
        assert!(signal.is_some(), "the child ended by itself: {said}");
        signal
    }

    /// Opens the store and looks for everything promised.
    async fn check(&mut self, path: &Path, what: &str) {
        let store = match LogStore::open(path, crash_options()) {
            Ok(store) => store,
            Err(error) => panic!("{what}: {error}"),
        };
        for (id, promised) in self.groups.iter().enumerate() {
            let mut log = group(&store, id as u32);
            let found = entries(&mut log).await;
            let found: BTreeMap<u64, u64> =
                found.iter().map(|id| (id.index, id.leader_id.term)).collect();
            for (index, term) in &promised.entries {
                assert_eq!(found.get(index), Some(term), "{what}: group {id}, entry {index}");
            }
            let voted = log.get_log_reader().await.read_vote().await.unwrap();
            let voted = voted.map_or(0, |vote| vote.leader_id.term);
            assert!(voted >= promised.voted, "{what}: group {id} forgot a vote");
        }
        store.close().await;
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_at_any_edge() {
    for edge in EDGES {
        let dir = scratch();
        let mut promises = Promises::default();
        for passed in PASSED_BEFORE {
            let failpoints = format!("{edge}={passed}*off->return");
            let signal = promises.follow(spawn("crash::child", dir.path(), &failpoints), None);
            assert_eq!(signal, Some(SIGABRT), "{failpoints}");
            promises.check(dir.path(), &failpoints).await;
        }
    }
}

#[tokio::test]
async fn a_failed_fsync_stops_the_process_and_says_why() {
    let dir = scratch();
    let child = spawn("crash::child", dir.path(), "log_fsync_fails=6*off->return");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(SIGABRT));
    let said = String::from_utf8(output.stderr).unwrap();
    let sentence = format!("writing {} failed: a failure injected", dir.path().display());
    assert!(said.contains(&sentence), "{said}");
    let mut promises = Promises::default();
    for line in said.lines() {
        promises.note(line);
    }
    promises.check(dir.path(), "a failed fsync").await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill() {
    let dir = scratch();
    let mut promises = Promises::default();
    for facts in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144] {
        let child = spawn("crash::child", dir.path(), "");
        assert_eq!(promises.follow(child, Some(facts)), Some(SIGKILL));
        promises.check(dir.path(), &format!("killed after {facts} facts")).await;
    }
}

#[tokio::test]
#[ignore = "run as a child process by the test below"]
async fn contender() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    match LogStore::open(Path::new(&directory), options()) {
        Err(error @ LogError::InUse { .. }) => eprintln!("refused: {error}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("two processes have one log open"),
    }
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = scratch();
    let store = open(dir.path());
    let output = spawn("crash::contender", dir.path(), "").wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let sentence = format!("refused: the log in {} is in use", dir.path().display());
    assert!(said.contains(&sentence), "{said}");
    append(&mut group(&store, 1), 1, 0..1).await;
}
