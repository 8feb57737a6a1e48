//! Which promises a run kept, judged from its history and the faults that struck. Pure.
//!
//! A promise that could not be put to the test counts as not shown, and a run that shows less than
//! its scenario names has failed.

mod asked;
mod disks;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::asked::Asked;
use crate::check::{QUOTA_EXCEEDED, Violation};
use crate::fault::{FaultKind, Target};
use crate::history::{Action, Operation, Outcome};
use crate::scenario::{Promise, Scenario};
use crate::states::States;

/// Longest all shards may take to agree again after a fault is healed (R10).
const WHOLE_MAX: Duration = Duration::from_secs(30);
/// Longest a write may take to succeed after a fault is healed (R10).
pub const SERVES_MAX: Duration = Duration::from_secs(5);
/// Part of a quota that counts as near its edge (R5).
const NEAR_THE_EDGE: f64 = 0.9;
/// Longest a request may go without any answer (R11).
const ANSWER_MAX: Duration = Duration::from_secs(19);
/// Violations told one by one; a saved history has them all.
const TOLD_MAX: usize = 5;
/// Slowest answer in a thousand during a rolling restart (R7).
const ROLLING_P999_MAX: Duration = Duration::from_millis(500);

/// A fault as it struck, on the clock of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// What happened.
    pub kind: FaultKind,
    /// To what kind of node.
    pub target: Target,
    /// To which nodes.
    pub nodes: Vec<u32>,
    /// When it began, in microseconds.
    pub began_us: u64,
    /// When it was healed, in microseconds.
    pub healed_us: u64,
    /// When it and all faults that held at the same time were healed, in microseconds.
    pub calm_us: u64,
    /// Its episode: faults of one episode overlap, those of different ones do not.
    pub episode: usize,
    /// How often it did what it is there for, such as drop a packet; absent where it always does.
    pub bites: Option<u64>,
    /// When all nodes were up and no replica behind, in microseconds; absent if that never came.
    pub whole_us: Option<u64>,
}

impl Strike {
    /// Whether it struck and did nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.bites == Some(0)
    }
}

/// What is said of one promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was put to the test and held; with the figure that shows it.
    Kept(String),
    /// It did not hold.
    Broken(Vec<String>),
    /// Nothing in the run put it to the test.
    NotShown(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(figure) => write!(f, "kept: {figure}"),
            Self::Broken(how) => write!(f, "BROKEN: {}", how.join("; ")),
            Self::NotShown(why) => write!(f, "NOT SHOWN: {why}"),
        }
    }
}

/// All that a run is judged by.
pub struct Evidence<'a> {
    /// What was run.
    pub scenario: &'a Scenario,
    /// What clients were answered.
    pub history: &'a [Operation],
    /// What the checker found in it.
    pub violations: &'a [Violation],
    /// The faults.
    pub strikes: &'a [Strike],
    /// How often nodes set aside what was an old copy, and came back empty.
    pub found_out: usize,
    /// How all copies of every shard compared in the end.
    pub states: &'a States,
    /// Promised times are stretched by this, for builds and machines that are slow.
    pub slack: f64,
}

