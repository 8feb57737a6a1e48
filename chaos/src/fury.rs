//! Faults in progress: which, when, and to whom, as the scenario says and the seed decides.
//!
//! Faults come in episodes. Those of one episode overlap; when all are healed, the ranch is given
//! time to become whole, and the next episode begins. At no instant are more nodes out of service
//! than may fail at once, unless a fault says that it strikes all.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::cluster::Cluster;
use crate::error::HarnessError;
use crate::fault::{Blow, FaultKind, FaultSpec, Need, Target, Wound};
use crate::ranch::{OLD_COPY, Ranch};
use crate::run::Plan;
use crate::states::States;
use crate::verdict::{SERVES_MAX, Strike};
use crate::wait::until;
use crate::workload::Running;

/// How long a ranch is given to become whole again: well beyond what is promised, so that a run
/// shows by how much it was late.
pub const WHOLE_WAIT: Duration = Duration::from_mins(2);
/// How long to look for a leader while other faults hold, which may leave none.
const LEADER_WAIT: Duration = Duration::from_secs(1);
/// How often a supervisor looks after processes.
const LOOK: Duration = Duration::from_millis(200);
/// Machines a ranch may have more than it began with.
const MORE_MAX: usize = 2;
/// Entries a replica may be behind and still count as caught up: a few messages' worth.
const LAG_MAX: u64 = 64;

/// A ranch under load, and what has struck it.
pub struct Fury {
    ranch: Ranch,
    running: Running,
    rng: Rng,
    /// Whose leader counts as the leader.
    tenant: String,
    strikes: Vec<Strike>,
    episodes: usize,
    blows: usize,
    /// Faults that have had their turn.
    drawn: HashSet<(FaultKind, Target)>,
    /// Whether nodes that end by themselves are started again.
    supervised: bool,
    /// Old backups that were restored.
    restored: usize,
    /// Copies of each shard, where faults change who holds them.
    copies: Option<usize>,
}

/// A fault that holds.
struct Held {
    strike: Strike,
    wound: Wound,
    fells: bool,
    until: Instant,
    pause_ms: [u64; 2],
}

impl Fury {
    /// Faults for this ranch; `tenant` is the one whose leader counts as the leader.
    #[must_use]
    pub fn new(ranch: Ranch, running: Running, rng: Rng, tenant: String) -> Self {
        Self {
            ranch,
            running,
            rng,
            tenant,
            strikes: Vec::new(),
            episodes: 0,
            blows: 0,
            drawn: HashSet::new(),
            supervised: false,
            restored: 0,
            copies: None,
        }
    }

    /// What is left when it is over: the ranch, the load, and the faults that struck.
    #[must_use]
    pub fn end(self) -> (Ranch, Running, Vec<Strike>) {
        (self.ranch, self.running, self.strikes)
    }

    /// One episode after the other until time is up, or the ranch does not become whole.
    ///
    /// # Errors
    /// When the harness itself fails.
    pub async fn rage(&mut self, plan: &Plan, say: impl Fn(String)) -> Result<(), HarnessError> {
        // A failing disk ends processes, as it should; elsewhere one that ends is a finding.
        self.supervised = plan.scenario.needs(Need::Disks, plan.world);
        let changes = plan.scenario.faults.iter().any(|fault| fault.kind.changes_members());
        self.copies = changes.then_some(plan.scenario.ranch.replicas as usize);
        let end = Instant::now() + plan.duration;
        while Instant::now() < end {
            let Some((strikes, pause_ms)) = self.episode(plan).await? else { break };
            for strike in &strikes {
                say(described(strike));
            }
            let broken = strikes.iter().any(|strike| strike.whole_us.is_none());
            self.strikes.extend(strikes);
            if broken {
                // It will not get better; what there is to see has been seen.
                break;
            }
            self.sleep(pause_ms).await;
        }
        // Tenants who write rarely must have had the time for it that the verdict gives them.
        if let Some(last) = self.strikes.last() {
            let since = self.running.elapsed_us().saturating_sub(last.calm_us);
            let allowed = SERVES_MAX.mul_f64(plan.slack);
            self.wait(allowed.saturating_sub(Duration::from_micros(since))).await?;
        }
        Ok(())
    }

