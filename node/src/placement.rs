//! Keeps groups in the shape the meta group's records give them. Every node runs this loop and
//! acts only where it may: on its own replicas, and on groups it leads.
//!
//! Nothing is remembered between turns: each turn compares what is with what should be and takes
//! the next step, so a step interrupted anywhere is taken up by whoever leads then.

mod addresses;
mod balance;
mod moves;
mod purge;
mod raise;
mod shape;
mod steps;
mod strays;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ranch_proto::api_key::Secret;
use ranch_proto::directory::Directory;
use ranch_proto::schema::{KeyRecord, MetaCommand, Role, ShardRecord, meta_command::What};
use ranch_proto::{GroupId, NodeId, ReplicaId, RequestId, hex};

pub(crate) use self::moves::{MoveLimits, why_not_leave};

use self::addresses::Addresses;
use self::balance::Balance;
use self::moves::{Absences, Seen};
use self::raise::Raise;
use crate::error::NodeError;
use crate::hand_over::Successors;
use crate::outcast::CLEARING_MAX;
use crate::replicas::Replicas;

/// Longest time between two turns; changes of the directory bring one on at once.
const TURN: Duration = Duration::from_millis(500);
/// A change of members that takes longer is left to the next turn.
const STEP_LIMIT: Duration = Duration::from_secs(5);

/// The loop of one node.
pub(crate) struct Placement {
    replicas: Arc<Replicas>,
    me: ReplicaId,
    admin_key: Option<Secret>,
    balance: Balance,
    absences: Absences,
    addresses: Addresses,
    raise: Raise,
    limits: MoveLimits,
    /// Since when this node knows that it was removed.
    gone_since: Option<Instant>,
}

impl Placement {
    pub(crate) fn new(
        replicas: Arc<Replicas>,
        me: ReplicaId,
        admin_key: Option<Secret>,
        limits: MoveLimits,
    ) -> Self {
        let (balance, absences) = (Balance::default(), Absences::default());
        let (addresses, raise) = (Addresses::default(), Raise::default());
        Self {
            replicas,
            me,
            admin_key,
            balance,
            absences,
            addresses,
            raise,
            limits,
            gone_since: None,
        }
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
        self.addresses.follow(&self.replicas);
        strays::destroy_all(&self.replicas).await;
        self.leave_when_gone();
        self.open_assigned().await;
        self.initialize_mine().await;
        self.shape_led().await;
        self.move_shards().await;
        if let Some(raise) = self.raise.look(&self.replicas, self.limits.hold_version) {
            self.propose(raise).await;
        }
        self.put_admin_key().await;
        purge::finish_all(&self.replicas).await;
        if self.directory(|directory| directory.is_draining(self.me.node())) {
            self.replicas.hand_over_all(Successors::Staying).await;
        } else {
            self.balance.turn(&self.replicas).await;
        }
    }

    /// Ends a node that has been removed, when it has cleared up.
    fn leave_when_gone(&mut self) {
        let id = self.me.node();
        if !self.directory(|directory| directory.gone.contains_key(&id)) {
            return;
        }
        let since = *self.gone_since.get_or_insert_with(Instant::now);
        if self.replicas.is_cleared() || since.elapsed() >= CLEARING_MAX {
            // A full queue has faults enough.
            let _ = self.replicas.shared.faults.try_send(NodeError::Gone { id });
        }
    }

    fn directory<T>(&self, look: impl FnOnce(&Directory) -> T) -> T {
        look(&self.replicas.shared.feed.directory().read())
    }

    /// Starts replicas that should be here and are not. A new one is empty and waits for its
    /// leader.
    async fn open_assigned(&self) {
        let me = self.me.node();
        let (epoch, mine): (u64, Vec<(GroupId, ReplicaId)>) = self.directory(|directory| {
            let mine = directory.shards.keys().filter_map(|group| {
                directory.replica_of(*group, me).map(|replica| (*group, replica))
            });
            (directory.epoch, mine.collect())
        });
        for (group, replica) in mine {
            // A node that lost its data first reads of its earlier lives, whose replicas must
            // never come back: their promises are gone.
            let was_before = replica.incarnation() < self.me.incarnation();
            if was_before || self.replicas.shard(group).is_some() {
                continue;
            }
            match self.replicas.open_new_shard(group, replica, epoch).await {
                Ok(Some(core)) => core.run(),
                Ok(None) => {}
                Err(error) => tracing::error!(%group, "cannot open the replica: {error}"),
            }
        }
    }

    /// Makes groups of the shards that are not groups yet and name this node's replica first.
    async fn initialize_mine(&self) {
        let me = self.me.node();
        let mine: Vec<(GroupId, Vec<ReplicaId>)> = self.directory(|directory| {
            let new = directory.shards.iter().filter(|(_, shard)| !shard.initialized);
            let first =
                |shard: &ShardRecord| shard.replicas.first().map(|id| ReplicaId(*id).node());
            let mine = new.filter(|(_, shard)| first(shard) == Some(me));
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
        if let Err(error) = self.replicas.propose_meta(what).await {
            tracing::debug!("the meta group did not take a command: {error}");
        }
    }

    /// Has shards move, where this node leads the meta group.
    async fn move_shards(&mut self) {
        let leads = self.replicas.meta().is_some_and(|meta| meta.core().is_leader());
        if !leads {
            self.absences = Absences::default();
            return;
        }
        let reached = self.reached();
        let commands = {
            let directory = self.replicas.shared.feed.directory().read();
            let replicas = directory.cluster.as_ref().map_or(0, |cluster| cluster.replicas);
            let copies = if replicas == 0 { self.limits.copies } else { replicas as usize };
            let limits = MoveLimits { copies, ..self.limits };
            let seen = Seen { limits, me: self.me.node(), reached: &reached };
            let changes = self.absences.look(&directory, &seen);
            if changes.is_empty() { moves::next_commands(&directory, &seen) } else { changes }
        };
        for command in commands {
            self.propose(command).await;
        }
    }

    /// The nodes whose links are up, and this one.
    fn reached(&self) -> HashSet<NodeId> {
        let nodes: Vec<NodeId> = self.directory(|d| d.nodes.keys().copied().collect());
        let me = self.me.node();
        let up = |node: &NodeId| *node == me || self.replicas.is_reached(*node);
        nodes.into_iter().filter(up).collect()
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
