//! What a run does, as files in `scenarios/` say it: the ranch, the load, the faults, and the
//! promises that must hold meanwhile.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::HarnessError;
use crate::fault::{FaultKind, FaultSpec, Need, clock};
use crate::workload::Mix;
use crate::world::World;
use crate::world::network::NODES_MAX;
use crate::world::relay::Relay;

/// The scenarios that come with the program, by name.
const CATALOG: [(&str, &str); 31] = [
    ("kill-leader", include_str!("../scenarios/kill-leader.toml")),
    ("kill-minority", include_str!("../scenarios/kill-minority.toml")),
    ("kill-all", include_str!("../scenarios/kill-all.toml")),
    ("pause-leader", include_str!("../scenarios/pause-leader.toml")),
    ("partition-leader", include_str!("../scenarios/partition-leader.toml")),
    ("one-way", include_str!("../scenarios/one-way.toml")),
    ("bridge", include_str!("../scenarios/bridge.toml")),
    ("router-cut", include_str!("../scenarios/router-cut.toml")),
    ("flaky-links", include_str!("../scenarios/flaky-links.toml")),
    ("clock-skew", include_str!("../scenarios/clock-skew.toml")),
    ("snapshot-storm", include_str!("../scenarios/snapshot-storm.toml")),
    ("transfer-storm", include_str!("../scenarios/transfer-storm.toml")),
    ("lost-disk", include_str!("../scenarios/lost-disk.toml")),
    ("slow-disk", include_str!("../scenarios/slow-disk.toml")),
    ("stalled-disk", include_str!("../scenarios/stalled-disk.toml")),
    ("full-disk", include_str!("../scenarios/full-disk.toml")),
    ("fsync-error", include_str!("../scenarios/fsync-error.toml")),
    ("power-cut-one", include_str!("../scenarios/power-cut-one.toml")),
    ("power-cut-all", include_str!("../scenarios/power-cut-all.toml")),
    ("bit-rot-minority", include_str!("../scenarios/bit-rot-minority.toml")),
    ("stale-backup", include_str!("../scenarios/stale-backup.toml")),
    ("rolling-restart", include_str!("../scenarios/rolling-restart.toml")),
    ("cert-rotation", include_str!("../scenarios/cert-rotation.toml")),
    ("rolling-upgrade", include_str!("../scenarios/rolling-upgrade.toml")),
    ("grow-shrink", include_str!("../scenarios/grow-shrink.toml")),
    ("kill-while-moving", include_str!("../scenarios/kill-while-moving.toml")),
    ("replace-dead", include_str!("../scenarios/replace-dead.toml")),
    ("hot-tenant", include_str!("../scenarios/hot-tenant.toml")),
    ("quota-edge", include_str!("../scenarios/quota-edge.toml")),
    ("overload", include_str!("../scenarios/overload.toml")),
    ("mixed", include_str!("../scenarios/mixed.toml")),
];

/// A promise of the project, as a scenario names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Promise {
    /// Nothing acknowledged is lost.
    R1,
    /// Reads are linearizable.
    R2,
    /// A write applies once.
    R3,
    /// No byte of one tenant reaches another.
    R4,
    /// Quotas are never exceeded, and never refuse what fits.
    R5,
    /// A failed minority does not stop service for longer than promised.
    R6,
    /// Nothing an operator does costs a request: restarts node by node, machines that come and go.
    R7,
    /// Full disks refuse writes within 1 s, reads go on, service is back within 10 s of room.
    R8,
    /// What rotted or was restored is detected or harmless, and never served.
    R9,
    /// After heal every shard serves within 5 s, and all replicas agree within 30 s.
    R10,
    /// Bad input and overload are answered with a status, and change nothing.
    R11,
}

impl Promise {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::R7,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
    ];
}

/// One scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Why it is there, in a sentence.
    pub why: String,
    /// What is judged.
    pub promises: Vec<Promise>,
    /// How long faults go on unless asked otherwise, in minutes.
    pub minutes: f64,
    /// The ranch.
    #[serde(default)]
    pub ranch: RanchShape,
    /// What clients do.
    #[serde(default)]
    pub workload: Load,
    /// Up to so many faults hold at the same time.
    #[serde(default = "one")]
    pub overlap: u32,
    /// The faults, chosen at random.
    #[serde(rename = "fault")]
    pub faults: Vec<FaultSpec>,
}

