//! A node from start to stop. Both are linear, and the stop takes the reverse order.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use ranch_proto::api_key::Secret;
use ranch_proto::config::{Config, NodeConfig};
use ranch_proto::directory::SharedDirectory;
use ranch_proto::link::{ANSWER_LIMIT, ASK_AFTER, LinkOptions, Links, MESSAGE_MAX};
use ranch_proto::schema::ranch_server::RanchServer;
use ranch_proto::tls::{Complaints, Security};
use ranch_proto::{GroupId, NodeId, ReplicaId};
use ranch_raft::group::{self, Timers};
use ranch_raft::log::LogStore;
use ranch_raft::state::{MetaFeed, StateStore};
use ranch_raft::{DamageNote, GroupCore};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::accounts;
use crate::announce::announce;
use crate::bootstrap::{Entrance, Place};
use crate::copies;
use crate::disk::Disk;
use crate::error::NodeError;
use crate::hand_over::Successors;
use crate::identity::Identity;
use crate::incoming;
use crate::joined;
use crate::joining::settings_of;
use crate::lives::Lives;
use crate::local::LocalShards;
use crate::open::{Opened, mib, open_data};
use crate::outcast;
use crate::placement::{MoveLimits, Placement};
use crate::replicas::{Replicas, Shared};
use crate::rescue;
use crate::room::{self, Room};
use crate::roster::Roster;
use crate::routes::RouteBoard;
use crate::service::Service;
use crate::snapshot::SnapshotSender;
use crate::suspicion;
use crate::tickers::{self, FlushOptions, KeepOptions};
use crate::tidings;
use crate::verify;

/// Longest wait for one step of an orderly stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Faults that may wait; the first one ends the node.
const FAULTS: usize = 16;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The whole `ranch.toml`.
    pub config: Arc<Config>,
    /// This node's entry in it.
    pub node: NodeConfig,
    /// Admits to the admin API; a node that leads the meta group makes it known there. The node
    /// that founds the ranch needs one.
    pub admin_key: Option<Secret>,
    /// Version of the binary.
    pub version: String,
    /// How its connections are protected.
    pub security: Security,
}

/// A running node.
pub struct Node {
    replicas: Arc<Replicas>,
    faults: mpsc::Receiver<NodeError>,
    life: tokio::task::JoinHandle<()>,
    server: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
    stop_server: oneshot::Sender<()>,
}

impl Node {
    /// Opens the data directory and begins to listen; everything else, waiting for the other
    /// nodes included, goes on in the background.
    ///
    /// # Errors
    /// When the address is taken, or the data directory is in use, damaged or another node's.
    pub async fn start(options: NodeOptions) -> Result<Self, NodeError> {
        let addr = &options.node.addr;
        let listening = TcpListener::bind(addr).await;
        let listener =
            listening.map_err(|source| NodeError::Listen { addr: addr.clone(), source })?;
        let reserve = mib(options.config.storage.disk_reserve_mb);
        let disk = Disk::watch(&options.node.data_dir, reserve)?;
        let links = links(&options);
        let (report, faults) = mpsc::channel(FAULTS);
        let Opened { identity, log, store, roster, damage } =
            open_data(&options, &links, Arc::clone(&disk)).await?;
        let lives = Lives::open(&options.node.data_dir, &identity.cluster_id);
        let room = Arc::new(Room::new(NodeId(options.node.id), disk));
        let shared = share(&options, links, (log, store, roster, damage), report.clone())?;
        let replicas = Arc::new(Replicas::new(shared, room, lives, &options.node.data_dir));
        let identity = Arc::new(RwLock::new(identity));
        let (stop_server, stopping) = oneshot::channel::<()>();
        let complaints = Arc::<Complaints>::default();
        let service = RanchServer::new(Service {
            replicas: Arc::clone(&replicas),
            identity: Arc::clone(&identity),
            cluster_name: options.config.cluster.name.clone(),
            complaints: Arc::clone(&complaints),
            settings: settings_of(&options.config),
        });
        let service =
            service.max_decoding_message_size(MESSAGE_MAX).max_encoding_message_size(MESSAGE_MAX);
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(MESSAGE_MAX as u32)
            .initial_connection_window_size(MESSAGE_MAX as u32)
            .http2_keepalive_interval(Some(ASK_AFTER))
            .http2_keepalive_timeout(Some(ANSWER_LIMIT))
            .add_service(service)
            .serve_with_incoming_shutdown(
                incoming::accept(listener, options.security.clone(), complaints),
                async {
                    // Dropping the sender stops the server, too.
                    let _ = stopping.await;
                },
            );
        let server = tokio::spawn(server);
        let life = Life { options, replicas: Arc::clone(&replicas), identity };
        let life = tokio::spawn(async move {
            if let Err(error) = life.run().await {
                // Nobody listens once the node itself is stopping.
                let _ = report.send(error).await;
            }
        });
        Ok(Self { replicas, faults, life, server, stop_server })
    }

