//! The replicas of this node and what they share: stores, links, the directory.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use ranch_proto::link::Links;
use ranch_proto::schema::{GroupStatus, NodeStatusReply};
use ranch_proto::versions::Support;
use ranch_proto::{GroupId, NodeId, ReplicaId};
use ranch_raft::group::{GroupOptions, MetaGroup, ShardGroup};
use ranch_raft::log::LogStore;
use ranch_raft::state::{MetaFeed, StateMachine, StateStore};
use ranch_raft::{DamageNote, GroupCore, TypeConfig};
use tokio::sync::{mpsc, watch};

use crate::accounts::Accounts;
use crate::copies::Copies;
use crate::error::NodeError;
use crate::lives::Lives;
use crate::metrics::Refusals;
use crate::network::Network;
use crate::room::Room;
use crate::roster::Roster;
use crate::routes::RouteBoard;
use crate::snapshot::SnapshotSender;
use crate::verify::Verifier;

mod retire;

/// What every replica of a node is made from.
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) version: String,
    pub(crate) log: LogStore,
    pub(crate) store: Arc<StateStore>,
    pub(crate) roster: Roster,
    pub(crate) links: Arc<Links>,
    /// Where `ranch.toml` says the other nodes are.
    pub(crate) configured: BTreeMap<NodeId, String>,
    pub(crate) snapshots: Arc<SnapshotSender>,
    pub(crate) feed: Arc<MetaFeed>,
    pub(crate) board: RouteBoard,
    pub(crate) config: Arc<openraft::Config>,
    pub(crate) queue: usize,
    /// Largest scroll an op may leave behind.
    pub(crate) scroll_max_bytes: u64,
    /// Most bytes a second read to compare replicas.
    pub(crate) verify_rate: u64,
    /// Where damage is noted for the next start.
    pub(crate) damage: DamageNote,
    /// Where a replica that stopped by itself is reported; the node then ends.
    pub(crate) faults: mpsc::Sender<NodeError>,
}

/// The running replicas of a node.
pub(crate) struct Replicas {
    pub(crate) shared: Shared,
    /// What tenants called on the shards led here.
    pub(crate) accounts: Accounts,
    pub(crate) refusals: Refusals,
    /// What is being read for backups.
    pub(crate) copies: Copies,
    /// Who has room for writes.
    pub(crate) room: Arc<Room>,
    /// What the other nodes have said of their logs.
    pub(crate) lives: Lives,
    /// How replicas compare with those of other nodes.
    pub(crate) verifier: Verifier,
    started_ms: u64,
    /// Before this the replicas give nobody their votes.
    votes_from: OnceLock<Instant>,
    /// Those there is data of are open and run.
    running: AtomicBool,
    /// The node is stopping, and its links are to end.
    closing: watch::Sender<bool>,
    meta: OnceLock<MetaGroup>,
    /// Replicas that stop because they are to.
    retired: Arc<Mutex<HashSet<(GroupId, ReplicaId)>>>,
    shards: RwLock<BTreeMap<GroupId, ShardGroup>>,
}

impl Replicas {
    pub(crate) fn new(shared: Shared, room: Arc<Room>, lives: Lives, dir: &Path) -> Self {
        let started_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let (accounts, shards) = (Accounts::default(), RwLock::default());
        let (refusals, votes_from) = (Refusals::default(), OnceLock::new());
        let (meta, retired) = (OnceLock::new(), Arc::default());
        let verifier = Verifier::new(shared.verify_rate, dir);
        let copies = Copies::default();
        Self {
            shared,
            accounts,
            refusals,
            copies,
            room,
            lives,
            verifier,
            started_ms,
            votes_from,
            running: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            meta,
            retired,
            shards,
        }
    }

    /// The replica of the meta group, once there is one.
    pub(crate) fn meta(&self) -> Option<&MetaGroup> {
        self.meta.get()
    }

    /// The replica of a shard, if this node holds one.
    pub(crate) fn shard(&self, group: GroupId) -> Option<ShardGroup> {
        self.shards.read().get(&group).cloned()
    }

    /// All shard replicas.
    pub(crate) fn shards(&self) -> Vec<ShardGroup> {
        self.shards.read().values().cloned().collect()
    }

    /// Whether this node has no replica of a shard, nor rows of one.
    pub(crate) fn is_cleared(&self) -> bool {
        self.shards.read().is_empty() && self.shared.roster.doomed().is_empty()
    }

    /// What a replica of any group has in common with the others.
    pub(crate) fn core(&self, group: GroupId) -> Option<GroupCore> {
        if group == GroupId::META {
            return self.meta().map(|meta| meta.core().clone());
        }
        self.shards.read().get(&group).map(|shard| shard.core().clone())
    }

    /// All replicas, the meta group's first.
    pub(crate) fn cores(&self) -> Vec<GroupCore> {
        let meta = self.meta().map(|meta| meta.core().clone());
        let shards = self.shards.read();
        meta.into_iter().chain(shards.values().map(|shard| shard.core().clone())).collect()
    }

    /// Has the replicas vote for nobody until `wait` is over. A restarted follower does not know
    /// how recently it heard its leader, and must not help to depose it.
    pub(crate) fn withhold_votes(&self, wait: Duration) {
        // Asked once, by the node's start.
        let _ = self.votes_from.set(Instant::now() + wait);
    }

