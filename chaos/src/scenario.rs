//! What a run does, as files in `scenarios/` say it: the ranch, the load, the faults, and the
//! promises that must hold meanwhile.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::HarnessError;

/// The scenarios that come with the program, by name.
const CATALOG: [(&str, &str); 8] = [
    ("kill-leader", include_str!("../scenarios/kill-leader.toml")),
    ("kill-minority", include_str!("../scenarios/kill-minority.toml")),
    ("kill-all", include_str!("../scenarios/kill-all.toml")),
    ("pause-leader", include_str!("../scenarios/pause-leader.toml")),
    ("lost-disk", include_str!("../scenarios/lost-disk.toml")),
    ("rolling-restart", include_str!("../scenarios/rolling-restart.toml")),
    ("hot-tenant", include_str!("../scenarios/hot-tenant.toml")),
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
    /// A failed minority does not stop service for longer than promised.
    R6,
    /// A restart node by node costs no request.
    R7,
    /// After heal every shard serves within 5 s, and all replicas agree within 30 s.
    R10,
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
    /// The faults, of which one at a time is chosen at random.
    #[serde(rename = "fault")]
    pub faults: Vec<FaultSpec>,
}

/// What ranch to build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RanchShape {
    /// Number of nodes.
    pub nodes: u32,
    /// Number of shards.
    pub shards: u32,
    /// Copies of each shard.
    pub replicas: u32,
}

/// What clients do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Tenants the clients are dealt out over.
    pub tenants: u32,
    /// Clients that ask at the same time.
    pub clients: u32,
    /// Scrolls of each tenant.
    pub scrolls: u32,
    /// In a hundred operations, so many reads.
    pub reads_percent: u32,
}

/// One kind of fault, and when it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What happens.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// It lasts between these many milliseconds.
    pub hold_ms: [u64; 2],
    /// Once the ranch is whole again, the next comes after between these many milliseconds.
    pub pause_ms: [u64; 2],
    /// How often it is chosen, compared with the others.
    #[serde(default = "one")]
    pub weight: u32,
}

/// What can happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// `kill -9`; healed by starting it again.
    Kill,
    /// Its processes stand still, as in a long pause of the machine.
    Pause,
    /// It is asked to end, and started again.
    Restart,
    /// `kill -9`, and its data is gone when it comes back.
    LostDisk,
}

/// Which nodes it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The one that leads the shard of the first tenant.
    Leader,
    /// One that does not.
    Follower,
    /// Any one.
    Any,
    /// As many as may fail at once, at random.
    Minority,
    /// All, at one moment.
    All,
}

fn one() -> u32 {
    1
}

impl Default for RanchShape {
    fn default() -> Self {
        Self { nodes: 3, shards: 4, replicas: 3 }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self { tenants: 2, clients: 8, scrolls: 4, reads_percent: 33 }
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
        if scenario.promises.is_empty() || scenario.minutes <= 0.0 {
            return Err(wrong("it must name promises, and minutes above 0".to_owned()));
        }
        Ok(scenario)
    }

    /// One of its faults, at random by weight.
    pub fn choose(&self, rng: &mut fastrand::Rng) -> &FaultSpec {
        let mut left = rng.u32(0..self.faults.iter().map(|fault| fault.weight).sum());
        for fault in &self.faults {
            match left.checked_sub(fault.weight) {
                Some(rest) => left = rest,
                None => return fault,
            }
        }
        // The weights add up, so one was chosen.
        &self.faults[0]
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
            let fault = mixed.choose(&mut rng);
            *seen.entry((fault.kind, fault.target)).or_default() += 1;
        }
        assert_eq!(seen.len(), mixed.faults.len(), "each is chosen: {seen:?}");
    }
}
