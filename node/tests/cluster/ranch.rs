//! A ranch of three nodes and three shards, each node on a runtime of its own.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ranch_node::{LocalShards, Node, NodeOptions};
use ranch_proto::api_key::Secret;
use ranch_proto::config::{Config, NodeConfig};
use ranch_proto::schema::GroupStatus;
use ranch_proto::{GroupId, NodeId, ReplicaId, Shards as _};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard};

use crate::client::{Client, Tenant};
use crate::ledger::until;
use crate::notices;
use crate::wires::Wires;

/// The nodes of every test ranch.
pub const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// Long enough for an election or two on a busy machine: the R6 bounds are measured elsewhere.
pub const SOON: Duration = Duration::from_secs(20);
/// R10: after heal a ranch converges within this time.
pub const CONVERGED: Duration = Duration::from_secs(30);

const SHARDS: u32 = 3;
const STOP_LIMIT: Duration = Duration::from_secs(20);
static ALONE: Mutex<()> = Mutex::const_new(());

struct Machine {
    runtime: Option<Runtime>,
    node: Option<Node>,
    shards: Arc<LocalShards>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Only after a test has failed: otherwise it was killed or stopped, which waits.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            // Else it would still be at work when the process ends, and that be aborted.
            assert!(std::thread::panicking(), "a ranch that was not ended");
        }
    }
}

/// A running ranch.
pub struct Ranch {
    /// What its nodes talk over.
    pub wires: Arc<Wires>,
    config: Arc<Config>,
    machines: BTreeMap<NodeId, Machine>,
    root: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Ranch {
    /// Founds a ranch in a directory called `name` and waits until it is whole.
    pub async fn found(name: &str, tune: impl FnOnce(&mut Config)) -> Self {
        let alone = ALONE.lock().await;
        notices::listen();
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cluster").join(name);
        // Left behind by a run that failed.
        let _ = std::fs::remove_dir_all(&root);
        let mut config = Config::default();
        config.cluster.name = name.to_owned();
        config.cluster.shards = SHARDS;
        config.cluster.heartbeat_ms = 100;
        config.cluster.election_min_ms = 400;
        config.cluster.election_max_ms = 800;
        config.storage.block_cache_mb = 8;
        config.storage.write_buffer_mb = 8;
        config.storage.flush_interval_ms = 500;
        let listeners = NODES.map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        config.nodes = NODES
            .into_iter()
            .zip(&listeners)
            .map(|(node, listener)| NodeConfig {
                addr: listener.local_addr().expect("a bound socket has an address").to_string(),
                data_dir: root.join(format!("node{node}")),
                ..NodeConfig::local(node.0)
            })
            .collect();
        drop(listeners);
        tune(&mut config);
        config.validate().expect("the configuration is valid");
        let (wires, config) = (Arc::default(), Arc::new(config));
        let mut ranch = Self { wires, config, machines: BTreeMap::new(), root, _alone: alone };
        for node in NODES {
            ranch.boot(node).await;
        }
        ranch.settled().await;
        ranch
    }

    /// Starts a node that does not run.
    pub async fn boot(&mut self, node: NodeId) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(format!("node{node}"))
            .enable_all()
            .build()
            .expect("a runtime");
        let options = NodeOptions {
            security: ranch_proto::tls::Security::Plain,
            config: Arc::clone(&self.config),
            node: self.config.node(&node.to_string()).expect("it is configured").clone(),
            admin_key: Some(Secret::new("pmb-v1-0123456789abcdef0123456789abcdef")),
            version: "cluster-test".to_owned(),
        };
        let filter = self.wires.end_at(node);
        let started = runtime.spawn(async move {
            let node = Node::start(options).await?;
            node.set_filter(filter);
            Ok::<_, ranch_node::NodeError>(node)
        });
        let started = started.await.expect("starting does not panic").expect("the node starts");
        let (shards, running) = (started.shards(), Some(started));
        self.machines.insert(node, Machine { runtime: Some(runtime), node: running, shards });
    }

    /// Ends a node without warning: its tasks are dropped where they are.
    pub async fn kill(&mut self, node: NodeId) {
        let mut machine = self.machines.remove(&node).expect("it runs");
        let runtime = machine.runtime.take().expect("only taken here");
        drop(machine);
        end(runtime).await;
    }

    /// Has a node end as after a fault, but for its process, which goes on.
    pub async fn abandon(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("it runs");
        let running = machine.node.take().expect("it was not abandoned before");
        let runtime = machine.runtime.as_ref().expect("it runs");
        runtime.spawn(running.abandon()).await.expect("it does not panic");
    }

    /// Deletes the data of a node that does not run.
    pub fn lose_disk(&self, node: NodeId) {
        std::fs::remove_dir_all(self.root.join(format!("node{node}"))).expect("its data is there");
    }

    /// Stops all nodes in order and deletes their data.
    ///
    /// # Panics
    /// When a node had found a fault it must not outlive.
    pub async fn end(mut self) {
        for (id, mut machine) in std::mem::take(&mut self.machines) {
            let mut node = machine.node.take().expect("only taken here");
            if let Some(fault) = node.fault().now_or_never() {
                panic!("node {id} has a fault: {fault}");
            }
            let runtime = machine.runtime.take().expect("only taken here");
            runtime.spawn(node.stop()).await.expect("stopping does not panic");
            drop(machine);
            end(runtime).await;
        }
        std::fs::remove_dir_all(&self.root).expect("the data can be deleted");
    }