    /// Whether the replicas may vote for others.
    pub(crate) fn may_vote(&self) -> bool {
        self.votes_from.get().is_none_or(|from| Instant::now() >= *from)
    }

    /// The replicas there is data of run from now on.
    pub(crate) fn set_running(&self) {
        self.running.store(true, Relaxed);
    }

    /// Ends all links and replicas, so that peers and routers turn to others at once. Links first:
    /// on one that stands, requests would wait for a replica in vain.
    pub(crate) async fn end(&self, limit: Duration) {
        self.closing.send_replace(true);
        self.copies.close(None);
        let cores = self.cores();
        futures_util::future::join_all(cores.iter().map(|core| core.shutdown(limit))).await;
    }

    /// Waits until links are to end.
    pub(crate) async fn closing(&self) {
        // It lives as long as this does.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Whether this node was just started, and does not take its full part yet.
    pub(crate) fn is_starting(&self) -> bool {
        !self.running.load(Relaxed) || !self.may_vote()
    }

    fn options(&self, group: GroupId, replica: ReplicaId) -> GroupOptions {
        let (config, queue) = (Arc::clone(&self.shared.config), self.shared.queue);
        let version = self.shared.feed.version().clone();
        GroupOptions { group, replica, config, queue, version }
    }

    fn network(&self, group: GroupId, from: ReplicaId) -> Network {
        let links = Arc::clone(&self.shared.links);
        let snapshots = Arc::clone(&self.shared.snapshots);
        let room = Arc::clone(&self.room);
        Network::new(links, snapshots, room, (group, from))
    }

    /// Builds the replica of the meta group. It does not run yet.
    pub(crate) async fn open_meta(&self, replica: ReplicaId) -> Result<GroupCore, NodeError> {
        let group = GroupId::META;
        let (store, feed) = (Arc::clone(&self.shared.store), Arc::clone(&self.shared.feed));
        let opening = tokio::task::spawn_blocking(move || {
            StateMachine::meta(&store, Arc::clone(&feed)).map(|machine| (machine, feed))
        });
        let machine = opened(group, opening.await)??;
        let log = self.shared.log.group(group)?;
        let options = self.options(group, replica);
        let meta = MetaGroup::build(&options, log, machine, self.network(group, replica)).await?;
        let core = meta.core().clone();
        // Opened once, by the node's start.
        let _ = self.meta.set(meta);
        self.attend(&core);
        Ok(core)
    }

    /// Builds the replica of a shard. It does not run yet.
    pub(crate) async fn open_shard(
        &self,
        group: GroupId,
        replica: ReplicaId,
    ) -> Result<GroupCore, NodeError> {
        let store = Arc::clone(&self.shared.store);
        let opening = tokio::task::spawn_blocking(move || StateMachine::shard(&store, group));
        let machine = opened(group, opening.await)??;
        let log = self.shared.log.group(group)?;
        let options = self.options(group, replica);
        let shard = ShardGroup::build(&options, log, machine, self.network(group, replica)).await?;
        let core = shard.core().clone();
        self.shards.write().insert(group, shard);
        self.attend(&core);
        Ok(core)
    }

    /// Follows a replica's leader, and ends the node when the replica stops by itself.
    fn attend(&self, core: &GroupCore) {
        tokio::spawn(self.shared.board.clone().follow(core.clone()));
        let (core, faults) = (core.clone(), self.shared.faults.clone());
        let retired = Arc::clone(&self.retired);
        tokio::spawn(async move {
            let detail = core.stopped().await;
            if retired.lock().remove(&(core.group(), core.replica())) {
                return;
            }
            // Nobody listens once the node itself is stopping, and a full queue has faults enough.
            let _ = faults.try_send(NodeError::ReplicaStopped { group: core.group(), detail });
        });
    }

    /// The node's account of itself.
    pub(crate) fn status(&self) -> NodeStatusReply {
        let meta = self.meta().map(|meta| GroupStatus {
            durable_applied: self.durable(GroupId::META),
            ..meta.core().status()
        });
        let shards = self.shards();
        let mut groups: Vec<_> =
            meta.into_iter().chain(shards.iter().map(ShardGroup::status)).collect();
        for group in &mut groups {
            group.elections = self.shared.board.elections(GroupId(group.group));
            group.sending = self.shared.snapshots.sending(GroupId(group.group));
            group.verified = self.verifier.result(GroupId(group.group));
            group.odd = self.verifier.is_odd(GroupId(group.group));
        }
        NodeStatusReply {
            node: self.shared.node.0,
            pid: std::process::id(),
            version: self.shared.version.clone(),
            started_ms: self.started_ms,
            groups,
            metrics: self.metrics(),
            disk: Some(self.room.status()),
            tls_problems: self.shared.links.options().security.problems(),
            versions: Some(Support::ours().to_wire()),
            starting: self.is_starting(),
        }
    }

    /// When this process started, in milliseconds since the Unix epoch.
    pub(crate) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Index up to which a group's state is on disk.
    pub(crate) fn durable(&self, group: GroupId) -> u64 {
        self.shared.store.progress(group).map_or(0, |progress| progress.durable_applied())
    }
}

fn opened<T>(group: GroupId, joined: Result<T, tokio::task::JoinError>) -> Result<T, NodeError> {
    joined.map_err(|error| NodeError::ReplicaStopped { group, detail: error.to_string() })
}

/// openraft's append, named once for the services.
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
