//! Clients that read, write, append and delete scrolls side by side, and write down what they
//! were answered.
//!
//! Each client does one thing at a time over the REST endpoints, whose answers carry revisions.
//! A client never retries a write: a second try under a new identity would be a second write.
//! When the load stops, every scroll is read once more, so that the history ends with what is left.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::client::{Answer, Client, ClientError};
use crate::error::HarnessError;
use crate::history::{Action, Operation, Outcome};
use crate::wait::until;

/// The phext all scrolls of a workload are in.
pub const PHEXT: &str = "chaos";
/// How long the last reads may take, all retries included.
const FINAL_READ_LIMIT: Duration = Duration::from_mins(1);
/// Pause of a client after a request that was refused or not answered, as a real one would.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What load to make.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Routers to ask; clients are dealt out over them.
    pub routers: Vec<SocketAddr>,
    /// Ids and keys of the tenants whose scrolls are used; clients are dealt out over them.
    pub tenants: Vec<(String, String)>,
    /// Clients that ask at the same time.
    pub clients: u32,
    /// Scrolls of each tenant.
    pub scrolls: u32,
    /// Decides what each client does.
    pub seed: u64,
    /// In a hundred operations, so many reads; of the rest most are appends.
    pub reads_percent: u32,
}

impl Workload {
    /// A load of 8 clients on 4 scrolls of one tenant, a third of it reads.
    #[must_use]
    pub fn new(router: SocketAddr, tenant: &str, key: &str) -> Self {
        Self {
            routers: vec![router],
            tenants: vec![(tenant.to_owned(), key.to_owned())],
            clients: 8,
            scrolls: 4,
            seed: 1,
            reads_percent: 33,
        }
    }

    /// Starts the clients.
    #[must_use]
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let worker = self.worker(number, began);
            clients.spawn(worker.run(Arc::clone(&shared)));
        }
        Running { workload: self, began, shared, clients }
    }

    fn worker(&self, number: u32, began: Instant) -> Worker {
        let router = self.routers[number as usize % self.routers.len()];
        let (tenant, key) = &self.tenants[number as usize % self.tenants.len()];
        Worker {
            number,
            tenant: tenant.clone(),
            client: Client::new(router, Some(key)),
            scrolls: self.scrolls,
            reads_percent: self.reads_percent,
            rng: Rng::with_seed(self.seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            tokens: 0,
            began,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    acked: AtomicU64,
    failed: AtomicU64,
}

/// A load under way.
#[derive(Debug)]
pub struct Running {
    workload: Workload,
    began: Instant,
    shared: Arc<Shared>,
    clients: JoinSet<Vec<Operation>>,
}

impl Running {
    /// Writes acknowledged so far.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Relaxed)
    }

    /// Requests so far that were not carried out as asked, or not answered.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Relaxed)
    }

    /// Microseconds since it began, on the clock of its history.
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits until `more` writes have been acknowledged from now on.
    ///
    /// # Errors
    /// When they have not been within `limit`: there is no service.
    pub async fn progress(&self, more: u64, limit: Duration) -> Result<(), HarnessError> {
        let goal = self.acked() + more;
        let what = format!("{more} more acknowledged writes");
        until(&what, limit, async || (self.acked() >= goal).then_some(())).await
    }

    /// Ends the load, reads every scroll once more, and gives the history.
    ///
    /// # Errors
    /// When a scroll cannot be read in the end, or a client broke down.
    pub async fn finish(mut self) -> Result<Vec<Operation>, HarnessError> {
        self.shared.stop.store(true, Relaxed);
        let mut history = Vec::new();
        while let Some(joined) = self.clients.join_next().await {
            let operations = joined.map_err(|error| {
                HarnessError::io("running a client")(std::io::Error::other(error))
            })?;
            history.extend(operations);
        }
        let used: BTreeSet<(String, String)> = history
            .iter()
            .map(|operation| (operation.tenant.clone(), operation.scroll.clone()))
            .collect();
        for (tenant, scroll) in used {
            history.push(self.read_last(&tenant, &scroll).await?);
        }
        Ok(history)
    }

    async fn read_last(&self, tenant: &str, scroll: &str) -> Result<Operation, HarnessError> {
        let owner = self.workload.tenants.iter().position(|(id, _)| id == tenant).unwrap_or(0);
        let mut worker = self.workload.worker(owner as u32, self.began);
        let what = format!("a last read of {tenant}.{scroll}");
        until(&what, FINAL_READ_LIMIT, async || {
            let operation = worker.perform(scroll, Action::Read).await;
            matches!(operation.outcome, Outcome::Seen { .. }).then_some(operation)
        })
        .await
    }
}

struct Worker {
    number: u32,
    tenant: String,
    client: Client,
    scrolls: u32,
    reads_percent: u32,
    rng: Rng,
    tokens: u64,
    began: Instant,
}

