//! The loop that makes requests and takes their times, the same for every target.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::super::error::CliError;
use super::{BenchArgs, BenchError, Mode};

/// Different texts written in turn, so that nothing can be kept once for all.
const TEXTS: usize = 32;
/// Longest time that can be told apart, in microseconds; longer ones count as this.
const LONGEST_US: u64 = 120_000_000;
/// After a failure, so that a target that is down is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);

/// One client's connection to whatever is driven.
pub trait Target: Send + 'static {
    /// Its name in messages.
    fn name(&self) -> String;

    /// Reads the scroll with this number, all of it.
    fn read(&mut self, key: u32) -> impl Future<Output = Result<(), String>> + Send;

    /// Replaces the scroll with this number.
    fn write(&mut self, key: u32, text: Bytes) -> impl Future<Output = Result<(), String>> + Send;
}

/// What every client does.
pub struct Plan {
    mode: Mode,
    read_percent: u8,
    /// Scrolls of each tenant.
    keys: u32,
    texts: Vec<Bytes>,
    warmup: Duration,
    measured: Duration,
    /// How long a part is that is told of by itself.
    interval: Duration,
    /// Requests a second of all clients; `None` for a closed loop.
    rate: Option<u32>,
}

impl Plan {
    /// The plan the arguments describe.
    pub fn new(args: &BenchArgs) -> Self {
        let mut random = fastrand::Rng::with_seed(0x72_61_6e_63_68);
        let text = |_| (0..args.size).map(|_| random.alphanumeric()).collect::<String>().into();
        Self {
            mode: args.mode,
            read_percent: args.read_percent,
            keys: args.keys.div_ceil(args.tenants.unwrap_or(1)),
            texts: (0..TEXTS).map(text).collect(),
            warmup: Duration::from_secs(args.warmup_seconds),
            measured: Duration::from_secs(args.seconds),
            interval: Duration::from_secs(args.interval.unwrap_or(args.seconds)),
            rate: args.rate,
        }
    }
}

/// Times and failures of one kind of request.
#[derive(Clone)]
pub struct Tally {
    /// Times of successful reads and writes, in microseconds.
    pub reads: Histogram<u64>,
    /// The same of writes.
    pub writes: Histogram<u64>,
    /// How often each failure was seen.
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { reads: histogram(), writes: histogram(), failures: BTreeMap::new() }
    }

    fn clear(&mut self) {
        self.reads.reset();
        self.writes.reset();
        self.failures.clear();
    }

    /// Adds what another one has.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, without which adding would fail.
        let _ = self.reads.add(&other.reads);
        let _ = self.writes.add(&other.writes);
        for (failure, count) in &other.failures {
            *self.failures.entry(failure.clone()).or_default() += count;
        }
    }
}

fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "fails only for bounds that are none")]
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 is less than the longest time")
}

/// Writes every scroll once, if any will be read. Clients are dealt out over `spaces` tenants in
/// turn, and those of one tenant share its scrolls among them.
pub async fn fill<T: Target>(
    plan: &Arc<Plan>,
    clients: Vec<T>,
    spaces: u32,
) -> Result<Vec<T>, CliError> {
    if plan.mode == Mode::Write {
        return Ok(clients);
    }
    let count = clients.len() as u32;
    let fills = clients.into_iter().zip(0_u32..).map(|(mut client, index)| {
        let plan = Arc::clone(plan);
        let (rank, sharers) = (index / spaces, (count - index % spaces).div_ceil(spaces));
        tokio::spawn(async move {
            for key in (rank..plan.keys).step_by(sharers as usize) {
                let text = plan.texts[key as usize % TEXTS].clone();
                if let Err(reason) = client.write(key, text).await {
                    return Err(BenchError::Unusable { target: client.name(), reason });
                }
            }
            Ok(client)
        })
    });
    let filled = join_all(fills).await.into_iter();
    let filled: Result<Vec<T>, BenchError> = filled.filter_map(Result::ok).collect();
    Ok(filled?)
}

/// What was measured in a part of a run.
pub struct Part {
    /// When it began, from when counting did.
    pub from: Duration,
    /// How long it was.
    pub took: Duration,
    /// Of the requests answered in it.
    pub tally: Tally,
}

