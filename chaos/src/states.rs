//! Whether all copies of every shard have the same rows in the end, as the ranch is made to
//! compare them. What it answers is judged here again: one hash at one entry on every copy.

use std::time::{Duration, Instant};

use http::Method;
use serde::Deserialize;

use crate::client::Client;
use crate::error::HarnessError;
use crate::ranch::{ADMIN_KEY, Ranch};

/// Longest until all copies can be compared and are alike; a node that finds rot in doing so is
/// filled again meanwhile.
const ALIKE_MAX: Duration = Duration::from_mins(2);
/// Between two comparisons.
const PAUSE: Duration = Duration::from_millis(500);
const TARGET: &str = "/api/v2/admin/cluster/verify?wait_s=10";

/// What comparing all copies brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Groups compared, the meta group among them.
    pub groups: usize,
    /// Copies compared.
    pub copies: usize,
    /// Copies that differed, or could not be compared in the end, in words.
    pub faults: Vec<String>,
}

/// What a router answers.
#[derive(Clone, Debug, Deserialize)]
pub struct Comparison {
    /// The group all machines belong to.
    pub meta: Group,
    /// Every shard.
    pub shards: Vec<Group>,
}

/// One group.
#[derive(Clone, Debug, Deserialize)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// `alike`, `partly`, `differ`, `unknown` or `running`.
    pub verdict: String,
    /// The entry as of which rows were compared.
    pub index: Option<u64>,
    /// Its copies.
    pub replicas: Vec<Replica>,
    /// Kinds of rows that differ.
    pub kinds: Vec<String>,
    /// Why nothing is known.
    pub error: Option<String>,
}

/// One copy.
#[derive(Clone, Debug, Deserialize)]
pub struct Replica {
    /// Its name, as `node.number`.
    pub replica: String,
    /// What its rows come to.
    pub hash: Option<String>,
    /// Why that is not known.
    pub missing: Option<String>,
}

impl Comparison {
    /// Has a ranch compare all copies now; `client` presents the admin key.
    ///
    /// # Errors
    /// When there is no answer, or not the one documented.
    pub async fn ask(client: &mut Client) -> Result<Self, HarnessError> {
        let answer = client.call(Method::POST, TARGET).await?;
        let status = answer.status;
        let unexpected = |body| HarnessError::Answer { asked: TARGET.to_owned(), status, body };
        if status != 200 {
            return Err(unexpected(answer.text()));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| unexpected(format!("{error} in {}", answer.text())))
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        std::iter::once(&self.meta).chain(&self.shards)
    }
}

impl Group {
    /// Whether two copies have other rows, whatever the verdict says.
    #[must_use]
    pub fn differs(&self) -> bool {
        let mut hashes = self.replicas.iter().filter_map(|one| one.hash.as_ref());
        let first = hashes.next();
        self.verdict == "differ" || hashes.any(|hash| Some(hash) != first)
    }

    /// Whether all copies have one hash at one entry.
    #[must_use]
    pub fn is_alike(&self) -> bool {
        let known = self.replicas.iter().all(|one| one.hash.is_some());
        let alike = self.verdict == "alike" && self.index.is_some() && !self.differs();
        alike && known && !self.replicas.is_empty()
    }

    fn in_words(&self) -> String {
        let Self { id, verdict, index, kinds, error, .. } = self;
        let copy = |one: &Replica| {
            let what = one.hash.as_ref().or(one.missing.as_ref());
            format!("{} {}", one.replica, what.map_or("?", String::as_str))
        };
        let copies: Vec<_> = self.replicas.iter().map(copy).collect();
        let (copies, kinds) = (copies.join(", "), kinds.join(", "));
        let error = error.as_deref().unwrap_or_default();
        format!("group {id} at entry {index:?}: {verdict} ({copies}) {kinds}{error}")
    }
}