impl Worker {
    async fn run(mut self, shared: Arc<Shared>) -> Vec<Operation> {
        let mut operations = Vec::new();
        while !shared.stop.load(Relaxed) {
            let scroll = format!("1.1.1/1.1.1/1.1.{}", self.rng.u32(1..=self.scrolls));
            let action = self.next_action();
            let operation = self.perform(&scroll, action).await;
            match operation.outcome {
                Outcome::Acked { .. } => {
                    shared.acked.fetch_add(1, Relaxed);
                }
                Outcome::Seen { .. } => {}
                Outcome::Refused { .. } | Outcome::Unknown { .. } => {
                    shared.failed.fetch_add(1, Relaxed);
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
            operations.push(operation);
        }
        operations
    }

    fn next_action(&mut self) -> Action {
        if self.rng.u32(0..100) < self.reads_percent {
            return Action::Read;
        }
        self.tokens += 1;
        let token = format!("{}-{}", self.number, self.tokens);
        match self.rng.u32(0..100) {
            0..90 => Action::Append(token),
            90..97 => Action::Write(token),
            _ => Action::Delete,
        }
    }

    async fn perform(&mut self, scroll: &str, action: Action) -> Operation {
        let invoked_us = self.elapsed_us();
        let client = &mut self.client;
        let answer = match &action {
            Action::Read => client.read(PHEXT, scroll).await,
            Action::Write(token) => client.write(PHEXT, scroll, format!("{token}\n")).await,
            Action::Append(token) => client.insert(PHEXT, scroll, format!("{token}\n")).await,
            Action::Delete => client.delete(PHEXT, scroll).await,
        };
        let returned_us = answer.is_ok().then(|| self.elapsed_us());
        Operation {
            client: self.number,
            tenant: self.tenant.clone(),
            scroll: scroll.to_owned(),
            outcome: outcome(&action, answer),
            action,
            invoked_us,
            returned_us,
        }
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What an answer says about the fate of the operation. Anything that is not clearly a success or
/// a refusal counts as unknown, which is what the checker trusts least.
fn outcome(action: &Action, answer: Result<Answer, ClientError>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(ClientError::NotSent { .. }) => return Outcome::Refused { status: 0 },
        Err(ClientError::Unanswered { .. }) => return Outcome::Unknown { status: None },
    };
    let status = answer.status;
    match (action, status) {
        (Action::Read, 200) => {
            let tokens = answer.text().lines().map(str::to_owned).collect();
            Outcome::Seen { revision: answer.etag(), tokens }
        }
        (Action::Read, 404) => Outcome::Seen { revision: None, tokens: Vec::new() },
        // Nothing changed, so it has no revision of its own: it tells what a read would have.
        (Action::Delete, 200) if answer.text() == "Removed 0 bytes" => {
            Outcome::Seen { revision: None, tokens: Vec::new() }
        }
        (Action::Write(_) | Action::Append(_) | Action::Delete, 200..300) => {
            answer.revision().map_or(Outcome::Unknown { status: Some(status) }, |revision| {
                Outcome::Acked { revision }
            })
        }
        (Action::Read, _) | (_, 400..500 | 507) => Outcome::Refused { status },
        (_, 503) if !answer.text().contains("unknown") => Outcome::Refused { status },
        _ => Outcome::Unknown { status: Some(status) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Answer { status, headers, body: body.to_owned().into() }
    }

    #[test]
    fn answers_are_taken_for_no_more_than_they_say() {
        let append = Action::Append("t".to_owned());
        let of = |answer| outcome(&append, Ok(answer));
        let revision = [("x-ranch-revision", "7")];
        assert_eq!(of(answer(200, &revision, "")), Outcome::Acked { revision: 7 });
        assert_eq!(of(answer(200, &[], "")), Outcome::Unknown { status: Some(200) });
        assert_eq!(of(answer(507, &[], "")), Outcome::Refused { status: 507 });
        assert_eq!(of(answer(503, &[], "no leader")), Outcome::Refused { status: 503 });
        let unknown = answer(503, &[], "outcome: unknown");
        assert_eq!(of(unknown), Outcome::Unknown { status: Some(503) });
        assert_eq!(of(answer(500, &[], "")), Outcome::Unknown { status: Some(500) });

        let seen = outcome(&Action::Read, Ok(answer(200, &[("etag", "\"9\"")], "a\nb\n")));
        let tokens = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(seen, Outcome::Seen { revision: Some(9), tokens });
        let absent = Outcome::Seen { revision: None, tokens: vec![] };
        assert_eq!(outcome(&Action::Read, Ok(answer(404, &[], ""))), absent);
        let removed = |bytes: &str| {
            let text = format!("Removed {bytes} bytes");
            outcome(&Action::Delete, Ok(answer(200, &revision, &text)))
        };
        assert_eq!(removed("0"), absent);
        assert_eq!(removed("10"), Outcome::Acked { revision: 7 });
    }

    #[test]
    fn a_seed_decides_what_a_client_does() {
        let workload = Workload::new(SocketAddr::from(([127, 0, 0, 1], 1)), "a", "k");
        let actions = |seed| {
            let workload = Workload { seed, ..workload.clone() };
            let mut worker = workload.worker(0, Instant::now());
            (0..50).map(|_| worker.next_action()).collect::<Vec<_>>()
        };
        assert_eq!(actions(1), actions(1));
        assert_ne!(actions(1), actions(2));
    }
}