impl Evidence<'_> {
    /// A verdict for each promise the scenario names.
    #[must_use]
    pub fn verdicts(&self) -> Vec<(Promise, Verdict)> {
        let promises = self.scenario.promises.iter();
        promises.map(|&promise| (promise, self.verdict(promise))).collect()
    }

    fn verdict(&self, promise: Promise) -> Verdict {
        if self.strikes.is_empty() {
            return Verdict::NotShown("no fault struck".to_owned());
        }
        match promise {
            Promise::R1 | Promise::R2 | Promise::R3 | Promise::R4 => self.checked(promise),
            Promise::R5 => self.counts(),
            Promise::R6 => self.recovers(),
            Promise::R7 => self.rolls(),
            Promise::R8 => self.refuses_when_full(),
            Promise::R9 => self.finds_rot(),
            Promise::R10 => self.converges(),
            Promise::R11 => self.refuses(),
        }
    }

    fn checked(&self, promise: Promise) -> Verdict {
        let found = self.violations.iter().filter(|violation| violation.concerns(promise));
        let mut broken: Vec<_> = found.map(ToString::to_string).collect();
        let more = broken.len().saturating_sub(TOLD_MAX);
        broken.truncate(TOLD_MAX);
        broken.extend((more > 0).then(|| format!("and {more} more")));
        let acked = count(self.history, |outcome| matches!(outcome, Outcome::Acked { .. }));
        match (broken.is_empty(), acked) {
            (false, _) => Verdict::Broken(broken),
            (true, 0) => Verdict::NotShown("nothing was acknowledged".to_owned()),
            (true, _) => Verdict::Kept(format!(
                "{acked} acknowledged writes, {} reads",
                count(self.history, |outcome| matches!(outcome, Outcome::Seen { .. }))
            )),
        }
    }

    /// R5: tenants came near their quota, were refused, and no rule about it was broken.
    fn counts(&self) -> Verdict {
        let refused =
            count(self.history, |outcome| *outcome == Outcome::Refused { status: QUOTA_EXCEEDED });
        let measured = self.history.iter().filter_map(|operation| match operation.outcome {
            Outcome::Measured { used_bytes, quota_bytes } => Some((used_bytes, quota_bytes?)),
            _ => None,
        });
        let fullest = measured.map(|(used, quota)| used as f64 / quota.max(1) as f64);
        let fullest = fullest.fold(0.0, f64::max);
        match self.checked(Promise::R5) {
            Verdict::Kept(_) if refused == 0 || fullest < NEAR_THE_EDGE => {
                Verdict::NotShown("no tenant was near its quota".to_owned())
            }
            Verdict::Kept(figure) => Verdict::Kept(format!(
                "{figure}, {refused} refused for a quota, {:.1} % full at most",
                fullest * 100.0
            )),
            other => other,
        }
    }

    /// R11: what is wrong was refused, and everything asked was answered in some time.
    fn refuses(&self) -> Verdict {
        let malformed = |operation: &&Operation| matches!(operation.action, Action::Malformed(_));
        let refused = |operation: &&Operation| {
            matches!(operation.outcome, Outcome::Refused { status: 400..500 })
        };
        let wrong = self.history.iter().filter(malformed).filter(refused).count();
        let overloaded = count(self.history, |outcome| {
            matches!(outcome, Outcome::Refused { status: 429 | 503 })
        });
        let hung = hung(self.history);
        match self.checked(Promise::R11) {
            Verdict::Kept(_) if hung > 0 => {
                Verdict::Broken(vec![format!("{hung} requests had no answer in {ANSWER_MAX:?}")])
            }
            Verdict::Kept(_) if wrong == 0 => {
                Verdict::NotShown("nothing that is wrong was asked".to_owned())
            }
            Verdict::Kept(_) => Verdict::Kept(format!(
                "{wrong} malformed requests refused, {overloaded} others told to come back later, \
                 none left without an answer"
            )),
            other => other,
        }
    }

    fn recovers(&self) -> Verdict {
        let mut kept = Vec::new();
        let mut broken = Vec::new();
        for (kind, times) in self.recovery_times() {
            let Some((kind, limit)) = kind.and_then(|kind| Some((kind, kind.promised()?))) else {
                continue;
            };
            let limit = limit.mul_f64(self.slack);
            let figure = format!("{kind:?} {times} (promised {limit:?})");
            if times.p99 <= limit { kept.push(figure) } else { broken.push(figure) }
        }
        match (broken.is_empty(), kept.is_empty()) {
            (false, _) => Verdict::Broken(broken),
            (true, true) => Verdict::NotShown("no fault with a promised time struck".to_owned()),
            (true, false) => Verdict::Kept(kept.join(", ")),
        }
    }

    /// How long each kind of fault kept writes from succeeding; without a kind, several at once.
    #[must_use]
    pub fn recovery_times(&self) -> BTreeMap<Option<FaultKind>, Times> {
        let acks = acks_by_tenant(self.history);
        let mut by_kind = BTreeMap::<Option<FaultKind>, Vec<Duration>>::new();
        let episodes: Vec<_> = self.strikes.chunk_by(|a, b| a.episode == b.episode).collect();
        for (at, episode) in episodes.iter().enumerate() {
            let next = episodes.get(at + 1).map_or(u64::MAX, |next| next[0].began_us);
            let gaps = acks.values().filter_map(|acks| gap(acks, episode[0].began_us, next));
            let alone = (episode.len() == 1).then_some(episode[0].kind);
            if let Some(longest) = gaps.max() {
                by_kind.entry(alone).or_default().push(longest);
            }
        }
        by_kind.into_iter().map(|(kind, gaps)| (kind, Times::of(gaps))).collect()
    }

    /// Kinds of faults that did nothing more than once in ten times, in words. That one of many
    /// does nothing happens: the kernel syncs by itself, or a process makes no call that could
    /// fail.
    #[must_use]
    pub fn toothless(&self) -> Vec<String> {
        let mut by_kind = BTreeMap::<FaultKind, (usize, usize)>::new();
        for strike in self.strikes {
            let (idle, all) = by_kind.entry(strike.kind).or_default();
            *idle += usize::from(strike.is_idle());
            *all += 1;
        }
        let toothless = by_kind.into_iter().filter(|(_, (idle, all))| idle * 10 > *all);
        toothless.map(|(kind, (idle, all))| format!("{kind:?}, {idle} of {all}")).collect()
    }

    fn rolls(&self) -> Verdict {
        let failed = self.history.iter().filter(|operation| operation.has_failed()).count();
        let p999 = latency(self.history, 0.999);
        let limit = ROLLING_P999_MAX.mul_f64(self.slack);
        let figure = format!("{failed} failed requests, p99.9 {p999:?} (promised {limit:?})");
        if failed == 0 && p999 <= limit {
            Verdict::Kept(figure)
        } else {
            Verdict::Broken(vec![figure])
        }
    }

    fn converges(&self) -> Verdict {
        let acks = acks_by_tenant(self.history);
        let asked = Asked::by_tenant(self.history);
        let mut broken = self.states.faults.clone();
        let mut slowest = Duration::ZERO;
        for strike in self.strikes {
            let name = format!("{:?} of {:?}", strike.kind, strike.nodes);
            let whole = strike.whole_us.map(|at| between(strike.calm_us, at));
            match whole {
                Some(time) if time <= WHOLE_MAX.mul_f64(self.slack) => slowest = slowest.max(time),
                Some(time) => broken.push(format!("{name}: whole again only after {time:?}")),
                None => broken.push(format!("{name}: never whole again")),
            }
            for (tenant, acks) in &acks {
                let since = asked.get(tenant).and_then(|asked| asked.since(strike.calm_us));
                let served = acks.get(acks.partition_point(|at| *at < strike.calm_us));
                let time = since.zip(served).map(|(since, at)| between(since, *at));
                if time.is_none_or(|time| time > SERVES_MAX.mul_f64(self.slack)) {
                    broken.push(format!("{name}: no write of {tenant} in {SERVES_MAX:?}"));
                }
            }
        }
        if broken.is_empty() {
            Verdict::Kept(format!("{} faults, whole after {slowest:?} at most", self.strikes.len()))
        } else {
            Verdict::Broken(broken)
        }
    }
}

