//! Scenarios of `ranch-chaos` as part of the tests, seeded and short, and a canary: a fault of
//! the harness's own that its checker must always notice. Two minutes in all; `make chaos` and
//! `make soak` go further.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use ranch_chaos::run::{Plan, run};
use ranch_chaos::scenario::Promise;
use ranch_chaos::workload::Mix;
use ranch_chaos::{Scenario, Workload, check, report};

use crate::support::{BINARY, ranch_with};

/// Promised times are stretched by this: these tests run unoptimised, on whatever there is.
const SLACK: f64 = 10.0;
/// How long faults go on.
const FAULTS: Duration = Duration::from_secs(20);

/// Runs a scenario and fails unless each of its promises was put to the test and held.
async fn holds(name: &str, seed: u64) {
    let scenario = Scenario::find(name).expect("it is in the catalogue");
    let plan = Plan {
        scenario,
        seed,
        duration: FAULTS,
        binary: BINARY.into(),
        other_binary: None,
        slack: SLACK,
        world: None,
    };
    let outcome = run(&plan, |line| println!("{line}")).await.expect("the ranch can be run");
    println!("{}", report::text(&plan, &outcome));
    if !outcome.is_good() {
        let kept = std::env::temp_dir().join(format!("ranch-failed-{name}"));
        report::save(&kept, &plan, &outcome).expect("the history can be kept");
        panic!("history and logs are kept in {}", kept.display());
    }
}

/// R1, R2, R3, R4, R6, R10.
#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_are_killed() {
    holds("kill-leader", 1).await;
}

/// R1, R2, R3, R4, R6, R10.
#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_stand_still() {
    holds("pause-leader", 2).await;
}

/// R1, R2, R3, R4, R5, R10.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_are_always_about_to_be_full() {
    holds("quota-edge", 3).await;
}

/// R1, R2, R3, R4, R7, R10.
#[tokio::test(flavor = "multi_thread")]
async fn machines_that_come_and_go() {
    holds("grow-shrink", 4).await;
}

/// A client removes scrolls and keeps it to itself, as a ranch that loses writes would.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_always_noticed() {
    let (ranch, key) = ranch_with("will").await;
    let workload = Workload {
        canary: true,
        mix: Mix { append: 80, write: 0, delete: 0, ..Mix::PLAIN },
        ..Workload::new(ranch.addr(), "will", &key)
    };
    let running = workload.start();
    running.progress(300, Duration::from_mins(1)).await.expect("writes");
    let history = running.finish().await.expect("every scroll can be read in the end");
    let violations = check(&history).expect_err("what was lost is noticed");
    assert!(violations.iter().any(|found| found.concerns(Promise::R1)), "{violations:?}");
}