/// Lets all clients loose until the plan is over or `stop` comes. Tells of each part when it is
/// over; of the last one when every request has its answer.
///
/// # Errors
/// The first of `tell`, which ends the run.
pub async fn run<T: Target>(
    plan: &Arc<Plan>,
    clients: Vec<T>,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(Part) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut run = Run::start(plan, clients);
    let counted_from = run.start + plan.warmup;
    let end = counted_from + plan.measured;
    let mut stop = pin!(stop);
    let (mut from, mut told) = (counted_from, Ok(()));
    while told.is_ok() {
        let until = end.min(from + plan.interval);
        tokio::select! {
            () = tokio::time::sleep_until(until.into()), if until < end => {}
            () = tokio::time::sleep_until(end.into()) => break,
            () = &mut stop => {
                run.over.store(true, Ordering::Relaxed);
                break;
            }
        }
        told = tell(run.part(counted_from, from, until));
        from = until;
    }
    let until = end.min(Instant::now());
    told?;
    run.answered().await;
    tell(run.part(counted_from, from, until))
}

/// Clients at work.
struct Run {
    start: Instant,
    /// Set when it is to end before its time.
    over: Arc<AtomicBool>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Run {
    fn start<T: Target>(plan: &Arc<Plan>, clients: Vec<T>) -> Self {
        let count = clients.len() as u32;
        let (start, over) = (Instant::now(), Arc::default());
        let mut run = Self { start, over, tallies: Vec::new(), clients: Vec::new() };
        for (target, index) in clients.into_iter().zip(0..) {
            let pace = plan.rate.map(|rate| Pace::new(start, rate, count, index));
            let tally = Arc::new(Mutex::new(Tally::new()));
            run.tallies.push(Arc::clone(&tally));
            let (plan, over) = (Arc::clone(plan), Arc::clone(&run.over));
            let client = Client { plan, target, tally, start, over };
            run.clients.push(tokio::spawn(client.run(pace)));
        }
        run
    }

    /// Takes what has been measured since the last time.
    fn part(&self, counted_from: Instant, from: Instant, until: Instant) -> Part {
        let mut sum = Tally::new();
        for tally in &self.tallies {
            let mut tally = tally.lock();
            sum.add(&tally);
            tally.clear();
        }
        let took = until.saturating_duration_since(from);
        Part { from: from.saturating_duration_since(counted_from), took, tally: sum }
    }

    /// Waits for the last answers: clients end by themselves.
    async fn answered(&mut self) {
        join_all(self.clients.drain(..)).await;
    }
}

/// When the requests of one client of an open loop begin: all clients take turns.
struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    fn new(start: Instant, rate: u32, clients: u32, index: u32) -> Self {
        let turn = Duration::from_secs(1) / rate;
        Self { next: start + turn * index, interval: turn * clients }
    }

    /// Waits for the next beginning and returns it, which lies in the past when we are late. A
    /// timer may be a millisecond late itself; that counts as well.
    async fn wait(&mut self) -> Instant {
        let intended = self.next;
        self.next += self.interval;
        if intended > Instant::now() {
            tokio::time::sleep_until(intended.into()).await;
        }
        intended
    }
}

struct Client<T> {
    plan: Arc<Plan>,
    target: T,
    tally: Arc<Mutex<Tally>>,
    start: Instant,
    over: Arc<AtomicBool>,
}

impl<T: Target> Client<T> {
    async fn run(mut self, mut pace: Option<Pace>) {
        let counted_from = self.start + self.plan.warmup;
        let end = counted_from + self.plan.measured;
        loop {
            let begun = match &mut pace {
                Some(pace) if pace.next >= end => break,
                Some(pace) => pace.wait().await,
                None => Instant::now(),
            };
            if begun >= end || self.over.load(Ordering::Relaxed) {
                break;
            }
            self.request(begun, begun >= counted_from).await;
        }
    }

