//! Runs a scenario: a ranch, a load, faults until time is up, then the verdict.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;

use crate::check::check;
use crate::check::search::{Sample, Sampling, search};
use crate::error::HarnessError;
use crate::fault::{FaultKind, Need};
use crate::footprint::Footprint;
use crate::fury::{Fury, WHOLE_WAIT};
use crate::history::Operation;
use crate::layout::Layout;
use crate::ranch::{ADMIN_KEY, OLD_COPY, Ranch};
use crate::scenario::{Promise, RanchShape, Scenario};
use crate::states::States;
use crate::verdict::{Evidence, Strike, Times, Verdict};
use crate::workload::Workload;
use crate::world::World;

/// Writes that must succeed before the first fault.
const FIRST_WRITES: u64 = 50;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario.
    pub scenario: Scenario,
    /// Decides everything that is left to chance, as far as processes let it.
    pub seed: u64,
    /// How long faults go on.
    pub duration: Duration,
    /// The `ranch` to test.
    pub binary: PathBuf,
    /// The one that upgrades go to and come back from; a copy of the first where not given.
    pub other_binary: Option<PathBuf>,
    /// Promised times are stretched by this.
    pub slack: f64,
    /// The world this process is in, if the scenario asks for one.
    pub world: Option<World>,
}

/// What a run brought.
pub struct Outcome {
    /// What clients were answered.
    pub history: Vec<Operation>,
    /// The faults.
    pub strikes: Vec<Strike>,
    /// A verdict on each promise of the scenario.
    pub verdicts: Vec<(Promise, Verdict)>,
    /// What was found by searching for an order.
    pub sample: Sample,
    /// How long each kind of fault kept writes from succeeding; without a kind, several at once.
    pub recovery: Vec<(Option<FaultKind>, Times)>,
    /// How all copies of every shard compared in the end.
    pub states: States,
    /// Faults that struck and did nothing, in words.
    pub toothless: Vec<String>,
    /// Faults of the scenario that could not be had here, with the reason.
    pub left_out: Vec<String>,
    /// What each process said, by its name.
    pub logs: Vec<(String, String)>,
}

impl Outcome {
    /// Whether every fault bit, every promise was put to the test and held, and all copies are
    /// alike.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let kept = |(_, verdict): &_| matches!(verdict, Verdict::Kept(_));
        let alike = self.states.faults.is_empty();
        alike && self.toothless.is_empty() && self.verdicts.iter().all(kept)
    }
}

/// Carries out a plan; `say` is told what happens as it happens.
///
/// # Errors
/// When the harness itself fails: the ranch cannot be started, or has no service in the end.
pub async fn run(plan: &Plan, say: impl Fn(String)) -> Result<Outcome, HarnessError> {
    let Scenario { workload: load, .. } = &plan.scenario;
    let mut ranch = Ranch::launch(&plan.binary, &layout(plan)).await?;
    if plan.scenario.faults.iter().any(|fault| fault.kind == FaultKind::Upgrade) {
        ranch.provide_other_binary(plan.other_binary.as_deref())?;
    }
    let mut tenants = Vec::new();
    for number in 1..=load.tenants {
        let id = format!("tenant-{number}");
        let quota_mb = load.quota_kb.map_or(1024.0, |kb| f64::from(kb) / 1024.0);
        let rate_per_s = load.tenant_rate_per_s;
        let key = ranch.add_tenant_with(&id, quota_mb, rate_per_s).await?;
        tenants.push((id, key));
    }
    let workload = Workload {
        routers: vec![ranch.addr()],
        tenants,
        admin: Some(ADMIN_KEY.to_owned()),
        clients: load.clients,
        scrolls: load.scrolls,
        circle: load.circle,
        seed: plan.seed,
        mix: load.mix,
        keyed_percent: load.keyed_percent,
        large_bytes: load.large_bytes,
        rate_per_s: load.rate_per_s.map(f64::from),
        canary: false,
    };
    let first_tenant = workload.tenants[0].0.clone();
    let running = workload.start();
    running.progress(FIRST_WRITES, WHOLE_WAIT).await?;
    let before = Footprint::of(ranch.node_pids());
    let rng = Rng::with_seed(plan.seed);
    let mut fury = Fury::new(ranch, running, rng, first_tenant);
    fury.rage(plan, say).await?;
    let (mut ranch, running, strikes) = fury.end();
    let history = running.finish().await?;
    let states = States::compare(&mut ranch, plan.scenario.needs(Need::Disks, plan.world)).await?;
    let after = Footprint::of(ranch.node_pids());
    let (snapshots, found_out) = (ranch.snapshots_sent(), ranch.returned(OLD_COPY));
    let logs = ranch.logs();
    drop(ranch);
    let mut outcome = judge(plan, history, strikes, (found_out, states));
    outcome.logs = logs;
    for (_, verdict) in outcome.verdicts.iter_mut().filter(|(one, _)| *one == Promise::R10) {
        *verdict = after.weigh(&before, verdict.clone());
    }
    let per_minute = f64::from(plan.scenario.ranch.snapshots_per_minute);
    let least = per_minute * plan.duration.as_secs_f64() / 60.0;
    if (snapshots as f64) < least {
        let few = format!("{snapshots} snapshots were sent, which is less than {least:.1}");
        outcome.toothless.push(few);
    }
    Ok(outcome)
}

fn layout(plan: &Plan) -> Layout {
    let Plan { scenario, world, seed, .. } = plan;
    let RanchShape { nodes, shards, replicas, disk_mib, .. } = scenario.ranch;
    let RanchShape { flush_interval_ms, log_keep_entries, verify_interval_s, .. } = scenario.ranch;
    Layout {
        nodes,
        spare: scenario.ranch.spare,
        replace_dead_after_s: scenario.ranch.replace_dead_after_s,
        shards,
        replicas,
        flush_interval_ms,
        log_keep_entries,
        verify_interval_s,
        world: *world,
        disk_mib,
        tls: scenario.ranch.tls,
        clocks: scenario.needs(Need::Clocks, *world),
        detour_seed: scenario.needs(Need::Detour, *world).then_some(*seed),
        ..Layout::default()
    }
}

fn judge(
    plan: &Plan,
    history: Vec<Operation>,
    strikes: Vec<Strike>,
    (found_out, states): (usize, States),
) -> Outcome {
    let mut violations = check(&history).err().unwrap_or_default();
    let sampling = Sampling { seed: plan.seed, ..Sampling::default() };
    let searched = search(&history, sampling);
    let sample = searched.as_ref().copied().unwrap_or_default();
    violations.extend(searched.err().unwrap_or_default());
    let evidence = Evidence {
        scenario: &plan.scenario,
        history: &history,
        violations: &violations,
        strikes: &strikes,
        found_out,
        states: &states,
        slack: plan.slack,
    };
    let verdicts = evidence.verdicts();
    let recovery = evidence.recovery_times().into_iter().collect();
    let toothless = evidence.toothless();
    let left_out = plan.scenario.left_out(plan.world);
    let logs = Vec::new();
    Outcome { history, strikes, verdicts, sample, recovery, states, toothless, left_out, logs }
}