/// What ranch to build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RanchShape {
    /// Number of nodes.
    pub nodes: u32,
    /// Machines that may join later; an id is never used twice, so each joins once.
    pub spare: u32,
    /// Seconds after which the ranch replaces a machine that is away; 0 for never.
    pub replace_dead_after_s: u64,
    /// Number of shards.
    pub shards: u32,
    /// Copies of each shard.
    pub replicas: u32,
    /// Where its processes are.
    pub topology: Topology,
    /// Milliseconds between flushes of applied state.
    pub flush_interval_ms: u64,
    /// Log entries a group keeps behind a snapshot.
    pub log_keep_entries: u64,
    /// Seconds between two comparisons of a shard's copies by the ranch itself.
    pub verify_interval_s: u64,
    /// Snapshots that must have been sent for each minute of faults, or the run has shown nothing.
    pub snapshots_per_minute: u32,
    /// Size of each node's own disk in MiB, where the topology and this machine allow one; with 0
    /// all share the disk that is there.
    pub disk_mib: u64,
    /// Whether its processes talk by TLS.
    pub tls: bool,
}

/// Where the processes of a ranch are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// All on loopback, sharing everything.
    #[default]
    Processes,
    /// Each in a network namespace with an address of its own, in a world of their own.
    Namespaces,
}

/// What clients do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Tenants the clients are dealt out over.
    pub tenants: u32,
    /// Clients that ask at the same time.
    pub clients: u32,
    /// Scrolls of each circle of clients.
    pub scrolls: u32,
    /// Clients of a tenant that share scrolls; more than five, and no order of what they did is
    /// searched for.
    pub circle: u32,
    /// How often they ask what.
    pub mix: Mix,
    /// Of a hundred writes of single scrolls, so many have an Idempotency-Key.
    pub keyed_percent: u32,
    /// Largest text of an import, in bytes.
    pub large_bytes: u64,
    /// Requests a second of all clients together; as fast as they are answered where not given.
    pub rate_per_s: Option<u32>,
    /// What each tenant may store, in KiB; plenty where not given.
    pub quota_kb: Option<u32>,
    /// Calls a second each tenant may make; as many as it can where not given.
    pub tenant_rate_per_s: Option<u32>,
}

fn one() -> u32 {
    1
}

impl Default for RanchShape {
    fn default() -> Self {
        Self {
            nodes: 3,
            spare: 0,
            replace_dead_after_s: 0,
            shards: 4,
            replicas: 3,
            topology: Topology::Processes,
            flush_interval_ms: 500,
            log_keep_entries: 64,
            verify_interval_s: 10,
            snapshots_per_minute: 0,
            disk_mib: 0,
            tls: false,
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            tenants: 2,
            clients: 8,
            scrolls: 4,
            circle: 5,
            mix: Mix::default(),
            keyed_percent: 50,
            large_bytes: 8 << 10,
            rate_per_s: None,
            quota_kb: None,
            tenant_rate_per_s: None,
        }
    }
}

impl Scenario {
    /// The scenario of this name, or in this file.
    ///
    /// # Errors
    /// When there is none, or the file is no scenario; the message names those there are.
    pub fn find(name: &str) -> Result<Self, HarnessError> {
        if let Some((_, text)) = CATALOG.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        if Path::new(name).extension().is_none_or(|extension| extension != "toml") {
            let known = CATALOG.map(|(known, _)| known).join(", ");
            let reason = format!("there is none; there are {known}, and files *.toml");
            return Err(HarnessError::Scenario { name: name.to_owned(), reason });
        }
        let text = std::fs::read_to_string(name);
        Self::parse(name, &text.map_err(HarnessError::io(format!("reading {name}")))?)
    }

    /// All scenarios that come with the program.
    ///
    /// # Errors
    /// When one of them is none, which a test rules out.
    pub fn all() -> Result<Vec<Self>, HarnessError> {
        CATALOG.iter().map(|(name, text)| Self::parse(name, text)).collect()
    }

    fn parse(name: &str, text: &str) -> Result<Self, HarnessError> {
        let wrong = |reason: String| HarnessError::Scenario { name: name.to_owned(), reason };
        let scenario: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let ranges = scenario.faults.iter().flat_map(|fault| [fault.hold_ms, fault.pause_ms]);
        if ranges.into_iter().any(|[low, high]| low > high) {
            return Err(wrong("hold_ms and pause_ms are [shortest, longest]".to_owned()));
        }
        if scenario.faults.iter().map(|fault| fault.weight).sum::<u32>() == 0 {
            return Err(wrong("it has no fault".to_owned()));
        }
        if scenario.promises.is_empty() || scenario.minutes <= 0.0 || scenario.overlap == 0 {
            return Err(wrong("it must name promises, minutes and overlap above 0".to_owned()));
        }
        scenario.fits_its_topology().map_err(wrong)?;
        scenario.has_what_it_takes().map_err(wrong)?;
        Ok(scenario)
    }

    fn fits_its_topology(&self) -> Result<(), String> {
        let rotates = self.faults.iter().any(|fault| fault.kind == FaultKind::CertRotation);
        if rotates && !self.ranch.tls {
            return Err("CertRotation needs `tls = true` in [ranch]".to_owned());
        }
        if self.ranch.topology == Topology::Namespaces {
            let fits = self.ranch.nodes + self.ranch.spare <= NODES_MAX;
            return if fits { Ok(()) } else { Err(format!("at most {NODES_MAX} nodes")) };
        }
        let apart = self.faults.iter().find(|fault| fault.kind.need().is_some());
        apart.map_or(Ok(()), |fault| {
            let kind = fault.kind;
            Err(format!("{kind:?} needs `topology = \"namespaces\"` in [ranch]"))
        })
    }

