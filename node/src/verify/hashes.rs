//! Hashing the rows of a replica when the leader asks for it: one at a time a node, at a bounded
//! rate, on threads of their own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ranch_proto::schema::{HashRows, KindHash, RowsHash, reply, rows_hash::State};
use ranch_proto::{GroupId, ReplicaId};
use ranch_raft::background;
use ranch_raft::state::{HashAt, StateError, hash_at};
use tokio::sync::watch;

use super::POLL_MAX;
use crate::handler::Handled;
use crate::replicas::Replicas;

/// Longest a replica waits to come to the index it is asked about.
const REACH_MAX: Duration = Duration::from_secs(10);
/// Longest a hash may take. Meanwhile the database keeps what is overwritten.
pub(crate) const HASH_MAX: Duration = Duration::from_hours(2);
/// Between looks whether a hash is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// The hashes made on this node: of each group the one asked for last.
pub(crate) struct Hashes {
    rate: u64,
    jobs: Mutex<HashMap<GroupId, Job>>,
    /// Whether rows are being read now.
    busy: Arc<AtomicBool>,
    /// Gone when the node is.
    alive: Arc<()>,
}

struct Job {
    replica: ReplicaId,
    index: u64,
    outcome: watch::Receiver<Option<RowsHash>>,
}

impl Hashes {
    /// Reads at most `rate` bytes a second.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, jobs: Mutex::default(), busy: Arc::default(), alive: Arc::default() }
    }

    /// The hash of a replica's rows as of an index, if it was made in this run and was the last.
    pub(super) fn known(
        &self,
        (group, replica): (GroupId, ReplicaId),
        index: u64,
    ) -> Option<RowsHash> {
        let jobs = self.jobs.lock();
        let job = jobs.get(&group).filter(|job| (job.replica, job.index) == (replica, index))?;
        job.outcome.borrow().clone().filter(|hash| hash.state() == State::Done)
    }

    /// The outcome of hashing a replica at an index, which begins now unless it has begun. One for
    /// another index is given up.
    fn job(
        &self,
        (group, replica): (GroupId, ReplicaId),
        index: u64,
        make: impl FnOnce(watch::Sender<Option<RowsHash>>, Pace),
    ) -> watch::Receiver<Option<RowsHash>> {
        let mut jobs = self.jobs.lock();
        if let Some(job) = jobs.get(&group)
            && (job.replica, job.index) == (replica, index)
            && job.outcome.borrow().as_ref().is_none_or(|hash| hash.state() == State::Done)
        {
            return job.outcome.clone();
        }
        let (told, outcome) = watch::channel(None);
        jobs.insert(group, Job { replica, index, outcome: outcome.clone() });
        drop(jobs);
        let pace = Pace {
            rate: self.rate.max(1),
            busy: Arc::clone(&self.busy),
            alive: Arc::downgrade(&self.alive),
            turn: None,
            read: 0,
        };
        make(told, pace);
        outcome
    }
}

impl Replicas {
    /// Answers what the rows of a replica here are at an index, now or when asked again.
    pub(crate) async fn hash_rows(
        &self,
        group: GroupId,
        target: ReplicaId,
        asked: HashRows,
    ) -> Handled {
        self.target(group, target)?;
        let (store, version) = (Arc::clone(&self.shared.store), self.shared.version.clone());
        let at = (group, asked.index);
        let make = |told: watch::Sender<_>, mut pace: Pace| {
            let started = background::spawn(format!("hash-{group}"), move || {
                let hashed =
                    hash_at(&store, at, REACH_MAX, |bytes| !told.is_closed() && pace.keep(bytes));
                drop(store);
                told.send_replace(Some(outcome(hashed, version)));
            });
            if let Err(error) = started {
                tracing::warn!(%group, "cannot start a thread to hash rows: {error}");
            }
        };
        let mut hash = self.verifier.hashes.job((group, target), asked.index, make);
        let had = tokio::time::timeout(POLL_MAX, hash.wait_for(Option::is_some)).await;
        let had = match had {
            Err(_) => RowsHash { state: State::Pending.into(), ..RowsHash::default() },
            Ok(had) => had.map_or_else(|_| stopped(), |had| had.clone().unwrap_or_default()),
        };
        Ok(reply::Body::RowsHash(had))
    }
}