    /// Some faults that overlap, from the first until the ranch is whole again; and how long to
    /// leave it alone then. None when no fault can be had here.
    async fn episode(
        &mut self,
        plan: &Plan,
    ) -> Result<Option<(Vec<Strike>, [u64; 2])>, HarnessError> {
        let mut coming = self.rng.u32(1..=plan.scenario.overlap);
        let (mut held, mut done) = (Vec::<Held>::new(), Vec::new());
        let mut pause_ms = [0, 0];
        while coming > 0 || !held.is_empty() {
            if coming > 0 {
                coming -= 1;
                held.extend(self.another(plan, &held).await?);
            }
            let Some(first) = (0..held.len()).min_by_key(|at| held[*at].until) else { break };
            let left = held[first].until.saturating_duration_since(Instant::now());
            if coming > 0 {
                // The next one begins while this one holds.
                let part = left.mul_f64(self.rng.f64());
                self.wait(part).await?;
                continue;
            }
            self.wait(left).await?;
            let healing = held.swap_remove(first);
            pause_ms = healing.pause_ms;
            done.push(self.heal(healing).await?);
        }
        self.episodes += 1;
        if done.is_empty() {
            return Ok(None);
        }
        let calm_us = self.running.elapsed_us();
        let mut whole_us = self.whole().await?.then(|| self.running.elapsed_us());
        if whole_us.is_some() && done.iter().any(|strike| strike.kind == FaultKind::Rot) {
            // Found now or harmless: rot that nobody has looked at yet would make the next node's
            // that of a majority.
            let states = States::compare(&mut self.ranch, self.supervised).await?;
            if !(states.faults.is_empty() && self.whole().await?) {
                whole_us = None;
            }
        }
        for strike in &mut done {
            (strike.calm_us, strike.whole_us) = (calm_us, whole_us);
        }
        done.sort_by_key(|strike| strike.began_us);
        Ok(Some((done, pause_ms)))
    }

