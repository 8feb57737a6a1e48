//! What is asked of a target, and what was measured: the same for every target.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hdrhistogram::Histogram;

use super::super::error::CliError;
use super::{BenchArgs, BenchError, Mode};

/// Different texts written in turn, so that nothing can be kept once for all.
pub(super) const TEXTS: usize = 32;
/// Longest time that can be told apart, in microseconds; longer ones count as this.
const LONGEST_US: u64 = 120_000_000;

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
    pub(super) mode: Mode,
    pub(super) read_percent: u8,
    /// Scrolls of each tenant.
    pub(super) keys: u32,
    pub(super) texts: Vec<Bytes>,
    pub(super) warmup: Duration,
    pub(super) measured: Duration,
    /// How long a part is that is told of by itself.
    pub(super) interval: Duration,
    /// Requests a second of all clients; `None` for a closed loop.
    pub(super) rate: Option<u32>,
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
    /// Processor time that this machine lacked meanwhile: see [`stolen`](super::stolen).
    pub stolen: Duration,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        let (reads, writes) = (histogram(), histogram());
        Self { reads, writes, failures: BTreeMap::new(), stolen: Duration::ZERO }
    }

    /// Back to nothing.
    pub fn clear(&mut self) {
        self.reads.reset();
        self.writes.reset();
        self.failures.clear();
        self.stolen = Duration::ZERO;
    }

    /// Adds what another one has.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, without which adding would fail.
        let _ = self.reads.add(&other.reads);
        let _ = self.writes.add(&other.writes);
        for (failure, count) in &other.failures {
            *self.failures.entry(failure.clone()).or_default() += count;
        }
        self.stolen += other.stolen;
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
