//! What an operator does to a running ranch, with real processes and under load: machines come,
//! are drained, leave, and die in the middle of it. What clients were answered meanwhile is judged
//! by the checker of `ranch-chaos`. Promises are those of `RELIABILITY.md`: R1 nothing acknowledged
//! is lost, R2 reads are linearizable, R3 a write applies once, R6 a failed minority does not stop
//! service, R7 no request fails because of an operator, R10 it ends by itself.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod drain;
mod foreign;
mod grow;
mod growing;
mod hit;
mod https;
mod join;
mod moving;
mod refusals;
mod secure_join;
mod strangers;
mod tls;
mod upgrade;
mod versions;
mod zones;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use ranch_chaos::workload::Running;
use ranch_chaos::{Ranch, Workload};
use support::judge;

/// How long anything may take: many times what it does take, since these tests run unoptimised on
/// whatever machine there is. What does not end at all is what they find.
const LIMIT: Duration = Duration::from_mins(2);

/// The tenant whose scrolls are written.
const TENANT: &str = "will";

/// How many tenants ask while machines come and go.
const TENANTS: u32 = 100;

/// Puts load of a hundred tenants, with a client each, on a ranch and waits until it flows. They
/// ask at a steady rate: as fast as they can, they would take all there is.
async fn load_of_a_hundred(ranch: &Ranch, seed: u64) -> Running {
    let mut tenants = Vec::new();
    for number in 1..=TENANTS {
        let id = format!("tenant-{number}");
        let key = ranch.add_tenant(&id).await.expect("a tenant can be added");
        tenants.push((id, key));
    }
    let (id, key) = tenants[0].clone();
    let workload = Workload {
        tenants,
        clients: TENANTS,
        circle: 1,
        rate_per_s: Some(150.0),
        seed,
        ..Workload::new(ranch.addr(), &id, &key)
    };
    support::started(workload, LIMIT).await
}

/// Puts load on a ranch and waits until it flows.
async fn load(ranch: &Ranch, key: &str, seed: u64) -> Running {
    support::load(ranch, (TENANT, key), seed, LIMIT).await
}
