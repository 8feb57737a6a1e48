//! `ranch status`: the machines, the shards, and what is wrong, in words.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::CliError;
use super::http::Call;
use super::local;
use super::options::AdminArgs;
use super::output;

/// Characters of the bar that shows how far moves are.
const BAR: u64 = 30;

/// Arguments of `ranch status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch status\n  \
                        ranch status --json | jq '.shards[] | select(.leader == null)'")]
pub struct StatusArgs {
    /// Print JSON: `nodes`, `shards`, `tenants` and `problems`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The ranch as its router describes it. What this version does not know is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Cluster {
    nodes: Vec<Node>,
    shards: Vec<Shard>,
    #[serde(default)]
    tenants: Vec<Value>,
    #[serde(default, rename = "cluster_version")]
    version: Option<u32>,
    #[serde(default)]
    moves: Option<Moves>,
    #[serde(default)]
    problems: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Node {
    id: u32,
    name: String,
    addr: String,
    /// Only of processes on this machine, where the number means something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    state: String,
    #[serde(default)]
    duty: String,
    version: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Shard {
    id: u32,
    leader: Option<u32>,
    replicas: Vec<u32>,
    term: u64,
    lag: Option<u64>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Copies on their way from machine to machine.
#[derive(Debug, Serialize, Deserialize)]
struct Moves {
    running: u64,
    waiting: u64,
    /// Of routers that do not tell, 0.
    #[serde(default)]
    wanted: u64,
    #[serde(default)]
    placed: u64,
    bytes_left: u64,
    eta_s: Option<u64>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Asks a router and prints.
pub async fn run(args: StatusArgs) -> Result<(), CliError> {
    let (http, _) = args.admin.http()?;
    let mut call = Call::get("/api/v2/admin/cluster", "asking for the state of the ranch");
    call.headers.push(("accept", "application/json".to_owned()));
    let mut cluster: Cluster = http.ask_json(&call).await?;
    for node in &mut cluster.nodes {
        node.pid = node.pid.filter(|_| local::is_this_machine(&node.addr));
    }
    if args.json {
        return output::json(&cluster);
    }
    output::line(&cluster.text())
}

impl Cluster {
    fn text(&self) -> String {
        let nodes = output::table(&self.node_rows());
        let shards = output::table(&self.shard_rows());
        let count = self.tenants.len();
        let version = self.version.map(|at| format!("cluster version {at}\n"));
        let plural = if count == 1 { "" } else { "s" };
        let tenants = format!("{}{count} tenant{plural}\n", version.unwrap_or_default());
        let problems = if self.problems.is_empty() {
            "no problems\n".to_owned()
        } else {
            prefixed("PROBLEM", &self.problems)
        };
        let moves = self.moves.as_ref().map(Moves::text).unwrap_or_default();
        let said = [prefixed("NOTE", &self.notes), problems].concat();
        [nodes, shards, moves + &tenants, said].join("\n")
    }

    fn node_rows(&self) -> Vec<Vec<String>> {
        let heading = ["NODE", "NAME", "ADDRESS", "PID", "STATE", "VERSION", "LEADS"];
        let row = |node: &Node| {
            let leads = self.shards.iter().filter(|shard| shard.leader == Some(node.id)).count();
            vec![
                node.id.to_string(),
                node.name.clone(),
                node.addr.clone(),
                or_dash(node.pid),
                node.state_and_duty(),
                node.version.clone(),
                leads.to_string(),
            ]
        };
        with_heading(&heading, self.nodes.iter().map(row))
    }

    fn shard_rows(&self) -> Vec<Vec<String>> {
        let row = |shard: &Shard| {
            let replicas: Vec<_> = shard.replicas.iter().map(|id| self.name_of(*id)).collect();
            let tenants = self.tenants.iter().filter(|tenant| {
                tenant.get("shard").and_then(Value::as_u64) == Some(shard.id.into())
            });
            vec![
                shard.id.to_string(),
                shard.leader.map_or_else(|| "none".to_owned(), |id| self.name_of(id)),
                replicas.join(","),
                shard.term.to_string(),
                or_dash(shard.lag),
                tenants.count().to_string(),
            ]
        };
        let heading = ["SHARD", "LEADER", "REPLICAS", "TERM", "LAG", "TENANTS"];
        with_heading(&heading, self.shards.iter().map(row))
    }

    fn name_of(&self, id: u32) -> String {
        let node = self.nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| id.to_string(), |node| node.name.clone())
    }
}

impl Node {
    /// The duty goes without saying unless it is unusual.
    fn state_and_duty(&self) -> String {
        match self.duty.as_str() {
            "" | "serving" => self.state.clone(),
            duty => format!("{}, {duty}", self.state),
        }
    }
}

impl Moves {
    fn text(&self) -> String {
        let left = output::human_bytes(self.bytes_left);
        let eta = self.eta_s.map_or_else(String::new, |s| format!(", about {s} s at this rate"));
        let (running, waiting) = (self.running, self.waiting);
        let bar = self.bar().unwrap_or_default();
        format!("{bar}moving: {running} copies, {waiting} waiting, {left} to go{eta}\n")
    }

    /// A line that shows how many of all copies are where they are to be.
    fn bar(&self) -> Option<String> {
        let placed = self.placed.min(self.wanted);
        let done = (placed * BAR).checked_div(self.wanted)?;
        let (done, rest) = ("#".repeat(done as usize), "-".repeat((BAR - done) as usize));
        Some(format!("[{done}{rest}] {placed} of {} copies in place\n", self.wanted))
    }
}

fn prefixed(word: &str, sentences: &[String]) -> String {
    let lines = sentences.iter().map(|sentence| format!("{word}: {sentence}\n"));
    lines.collect::<Vec<_>>().concat()
}

fn with_heading(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let heading = heading.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(heading).chain(rows).collect()
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        serde_json::from_value(serde_json::json!({
            "name": "ranch",
            "nodes": [
                {"id": 1, "name": "a", "addr": "127.0.0.1:7101", "pid": 42, "state": "up",
                 "version": "0.1.0"},
                {"id": 2, "name": "b", "addr": "127.0.0.1:7102", "pid": null, "state": "down",
                 "duty": "leaving", "version": "0.1.0"},
            ],
            "shards": [
                {"id": 1, "leader": 1, "replicas": [1, 2], "term": 3, "lag": 7},
                {"id": 2, "leader": null, "replicas": [2], "term": 4, "lag": null},
            ],
            "tenants": [{"id": "will", "shard": 1}],
            "cluster_version": 2,
            "moves": {"running": 2, "waiting": 3, "wanted": 36, "placed": 31,
                      "bytes_left": 2048, "eta_s": 7},
            "problems": ["shard 2 has no leader"],
            "notes": ["node 2 (b) came back as incarnation 2"],
        }))
        .unwrap()
    }

    #[test]
    fn the_text_shows_everything() {
        let text = cluster().text();
        for line in [
            "NODE  NAME  ADDRESS         PID  STATE          VERSION  LEADS",
            "1     a     127.0.0.1:7101  42   up             0.1.0    1",
            "2     b     127.0.0.1:7102  -    down, leaving  0.1.0    0",
            "[#########################-----] 31 of 36 copies in place",
            "moving: 2 copies, 3 waiting, 2.00 KiB to go, about 7 s at this rate",
            "1      a       a,b       3     7    1",
            "2      none    b         4     -    0",
            "cluster version 2",
            "1 tenant",
            "PROBLEM: shard 2 has no leader",
            "NOTE: node 2 (b) came back as incarnation 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}\nlacks {line:?}");
        }
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_in_place_and_left_out_where_nothing_is_known() {
        let bar = |placed, wanted| {
            let (running, waiting, bytes_left) = (1, 0, 0);
            let more = Map::new();
            Moves { running, waiting, wanted, placed, bytes_left, eta_s: None, more }.bar()
        };
        assert_eq!(bar(999, 1_000).unwrap().matches('#').count(), BAR as usize - 1);
        assert_eq!(bar(0, 6).unwrap().matches('#').count(), 0);
        assert_eq!(bar(0, 0), None);
    }

    #[test]
    fn json_keeps_what_it_does_not_know() {
        let json = serde_json::to_value(cluster()).unwrap();
        assert_eq!(json["name"], "ranch");
        assert_eq!(json["nodes"][0]["pid"], 42);
        assert!(json["nodes"][1].get("pid").is_none());
        assert!(json["shards"][1]["leader"].is_null());
    }
}
