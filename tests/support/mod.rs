//! What every suite with real processes needs: the binary, a running ranch, and its CLI.

// Each suite is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::process::Output;
use std::time::Duration;

use ranch_chaos::history::{self, Operation};
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::workload::Running;
use ranch_chaos::{Answer, Layout, Ranch, Workload, check};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ranch");

/// A ranch of the default layout with one tenant, ready, and the tenant's key.
pub async fn ranch_with(tenant: &str) -> (Ranch, String) {
    launch(&Layout::default(), tenant).await
}

/// A ranch of this layout with one tenant, ready, and the tenant's key.
pub async fn launch(layout: &Layout, tenant: &str) -> (Ranch, String) {
    let ranch = Ranch::launch(BINARY, layout).await.expect("a ranch starts");
    let key = ranch.add_tenant(tenant).await.expect("a tenant can be added");
    (ranch, key)
}

/// Puts load on a tenant of a ranch and waits until it flows, at most `limit`.
pub async fn load(
    ranch: &Ranch,
    (tenant, key): (&str, &str),
    seed: u64,
    limit: Duration,
) -> Running {
    let workload = Workload { seed, ..Workload::new(ranch.addr(), tenant, key) };
    started(workload, limit).await
}

/// Starts a load and waits until it flows, at most `limit`.
pub async fn started(workload: Workload, limit: Duration) -> Running {
    let running = workload.start();
    running.progress(50, limit).await.expect("writes before anything is done");
    running
}

/// Ends the load and has what was answered judged. The history is kept where the ranch is, so
/// that `ranch-chaos check` can look again.
pub async fn judge(ranch: &Ranch, running: Running) -> Vec<Operation> {
    let history = running.finish().await.expect("every scroll can be read in the end");
    let file = ranch.dir().join("history.jsonl");
    history::save(&file, &history).expect("the history can be kept");
    match check(&history) {
        Ok(summary) => {
            let gap = history::longest_write_gap(&history);
            println!("{summary}; gap {gap:?}; p99.9 {:?}", p999(&history));
        }
        Err(violations) => {
            let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
            panic!("{} violations:\n{}", lines.len(), lines.join("\n"));
        }
    }
    history
}

/// How long 999 of 1000 requests took at most. Tests print it; on a machine that builds and tests
/// other things at the same time it is no promise.
pub fn p999(history: &[Operation]) -> Duration {
    let took = |one: &Operation| Some(one.returned_us?.saturating_sub(one.invoked_us));
    let mut took: Vec<u64> = history.iter().filter_map(took).collect();
    took.sort_unstable();
    let at = (took.len() * 999 / 1_000).min(took.len().saturating_sub(1));
    Duration::from_micros(took.get(at).copied().unwrap_or(0))
}

/// Runs the CLI against a ranch with a tenant's key, and waits for it.
pub async fn cli(
    ranch: &Ranch,
    key: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Output {
    tokio::process::Command::new(BINARY)
        .args(args)
        .env("RANCH_URL", ranch.url())
        .env("RANCH_KEY", key)
        .env("RANCH_ADMIN_KEY", ADMIN_KEY)
        .kill_on_drop(true)
        .output()
        .await
        .expect("the binary runs")
}

/// The standard output of a CLI run that must have succeeded.
pub fn stdout(output: &Output) -> String {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "exit {}\n{out}\n{error}", output.status);
    out
}

/// The standard error of a CLI run that must have failed.
pub fn refusal(output: &Output) -> String {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(!output.status.success(), "it succeeded\n{out}\n{error}");
    error
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asserts status and whole body of an answer.
#[track_caller]
pub fn assert_answer(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (status, body));
}
