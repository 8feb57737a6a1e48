//! Runs a scenario: a ranch, a load, one fault after the other until time is up, then the verdict.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::check::check;
use crate::cluster::Cluster;
use crate::error::HarnessError;
use crate::history::Operation;
use crate::layout::Layout;
use crate::ranch::Ranch;
use crate::scenario::{FaultKind, FaultSpec, Promise, RanchShape, Scenario, Target};
use crate::verdict::{Evidence, Strike, Times, Verdict};
use crate::workload::{Running, Workload};

/// Longest a node may take to end when asked to.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How long a ranch is given to become whole again: well beyond what is promised, so that a run
/// shows by how much it was late.
const WHOLE_WAIT: Duration = Duration::from_mins(2);
/// Entries a replica may be behind and still count as caught up: a few messages' worth.
const LAG_MAX: u64 = 64;
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
    /// Promised times are stretched by this.
    pub slack: f64,
}

/// What a run brought.
pub struct Outcome {
    /// What clients were answered.
    pub history: Vec<Operation>,
    /// The faults.
    pub strikes: Vec<Strike>,
    /// A verdict on each promise of the scenario.
    pub verdicts: Vec<(Promise, Verdict)>,
    /// How long each kind of fault kept writes from succeeding.
    pub recovery: Vec<(FaultKind, Times)>,
}

impl Outcome {
    /// Whether every promise was put to the test and held.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| matches!(verdict, Verdict::Kept(_)))
    }
}

/// Carries out a plan; `say` is told what happens as it happens.
///
/// # Errors
/// When the harness itself fails: the ranch cannot be started, or has no service in the end.
pub async fn run(plan: &Plan, say: impl Fn(String)) -> Result<Outcome, HarnessError> {
    let Scenario { ranch: shape, workload: load, .. } = &plan.scenario;
    let RanchShape { nodes, shards, replicas } = *shape;
    let layout = Layout { nodes, shards, replicas, ..Layout::default() };
    let ranch = Ranch::launch(&plan.binary, &layout).await?;
    let mut tenants = Vec::new();
    for number in 1..=load.tenants {
        let id = format!("tenant-{number}");
        let key = ranch.add_tenant(&id).await?;
        tenants.push((id, key));
    }
    let workload = Workload {
        routers: vec![ranch.addr()],
        clients: load.clients,
        scrolls: load.scrolls,
        seed: plan.seed,
        reads_percent: load.reads_percent,
        tenants,
    };
    let first_tenant = workload.tenants[0].0.clone();
    let running = workload.start();
    running.progress(FIRST_WRITES, WHOLE_WAIT).await?;
    let rng = Rng::with_seed(plan.seed);
    let mut fury = Fury { ranch, running, rng, tenant: first_tenant, strikes: Vec::new() };
    fury.rage(plan, say).await?;
    let Fury { ranch, running, strikes, .. } = fury;
    let history = running.finish().await?;
    drop(ranch);
    Ok(judge(plan, history, strikes))
}

fn judge(plan: &Plan, history: Vec<Operation>, strikes: Vec<Strike>) -> Outcome {
    let violations = check(&history).err().unwrap_or_default();
    let evidence = Evidence {
        scenario: &plan.scenario,
        history: &history,
        violations: &violations,
        strikes: &strikes,
        slack: plan.slack,
    };
    let verdicts = evidence.verdicts();
    let recovery = evidence.recovery_times().into_iter().collect();
    Outcome { history, strikes, verdicts, recovery }
}

/// Faults in progress.
struct Fury {
    ranch: Ranch,
    running: Running,
    rng: Rng,
    /// Whose leader counts as the leader.
    tenant: String,
    strikes: Vec<Strike>,
}

impl Fury {
    async fn rage(&mut self, plan: &Plan, say: impl Fn(String)) -> Result<(), HarnessError> {
        let end = Instant::now() + plan.duration;
        while Instant::now() < end {
            let fault = plan.scenario.choose(&mut self.rng).clone();
            let strike = self.strike(&fault).await?;
            say(described(&strike));
            let broken = strike.whole_us.is_none();
            self.strikes.push(strike);
            if broken {
                // It will not get better; what there is to see has been seen.
                break;
            }
            self.sleep(fault.pause_ms).await;
        }
        Ok(())
    }