    /// Waits until the ranch is whole. Tells whether that came.
    async fn whole(&mut self) -> Result<bool, HarnessError> {
        let end = Instant::now() + WHOLE_WAIT;
        while Instant::now() < end {
            if self.supervised {
                self.ranch.revive()?;
            }
            let limit = if self.supervised { LOOK } else { WHOLE_WAIT };
            let members = self.ranch.node_ids();
            let settled = |cluster: &Cluster| {
                let settled = self.copies.is_none_or(|n| cluster.is_settled_on(&members, n));
                settled && is_whole(cluster)
            };
            let whole = self.ranch.wait_cluster("the ranch to be whole", limit, settled).await;
            // Until it is found out, a node from an old backup looks as good as any.
            let found_out = self.ranch.returned(OLD_COPY) >= self.restored;
            if whole.is_ok() && found_out && self.leavers_end(end).await {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until nodes that have left have ended by themselves. Tells whether they have.
    async fn leavers_end(&mut self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        let ended = async || self.ranch.leavers_have_ended().then_some(());
        until("nodes that have left to end", left, ended).await.is_ok()
    }

    /// Lets time pass. Where faults end processes, a supervisor starts them again.
    async fn wait(&mut self, time: Duration) -> Result<(), HarnessError> {
        let end = Instant::now() + time;
        while self.supervised && end.saturating_duration_since(Instant::now()) > LOOK {
            tokio::time::sleep(LOOK).await;
            self.ranch.revive()?;
        }
        tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
        Ok(())
    }

    /// Begins one more fault beside those that hold, if one that is drawn may.
    async fn another(&mut self, plan: &Plan, held: &[Held]) -> Result<Option<Held>, HarnessError> {
        let rng = &mut self.rng;
        let ranch = &self.ranch;
        let may = |spec: &FaultSpec| may_change(spec.kind, ranch, plan.scenario.ranch.nodes);
        // A short run, too, shows each of its faults: none again before all have had their turn.
        let fresh = |spec: &FaultSpec| may(spec) && !self.drawn.contains(&(spec.kind, spec.target));
        let drawn = plan.scenario.choose(plan.world, rng, fresh);
        let drawn = drawn.or_else(|| plan.scenario.choose(plan.world, rng, may));
        let Some(spec) = drawn else { return Ok(None) };
        self.drawn.insert((spec.kind, spec.target));
        if held.iter().any(|one| one.strike.kind.clashes(spec.kind)) {
            return Ok(None);
        }
        let nodes = self.targets(spec, held).await?;
        if nodes.is_empty() {
            return Ok(None);
        }
        let began_us = self.running.elapsed_us();
        self.blows += 1;
        let blow = Blow { spec, nodes: &nodes, number: self.blows };
        let wound = Wound::begin(blow, &mut self.ranch, &mut self.rng).await?;
        let [low, high] = spec.hold_ms;
        let until = Instant::now() + Duration::from_millis(self.rng.u64(low..=high));
        let strike = Strike {
            kind: spec.kind,
            target: spec.target,
            nodes,
            began_us,
            healed_us: began_us,
            calm_us: began_us,
            episode: self.episodes,
            bites: None,
            whole_us: None,
        };
        let fells = spec.kind.fells();
        Ok(Some(Held { strike, wound, fells, until, pause_ms: spec.pause_ms }))
    }

    async fn heal(&mut self, held: Held) -> Result<Strike, HarnessError> {
        let bites = held.wound.heal(&mut self.ranch).await?;
        if held.strike.kind == FaultKind::StaleBackup {
            self.restored += held.strike.nodes.len();
        }
        Ok(Strike { bites, healed_us: self.running.elapsed_us(), ..held.strike })
    }

    /// The nodes to strike; none when the faults that hold leave no room for it.
    async fn targets(&mut self, spec: &FaultSpec, held: &[Held]) -> Result<Vec<u32>, HarnessError> {
        let mut all = self.ranch.node_ids();
        self.rng.shuffle(&mut all);
        let beside = |one: &Held| {
            one.fells && spec.kind.fells() && (one.strike.kind.splits() || spec.kind.splits())
        };
        if held.iter().any(beside) {
            return Ok(Vec::new());
        }
        if spec.kind == FaultKind::Join {
            return Ok(self.ranch.next_spare().into_iter().collect());
        }
        let leader = self.leader(held.is_empty()).await?;
        let felled: BTreeSet<u32> =
            held.iter().filter(|one| one.fells).flat_map(|one| one.strike.nodes.clone()).collect();
        Ok(pick(spec, &all, leader, &felled))
    }

    /// The node that leads. A ranch at rest must have one, or come to have one.
    async fn leader(&self, at_rest: bool) -> Result<Option<u32>, HarnessError> {
        let led = |cluster: &Cluster| cluster.leader_of(&self.tenant).is_some();
        let limit = if at_rest { WHOLE_WAIT } else { LEADER_WAIT };
        match self.ranch.wait_cluster("a leader", limit, led).await {
            Ok(cluster) => Ok(cluster.leader_of(&self.tenant)),
            Err(error) if at_rest => Err(error),
            Err(_) => Ok(None),
        }
    }

    async fn sleep(&mut self, [low, high]: [u64; 2]) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(low..=high))).await;
    }
}

