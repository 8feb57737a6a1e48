//! Keeps groups in the shape the meta group's records give them. Every node runs this loop and
//! acts only where it may: on its own replicas, and on groups it leads.
//!
//! Nothing is remembered between turns: each turn compares what is with what should be and takes
//! the next step, so a step interrupted anywhere is taken up by whoever leads then.

mod balance;
mod purge;
mod shape;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ranch_proto::api_key::Secret;
use ranch_proto::directory::Directory;
use ranch_proto::schema::{KeyRecord, MetaCommand, Role, meta_command::What};
use ranch_proto::{GroupId, NodeId, ReplicaId, RequestId, hex};
use ranch_raft::GroupCore;

use self::balance::Balance;
use self::shape::{Shape, Step, next_step};
use crate::replicas::Replicas;

/// Longest time between two turns; changes of the directory bring one on at once.
const TURN: Duration = Duration::from_millis(500);
/// A change of members that takes longer is left to the next turn.
const STEP_LIMIT: Duration = Duration::from_secs(5);
/// Voters of the meta group; further nodes follow it as learners.
const META_VOTERS: usize = 5;

/// The loop of one node.
pub(crate) struct Placement {
    replicas: Arc<Replicas>,
    me: ReplicaId,
    admin_key: Option<Secret>,
    balance: Balance,
}

impl Placement {
    pub(crate) fn new(replicas: Arc<Replicas>, me: ReplicaId, admin_key: Option<Secret>) -> Self {
        Self { replicas, me, admin_key, balance: Balance::default() }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut epochs = self.replicas.shared.feed.epochs();
        loop {
            self.turn().await;
            // The feed lives as long as the node, so only the time-out or a change ends this.
            let _ = tokio::time::timeout(TURN, epochs.changed()).await;
        }
    }

    async fn turn(&mut self) {
        self.follow_addresses();
        self.open_assigned().await;
        self.initialize_mine().await;
        self.shape_led().await;
        self.put_admin_key().await;
        purge::finish_all(&self.replicas).await;
        self.balance.turn(&self.replicas, self.me).await;
    }

    fn directory<T>(&self, look: impl FnOnce(&Directory) -> T) -> T {
        look(&self.replicas.shared.feed.directory().read())
    }

    fn follow_addresses(&self) {
        let me = self.me.node();
        let nodes: Vec<(NodeId, String)> = self.directory(|directory| {
            let nodes = directory.nodes.iter().filter(|(id, _)| **id != me);
            nodes.map(|(id, node)| (*id, node.addr.clone())).collect()
        });
        for (node, addr) in nodes {
            self.replicas.shared.links.set_peer(node, &addr);
        }
    }

    /// Starts replicas that should be here and are not. A new one is empty and waits for its
    /// leader.
    async fn open_assigned(&self) {
        let me = self.me.0;
        let mine: Vec<GroupId> = self.directory(|directory| {
            let shards = directory.shards.iter();
            shards.filter(|(_, shard)| shard.replicas.contains(&me)).map(|(id, _)| *id).collect()
        });
        for group in mine {
            if self.replicas.shard(group).is_some() {
                continue;
            }
            match self.replicas.open_shard(group, self.me).await {
                Ok(core) => core.run(),
                Err(error) => tracing::error!(%group, "cannot open the replica: {error}"),
            }
        }
    }

    /// Makes groups of the shards that are not groups yet and name this node's replica first.
    async fn initialize_mine(&self) {
        let me = self.me.0;
        let mine: Vec<(GroupId, Vec<ReplicaId>)> = self.directory(|directory| {
            let new = directory.shards.iter().filter(|(_, shard)| !shard.initialized);
            let mine = new.filter(|(_, shard)| shard.replicas.first() == Some(&me));
            mine.map(|(id, shard)| (*id, shard.replicas.iter().copied().map(ReplicaId).collect()))
                .collect()
        });
        join_all(mine.iter().map(|(group, members)| self.initialize(*group, members))).await;
    }

