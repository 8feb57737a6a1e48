//! What the ranch says of itself, as far as an upgrade needs to know.

use serde::Deserialize;

use super::super::http::{Call, ClientError, Http};
use super::binary::Range;

/// Entries a copy may be behind where nothing is wrong.
const LAG_MAX: u64 = 1_000;

/// The ranch at one moment.
#[derive(Debug, Deserialize)]
pub struct Account {
    /// The format it writes.
    pub cluster_version: u32,
    /// Every machine.
    pub nodes: Vec<Node>,
    shards: Vec<Shard>,
    meta: Option<Shard>,
    problems: Vec<String>,
}

/// A machine.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its process, when it answers.
    pub pid: Option<u32>,
    /// `up`, `starting` or `down`.
    pub state: String,
    /// Such as `draining`.
    pub duty: String,
    /// What it runs.
    pub version: String,
    /// What it speaks, when it answers.
    pub protocols: Option<Range>,
}

#[derive(Debug, Deserialize)]
struct Shard {
    leader: Option<u32>,
    lag: Option<u64>,
}

impl Account {
    /// Asks for it.
    pub async fn ask(http: &Http) -> Result<Self, ClientError> {
        let what = "asking for the state of the ranch";
        let mut call = Call::get("/api/v2/admin/cluster", what);
        call.headers.push(("accept", "application/json".to_owned()));
        http.ask_json(&call).await
    }

    /// A machine by name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// What is wrong, if anything: another machine must not be stopped then.
    pub fn trouble(&self) -> Option<String> {
        if let Some(problem) = self.problems.first() {
            return Some(problem.clone());
        }
        let behind = |shard: &&Shard| shard.leader.is_none() || shard.lag > Some(LAG_MAX);
        let groups = self.shards.iter().chain(&self.meta);
        let behind = groups.filter(behind).count();
        (behind > 0).then(|| format!("{behind} shards have a copy that is behind, or no leader"))
    }
}
