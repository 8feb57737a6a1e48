//! `ranch verify-state`: whether all copies of every shard have the same rows.

use std::time::{Duration, Instant};

use clap::Args;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::CliError;
use super::http::Call;
use super::options::AdminArgs;
use super::output;

/// Longest one question waits, in seconds; large shards take several.
const ASK_S: u64 = 20;

/// Arguments of `ranch verify-state`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch verify-state\n  ranch verify-state --json | jq \
                        .verdict\n\nEvery copy of a shard hashes its rows as of one log entry, and \
                        all hashes must be the same.\nCopies that differ from a majority are \
                        replaced by themselves; `ranch status` shows how far that is.")]
pub struct VerifyStateArgs {
    /// Longest to wait for all shards, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    timeout_s: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What a router answers. What this version does not know is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    id: u64,
    verdict: String,
    meta: Shard,
    shards: Vec<Shard>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Shard {
    id: u32,
    verdict: String,
    index: Option<u64>,
    hash: Option<String>,
    replicas: Vec<Replica>,
    kinds: Vec<String>,
    error: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Replica {
    #[serde(rename = "replica")]
    name: String,
    hash: Option<String>,
    missing: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Asks a router until all shards are done, and prints.
pub async fn run(args: VerifyStateArgs) -> Result<(), CliError> {
    let (http, _) = args.admin.http()?;
    let until = Instant::now() + Duration::from_secs(args.timeout_s);
    let mut id = String::new();
    let answer = loop {
        let path = format!("/api/v2/admin/cluster/verify?wait_s={ASK_S}{id}");
        let mut call = Call::new(Method::POST, path, "comparing the copies".to_owned());
        call.headers.push(("accept", "application/json".to_owned()));
        let answer: Answer = http.ask_json(&call).await?;
        let running = answer.all().any(|shard| shard.verdict == "running");
        if !running || Instant::now() >= until {
            break answer;
        }
        id = format!("&id={}", answer.id);
    };
    if args.json {
        output::json(&answer)?;
    } else {
        output::line(&answer.text())?;
    }
    match answer.verdict.as_str() {
        "alike" => Ok(()),
        _ => Err(CliError::NotAlike { verdict: answer.verdict }),
    }
}

impl Answer {
    fn all(&self) -> impl Iterator<Item = &Shard> {
        std::iter::once(&self.meta).chain(&self.shards)
    }

    fn text(&self) -> String {
        let heading = ["SHARD", "VERDICT", "ENTRY", "HASH", "COPIES"].map(str::to_owned).to_vec();
        let rows = std::iter::once(heading).chain(self.all().map(Shard::row)).collect::<Vec<_>>();
        let said: Vec<_> = self.all().flat_map(Shard::said).collect();
        [output::table(&rows), said.concat()].concat()
    }
}

impl Shard {
    fn name(&self) -> String {
        if self.id == 0 { "meta".to_owned() } else { self.id.to_string() }
    }

    fn row(&self) -> Vec<String> {
        let compared = self.replicas.iter().filter(|one| one.hash.is_some()).count();
        vec![
            self.name(),
            self.verdict.clone(),
            self.index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
            self.hash.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{compared}/{}", self.replicas.len()),
        ]
    }

    /// What is not as it should be.
    fn said(&self) -> Vec<String> {
        let name = self.name();
        let error = self.error.iter().map(|why| format!("shard {name}: {why}\n"));
        let copies = self.replicas.iter().filter_map(|one| {
            let what = match (&one.hash, &one.missing) {
                (Some(hash), _) if self.hash.as_ref() != Some(hash) => format!("has {hash}"),
                (None, Some(why)) => why.clone(),
                _ => return None,
            };
            Some(format!("shard {name}: copy {} {what}\n", one.name))
        });
        let kinds = (!self.kinds.is_empty())
            .then(|| format!("shard {name}: rows that differ: {}\n", self.kinds.join(", ")));
        error.chain(copies).chain(kinds).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let alike = |node: u32| serde_json::json!({"replica": format!("{node}.1"), "hash": "aa"});
        let answer: Answer = serde_json::from_value(serde_json::json!({
            "id": 7, "verdict": "differ",
            "meta": {"id": 0, "verdict": "partly", "index": 9, "hash": "aa", "kinds": [],
                "replicas": [alike(1), {"replica": "2.1", "missing": "is behind"}]},
            "shards": [{"id": 1, "verdict": "differ", "index": 5, "hash": "aa", "kinds": ["Body"],
                "replicas": [alike(1), alike(2), {"replica": "3.1", "hash": "bb"}]}],
        }))
        .unwrap();
        let text = answer.text();
        for line in [
            "SHARD  VERDICT  ENTRY  HASH  COPIES",
            "meta   partly   9      aa    1/2",
            "1      differ   5      aa    3/3",
            "shard meta: copy 2.1 is behind",
            "shard 1: copy 3.1 has bb",
            "shard 1: rows that differ: Body",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}\nlacks {line:?}");
        }
    }
}
