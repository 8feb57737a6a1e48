//! What an operator does to a running ranch, with real processes and under load: machines come,
//! are drained, leave, and die in the middle of it. What clients were answered meanwhile is judged
//! by the checker of `ranch-chaos`. Promises are those of `RELIABILITY.md`: R1 nothing acknowledged
//! is lost, R2 reads are linearizable, R3 a write applies once, R6 a failed minority does not stop
//! service, R7 no request fails because of an operator, R10 it ends by itself.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod drain;
mod foreign;
mod grow;
mod growing;
mod https;
mod join;
mod moving;
mod refusals;
mod secure_join;
mod strangers;
mod tls;
mod upgrade;
mod versions;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use ranch_chaos::Ranch;
use ranch_chaos::workload::Running;
use support::judge;

/// How long anything may take: many times what it does take, since these tests run unoptimised on
/// whatever machine there is. What does not end at all is what they find.
const LIMIT: Duration = Duration::from_mins(2);

/// The tenant whose scrolls are written.
const TENANT: &str = "will";

/// Puts load on a ranch and waits until it flows.
async fn load(ranch: &Ranch, key: &str, seed: u64) -> Running {
    support::load(ranch, (TENANT, key), seed, LIMIT).await
}
