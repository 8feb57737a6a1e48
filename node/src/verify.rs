//! Comparing the copies of a shard while it serves. Apply is a function of entries and rows, so at
//! one index all copies have the same rows, down to the last byte, or one of them is wrong: a bug,
//! a bad machine, or rot that checksums do not show.
//!
//! A group's leader picks an index ([`rounds`]), every replica hashes its rows as they are when
//! just that much is applied ([`hashes`]), and the leader compares ([`compare`]). A replica that
//! differs from a majority serves nothing more, and its node comes back empty once the others do
//! without it ([`odd`]). Where no majority agrees nobody can say who is right: that is an alarm.

pub(crate) mod compare;
pub(crate) mod hashes;
mod marks;
pub(crate) mod odd;
pub(crate) mod rounds;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ranch_proto::schema::{
    MetricFamily, Verified, VerifyRows, VerifyRowsReply, reply, verified::Verdict,
};
use ranch_proto::{GroupId, NodeId, ReplicaId, ShardError};
use tokio::sync::{Notify, watch};

use crate::handler::Handled;
use crate::replicas::Replicas;
use hashes::Hashes;
use marks::Marks;

/// Longest a question waits for its answer before it is told to come again.
pub(crate) const POLL_MAX: Duration = Duration::from_secs(1);
/// Askers of one group that may wait, and answers that are kept for them.
const ASKS_MAX: usize = 64;

/// What a node knows of the comparisons of its groups.
pub(crate) struct Verifier {
    pub(crate) hashes: Hashes,
    asks: Mutex<BTreeMap<GroupId, Asks>>,
    results: Mutex<BTreeMap<GroupId, Verified>>,
    /// Replicas here that are known to differ from most others.
    odd: Marks,
    mismatches: AtomicU64,
    asked: Notify,
    odd_found: Notify,
    /// Rings when a comparison has ended.
    ended: watch::Sender<u64>,
    /// Who was last allowed to give up its data; only where the meta group is led.
    leaving: tokio::sync::Mutex<Option<(NodeId, Instant)>>,
}

/// Who wants to know how a group's replicas compare.
#[derive(Default)]
struct Asks {
    waiting: Vec<u64>,
    running: Vec<u64>,
    done: VecDeque<(u64, Verified)>,
}

impl Verifier {
    /// Hashes at most `rate` bytes a second, and knows what was found of the data in `dir`.
    pub(crate) fn new(rate: u64, dir: &Path) -> Self {
        Self {
            hashes: Hashes::new(rate),
            asks: Mutex::default(),
            results: Mutex::default(),
            odd: Marks::open(dir),
            mismatches: AtomicU64::new(0),
            asked: Notify::new(),
            odd_found: Notify::new(),
            ended: watch::Sender::new(0),
            leaving: tokio::sync::Mutex::default(),
        }
    }

    /// What came of the last comparison of a group that was led here.
    pub(crate) fn result(&self, group: GroupId) -> Option<Verified> {
        self.results.lock().get(&group).cloned()
    }

    /// Whether the replica of a group here is known to differ from most others.
    pub(crate) fn is_odd(&self, group: GroupId) -> bool {
        self.odd.contains(group)
    }

    /// Takes note of one; whether it is news.
    fn set_odd(&self, group: GroupId, replica: ReplicaId) -> bool {
        let is_news = self.odd.insert(group, replica);
        self.odd_found.notify_one();
        is_news
    }

    /// Refuses what would be answered from rows that are known to be wrong.
    pub(crate) fn check(&self, group: GroupId) -> Result<(), ShardError> {
        if self.is_odd(group) {
            let detail = "the copy here differs from most others and is being replaced".to_owned();
            return Err(ShardError::Unavailable { detail });
        }
        Ok(())
    }