    async fn initialize(&self, group: GroupId, members: &[ReplicaId]) {
        let Some(core) = self.replicas.core(group) else { return };
        if let Err(error) = core.initialize(members).await {
            tracing::error!(%group, "cannot initialise the group: {error}");
            return;
        }
        // Only when the group works is it safe to say so: from then on nobody initialises it.
        if core.leader().1.is_some() {
            self.propose(What::ShardInitialized(group.0)).await;
        }
    }

    /// Proposes to the meta group through whichever node leads it; failing that, next turn.
    async fn propose(&self, what: What) {
        use ranch_proto::link::Lane;
        use ranch_proto::schema::{Request, request};

        let Some(meta) = self.replicas.meta() else { return };
        let request_id = RequestId::random().0.to_vec().into();
        let command = MetaCommand { request_id, what: Some(what) };
        let proposed = match meta.core().leader().1 {
            Some(node) if node == self.me.node() => meta.propose(command).await.map(drop),
            Some(node) => {
                let body = Some(request::Body::Meta(command));
                let request = Request { group: GroupId::META.0, body, ..Request::default() };
                let Some(link) = self.replicas.shared.links.get(node, Lane::Data) else { return };
                let deadline = std::time::Instant::now() + STEP_LIMIT;
                link.call(request, deadline).await.map(drop)
            }
            None => return,
        };
        if let Err(error) = proposed {
            tracing::debug!("the meta group did not take a command: {error}");
        }
    }

    /// Takes the next step towards the right members in every group this node leads.
    async fn shape_led(&self) {
        let led = self.replicas.cores().into_iter().filter(GroupCore::is_leader);
        let steps = led.map(|core| async move {
            let Some(shape) = self.shape_of(&core) else { return };
            let Some(step) = next_step(&core.metrics(), &shape) else { return };
            tracing::info!(group = %core.group(), "changing members: {step}");
            let taken = tokio::time::timeout(STEP_LIMIT, take(&core, step)).await;
            match taken {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::info!("{error}"),
                Err(_) => tracing::info!(group = %core.group(), "changing members takes long"),
            }
        });
        join_all(steps).await;
    }

    /// The members a group should have; `None` while that is not known.
    fn shape_of(&self, core: &GroupCore) -> Option<Shape> {
        if core.group() != GroupId::META {
            let voters = self.directory(|directory| {
                let shard = directory.shards.get(&core.group())?;
                // Before that, the initialising members are the right ones.
                shard.initialized.then(|| shard.replicas.iter().copied().collect())
            })?;
            return Some(Shape { voters, learners: BTreeSet::new() });
        }
        let all: Vec<u64> = self.directory(|directory| {
            let nodes = directory.nodes.values();
            nodes.map(|n| ReplicaId::new(NodeId(n.id), n.incarnation).0).collect()
        });
        (!all.is_empty()).then(|| Shape::meta(&all, &core.metrics(), META_VOTERS))
    }

    /// Makes the operator's admin key known, where this node leads the meta group.
    async fn put_admin_key(&self) {
        let Some(meta) = self.replicas.meta().filter(|meta| meta.core().is_leader()) else {
            return;
        };
        let Some(key) = &self.admin_key else { return };
        let missing = self.directory(|directory| {
            let known = directory.find_key(key.expose()).is_some();
            directory.hash_key(key.expose()).filter(|_| !known)
        });
        let Some(hash) = missing else { return };
        let key_id = hex::encode(&hash.0[..4]);
        let record = admin_key_record(hash.0.to_vec().into(), key_id);
        let request_id = RequestId::random().0.to_vec().into();
        let command = MetaCommand { request_id, what: Some(What::AddKey(record)) };
        if let Err(error) = meta.propose(command).await {
            tracing::debug!("the admin key was not added: {error}");
        }
    }
}

/// The record of an administrator's key.
pub(crate) fn admin_key_record(hash: bytes::Bytes, key_id: String) -> KeyRecord {
    KeyRecord { hash, key_id, role: Role::Admin.into(), ..KeyRecord::default() }
}

async fn take(core: &GroupCore, step: Step) -> Result<(), ranch_raft::group::GroupError> {
    match step {
        Step::AddLearner(replica) => core.add_learner(ReplicaId(replica)).await,
        Step::SetVoters(voters) => core.set_voters(voters).await,
        Step::RemoveLearners(learners) => core.remove_learners(learners).await,
    }
}