    /// The ranch as a router embedded in this node sees it.
    #[must_use]
    pub fn shards(&self) -> Arc<LocalShards> {
        Arc::new(LocalShards::new(Arc::clone(&self.replicas)))
    }

    /// Puts a filter over everything this node sends and hears from now on.
    #[cfg(feature = "faults")]
    pub fn set_filter(&self, filter: Arc<dyn ranch_proto::link::Filter>) {
        self.replicas.shared.links.set_filter(filter);
    }

    /// Waits for a fault that the node must not outlive.
    pub async fn fault(&mut self) -> NodeError {
        match self.faults.recv().await {
            Some(fault) => fault,
            // The node itself holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Ends after a fault: links and replicas at once, so that others take over, and beside them
    /// what the databases do in the background, which can take a second. Hands nothing over and
    /// writes nothing.
    pub async fn abandon(self) {
        self.life.abort();
        drop(self.stop_server);
        let store = Arc::clone(&self.replicas.shared.store);
        let merges = tokio::task::spawn_blocking(move || store.end_merges());
        // On a disk that does not answer it cannot be done, and the process ends all the same.
        let ending = async { tokio::join!(self.replicas.end(STOP_LIMIT), merges) };
        let _ = tokio::time::timeout(STOP_LIMIT, ending).await;
    }

    /// Stops in order: hands leaderships over, stops the groups, writes everything to disk.
    pub async fn stop(self) {
        self.life.abort();
        accounts::flush(&self.replicas).await;
        hand_over(&self.replicas).await;
        drop(self.stop_server);
        self.replicas.end(STOP_LIMIT).await;
        let store = Arc::clone(&self.replicas.shared.store);
        let flushing = tokio::task::spawn_blocking(move || {
            let flushed = store.flush();
            store.end_merges();
            flushed
        });
        let flushed = flushing.await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the state was not flushed; it will be rebuilt from the log");
        }
        self.replicas.shared.log.close().await;
        let mut server = self.server;
        if tokio::time::timeout(Duration::from_secs(1), &mut server).await.is_err() {
            // Links stay open as long as the peers like; they have nothing left to get.
            server.abort();
        }
    }
}

/// Gives every leadership away, as far as anyone can take it, so that clients are spared an
/// election. A second round takes up what was behind, or won meanwhile, in the first.
async fn hand_over(replicas: &Replicas) {
    let rounds = async {
        for _ in 0..2 {
            replicas.hand_over_all(Successors::Anyone).await;
        }
    };
    if tokio::time::timeout(STOP_LIMIT, rounds).await.is_err() {
        tracing::info!("handing over takes long; the others will elect leaders");
    }
}

/// The ways to the other nodes of `ranch.toml`.
fn links(options: &NodeOptions) -> Arc<Links> {
    let links = Links::new(LinkOptions {
        node: options.node.id,
        version: options.version.clone(),
        boot: fastrand::u64(1..),
        cluster_id: Arc::default(),
        security: options.security.clone(),
    });
    for (other, addr) in others(options) {
        links.set_peer(other, &addr);
    }
    Arc::new(links)
}

/// The other nodes, as `ranch.toml` has them.
fn others(options: &NodeOptions) -> impl Iterator<Item = (NodeId, String)> {
    let others = options.config.nodes.iter().filter(|other| other.id != options.node.id);
    others.map(|other| (NodeId(other.id), other.addr.clone()))
}

/// Makes what all replicas share.
fn share(
    options: &NodeOptions,
    links: Arc<Links>,
    (log, store, roster, damage): (LogStore, Arc<StateStore>, Roster, DamageNote),
    faults: mpsc::Sender<NodeError>,
) -> Result<Shared, NodeError> {
    let config = &options.config;
    let timers = Timers {
        heartbeat_ms: config.cluster.heartbeat_ms,
        election_min_ms: config.cluster.election_min_ms,
        election_max_ms: config.cluster.election_max_ms,
    };
    let raft = group::config(timers, config.storage.log_keep_entries);
    let raft = raft.map_err(|error| NodeError::Timers { detail: error.to_string() })?;
    let rate = mib(config.storage.snapshot_rate_mb_s);
    let snapshots = Arc::new(SnapshotSender::new(Arc::clone(&links), Arc::clone(&store), rate));
    Ok(Shared {
        node: NodeId(options.node.id),
        version: options.version.clone(),
        log,
        store,
        roster,
        links,
        configured: others(options).collect(),
        snapshots,
        feed: MetaFeed::new(SharedDirectory::default()),
        board: RouteBoard::new(),
        config: raft,
        queue: config.limits.max_queue as usize,
        scroll_max_bytes: config.limits.scroll_max_bytes,
        verify_rate: mib(config.storage.verify_rate_mb_s),
        damage,
        faults,
    })
}

/// Goes on telling the others, until the node must stop for what they answer.
async fn tidings_or_fault(replicas: Arc<Replicas>) {
    let fault = tidings::follow(Arc::clone(&replicas)).await;
    // A full queue has faults enough.
    let _ = replicas.shared.faults.send(fault).await;
    std::future::pending::<()>().await;
}

/// What a node does in the background from its start on.
struct Life {
    options: NodeOptions,
    replicas: Arc<Replicas>,
    identity: Arc<RwLock<Identity>>,
}

impl Life {
    async fn run(self) -> Result<(), NodeError> {
        let config = Arc::clone(&self.options.config);
        let entrance = Entrance {
            config: &config,
            node: &self.options.node,
            version: &self.options.version,
            links: &self.replicas.shared.links,
            lost: rescue::reason(&self.options.node.data_dir),
        };
        let mut identity = self.identity.read().clone();
        let place = entrance.find_place(&mut identity).await?;
        self.adopt(&identity)?;
        let me = ReplicaId::new(NodeId(identity.node), identity.incarnation);
        self.open_replicas(me).await?;
        let replicas = &self.replicas;
        let mut tasks = JoinSet::new();
        let heartbeat = Duration::from_millis(config.cluster.heartbeat_ms);
        tasks.spawn(tickers::heartbeats(Arc::clone(replicas), heartbeat));
        let lease = Duration::from_millis(config.cluster.election_max_ms);
        tasks.spawn(suspicion::watch(Arc::clone(replicas), lease));
        let flush = FlushOptions::of(&config.storage);
        tasks.spawn(tickers::flushes(Arc::clone(replicas), flush));
        tasks.spawn(tickers::purges(Arc::clone(replicas), KeepOptions::of(&config.storage)));
        tasks.spawn(tickers::garbage(Arc::clone(replicas)));
        tasks.spawn(accounts::flushes(Arc::clone(replicas)));
        tasks.spawn(copies::expire(Arc::clone(replicas)));
        tasks.spawn(tickers::damage(Arc::clone(replicas), self.options.node.data_dir.clone()));
        tasks.spawn(room::follow(Arc::clone(replicas)));
        tasks.spawn(joined::follow(Arc::clone(replicas), self.options.node.data_dir.clone()));
        tasks.spawn(tidings_or_fault(Arc::clone(replicas)));
        let verify_every = Duration::from_secs(config.storage.verify_interval_s);
        tasks.spawn(verify::rounds::watch(Arc::clone(replicas), verify_every));
        tasks.spawn(verify::odd::watch(Arc::clone(replicas)));
        if place == Place::Founder {
            let key = self.options.admin_key.as_ref().ok_or(NodeError::NoAdminKey)?;
            entrance.found(replicas, &identity, key).await?;
        }
        let announcement = entrance.announcement(&identity);
        let outcast = outcast::watch(Arc::clone(replicas));
        tokio::pin!(outcast);
        tokio::select! {
            learned = self.learn_cluster(identity) => learned?,
            why = &mut outcast => return Err(why),
        }
        let admin_key = self.options.admin_key.clone();
        let limits = MoveLimits {
            copies: config.cluster.replicas as usize,
            at_once: config.placement.moves_at_once as usize,
            hold_version: config.cluster.hold_version,
            replace_after: (config.placement.replace_dead_after_s > 0)
                .then(|| Duration::from_secs(config.placement.replace_dead_after_s)),
        };
        tasks.spawn(Placement::new(Arc::clone(replicas), me, admin_key, limits).run());
        let refused = announce(Arc::clone(replicas), announcement);
        tokio::select! {
            why = outcast => Err(why),
            why = refused => Err(why),
            // None of the tasks ends by itself.
            _ = tasks.join_next() => Ok(()),
        }
    }