/// Whether there are machines for a change of members: those to come must not have been in the
/// ranch, and those to leave must be more than it began with.
fn may_change(kind: FaultKind, ranch: &Ranch, first: u32) -> bool {
    let members = ranch.node_ids().len();
    let first = first as usize;
    match kind {
        FaultKind::Join => members < first + MORE_MAX && ranch.next_spare().is_some(),
        FaultKind::Leave => members > first,
        FaultKind::Replace => ranch.next_spare().is_some(),
        _ => true,
    }
}

/// The nodes a fault strikes, of all in random order. One that fells leaves alone the nodes that
/// are felled already, and together they are no more than may fail at once.
fn pick(spec: &FaultSpec, all: &[u32], leader: Option<u32>, felled: &BTreeSet<u32>) -> Vec<u32> {
    let may_fail = (all.len().saturating_sub(1)) / 2;
    let fells = spec.kind.fells();
    let free = || all.iter().copied().filter(|node| !fells || !felled.contains(node));
    let room = if fells { may_fail.saturating_sub(felled.len()) } else { all.len() };
    match spec.target {
        Target::All if fells && !felled.is_empty() => Vec::new(),
        Target::All => all.to_vec(),
        Target::Leader => free().filter(|node| Some(*node) == leader).take(room.min(1)).collect(),
        Target::Follower => free().filter(|node| Some(*node) != leader).take(room.min(1)).collect(),
        Target::Any => free().take(room.min(1)).collect(),
        Target::Minority => free().take(room.min(may_fail)).collect(),
    }
}

/// Every node up, every shard with its full number of voters, and no replica further behind than
/// one always is while there is load.
fn is_whole(cluster: &Cluster) -> bool {
    let full = cluster.shards.iter().all(|shard| {
        shard.voters.len() == shard.replicas.len() && shard.lag.is_some_and(|lag| lag <= LAG_MAX)
    });
    full && cluster.nodes.iter().all(|node| node.state != "down")
}

fn described(strike: &Strike) -> String {
    let seconds = |us: u64| us as f64 / 1e6;
    let at = seconds(strike.began_us);
    let held = seconds(strike.healed_us - strike.began_us);
    let whole = strike.whole_us.map_or_else(
        || format!("NOT whole after {WHOLE_WAIT:?}"),
        |whole| format!("whole {:.1} s later", seconds(whole - strike.calm_us)),
    );
    let Strike { kind, target, nodes, bites, .. } = strike;
    let bites = bites.map_or_else(String::new, |bites| format!(", {bites} bites"));
    format!("{at:7.1} s  {kind:?} {target:?} {nodes:?} for {held:.1} s{bites}, {whole}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn spec(kind: FaultKind, target: Target) -> FaultSpec {
        let mut faults = Scenario::find("kill-leader").unwrap().faults;
        FaultSpec { kind, target, ..faults.remove(0) }
    }

    #[test]
    fn no_more_are_felled_at_once_than_may_fail() {
        let all = [3, 1, 5, 2, 4];
        let of = |kind, target, felled: &[u32]| {
            pick(&spec(kind, target), &all, Some(1), &felled.iter().copied().collect())
        };
        assert_eq!(of(FaultKind::Kill, Target::Minority, &[]), [3, 1]);
        assert_eq!(of(FaultKind::Kill, Target::Minority, &[3]), [1]);
        assert_eq!(of(FaultKind::Kill, Target::Any, &[3, 1]), [0; 0]);
        assert_eq!(of(FaultKind::Partition, Target::Leader, &[1]), [0; 0], "felled already");
        assert_eq!(of(FaultKind::Kill, Target::All, &[1]), [0; 0]);
        assert_eq!(of(FaultKind::Kill, Target::All, &[]), all);
        assert_eq!(of(FaultKind::Kill, Target::Follower, &[3]), [5]);
        assert_eq!(of(FaultKind::Loss, Target::Leader, &[1, 3]), [1], "loss fells nobody");
        assert_eq!(of(FaultKind::Resets, Target::All, &[1, 3]), all);
    }
}