fn outcome(hashed: Result<HashAt, StateError>, version: String) -> RowsHash {
    let without = |state: State| RowsHash { state: state.into(), ..RowsHash::default() };
    match hashed {
        Ok(HashAt::Hash(hash)) => RowsHash {
            state: State::Done.into(),
            hash: hash.hash.to_vec().into(),
            kinds: hash
                .kinds
                .iter()
                .map(|kind| KindHash {
                    kind: kind.kind.into(),
                    rows: kind.rows,
                    hash: kind.hash.to_vec().into(),
                })
                .collect(),
            version,
        },
        Ok(HashAt::Past(_)) => without(State::Past),
        Ok(HashAt::Behind(_)) => without(State::Behind),
        Ok(HashAt::Stopped) => stopped(),
        Err(error) => {
            tracing::error!("cannot hash the rows of a replica: {error}");
            stopped()
        }
    }
}

fn stopped() -> RowsHash {
    RowsHash { state: State::Stopped.into(), ..RowsHash::default() }
}

/// How fast rows are read, and whether they still are to be.
struct Pace {
    rate: u64,
    busy: Arc<AtomicBool>,
    alive: Weak<()>,
    turn: Option<Turn>,
    read: u64,
}

/// The one turn of a node, since when it is had.
struct Turn {
    busy: Arc<AtomicBool>,
    since: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.store(false, SeqCst);
    }
}

impl Pace {
    /// Waits for the turn, and then until so many bytes more were due. Whether to go on.
    fn keep(&mut self, bytes: usize) -> bool {
        self.read += bytes as u64;
        let due = Duration::from_secs_f64(self.read as f64 / self.rate as f64);
        loop {
            if self.alive.strong_count() == 0 {
                return false;
            }
            let wait = match &self.turn {
                Some(turn) if turn.since.elapsed() > HASH_MAX => return false,
                Some(turn) => due.saturating_sub(turn.since.elapsed()),
                None if self.busy.swap(true, SeqCst) => LOOK,
                None => {
                    let (busy, since) = (Arc::clone(&self.busy), Instant::now());
                    self.turn = Some(Turn { busy, since });
                    continue;
                }
            };
            if wait.is_zero() {
                return true;
            }
            thread::park_timeout(wait.min(LOOK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64, busy: &Arc<AtomicBool>, alive: &Arc<()>) -> Pace {
        let (busy, alive) = (Arc::clone(busy), Arc::downgrade(alive));
        Pace { rate, busy, alive, turn: None, read: 0 }
    }

    #[test]
    fn rows_are_read_no_faster_than_they_may() {
        let (busy, alive) = (Arc::default(), Arc::default());
        let mut pace = pace(1_000_000, &busy, &alive);
        let began = Instant::now();
        assert!(pace.keep(0) && pace.keep(50_000) && pace.keep(50_000));
        assert!(began.elapsed() >= Duration::from_millis(99), "{:?}", began.elapsed());
    }

    #[test]
    fn one_reads_at_a_time_and_none_when_the_node_is_gone() {
        let (busy, alive) = (Arc::default(), Arc::new(()));
        let (mut first, mut second) = (pace(1 << 40, &busy, &alive), pace(1 << 40, &busy, &alive));
        assert!(first.keep(1));
        let waiting = thread::spawn(move || second.keep(1));
        drop(first);
        assert!(waiting.join().unwrap(), "it has its turn in the end");
        let mut late = pace(1, &busy, &alive);
        assert!(late.keep(0));
        let waiting = thread::spawn(move || late.keep(1 << 40));
        drop(alive);
        assert!(!waiting.join().unwrap(), "nobody wants it any more");
    }
}