/// A few durations, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How many there are.
    pub count: usize,
    /// The middle one.
    pub p50: Duration,
    /// All but one in a hundred are no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Times {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self { count: all.len(), p50: rank(&all, 0.5), p99: rank(&all, 0.99), max: rank(&all, 1.0) }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_secs_f64();
        let (p50, p99, max) = (seconds(self.p50), seconds(self.p99), seconds(self.max));
        write!(f, "{} times, p50 {p50:.3} s, p99 {p99:.3} s, max {max:.3} s", self.count)
    }
}

/// The value below which a share of the sorted values lies (nearest rank).
fn rank(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_sign_loss)] // a share of a length
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

fn acks_by_tenant(history: &[Operation]) -> BTreeMap<&str, Vec<u64>> {
    let mut acks = BTreeMap::<&str, Vec<u64>>::new();
    for operation in history {
        if let (Outcome::Acked { .. }, Some(at)) = (&operation.outcome, operation.returned_us) {
            acks.entry(&operation.tenant).or_default().push(at);
        }
    }
    for acks in acks.values_mut() {
        acks.sort_unstable();
    }
    acks
}

/// The longest time without an acknowledged write between two instants, counted from the first.
fn gap(acks: &[u64], from_us: u64, to_us: u64) -> Option<Duration> {
    let within = &acks[acks.partition_point(|at| *at < from_us)..];
    let within = &within[..within.partition_point(|at| *at < to_us)];
    let starts = std::iter::once(&from_us).chain(within);
    starts.zip(within).map(|(start, end)| between(*start, *end)).max()
}

fn between(from_us: u64, to_us: u64) -> Duration {
    Duration::from_micros(to_us.saturating_sub(from_us))
}

fn count(history: &[Operation], is: impl Fn(&Outcome) -> bool) -> usize {
    history.iter().filter(|operation| is(&operation.outcome)).count()
}

/// Requests that nobody answered until their client gave up: it asks one thing at a time, so that
/// shows by when it asked the next.
fn hung(history: &[Operation]) -> usize {
    let mut by_client = BTreeMap::<u32, Vec<(u64, bool)>>::new();
    for operation in history {
        let asked = (operation.invoked_us, operation.returned_us.is_none());
        by_client.entry(operation.client).or_default().push(asked);
    }
    let hung = by_client.values_mut().map(|asked| {
        asked.sort_unstable();
        let late = |pair: &&[(u64, bool)]| pair[0].1 && between(pair[0].0, pair[1].0) > ANSWER_MAX;
        asked.windows(2).filter(late).count()
    });
    hung.sum()
}

/// The latency below which a share of the answered requests lies.
#[must_use]
pub fn latency(history: &[Operation], share: f64) -> Duration {
    let answered = history.iter().filter_map(|operation| {
        operation.returned_us.map(|returned| between(operation.invoked_us, returned))
    });
    let mut answered: Vec<_> = answered.collect();
    answered.sort_unstable();
    rank(&answered, share)
}

#[cfg(test)]
mod tests;