    /// One fault, from its begin until the ranch is whole again.
    async fn strike(&mut self, fault: &FaultSpec) -> Result<Strike, HarnessError> {
        let nodes = self.targets(fault.target).await?;
        let began_us = self.running.elapsed_us();
        self.begin(fault.kind, &nodes).await?;
        self.sleep(fault.hold_ms).await;
        self.heal(fault.kind, &nodes)?;
        let healed_us = self.running.elapsed_us();
        let waited = self.ranch.wait_cluster("the ranch to be whole", WHOLE_WAIT, is_whole).await;
        let whole_us = waited.is_ok().then(|| self.running.elapsed_us());
        let (kind, target) = (fault.kind, fault.target);
        Ok(Strike { kind, target, nodes, began_us, healed_us, whole_us })
    }

    async fn targets(&mut self, target: Target) -> Result<Vec<u32>, HarnessError> {
        let mut all = self.ranch.node_ids();
        self.rng.shuffle(&mut all);
        let failing_at_most = (all.len() - 1) / 2;
        let led = |cluster: &Cluster| cluster.leader_of(&self.tenant).is_some();
        let cluster = self.ranch.wait_cluster("a leader", WHOLE_WAIT, led).await?;
        let leader = cluster.leader_of(&self.tenant);
        Ok(match target {
            Target::Leader => leader.into_iter().collect(),
            Target::Follower => {
                all.into_iter().filter(|node| Some(*node) != leader).take(1).collect()
            }
            Target::Any => all.into_iter().take(1).collect(),
            Target::Minority => all.into_iter().take(failing_at_most).collect(),
            Target::All => all,
        })
    }

    async fn begin(&mut self, kind: FaultKind, nodes: &[u32]) -> Result<(), HarnessError> {
        let sudden = matches!(kind, FaultKind::Kill | FaultKind::LostDisk);
        if sudden && nodes.len() > 1 {
            // Stopped first, so that none sees another one fall.
            nodes.iter().try_for_each(|node| self.ranch.node(*node)?.pause())?;
        }
        for &node in nodes {
            match kind {
                FaultKind::Kill => self.ranch.node(node)?.kill()?,
                FaultKind::Pause => self.ranch.node(node)?.pause()?,
                FaultKind::Restart => {
                    self.ranch.node(node)?.stop(STOP_MAX).await?;
                }
                FaultKind::LostDisk => {
                    self.ranch.node(node)?.kill()?;
                    let dir = self.ranch.node_place(node)?.data_dir.clone();
                    std::fs::remove_dir_all(&dir).map_err(HarnessError::io("losing a disk"))?;
                }
            }
        }
        Ok(())
    }

    fn heal(&mut self, kind: FaultKind, nodes: &[u32]) -> Result<(), HarnessError> {
        nodes.iter().try_for_each(|node| match kind {
            FaultKind::Pause => self.ranch.node(*node)?.resume(),
            FaultKind::Kill | FaultKind::Restart | FaultKind::LostDisk => {
                self.ranch.node(*node)?.start()
            }
        })
    }

    async fn sleep(&mut self, [low, high]: [u64; 2]) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(low..=high))).await;
    }
}

/// Every node up, every shard with its full number of voters, and no replica further behind than
/// one always is while there is load.
fn is_whole(cluster: &Cluster) -> bool {
    let full = cluster.shards.iter().all(|shard| {
        shard.voters.len() == shard.replicas.len() && shard.lag.is_some_and(|lag| lag <= LAG_MAX)
    });
    full && cluster.nodes.iter().all(|node| node.state == "up")
}

fn described(strike: &Strike) -> String {
    let seconds = |us: u64| us as f64 / 1e6;
    let at = seconds(strike.began_us);
    let held = seconds(strike.healed_us - strike.began_us);
    let whole = strike.whole_us.map_or_else(
        || format!("NOT whole after {WHOLE_WAIT:?}"),
        |whole| format!("whole {:.1} s later", seconds(whole - strike.healed_us)),
    );
    let Strike { kind, target, nodes, .. } = strike;
    format!("{at:7.1} s  {kind:?} {target:?} {nodes:?} for {held:.1} s, {whole}")
}
