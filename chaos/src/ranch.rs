//! A running ranch: its node processes and its router, started from the real binary.

mod members;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::client::{Answer, Client};
use crate::cluster::Cluster;
use crate::error::HarnessError;
use crate::fault::clock;
use crate::layout::{Layout, NodePlace, Place};
use crate::process::{Process, Recipe};
use crate::reaper::Reaper;
use crate::tool;
use crate::wait::until;
use crate::world::disk::Disk;
use crate::world::network::{Network, ROUTER_NAME};
use crate::world::relay::Relay;
use members::Members;

/// What a node's log calls data from an old backup.
pub const OLD_COPY: &str = "was an older copy";
/// The admin key every ranch under test is given.
pub const ADMIN_KEY: &str = "pmb-v1-5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";
/// How long a ranch may take to serve after a start: generous, for machines under load.
pub const START_LIMIT: Duration = Duration::from_mins(1);
/// Lines of each log shown when a test fails.
const LOG_TAIL_LINES: usize = 60;

/// A ranch under test. Dropping it ends all its processes and removes its data; while a test
/// fails, it prints the end of every log first and keeps the directory.
#[derive(Debug)]
pub struct Ranch {
    binary: PathBuf,
    /// Another one, where nodes change between two.
    other_binary: Option<PathBuf>,
    layout: Layout,
    members: Members,
    nodes: BTreeMap<u32, Process>,
    router: Process,
    // After the processes: they are dropped, and so ended, before it.
    place: Place,
    network: Option<Network>,
    relay: Option<Relay>,
    _reaper: Arc<Reaper>,
}

impl Ranch {
    /// Puts everything in place without starting a process. `binary` is the `ranch` to test.
    ///
    /// # Errors
    /// When no place can be made for it.
    pub fn prepare(binary: impl Into<PathBuf>, layout: &Layout) -> Result<Self, HarnessError> {
        let binary: PathBuf = binary.into();
        let network = layout.world.map(|_| Network::build(layout.machines())).transpose()?;
        let relay = layout.detour_seed.map(Relay::start).transpose()?;
        if layout.clocks {
            clock::prepare(&(1..=layout.machines()).collect::<Vec<_>>())?;
        }
        let place = layout.place()?;
        if place.certs.is_some() {
            let binary = binary.to_string_lossy();
            let config = place.config.to_string_lossy();
            tool::run(&binary, &["certs", "init", "--config", &*config])?;
        }
        let reaper = Arc::new(Reaper::start()?);
        let process = |name: &str, role: &[&str]| {
            let mut args: Vec<_> = role.iter().map(Into::into).collect();
            args.extend(["--config".into(), place.config.clone().into_os_string()]);
            let mut env = vec![("RANCH_ADMIN_KEY".to_owned(), ADMIN_KEY.to_owned())];
            if layout.clocks && name != ROUTER_NAME {
                env.extend(clock::environment(name));
            }
            let recipe = Recipe {
                name: name.to_owned(),
                wrapper: network.map(|network| network.on(name)).unwrap_or_default(),
                program: binary.clone(),
                args,
                env,
                log: place.dir.path().join(format!("{name}.log")),
            };
            Process::new(recipe, Arc::clone(&reaper))
        };
        let nodes = place
            .nodes
            .iter()
            .map(|node| (node.id, process(&node.name, &["node", "--name", &node.name])))
            .collect();
        let router = process(ROUTER_NAME, &["router"]);
        let (layout, members) = (layout.clone(), Members::first(layout.nodes));
        let other_binary = None;
        Ok(Self {
            binary,
            other_binary,
            layout,
            members,
            nodes,
            router,
            place,
            network,
            relay,
            _reaper: reaper,
        })
    }

    /// Prepares and starts a whole ranch, and waits until every shard has a leader.
    ///
    /// # Errors
    /// When it cannot be prepared or started, or is not ready within [`START_LIMIT`].
    pub async fn launch(binary: impl Into<PathBuf>, layout: &Layout) -> Result<Self, HarnessError> {
        let mut ranch = Self::prepare(binary, layout)?;
        ranch.start_all()?;
        ranch.wait_ready().await?;
        Ok(ranch)
    }

