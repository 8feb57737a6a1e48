//! What is kept of a run: its history, its faults, its picture, what its processes said, and its
//! verdict in words.

use std::fmt::Write as _;
use std::path::Path;

use crate::error::HarnessError;
use crate::history;
use crate::plot;
use crate::run::{Outcome, Plan};
use crate::scenario::Promise;
use crate::states::States;
use crate::verdict::latency;

/// The verdict in words, with the figures behind it and how to run the same again.
#[must_use]
pub fn text(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}: {}", plan.scenario.name, plan.scenario.why);
    for promise in Promise::ALL {
        let found = outcome.verdicts.iter().find(|(judged, _)| *judged == promise);
        let _ = match found {
            Some((_, verdict)) => writeln!(text, "  {promise:<4?} {verdict}"),
            None => writeln!(text, "  {promise:<4?} not judged here"),
        };
    }
    for (kind, times) in &outcome.recovery {
        let kind = kind.map_or_else(|| "several at once".to_owned(), |kind| format!("{kind:?}"));
        let _ = writeln!(text, "  time without an acknowledged write, {kind}: {times}");
    }
    let States { groups, copies, faults } = &outcome.states;
    let _ =
        writeln!(text, "  {copies} copies of {groups} groups compared, {} differ", faults.len());
    for fault in faults {
        let _ = writeln!(text, "  NOT ALIKE: {fault}");
    }
    for idle in outcome.strikes.iter().filter(|strike| strike.is_idle()) {
        let _ = writeln!(text, "  {:?} of {:?} did nothing", idle.kind, idle.nodes);
    }
    for idle in &outcome.toothless {
        let _ = writeln!(text, "  FAILED to bite: {idle}");
    }
    for one in &outcome.left_out {
        let _ = writeln!(text, "  left out here: {one}");
    }
    let _ = writeln!(text, "  tier B: {}", outcome.sample);
    let [p50, p99, p999] =
        [0.5, 0.99, 0.999].map(|share| latency(&outcome.history, share).as_secs_f64() * 1e3);
    let _ = writeln!(text, "  latency p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms");
    let verdict = if outcome.is_good() { "every promise kept" } else { "FAILED" };
    let _ = writeln!(text, "  {verdict}; to run it again: {}", command(plan));
    text
}

/// The command that runs the same plan.
#[must_use]
pub fn command(plan: &Plan) -> String {
    let minutes = plan.duration.as_secs_f64() / 60.0;
    let Plan { scenario, seed, .. } = plan;
    format!("ranch-chaos run {} --seed {seed} --minutes {minutes:.2}", scenario.name)
}

/// Saves history, faults, picture, verdict and logs in a directory.
///
/// # Errors
/// When a file cannot be written.
pub fn save(dir: &Path, plan: &Plan, outcome: &Outcome) -> Result<(), HarnessError> {
    let doing = || format!("writing to {}", dir.display());
    std::fs::create_dir_all(dir).map_err(HarnessError::io(doing()))?;
    history::save(&dir.join("history.jsonl"), &outcome.history)?;
    let strikes = serde_json::to_vec_pretty(&outcome.strikes)
        .map_err(|error| HarnessError::io(doing())(error.into()))?;
    let picture = plot::svg(&command(plan), &outcome.history, &outcome.strikes);
    for (name, bytes) in [
        ("faults.json", strikes),
        ("latency.svg", picture.into_bytes()),
        ("verdict.txt", text(plan, outcome).into_bytes()),
    ] {
        std::fs::write(dir.join(name), bytes).map_err(HarnessError::io(doing()))?;
    }
    for (name, log) in &outcome.logs {
        let path = dir.join(format!("{name}.log"));
        std::fs::write(path, log).map_err(HarnessError::io(doing()))?;
    }
    Ok(())
}