    async fn request(&mut self, begun: Instant, counted: bool) {
        let key = fastrand::u32(..self.plan.keys);
        let is_read = match self.plan.mode {
            Mode::Read => true,
            Mode::Write => false,
            Mode::Mixed => fastrand::u8(..100) < self.plan.read_percent,
        };
        let result = if is_read {
            self.target.read(key).await
        } else {
            let text = self.plan.texts[fastrand::usize(..TEXTS)].clone();
            self.target.write(key, text).await
        };
        match result {
            Ok(()) if counted => {
                let took = begun.elapsed().as_micros() as u64;
                let mut tally = self.tally.lock();
                let times = if is_read { &mut tally.reads } else { &mut tally.writes };
                times.saturating_record(took);
            }
            Ok(()) => {}
            Err(failure) => {
                if counted {
                    *self.tally.lock().failures.entry(failure).or_default() += 1;
                }
                tokio::time::sleep(FAILURE_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Remembers what was written; reads of anything else fail.
    #[derive(Clone, Default)]
    struct Memory {
        written: Arc<Mutex<BTreeMap<u32, u32>>>,
    }

    impl Target for Memory {
        fn name(&self) -> String {
            "memory".to_owned()
        }

        async fn read(&mut self, key: u32) -> Result<(), String> {
            tokio::task::yield_now().await;
            let known = self.written.lock().contains_key(&key);
            known.then_some(()).ok_or_else(|| "missing".to_owned())
        }

        async fn write(&mut self, key: u32, _: Bytes) -> Result<(), String> {
            tokio::task::yield_now().await;
            *self.written.lock().entry(key).or_default() += 1;
            Ok(())
        }
    }

    fn plan(mode: Mode, rate: Option<u32>) -> Arc<Plan> {
        Arc::new(Plan {
            mode,
            read_percent: 80,
            keys: 10,
            texts: vec![Bytes::from_static(b"x"); TEXTS],
            warmup: Duration::ZERO,
            measured: Duration::from_millis(100),
            interval: Duration::from_millis(100),
            rate,
        })
    }

    async fn parts_of(plan: &Arc<Plan>, clients: Vec<Memory>) -> Vec<Part> {
        let mut parts = Vec::new();
        let tell = |part| {
            parts.push(part);
            Ok(())
        };
        run(plan, clients, pending(), tell).await.unwrap();
        parts
    }

    async fn tally_of(plan: &Arc<Plan>, clients: Vec<Memory>) -> Tally {
        let mut parts = parts_of(plan, clients).await;
        assert_eq!(parts.len(), 1);
        parts.remove(0).tally
    }

    #[tokio::test]
    async fn every_scroll_is_written_once_in_each_space_before_reads() {
        for (clients, spaces) in [(1, 1), (3, 1), (5, 2), (4, 4), (20, 1)] {
            let memories: Vec<_> = (0..spaces).map(|_| Memory::default()).collect();
            let all = memories.iter().cycle().take(clients).cloned().collect();
            fill(&plan(Mode::Read, None), all, spaces).await.unwrap();
            for memory in &memories {
                let written = memory.written.lock();
                assert_eq!(written.len(), 10, "{clients} clients, {spaces} spaces");
                assert!(written.values().all(|&times| times == 1));
            }
        }
    }

    #[tokio::test]
    async fn a_closed_loop_counts_what_succeeds_and_what_fails() {
        let empty = tally_of(&plan(Mode::Read, None), vec![Memory::default()]).await;
        assert_eq!(empty.reads.len(), 0);
        assert!(empty.failures["missing"] > 0);
        let memory = Memory::default();
        let mixed = tally_of(&plan(Mode::Write, None), vec![memory.clone(), memory]).await;
        assert!(!mixed.writes.is_empty() && mixed.reads.is_empty());
        assert!(mixed.failures.is_empty());
    }

    #[tokio::test]
    async fn a_mixed_load_keeps_its_share_of_reads() {
        let memory = Memory::default();
        let clients = fill(&plan(Mode::Mixed, None), vec![memory], 1).await.unwrap();
        let tally = tally_of(&plan(Mode::Mixed, Some(10_000)), clients).await;
        let share = tally.reads.len() as f64 / (tally.reads.len() + tally.writes.len()) as f64;
        assert!((0.7..0.9).contains(&share), "{share} of the requests read");
    }

    #[tokio::test]
    async fn an_open_loop_keeps_its_rate() {
        let clients = vec![Memory::default(); 4];
        let tally = tally_of(&plan(Mode::Write, Some(1_000)), clients).await;
        assert_eq!(tally.writes.len(), 100, "1000 a second for 100 ms");
    }

    #[tokio::test]
    async fn a_run_is_told_of_in_parts_that_make_up_the_whole() {
        let mut plan = Arc::into_inner(plan(Mode::Write, Some(1_000))).unwrap();
        plan.interval = Duration::from_millis(40);
        let parts = parts_of(&Arc::new(plan), vec![Memory::default(); 4]).await;
        let at: Vec<_> =
            parts.iter().map(|part| (part.from.as_millis(), part.took.as_millis())).collect();
        assert_eq!(at, [(0, 40), (40, 40), (80, 20)]);
        assert_eq!(parts.iter().map(|part| part.tally.writes.len()).sum::<u64>(), 100);
    }

    #[tokio::test]
    async fn a_run_that_is_stopped_tells_of_what_was_measured() {
        let mut plan = Arc::into_inner(plan(Mode::Write, None)).unwrap();
        plan.measured = Duration::from_hours(1);
        // Counted from the first time that it is waited for.
        let stop = async { tokio::time::sleep(Duration::from_millis(50)).await };
        let mut told = None;
        let tell = |part| {
            told = Some(part);
            Ok(())
        };
        run(&Arc::new(plan), vec![Memory::default()], stop, tell).await.unwrap();
        let part = told.unwrap();
        assert!(!part.tally.writes.is_empty());
        assert!((50..60_000).contains(&part.took.as_millis()), "{:?}", part.took);
    }
}