impl States {
    /// Has a ranch compare all copies until they are found alike, or differ. Nodes that end are
    /// started again where the run has a supervisor.
    ///
    /// # Errors
    /// When a node cannot be started.
    pub async fn compare(ranch: &mut Ranch, supervised: bool) -> Result<Self, HarnessError> {
        let mut client = ranch.client(Some(ADMIN_KEY)).with_limit(Duration::from_secs(30));
        let until = Instant::now() + ALIKE_MAX;
        loop {
            if supervised {
                ranch.revive()?;
            }
            let (states, differ) = match Comparison::ask(&mut client).await {
                Ok(found) => (Self::judge(&found), found.groups().any(Group::differs)),
                Err(error) => (Self { faults: vec![error.to_string()], ..Self::default() }, false),
            };
            let mended = Self::default().with_logs(&ranch.logs());
            let known = differ || !mended.faults.is_empty() || states.faults.is_empty();
            if known || Instant::now() >= until {
                let faults = [states.faults, mended.faults].concat();
                return Ok(Self { faults, ..states });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// With what nodes found themselves meanwhile, and mended.
    fn with_logs(mut self, logs: &[(String, String)]) -> Self {
        for (name, log) in logs {
            let lines = log.lines().filter(|line| line.contains(" differ at entry "));
            self.faults.extend(lines.map(|line| format!("{name} said: {line}")));
        }
        self
    }

    /// What an answer comes to.
    #[must_use]
    pub fn judge(comparison: &Comparison) -> Self {
        let wrong = comparison.groups().filter(|group| !group.is_alike());
        Self {
            groups: comparison.groups().count(),
            copies: comparison.groups().map(|group| group.replicas.len()).sum(),
            faults: wrong.map(Group::in_words).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(shard: &serde_json::Value) -> Comparison {
        let copy = |node: u32| serde_json::json!({"replica": format!("{node}.1"), "hash": "aa"});
        serde_json::from_value(serde_json::json!({
            "id": 1, "verdict": "…",
            "meta": {"id": 0, "verdict": "alike", "index": 3, "kinds": [],
                "replicas": [copy(1), copy(2), copy(3)]},
            "shards": [shard],
        }))
        .unwrap()
    }

    fn shard(verdict: &str, hashes: &[Option<&str>]) -> serde_json::Value {
        let copy = |(node, hash): (usize, Option<&str>)| {
            let replica = format!("{node}.1");
            serde_json::json!({"replica": replica, "hash": hash, "missing": "away"})
        };
        let copies: Vec<_> = hashes.iter().copied().enumerate().map(copy).collect();
        serde_json::json!({
            "id": 1, "verdict": verdict, "index": 9, "kinds": ["Body"], "replicas": copies,
        })
    }

    #[test]
    fn one_hash_on_every_copy_and_nothing_less_is_alike() {
        let good = States::judge(&comparison(&shard("alike", &[Some("bb"); 3])));
        assert_eq!((good.groups, good.copies, good.faults.len()), (2, 6, 0));
        for (verdict, hashes) in [
            ("differ", &[Some("bb"), Some("bb"), Some("cc")][..]),
            // A ranch that says so all the same is not believed.
            ("alike", &[Some("bb"), Some("bb"), Some("cc")]),
            ("alike", &[Some("bb"), None]),
            ("partly", &[Some("bb"), Some("bb"), None]),
            ("running", &[]),
            ("alike", &[]),
        ] {
            let states = States::judge(&comparison(&shard(verdict, hashes)));
            assert_eq!(states.faults.len(), 1, "{verdict} {hashes:?}");
        }
        assert!(comparison(&shard("alike", &[Some("b"), Some("c")])).shards[0].differs());
        let log = "x\nERROR the copies of shard 1 differ at entry 9: 1.1 has aa\ny".to_owned();
        let states = States::default().with_logs(&[("node1".to_owned(), log)]);
        assert_eq!(states.faults.len(), 1, "what was mended meanwhile counts, too");
    }
}
