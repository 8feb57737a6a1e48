//! The loop that makes requests and takes their times, and tells of them part by part.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::super::error::CliError;
use super::Mode;
use super::load::{Plan, TEXTS, Tally, Target};
use super::stolen;

/// After a failure, so that a target that is down is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(20);

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
    let warm = tokio::select! {
        () = tokio::time::sleep_until(counted_from.into()) => true,
        () = &mut stop => false,
    };
    run.stolen = stolen::until_now();
    while warm && told.is_ok() {
        let until = end.min(from + plan.interval);
        tokio::select! {
            () = tokio::time::sleep_until(until.into()), if until < end => {}
            () = tokio::time::sleep_until(end.into()) => break,
            () = &mut stop => break,
        }
        told = tell(run.part(counted_from, from, until));
        from = until;
    }
    let until = end.min(Instant::now());
    run.over.store(until < end, Ordering::Relaxed);
    run.answered().await;
    told?;
    tell(run.part(counted_from, from, until))
}

/// Clients at work.
struct Run {
    start: Instant,
    /// Set when it is to end before its time.
    over: Arc<AtomicBool>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    clients: Vec<JoinHandle<()>>,
    /// Processor time stolen until the last part was over, or counting began.
    stolen: Option<Duration>,
}

impl Run {
    fn start<T: Target>(plan: &Arc<Plan>, clients: Vec<T>) -> Self {
        let count = clients.len() as u32;
        let (start, over) = (Instant::now(), Arc::default());
        let mut run = Self { start, over, tallies: Vec::new(), clients: Vec::new(), stolen: None };
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
    fn part(&mut self, counted_from: Instant, from: Instant, until: Instant) -> Part {
        let mut sum = Tally::new();
        for tally in &self.tallies {
            let mut tally = tally.lock();
            sum.add(&tally);
            tally.clear();
        }
        let stolen = stolen::until_now();
        let since = stolen.zip(self.stolen).map(|(now, then)| now.saturating_sub(then));
        sum.stolen = since.unwrap_or_default();
        self.stolen = stolen;
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
mod tests;