    /// Faults that change members ask for machines that can.
    fn has_what_it_takes(&self) -> Result<(), String> {
        let RanchShape { nodes, spare, replicas, replace_dead_after_s, .. } = self.ranch;
        for fault in &self.faults {
            let lacks = match fault.kind {
                FaultKind::Join | FaultKind::Replace if spare == 0 => "spare above 0",
                FaultKind::LongDead if replace_dead_after_s == 0 => "replace_dead_after_s above 0",
                FaultKind::LongDead if nodes <= replicas => "more nodes than replicas",
                _ => continue,
            };
            return Err(format!("{:?} needs {lacks} in [ranch]", fault.kind));
        }
        Ok(())
    }

    /// One of its faults, at random by weight, of those that can be had here and that `may` strike
    /// now; none when that is none of them.
    pub fn choose(
        &self,
        world: Option<World>,
        rng: &mut fastrand::Rng,
        may: impl Fn(&FaultSpec) -> bool,
    ) -> Option<&FaultSpec> {
        let can = |fault: &&FaultSpec| lacks(fault, world).is_none() && may(fault);
        let here = || self.faults.iter().filter(can);
        let mut left = rng.u32(0..here().map(|fault| fault.weight).sum::<u32>().max(1));
        here().find(|fault| match left.checked_sub(fault.weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })
    }

    /// Whether a fault that can be had here needs this.
    #[must_use]
    pub fn needs(&self, need: Need, world: Option<World>) -> bool {
        let of = |fault: &FaultSpec| fault.kind.need() == Some(need);
        self.faults.iter().any(|fault| of(fault) && lacks(fault, world).is_none())
    }

    /// Its faults that cannot be had here, each with the reason.
    #[must_use]
    pub fn left_out(&self, world: Option<World>) -> Vec<String> {
        let out = self.faults.iter().filter_map(|fault| Some((fault.kind, lacks(fault, world)?)));
        let mut out: Vec<_> = out.map(|(kind, why)| format!("{kind:?}: {why}")).collect();
        out.dedup();
        out
    }
}

/// What a fault lacks here, if anything.
fn lacks(fault: &FaultSpec, world: Option<World>) -> Option<&'static str> {
    match (fault.kind.need()?, world) {
        (_, None) => Some("needs a world of its own"),
        (Need::Network, _) | (Need::Disks, Some(World::Root)) => None,
        (Need::Detour, _) if Relay::is_possible() => None,
        (Need::Detour, _) => Some("needs /dev/net/tun, which cannot be opened"),
        (Need::Clocks, _) if clock::library().is_some() => None,
        (Need::Clocks, _) => Some("needs libfaketime, which `scripts/deps chaos` installs"),
        (Need::Disks, _) => Some("needs file systems of its own, which only root can mount"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_catalog_is_one_and_says_why() {
        for (scenario, (name, _)) in Scenario::all().unwrap().iter().zip(CATALOG) {
            assert_eq!(scenario.name, name);
            assert!(scenario.why.ends_with('.') && scenario.why.len() > 30, "{name}");
            assert!(scenario.promises.contains(&Promise::R1), "{name}");
            assert!(scenario.workload.clients >= scenario.workload.tenants, "{name}");
        }
    }

    #[test]
    fn what_is_no_scenario_is_told_with_the_remedy() {
        let error = Scenario::find("kill-bill").unwrap_err().to_string();
        assert!(error.contains("kill-leader"), "{error}");
        let text = "name = \"x\"\nwhy = \"\"\npromises = [\"R1\"]\nminutes = 1\nfault = []";
        assert!(Scenario::parse("x", text).unwrap_err().to_string().contains("no fault"));
        assert!(Scenario::parse("x", "nodes = 3").is_err());
    }

    #[test]
    fn weights_decide_how_often_a_fault_is_chosen() {
        let mixed = Scenario::find("mixed").unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut seen = std::collections::HashMap::<_, u32>::new();
        for _ in 0..1_000 {
            let fault = mixed.choose(Some(World::Root), &mut rng, |_| true).unwrap();
            *seen.entry((fault.kind, fault.target)).or_default() += 1;
        }
        let here = |fault: &&FaultSpec| lacks(fault, Some(World::Root)).is_none();
        let there_are = mixed.faults.iter().filter(here).count();
        assert_eq!(seen.len(), there_are, "each is chosen: {seen:?}");
        let alone = mixed.choose(None, &mut rng, |_| true);
        assert!(alone.is_some_and(|fault| fault.kind.need().is_none()));
        assert!(mixed.choose(None, &mut rng, |_| false).is_none());
    }
}
