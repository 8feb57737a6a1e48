//! What a ranch says about itself: the object of `ranch status --json` and of
//! `GET /api/v2/admin/cluster`, as far as the harness needs it.

use serde::Deserialize;

use crate::client::Client;
use crate::error::HarnessError;

/// The whole object.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Cluster {
    /// Machines.
    pub nodes: Vec<Node>,
    /// Shards, by id.
    pub shards: Vec<Shard>,
    /// Tenants and their shards.
    pub tenants: Vec<Tenant>,
    /// Copies on their way, if any.
    #[serde(default)]
    pub moves: Option<serde_json::Value>,
    /// What is wrong, in words.
    #[serde(default)]
    pub problems: Vec<String>,
    /// What has happened and is no problem any more, in words.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A machine.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub addr: String,
    /// Its process, when that is on this machine.
    #[serde(default)]
    pub pid: Option<u32>,
    /// A word for how it is.
    pub state: String,
    /// The version it runs.
    pub version: String,
}

/// A shard.
#[derive(Clone, Debug, Deserialize)]
pub struct Shard {
    /// Its number.
    pub id: u32,
    /// The node that leads it.
    pub leader: Option<u32>,
    /// The nodes that hold it.
    pub replicas: Vec<u32>,
    /// The replicas that vote, as `node.incarnation`.
    #[serde(default)]
    pub voters: Vec<String>,
    /// The highest term heard of.
    pub term: u64,
    /// How many log entries the replica furthest behind lacks; absent without a leader.
    pub lag: Option<u64>,
}

/// A tenant.
#[derive(Clone, Debug, Deserialize)]
pub struct Tenant {
    /// Its name.
    pub id: String,
    /// The shard it lives on.
    pub shard: u32,
}

/// Where a ranch says it.
const TARGET: &str = "/api/v2/admin/cluster";

impl Cluster {
    /// Asks with a client that presents the admin key.
    ///
    /// # Errors
    /// When there is no answer, or not the one documented.
    pub async fn ask(client: &mut Client) -> Result<Self, HarnessError> {
        let answer = client.get(TARGET).await?;
        let status = answer.status;
        let unexpected = |body| HarnessError::Answer { asked: TARGET.to_owned(), status, body };
        if status != 200 {
            return Err(unexpected(answer.text()));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| unexpected(format!("{error} in {}", answer.text())))
    }

    /// Whether every node answers, and no replica of any shard is behind.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.nodes.iter().all(|node| node.state != "down")
            && self.shards.iter().all(|shard| shard.lag == Some(0))
    }

    /// How many shards a node has a copy of.
    #[must_use]
    pub fn copies_on(&self, node: u32) -> usize {
        self.shards.iter().filter(|shard| shard.replicas.contains(&node)).count()
    }

    /// Whether exactly these machines are in it, each shard has `copies`, spread evenly but for
    /// one, and nothing moves.
    #[must_use]
    pub fn is_settled_on(&self, members: &[u32], copies: usize) -> bool {
        let there: Vec<u32> = self.nodes.iter().map(|node| node.id).collect();
        let copies = copies.min(members.len());
        let whole = self.shards.iter().all(|shard| shard.replicas.len() == copies);
        let shares = members.iter().map(|member| self.copies_on(*member));
        let spread = shares.clone().max().unwrap_or(0) - shares.min().unwrap_or(0);
        there == members && whole && spread <= 1 && self.moves.is_none()
    }

    /// The shard of a tenant.
    #[must_use]
    pub fn shard_of(&self, tenant: &str) -> Option<&Shard> {
        let shard = self.tenants.iter().find(|found| found.id == tenant)?.shard;
        self.shards.iter().find(|found| found.id == shard)
    }

    /// The node that leads a tenant's shard.
    #[must_use]
    pub fn leader_of(&self, tenant: &str) -> Option<u32> {
        self.shard_of(tenant)?.leader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(nodes: &[u32], shards: &[&[u32]]) -> Cluster {
        let nodes = nodes.iter().map(|id| {
            serde_json::json!({"id": id, "name": "n", "addr": "a", "state": "up", "version": "1"})
        });
        let shards = shards.iter().map(|replicas| {
            serde_json::json!({"id": 1, "leader": 1, "replicas": replicas, "term": 1, "lag": 0})
        });
        let (nodes, shards): (Vec<_>, Vec<_>) = (nodes.collect(), shards.collect());
        serde_json::from_value(serde_json::json!({"nodes": nodes, "shards": shards, "tenants": []}))
            .unwrap()
    }

    #[test]
    fn settled_is_complete_even_and_at_rest() {
        let even = account(&[1, 2, 3, 4], &[&[1, 2, 3], &[2, 3, 4], &[3, 4, 1], &[4, 1, 2]]);
        assert!(even.is_settled_on(&[1, 2, 3, 4], 3));
        assert!(!even.is_settled_on(&[1, 2, 3], 3), "a machine too many");
        assert!(!even.is_settled_on(&[1, 2, 3, 4], 5), "a copy too few");
        let moving = Cluster { moves: Some(serde_json::json!({"running": 1})), ..even };
        assert!(!moving.is_settled_on(&[1, 2, 3, 4], 3));
        let uneven = account(&[1, 2, 3, 4], &[&[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[1, 2, 4]]);
        assert_eq!(uneven.copies_on(4), 1);
        assert!(!uneven.is_settled_on(&[1, 2, 3, 4], 3));
        assert!(account(&[1, 2], &[&[1, 2]]).is_settled_on(&[1, 2], 3), "one on each");
    }
}