    /// Puts an identity in force: on disk first.
    fn adopt(&self, identity: &Identity) -> Result<(), NodeError> {
        identity.save()?;
        self.replicas.shared.links.options().cluster_id.write().clone_from(&identity.cluster_id);
        self.identity.write().clone_from(identity);
        Ok(())
    }

    /// Waits until the directory says which ranch this is, and remembers it.
    async fn learn_cluster(&self, mut identity: Identity) -> Result<(), NodeError> {
        let mut epochs = self.replicas.shared.feed.epochs();
        loop {
            let cluster = self.replicas.shared.feed.directory().read().cluster.clone();
            if let Some(cluster) = cluster {
                identity.cluster_id = cluster.cluster_id;
                identity.settled = true;
                return self.adopt(&identity);
            }
            // The feed lives as long as the node.
            let _ = epochs.changed().await;
        }
    }

    /// Opens the replicas this node has data of and lets them run, so that they count towards
    /// majorities at once. Those with a past vote only when an election's time has passed.
    /// Before, the other nodes are asked whether it is what it was.
    async fn open_replicas(&self, me: ReplicaId) -> Result<(), NodeError> {
        for group in self.replicas.shared.roster.doomed() {
            // Whatever was cut short is done before anyone can ask for the group.
            self.replicas.delete_doomed(group).await?;
        }
        let groups = self.replicas.shared.log.groups_with_data();
        if !groups.is_empty() {
            let wait = self.options.config.cluster.election_max_ms;
            self.replicas.withhold_votes(Duration::from_millis(wait));
        }
        let mut cores = vec![self.replicas.open_meta(me).await?];
        for group in groups.iter().filter(|group| **group != GroupId::META) {
            let resident = self.replicas.shared.roster.resident(*group);
            let replica = resident.map_or(me, |resident| resident.replica);
            // Directories from before there was a roster are listed now.
            cores.extend(self.replicas.open_new_shard(*group, replica, 0).await?);
        }
        if !groups.is_empty() {
            tidings::before_taking_part(&self.replicas).await?;
        }
        cores.iter().for_each(GroupCore::run);
        self.replicas.set_running();
        Ok(())
    }
}