    /// The answer to an asker, once there is one; puts the asker in line if it is new.
    fn take_answer(&self, group: GroupId, id: u64) -> Result<Option<Verified>, ShardError> {
        let mut asks = self.asks.lock();
        let asks = asks.entry(group).or_default();
        if let Some((_, answer)) = asks.done.iter().find(|(asker, _)| *asker == id) {
            return Ok(Some(answer.clone()));
        }
        if !asks.waiting.contains(&id) && !asks.running.contains(&id) {
            if asks.waiting.len() >= ASKS_MAX {
                let detail = "too many want this shard's copies compared".to_owned();
                return Err(ShardError::Overloaded { detail });
            }
            asks.waiting.push(id);
            self.asked.notify_one();
        }
        Ok(None)
    }

    /// The groups somebody asked about.
    fn asked_about(&self) -> Vec<GroupId> {
        let asks = self.asks.lock();
        asks.iter().filter(|(_, asks)| !asks.waiting.is_empty()).map(|(group, _)| *group).collect()
    }

    /// A comparison begins, on behalf of all who have asked so far.
    fn begin(&self, group: GroupId) {
        let mut asks = self.asks.lock();
        let asks = asks.entry(group).or_default();
        asks.running = std::mem::take(&mut asks.waiting);
    }

    /// It has ended; without a result whoever asks again is put in line again.
    fn end(&self, group: GroupId, result: Option<&Verified>) {
        {
            let mut asks = self.asks.lock();
            let asks = asks.entry(group).or_default();
            let answered = std::mem::take(&mut asks.running);
            asks.done.extend(answered.into_iter().filter_map(|id| Some((id, result?.clone()))));
            let over = asks.done.len().saturating_sub(ASKS_MAX);
            asks.done.drain(..over);
        }
        if let Some(verified) = result {
            let differ = verified.verdict() == Verdict::Differ;
            self.mismatches.fetch_add(u64::from(differ), Relaxed);
            let mut results = self.results.lock();
            // That nothing could be learnt makes nothing well that was found before.
            if verified.verdict() != Verdict::Unknown || !results.contains_key(&group) {
                results.insert(group, verified.clone());
            }
        }
        self.ended.send_modify(|count| *count += 1);
    }

    /// Forgets who asked about groups that are led elsewhere now.
    fn forget_all_but(&self, led: &[GroupId]) {
        self.asks.lock().retain(|group, _| led.contains(group));
    }

    /// What is counted of comparisons.
    pub(crate) fn metrics(&self) -> Vec<MetricFamily> {
        let help = "Index at which a shard's copies were last compared by a leader here.";
        let mut index = MetricFamily::gauge("ranch_state_verified_index", help);
        let help = "When all copies of a shard that could be asked were last found to be alike.";
        let mut time = MetricFamily::gauge("ranch_state_verified_timestamp_seconds", help);
        for (group, verified) in self.results.lock().iter() {
            let shard = group.to_string();
            index.push(&[("shard", &shard)], verified.index as f64);
            if matches!(verified.verdict(), Verdict::Alike | Verdict::Partly) {
                time.push(&[("shard", &shard)], verified.at_ms as f64 / 1e3);
            }
        }
        let help = "Comparisons that found copies of a shard to differ.";
        let mismatches = MetricFamily::counter("ranch_state_mismatches_total", help);
        let mismatches = mismatches.with(&[], self.mismatches.load(Relaxed) as f64);
        vec![index, time, mismatches]
    }
}

impl Replicas {
    /// Answers how the replicas of a group led here compare, now or when asked again.
    pub(crate) async fn verify_on_request(&self, group: GroupId, asked: &VerifyRows) -> Handled {
        let core = self.core(group).ok_or(ShardError::NoReplica)?;
        let (term, leader) = core.leader();
        if !core.is_leader() {
            return Err(ShardError::NotLeader { leader, term });
        }
        let mut ended = self.verifier.ended.subscribe();
        let until = tokio::time::Instant::now() + POLL_MAX;
        loop {
            let verified = self.verifier.take_answer(group, asked.id)?;
            if verified.is_some() {
                return Ok(reply::Body::Verify(VerifyRowsReply { verified }));
            }
            if tokio::time::timeout_at(until, ended.changed()).await.is_err() {
                return Ok(reply::Body::Verify(VerifyRowsReply::default()));
            }
        }
    }
}
