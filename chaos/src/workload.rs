//! Clients that ask a ranch for things side by side, and write down what they were answered.
//!
//! Each client does one thing at a time, chosen by a seeded [`Mix`]. Those in one circle share
//! some scrolls of their tenant; circles are small, so that a search over all orders of what they
//! did is possible. A write is tried again only under its Idempotency-Key: a second try under a
//! new identity would be a second write. When the load stops, every scroll is read once more, and
//! every tenant measured, so that the history ends with what is left.

mod malformed;
mod many;
mod mix;
mod outcome;
mod single;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::error::HarnessError;
use crate::history::{Action, Operation, Outcome};
use crate::wait::until;
pub use mix::{Kind, Mix};
use worker::Worker;

/// The phext all scrolls of a workload are in.
pub const PHEXT: &str = "chaos";
/// How long the last reads may take, all retries included.
const FINAL_READ_LIMIT: Duration = Duration::from_mins(1);

/// What load to make.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Routers to ask; clients are dealt out over them.
    pub routers: Vec<SocketAddr>,
    /// Ids and keys of the tenants whose scrolls are used; clients are dealt out over them.
    pub tenants: Vec<(String, String)>,
    /// The admin key, to ask how much tenants have stored.
    pub admin: Option<String>,
    /// Clients that ask at the same time.
    pub clients: u32,
    /// Scrolls of each circle of clients.
    pub scrolls: u32,
    /// Clients of a tenant that share scrolls.
    pub circle: u32,
    /// Decides what each client does.
    pub seed: u64,
    /// What clients ask.
    pub mix: Mix,
    /// Of a hundred writes of single scrolls, so many have an Idempotency-Key.
    pub keyed_percent: u32,
    /// Largest text of an import, in bytes.
    pub large_bytes: u64,
    /// Requests a second of all clients together, whether or not they are answered in time; each
    /// as fast as it is answered where there is none.
    pub rate_per_s: Option<f64>,
    /// Has one client now and then replace a scroll and keep it to itself, as if the ranch had lost
    /// what was there: a canary, which the checker must always notice.
    pub canary: bool,
}

impl Workload {
    /// A load of 8 clients on 4 scrolls of one tenant, a third of it reads.
    #[must_use]
    pub fn new(router: SocketAddr, tenant: &str, key: &str) -> Self {
        Self {
            routers: vec![router],
            tenants: vec![(tenant.to_owned(), key.to_owned())],
            admin: None,
            clients: 8,
            scrolls: 4,
            circle: 8,
            seed: 1,
            mix: Mix::PLAIN,
            keyed_percent: 0,
            large_bytes: 8 << 10,
            rate_per_s: None,
            canary: false,
        }
    }

    /// Starts the clients.
    #[must_use]
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let began = Instant::now();
        let workload = Arc::new(self);
        let mut clients = JoinSet::new();
        for number in 0..workload.clients {
            clients.spawn(Worker::new(&workload, number, began).run(Arc::clone(&shared)));
        }
        Running { workload, began, shared, clients }
    }

    /// The number of the circle a client is in, among those of its tenant.
    fn circle(&self, client: u32) -> u32 {
        client / self.tenants.len().max(1) as u32 / self.circle.max(1)
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
    workload: Arc<Workload>,
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

    /// Ends the load, reads every scroll once more, and gives the history. Where a scroll cannot be
    /// read in the end, the history ends without that, which the checker takes for its loss.
    ///
    /// # Errors
    /// When a client broke down.
    pub async fn finish(mut self) -> Result<Vec<Operation>, HarnessError> {
        self.shared.stop.store(true, Relaxed);
        let mut history = Vec::new();
        while let Some(joined) = self.clients.join_next().await {
            let operations = joined.map_err(|error| {
                HarnessError::io("running a client")(std::io::Error::other(error))
            })?;
            history.extend(operations);
        }
        // Read by somebody who has used it, so that no scroll has more clients than its circle.
        let touched = history.iter().filter(|operation| operation.action.is_about_a_scroll());
        let used: BTreeMap<(String, String), u32> = touched
            .map(|operation| {
                ((operation.tenant.clone(), operation.scroll.clone()), operation.client)
            })
            .collect();
        for ((tenant, scroll), client) in used {
            let Ok(read) = self.read_last(&tenant, &scroll, client).await else {
                // There is no service; the others would be waited for in vain.
                return Ok(history);
            };
            history.push(read);
        }
        history.extend(self.measure_last().await?);
        Ok(history)
    }

    async fn read_last(
        &self,
        tenant: &str,
        scroll: &str,
        client: u32,
    ) -> Result<Operation, HarnessError> {
        let mut worker = Worker::new(&self.workload, client, self.began);
        let what = format!("a last read of {tenant}.{scroll}");
        until(&what, FINAL_READ_LIMIT, async || {
            let operation = worker.perform(scroll, Action::Read).await;
            matches!(operation.outcome, Outcome::Seen { .. }).then_some(operation)
        })
        .await
    }

    async fn measure_last(&self) -> Result<Vec<Operation>, HarnessError> {
        let mut measured = Vec::new();
        // The first clients are one of each tenant.
        let tenants = self.workload.tenants.len().min(self.workload.clients as usize);
        for client in 0..if self.workload.admin.is_some() { tenants as u32 } else { 0 } {
            let mut worker = Worker::new(&self.workload, client, self.began);
            let measuring = until("a last measuring", FINAL_READ_LIMIT, async || {
                let measured = worker.measure().await;
                measured.filter(|one| matches!(one.outcome, Outcome::Measured { .. }))
            });
            measured.push(measuring.await?);
        }
        Ok(measured)
    }
}

#[cfg(test)]
mod tests;
