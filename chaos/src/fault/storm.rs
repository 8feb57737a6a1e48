//! Leaderships that are handed on again and again, of any shard, to any other voter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fastrand::Rng;
use http::Method;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::cluster::{Cluster, Shard};
use crate::error::HarnessError;
use crate::ranch::{ADMIN_KEY, Ranch};

/// Longest wait for the answer to one wish.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Pause between two, so that the storm does not starve everybody of processor time.
const PAUSE: Duration = Duration::from_millis(20);

/// A storm that rages until it is dropped.
#[derive(Debug)]
pub struct Storm {
    granted: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Storm {
    /// Begins.
    #[must_use]
    pub fn begin(ranch: &Ranch, rng: &mut Rng) -> Self {
        let granted = Arc::new(AtomicU64::new(0));
        let client = ranch.client(Some(ADMIN_KEY)).with_limit(ANSWER_MAX);
        let task = tokio::spawn(rage(client, rng.fork(), Arc::clone(&granted)));
        Self { granted, task }
    }

    /// Ends, and gives the number of transfers that were granted.
    #[must_use]
    pub fn heal(self) -> u64 {
        self.granted.load(Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn rage(mut client: Client, mut rng: Rng, granted: Arc<AtomicU64>) {
    loop {
        // While other faults hold, some wishes have no answer; the next one may.
        if let Ok(true) = wish(&mut client, &mut rng).await {
            granted.fetch_add(1, Relaxed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks for one transfer. Tells whether it was granted.
async fn wish(client: &mut Client, rng: &mut Rng) -> Result<bool, HarnessError> {
    let cluster = Cluster::ask(client).await?;
    let Some((shard, to)) = choose(&cluster, rng) else { return Ok(false) };
    let target = format!("/api/v2/admin/cluster/shards/{shard}/transfer");
    let json = [("content-type", "application/json")];
    let body = serde_json::json!({ "to": to }).to_string();
    let answer = client.send(Method::POST, &target, &json, body).await?;
    Ok((200..300).contains(&answer.status))
}

/// A shard that is led, and another of its nodes.
fn choose(cluster: &Cluster, rng: &mut Rng) -> Option<(u32, u32)> {
    let led: Vec<&Shard> = cluster.shards.iter().filter(|one| one.leader.is_some()).collect();
    let shard = rng.choice(led)?;
    let others = shard.replicas.iter().filter(|node| Some(**node) != shard.leader);
    let to = rng.choice(others.copied().collect::<Vec<_>>())?;
    Some((shard.id, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: u32, leader: Option<u32>) -> Shard {
        let (replicas, voters) = (vec![1, 2, 3], Vec::new());
        Shard { id, leader, replicas, voters, term: 1, lag: Some(0) }
    }

    #[test]
    fn a_led_shard_is_to_go_to_another_node() {
        let mut rng = Rng::with_seed(1);
        let shards = vec![shard(1, None), shard(2, Some(3))];
        let cluster = Cluster { shards, ..Cluster::default() };
        for _ in 0..20 {
            let (shard, to) = choose(&cluster, &mut rng).unwrap();
            assert_eq!(shard, 2);
            assert!([1, 2].contains(&to));
        }
        assert_eq!(choose(&Cluster::default(), &mut rng), None);
    }
}
