//! One client: it does one thing at a time, and writes down what it was answered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::mix::Kind;
use super::{Shared, Workload};
use crate::client::Client;
use crate::history::{Action, Operation, Outcome};
use crate::token;

/// Pause of a client after a request that was refused or not answered, as a real one would.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// How often a write with a key is tried while its outcome is unknown.
const ATTEMPTS: u32 = 20;
/// Requests a client remembers, to repeat one.
const TOLD_MAX: usize = 8;
/// A canary sings once in so many operations.
const CANARY: usize = 10;
/// Longest line of those that are appended one by one, in bytes, and how often one is that long.
const LINE_MAX: u64 = 600;

/// A client.
pub(super) struct Worker {
    pub number: u32,
    pub tenant: String,
    pub client: Client,
    /// Asks as an administrator.
    pub admin: Option<Client>,
    pub workload: Arc<Workload>,
    pub rng: Rng,
    pub began: Instant,
    /// What it last saw of each of its scrolls.
    pub known: HashMap<String, u64>,
    numbers: u64,
    told: VecDeque<Told>,
}

/// A request that was acknowledged, and the key it had.
struct Told {
    scroll: String,
    action: Action,
    key: String,
}

impl Worker {
    pub fn new(workload: &Arc<Workload>, number: u32, began: Instant) -> Self {
        let router = workload.routers[number as usize % workload.routers.len()];
        let (tenant, key) = &workload.tenants[number as usize % workload.tenants.len()];
        let seed = workload.seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            number,
            tenant: tenant.clone(),
            client: Client::new(router, Some(key)),
            admin: workload.admin.as_ref().map(|key| Client::new(router, Some(key))),
            workload: Arc::clone(workload),
            rng: Rng::with_seed(seed),
            began,
            known: HashMap::new(),
            numbers: 0,
            told: VecDeque::new(),
        }
    }

    /// Asks and asks until told to stop.
    pub async fn run(mut self, shared: Arc<Shared>) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut due = tokio::time::Instant::now();
        while !shared.stop.load(Relaxed) {
            if let Some(rate) = self.workload.rate_per_s {
                // Arrivals know nothing of each other, nor of how fast they are answered.
                let mean_s = f64::from(self.workload.clients) / rate;
                let wait_s = -mean_s * (1.0 - self.rng.f64()).ln();
                due += Duration::from_secs_f64(wait_s.min(60.0));
                tokio::time::sleep_until(due).await;
            }
            if self.workload.canary && self.number == 0 && operations.len() % CANARY == CANARY - 1 {
                self.lose_something().await;
            }
            let kind = self.workload.mix.choose(&mut self.rng);
            let done = self.step(kind).await;
            let acked = |one: &&Operation| matches!(one.outcome, Outcome::Acked { .. });
            shared.acked.fetch_add(done.iter().filter(acked).count() as u64, Relaxed);
            if done.iter().any(Operation::has_failed) {
                shared.failed.fetch_add(1, Relaxed);
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            operations.extend(done);
        }
        operations
    }

    /// Removes what others have been told is there, and tells nobody.
    async fn lose_something(&mut self) {
        let scroll = self.any_scroll();
        // Whether it is answered makes no difference: the next one will be.
        let _ = self.ask(&scroll, &Action::Delete, None).await;
    }

    async fn step(&mut self, kind: Kind) -> Vec<Operation> {
        let scroll = self.any_scroll();
        let action = match kind {
            Kind::Read => Action::Read,
            Kind::Stale => Action::StaleRead,
            Kind::Glance if self.rng.bool() => return self.glance_at_all().await,
            Kind::Glance => Action::Glance,
            Kind::Append => Action::Append(self.short_token()),
            Kind::Write => Action::Write(self.short_token()),
            Kind::Swap => self.swap(&scroll),
            Kind::Delete => Action::Delete,
            Kind::Batch => return self.write_many().await,
            Kind::BatchRead => return self.read_many().await,
            Kind::Import => return self.import().await,
            Kind::Again => return self.again().await.into_iter().collect(),
            Kind::Malformed => return vec![self.malformed(&scroll).await],
            Kind::Measure => return self.measure().await.into_iter().collect(),
        };
        let operation = self.perform(&scroll, action).await;
        let mut done = vec![operation];
        if done[0].outcome == (Outcome::Refused { status: 507 }) && self.rng.u8(0..4) == 0 {
            // Who is full makes room, now and then, so that writing goes on near the edge.
            let scroll = self.any_scroll();
            done.push(self.perform(&scroll, Action::Delete).await);
        }
        done
    }

    /// One operation on one scroll. A write may have a key, and is then tried until it is known
    /// what became of it: all tries together are one operation.
    pub async fn perform(&mut self, scroll: &str, action: Action) -> Operation {
        let keyed = action.is_write() && self.rng.u32(0..100) < self.workload.keyed_percent;
        let number = self.next_number();
        let key = keyed.then(|| format!("key-{}-{number}", self.number));
        let invoked_us = self.elapsed_us();
        let mut doubtful = false;
        let mut attempts = 0;
        let (outcome, returned_us) = loop {
            let answer = self.ask(scroll, &action, key.as_deref()).await;
            let returned_us = answer.is_ok().then(|| self.elapsed_us());
            let outcome = super::outcome::of(&action, answer);
            attempts += 1;
            doubtful |= matches!(outcome, Outcome::Unknown { .. });
            match outcome {
                // An earlier try may still take effect, or have been undone since by others.
                Outcome::Refused { status } if doubtful => {
                    if status != 503 && status != 0 || attempts >= ATTEMPTS {
                        break (Outcome::Unknown { status: Some(status) }, returned_us);
                    }
                }
                Outcome::Unknown { .. } if key.is_some() && attempts < ATTEMPTS => {}
                outcome => break (outcome, returned_us),
            }
            tokio::time::sleep(AFTER_FAILURE * attempts).await;
        };
        let operation = self.operation(scroll, action, (invoked_us, returned_us), outcome);
        self.remember(&operation, key);
        operation
    }

    /// Repeats one of the last requests that were acknowledged, under its key.
    async fn again(&mut self) -> Option<Operation> {
        let at = self.rng.usize(..self.told.len().max(1));
        let Told { scroll, action, key } = self.told.remove(at)?;
        let token = action.token()?.to_owned();
        let invoked_us = self.elapsed_us();
        let answer = self.ask(&scroll, &action, Some(&key)).await;
        let returned_us = answer.is_ok().then(|| self.elapsed_us());
        let outcome = super::outcome::of(&action, answer);
        Some(self.operation(&scroll, Action::Again(token), (invoked_us, returned_us), outcome))
    }

    fn remember(&mut self, operation: &Operation, key: Option<String>) {
        let Operation { scroll, action, outcome, .. } = operation;
        let revision = match outcome {
            Outcome::Acked { revision } => *revision,
            Outcome::Seen { revision, .. } if *action == Action::Read => revision.unwrap_or(0),
            _ => return,
        };
        let revision = if *action == Action::Delete { 0 } else { revision };
        self.known.insert(scroll.clone(), revision);
        if let (Some(key), Some(_)) = (key, action.token()) {
            self.told.truncate(TOLD_MAX - 1);
            let (scroll, action) = (scroll.clone(), action.clone());
            self.told.push_front(Told { scroll, action, key });
        }
    }

    /// A write on condition of what was last seen; now and then of nothing being there.
    pub fn swap(&mut self, scroll: &str) -> Action {
        let known = self.known.get(scroll).copied().unwrap_or(0);
        let expected = if self.rng.u8(0..10) == 0 { 0 } else { known };
        Action::Swap { token: self.short_token(), expected }
    }

    /// One of the scrolls this client shares with a few others.
    pub fn any_scroll(&mut self) -> String {
        let number = self.rng.u32(1..=self.workload.scrolls);
        self.scroll(number)
    }

    /// Its scroll of this number.
    pub fn scroll(&self, number: u32) -> String {
        format!("1.1.1/1.1.{}/1.1.{number}", self.workload.circle(self.number) + 1)
    }

    /// A token of a short line; one in eight is longer.
    pub fn short_token(&mut self) -> String {
        let bytes = (self.rng.u8(0..8) == 0).then(|| self.rng.u64(20..LINE_MAX));
        token::token(self.number, self.next_number(), bytes)
    }

    /// A number this client has not used yet.
    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn operation(
        &self,
        scroll: &str,
        action: Action,
        (invoked_us, returned_us): (u64, Option<u64>),
        outcome: Outcome,
    ) -> Operation {
        Operation {
            client: self.number,
            tenant: self.tenant.clone(),
            scroll: scroll.to_owned(),
            action,
            invoked_us,
            returned_us,
            outcome,
            batch: None,
        }
    }

    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