    /// Where a node listens.
    pub fn addr(&self, node: NodeId) -> String {
        self.config.node(&node.to_string()).expect("it is configured").addr.clone()
    }

    /// A client that enters at this node.
    pub fn client(&self, via: NodeId) -> Client {
        let machine = &self.machines[&via];
        let runtime = machine.runtime.as_ref().expect("it runs").handle().clone();
        Client::new(runtime, Arc::downgrade(&machine.shards))
    }

    /// The nodes that run.
    pub fn running(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    /// What a node says of its replica of a group.
    pub async fn status(&self, node: NodeId, group: GroupId) -> Option<GroupStatus> {
        let shards = &self.machines[&node].shards;
        let status = shards.node_status(node, std::time::Instant::now() + SOON).await;
        let groups = status.expect("a node knows its own state").groups;
        groups.into_iter().find(|status| status.group == group.0)
    }

    /// Whether a node says that it takes no full part yet.
    pub async fn is_starting(&self, node: NodeId) -> bool {
        let shards = &self.machines[&node].shards;
        let status = shards.node_status(node, std::time::Instant::now() + SOON).await;
        status.expect("a node knows its own state").starting
    }

    /// What all nodes that run say of a group.
    pub async fn statuses(&self, group: GroupId) -> Vec<GroupStatus> {
        let mut all = Vec::new();
        for node in self.running() {
            all.extend(self.status(node, group).await);
        }
        all
    }

    /// The leader of a group, as a node sees it.
    pub async fn leader_seen_by(&self, node: NodeId, group: GroupId) -> Option<NodeId> {
        let leader = self.status(node, group).await?.leader;
        (leader != 0).then_some(NodeId(leader))
    }

    /// Waits until one of `among` leads the group and all of them say so.
    pub async fn led_among(&self, among: &[NodeId], group: GroupId) -> NodeId {
        let mut agreed = None;
        let wait = async {
            loop {
                let mut seen = Vec::new();
                for node in among {
                    seen.push(self.leader_seen_by(*node, group).await);
                }
                agreed = seen[0].filter(|leader| among.contains(leader));
                if agreed.is_some() && seen.iter().all(|leader| *leader == agreed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        let waited = tokio::time::timeout(SOON, wait).await;
        assert!(waited.is_ok(), "group {group} got no leader among {among:?}");
        agreed.expect("the wait ended with one")
    }

    /// All groups, the meta group first.
    pub fn groups() -> impl Iterator<Item = GroupId> {
        (0..=SHARDS).map(GroupId)
    }

    /// Waits until every shard is led by the replica that should lead it, so that no leadership
    /// is handed over any more, and every group is of one mind.
    pub async fn settled(&self) {
        let at_home = async || {
            for group in Self::groups().filter(|group| *group != GroupId::META) {
                let directory = self.machines[&NODES[0]].shards.directory();
                let shard = directory.read().shards.get(&group).cloned();
                let Some(shard) = shard.filter(|shard| shard.initialized) else { return false };
                let home = ReplicaId(shard.replicas[0]).node();
                if self.leader_seen_by(home, group).await != Some(home) {
                    return false;
                }
            }
            true
        };
        until(CONVERGED, at_home, || "the leaders did not go where they belong".into()).await;
        self.converged().await;
    }

    /// Waits until all nodes that run agree in every group: same term, same leader, same voters,
    /// everything applied everywhere.
    pub async fn converged(&self) {
        let of_one_mind = async || {
            for group in Self::groups() {
                let all = self.statuses(group).await;
                let same = |status: &GroupStatus| {
                    status.leader != 0
                        && status.applied == all[0].last_index
                        && (status.term, status.leader, status.last_index)
                            == (all[0].term, all[0].leader, all[0].last_index)
                        && status.voters == all[0].voters
                };
                if all.len() != self.machines.len() || !all.iter().all(same) {
                    return false;
                }
            }
            true
        };
        let limit = tokio::time::timeout(CONVERGED, async {
            while !of_one_mind().await {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        });
        if limit.await.is_err() {
            let mut all = Vec::new();
            for group in Self::groups() {
                all.extend(self.statuses(group).await);
            }
            panic!("the ranch did not converge: {all:#?}");
        }
    }

    /// Waits for convergence, then checks that every replica holds the same text as a
    /// linearizable read gives, and returns it.
    pub async fn same_text(&self, tenant: &Tenant) -> String {
        self.converged().await;
        let client = self.client(self.running()[0]);
        let text = client.read(tenant, SOON).await.expect("it can be read");
        for node in self.running() {
            let client = self.client(node);
            let stale = client.read_at(node, tenant, true, SOON).await;
            assert_eq!(stale.as_ref(), Ok(&text), "node {node} holds something else");
        }
        text
    }
}

/// The nodes but this one.
pub fn other_than(node: NodeId) -> Vec<NodeId> {
    NODES.into_iter().filter(|other| *other != node).collect()
}

/// Ends a runtime with everything on it.
async fn end(runtime: Runtime) {
    let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_LIMIT));
    ended.await.expect("ending a runtime does not panic");
}