    /// Starts all nodes that belong to it and the router; those running are left alone.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub fn start_all(&mut self) -> Result<(), HarnessError> {
        self.node_ids().into_iter().try_for_each(|id| self.node(id)?.start())?;
        self.router.start()
    }

    /// Starts again every node that has ended by itself, as a supervisor would.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub fn revive(&mut self) -> Result<(), HarnessError> {
        self.nodes.values_mut().try_for_each(Process::revive)
    }

    /// How often nodes have set their data aside and come back empty for a reason with these words,
    /// by what their logs say.
    #[must_use]
    pub fn returned(&self, because: &str) -> usize {
        let logs = self.nodes.values().map(Process::log);
        let such = |line: &&str| line.contains("comes back empty") && line.contains(because);
        logs.map(|log| log.lines().filter(such).count()).sum()
    }

    /// Kills all nodes at one moment, leaving the router.
    ///
    /// # Errors
    /// When one of them was not running.
    pub fn kill_all_nodes(&mut self) -> Result<(), HarnessError> {
        // Stopped first, so that none sees another one fall.
        let ids = self.node_ids();
        ids.iter().try_for_each(|id| self.node(*id)?.pause())?;
        ids.iter().try_for_each(|id| self.node(*id)?.kill())
    }

    /// The process of a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node(&mut self, id: u32) -> Result<&mut Process, HarnessError> {
        let missing = HarnessError::NotRunning { name: format!("node {id}") };
        self.nodes.get_mut(&id).ok_or(missing)
    }

    /// The process of the router.
    pub fn router(&mut self) -> &mut Process {
        &mut self.router
    }

    /// Process ids of the nodes that run.
    #[must_use]
    pub fn node_pids(&self) -> Vec<u32> {
        self.nodes.values().filter_map(Process::pid).collect()
    }

    /// The binary under test.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The configuration file of all processes.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.place.config
    }

    /// Where its certificates are, if it has any.
    #[must_use]
    pub fn certs(&self) -> Option<&Path> {
        self.place.certs.as_deref()
    }

    /// How often its processes have taken up new certificates, by what their logs say.
    #[must_use]
    pub fn renewed(&self) -> usize {
        let logs = self.nodes.values().chain([&self.router]).map(Process::log);
        logs.map(|log| log.matches("are in use;").count()).sum()
    }

    /// The directory that holds everything of this ranch.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.place.dir.path()
    }

    /// Where a node's data is.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node_place(&self, id: u32) -> Result<&NodePlace, HarnessError> {
        let found = self.place.nodes.iter().find(|node| node.id == id);
        found.ok_or_else(|| HarnessError::NotRunning { name: format!("node {id}") })
    }

    /// A node's own disk, if it has one.
    #[must_use]
    pub fn disk(&self, id: u32) -> Option<&Disk> {
        self.place.disks.iter().find(|disk| disk.node == id)
    }

    /// The network between the machines.
    ///
    /// # Errors
    /// When all are on loopback.
    pub fn network(&self) -> Result<Network, HarnessError> {
        let reason = "all processes are on loopback".to_owned();
        self.network.ok_or(HarnessError::NoWorld { reason })
    }

    /// Snapshots that nodes have sent each other, by what their logs say.
    #[must_use]
    pub fn snapshots_sent(&self) -> usize {
        let logs = self.nodes.values().map(Process::log);
        logs.map(|log| log.matches("sending a snapshot").count()).sum()
    }

    /// The logs of all processes, by their names.
    #[must_use]
    pub fn logs(&self) -> Vec<(String, String)> {
        let processes = self.nodes.values().chain([&self.router]);
        processes.map(|process| (process.name().to_owned(), process.log())).collect()
    }

    /// The detour that slows packets between the machines.
    ///
    /// # Errors
    /// When there is none.
    pub fn relay(&self) -> Result<&Relay, HarnessError> {
        let reason = "there is no detour for packets".to_owned();
        self.relay.as_ref().ok_or(HarnessError::NoWorld { reason })
    }

    /// Where the router listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.place.router
    }

    /// The router's address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// A new client of the router.
    #[must_use]
    pub fn client(&self, key: Option<&str>) -> Client {
        Client::new(self.addr(), key)
    }

    /// Waits until `/health/ready` is 200: every shard has a leader.
    ///
    /// # Errors
    /// When that is not so within [`START_LIMIT`].
    pub async fn wait_ready(&self) -> Result<(), HarnessError> {
        let mut client = self.client(None).with_limit(Duration::from_secs(2));
        let ready = async || {
            let answer = client.get("/health/ready").await.ok()?;
            (answer.status == 200).then_some(())
        };
        until("every shard to have a leader", START_LIMIT, ready).await
    }

    /// Adds a tenant and returns its key.
    ///
    /// # Errors
    /// When the ranch refuses or does not answer as documented.
    pub async fn add_tenant(&self, id: &str) -> Result<String, HarnessError> {
        self.add_tenant_with(id, 1024.0, None).await
    }

    /// Adds a tenant with limits and returns its key.
    ///
    /// # Errors
    /// As [`Self::add_tenant`].
    pub async fn add_tenant_with(
        &self,
        id: &str,
        quota_mb: f64,
        rate_per_s: Option<u32>,
    ) -> Result<String, HarnessError> {
        let body = serde_json::json!({
            "tenant_id": id,
            "quota_mb": quota_mb,
            "rate_per_s": rate_per_s,
        });
        let body = body.to_string();
        let target = "/api/v2/admin/tenants/add";
        let json = [("content-type", "application/json")];
        let mut client = self.client(Some(ADMIN_KEY));
        let answer = client.send(Method::POST, target, &json, body).await?;
        let key = serde_json::from_slice::<serde_json::Value>(&answer.body)
            .ok()
            .filter(|_| answer.status == 201)
            .and_then(|made| made["api_key"].as_str().map(str::to_owned));
        key.ok_or_else(|| unexpected(target, &answer))
    }

    /// What the ranch says about itself.
    ///
    /// # Errors
    /// When it does not answer, or not as documented.
    pub async fn cluster(&self) -> Result<Cluster, HarnessError> {
        Cluster::ask(&mut self.client(Some(ADMIN_KEY))).await
    }

    /// Waits until what the ranch says about itself satisfies `condition`, and returns that.
    ///
    /// # Errors
    /// When it does not within `limit`; the last account is part of the message.
    pub async fn wait_cluster(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Cluster) -> bool,
    ) -> Result<Cluster, HarnessError> {
        let mut last = None;
        let probe = async || {
            let cluster = self.cluster().await.ok()?;
            if condition(&cluster) {
                return Some(cluster);
            }
            last = Some(cluster);
            None
        };
        let found = until(what, limit, probe).await;
        found.map_err(|error| match error {
            HarnessError::TimedOut { what, limit } => {
                HarnessError::TimedOut { what: format!("{what}, last seen: {last:?}"), limit }
            }
            other => other,
        })
    }
}

impl Drop for Ranch {
    fn drop(&mut self) {
        let processes = self.nodes.values_mut().chain([&mut self.router]);
        for process in processes {
            if process.is_running() {
                let _ = process.kill();
            }
            if std::thread::panicking() {
                let log = process.log();
                let lines: Vec<_> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
                eprintln!("--- end of {} ---", process.log_path().display());
                eprintln!("{}", tail.join("\n"));
            }
        }
        if std::thread::panicking() {
            self.place.dir.disable_cleanup(true);
            eprintln!("--- data and whole logs are kept in {} ---", self.dir().display());
        }
    }
}

fn unexpected(asked: &str, answer: &Answer) -> HarnessError {
    HarnessError::Answer { asked: asked.to_owned(), status: answer.status, body: answer.text() }
}
