//! Where a ranch under test lives: a directory on a real disk, free ports, and its `ranch.toml`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::HarnessError;
use crate::world::World;
use crate::world::disk::Disk;
use crate::world::network::{ROUTER, node_ip, node_name, socket};

/// Ports the harness gives out: below the range from which systems draw ports of outgoing
/// connections, so that a stopped process finds its port free when it comes back.
const PORTS: std::ops::Range<u16> = 12_000..30_000;
/// `f_type` of file systems that live in memory, from `linux/magic.h`: tmpfs and ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// What ranch to build. The default has three nodes and few shards, with timers for a small
/// machine and storage settings that make snapshots come early.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Number of nodes, with ids from 1.
    pub nodes: u32,
    /// Machines beyond these that have a place and may join later. `ranch.toml` does not list them.
    pub spare: u32,
    /// Number of shards.
    pub shards: u32,
    /// Copies of each shard.
    pub replicas: u32,
    /// Whether each node embeds a router too.
    pub embedded: bool,
    /// The world this process is in, if each machine is to have an address of its own there;
    /// otherwise all are on loopback.
    pub world: Option<World>,
    /// In a world that can mount, the size of each node's own disk in MiB; 0 is none.
    pub disk_mib: u64,
    /// Whether each node has a clock of its own, which only goes in a world.
    pub clocks: bool,
    /// Where links may be slow, which only goes in a world: what decides how each packet fares.
    pub detour_seed: Option<u64>,
    /// Milliseconds between flushes of applied state.
    pub flush_interval_ms: u64,
    /// Log entries a group keeps behind a snapshot.
    pub log_keep_entries: u64,
    /// Seconds between two comparisons of a shard's copies.
    pub verify_interval_s: u64,
    /// Lines added to `[limits]`.
    pub limits: String,
    /// Whether nodes and routers talk by TLS.
    pub tls: bool,
    /// Seconds after which a machine that is away is replaced; 0 for never.
    pub replace_dead_after_s: u64,
    /// Most a node sends of snapshots, in MiB a second; as configured by default where not given.
    pub snapshot_rate_mb_s: Option<u32>,
    /// Failure zones that the nodes are in, dealt out by id; 0 for none.
    pub zones: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            nodes: 3,
            spare: 0,
            shards: 4,
            replicas: 3,
            embedded: false,
            world: None,
            disk_mib: 0,
            clocks: false,
            detour_seed: None,
            flush_interval_ms: 500,
            log_keep_entries: 64,
            verify_interval_s: 3_600,
            limits: String::new(),
            tls: false,
            replace_dead_after_s: 0,
            snapshot_rate_mb_s: None,
            zones: 0,
        }
    }
}

/// One node's place.
#[derive(Clone, Debug)]
pub struct NodePlace {
    /// Its id in `ranch.toml`.
    pub id: u32,
    /// Its name in `ranch.toml`.
    pub name: String,
    /// Where other processes reach it.
    pub addr: SocketAddr,
    /// Where its embedded router listens, if it has one.
    pub listen: Option<SocketAddr>,
    /// Its data directory, which need not exist yet.
    pub data_dir: PathBuf,
}

/// A layout with everything in its place.
#[derive(Debug)]
pub struct Place {
    // Before the directory: they are dropped, and so unmounted, before it.
    /// The disks of nodes that have their own.
    pub disks: Vec<Disk>,
    /// The directory that holds everything; removed with this value.
    pub dir: TempDir,
    /// The configuration file.
    pub config: PathBuf,
    /// Where the router listens.
    pub router: SocketAddr,
    /// The nodes, by ascending id.
    pub nodes: Vec<NodePlace>,
    /// Where certificates belong, if there are to be any.
    pub certs: Option<PathBuf>,
}

impl Layout {
    /// Makes the directory, chooses ports and writes `ranch.toml`.
    ///
    /// # Errors
    /// When the directory would be in memory, cannot be made, no port is free, or no disk made.
    pub fn place(&self) -> Result<Place, HarnessError> {
        let dir = scratch_dir()?;
        let disks = self.disks(dir.path())?;
        let mut addresses = self.addresses()?.into_iter();
        let mut next = || addresses.next().unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let router = next();
        let nodes = (1..=self.machines())
            .map(|id| NodePlace {
                id,
                name: node_name(id),
                addr: next(),
                listen: self.embedded.then(&mut next),
                data_dir: disks
                    .iter()
                    .find(|disk| disk.node == id)
                    .map_or_else(|| dir.path().join(node_name(id)), Disk::data_dir),
            })
            .collect::<Vec<_>>();
        let config = dir.path().join("ranch.toml");
        let certs = self.tls.then(|| dir.path().join("certs"));
        let listed = &nodes[..self.nodes as usize];
        std::fs::write(&config, self.config(router, listed, certs.as_deref()))
            .map_err(HarnessError::io(format!("writing {}", config.display())))?;
        Ok(Place { disks, dir, config, router, nodes, certs })
    }

    /// Number of all machines that have a place.
    #[must_use]
    pub fn machines(&self) -> u32 {
        self.nodes + self.spare
    }

    /// Addresses for the router and then for each node, and its embedded router if it has one.
    fn addresses(&self) -> Result<Vec<SocketAddr>, HarnessError> {
        if self.world.is_none() {
            return free_ports(1 + self.machines() as usize * (1 + usize::from(self.embedded)));
        }
        let node = |id| {
            let addr = socket(node_ip(id));
            let router = SocketAddr::from((addr.ip(), addr.port() + 1));
            std::iter::once(addr).chain(self.embedded.then_some(router))
        };
        Ok(std::iter::once(socket(ROUTER)).chain((1..=self.machines()).flat_map(node)).collect())
    }

    fn disks(&self, dir: &Path) -> Result<Vec<Disk>, HarnessError> {
        let mib = self.disk_mib;
        let own = self.world == Some(World::Root) && mib > 0;
        (1..=self.machines()).filter(|_| own).map(|node| Disk::make(dir, node, mib)).collect()
    }

    /// The text of `ranch.toml` with these nodes in it, and certificates there.
    pub(crate) fn config<'a>(
        &self,
        router: SocketAddr,
        nodes: impl IntoIterator<Item = &'a NodePlace>,
        certs: Option<&Path>,
    ) -> String {
        let Self { shards, replicas, flush_interval_ms, log_keep_entries, .. } = self;
        let Self { verify_interval_s, limits, .. } = self;
        let sending = self.snapshot_rate_mb_s.map(|rate| format!("snapshot_rate_mb_s = {rate}\n"));
        let mut text = format!(
            "[cluster]\nname = \"test\"\nshards = {shards}\n\
             replicas = {replicas}\n\n\
             [storage]\nflush_interval_ms = {flush_interval_ms}\n\
             log_keep_entries = {log_keep_entries}\nverify_interval_s = {verify_interval_s}\n{}\n\
             [placement]\nreplace_dead_after_s = {}\n\n\
             [router]\nlisten = \"{router}\"\n\n[limits]\n{limits}\n\n\
             [tls]\nallow_plaintext = {}\n",
            sending.unwrap_or_default(),
            self.replace_dead_after_s,
            self.world.is_some()
        );
        if let Some(certs) = certs {
            let certs = toml::Value::from(certs.to_string_lossy().as_ref());
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "dir = {certs}");
        }
        for node in nodes {
            let NodePlace { id, name, addr, listen, data_dir } = node;
            let data_dir = toml::Value::from(data_dir.to_string_lossy().as_ref());
            let _ = write!(
                text,
                "\n[[node]]\nid = {id}\nname = \"{name}\"\naddr = \"{addr}\"\n\
                 data_dir = {data_dir}\n"
            );
            if self.zones > 0 {
                let _ = writeln!(text, "zone = \"zone{}\"", (id - 1) % self.zones + 1);
            }
            if let Some(listen) = listen {
                let _ = writeln!(text, "listen = \"{listen}\"");
            }
        }
        text
    }
}

/// A new directory under `TMPDIR` (or the system's directory for temporary files).
///
/// # Errors
/// When that is in memory, where durability cannot be tested, or not writable.
pub fn scratch_dir() -> Result<TempDir, HarnessError> {
    let parent = std::env::temp_dir();
    refuse_memory(&parent)?;
    tempfile::Builder::new()
        .prefix("ranch-")
        .tempdir_in(&parent)
        .map_err(HarnessError::io(format!("making a directory in {}", parent.display())))
}

fn refuse_memory(path: &Path) -> Result<(), HarnessError> {
    let stat = rustix::fs::statfs(path).map_err(|error| {
        HarnessError::io(format!("looking at {}", path.display()))(error.into())
    })?;
    if IN_MEMORY.contains(&stat.f_type) {
        return Err(HarnessError::InMemory { path: path.to_owned() });
    }
    Ok(())
}

/// Finds loopback ports nobody listens on. All are held until the last one is found, so they
/// differ; the start is random, so that harnesses side by side seldom meet.
///
/// # Errors
/// When the range has not so many free ones.
pub fn free_ports(count: usize) -> Result<Vec<SocketAddr>, HarnessError> {
    let start = fastrand::u16(PORTS);
    let candidates = (start..PORTS.end).chain(PORTS.start..start);
    let held: Vec<TcpListener> = candidates
        .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .take(count)
        .collect();
    let ports: Vec<SocketAddr> = held.iter().filter_map(|held| held.local_addr().ok()).collect();
    if ports.len() < count {
        return Err(HarnessError::NoPort { low: PORTS.start, high: PORTS.end - 1 });
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ports_differ_and_are_free() {
        let ports = free_ports(20).unwrap();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 20);
        for port in ports {
            TcpListener::bind(port).unwrap();
        }
    }

    #[test]
    fn memory_is_refused_with_the_remedy() {
        let error = refuse_memory(Path::new("/dev/shm")).unwrap_err().to_string();
        assert!(error.contains("TMPDIR"), "{error}");
    }

    #[test]
    fn the_configuration_is_one_a_ranch_accepts() {
        let layout = Layout {
            embedded: true,
            nodes: 5,
            spare: 2,
            zones: 3,
            snapshot_rate_mb_s: Some(7),
            ..Layout::default()
        };
        let place = layout.place().unwrap();
        let text = std::fs::read_to_string(&place.config).unwrap();
        let config = ranch_proto::config::Config::parse(&text).unwrap();
        assert_eq!(config.cluster.shards, layout.shards);
        assert_eq!(config.router.listen, place.router.to_string());
        let nodes: Vec<_> = config.nodes.iter().map(|node| node.id).collect();
        assert_eq!(nodes, [1, 2, 3, 4, 5]);
        assert_eq!(config.nodes[4].data_dir, place.nodes[4].data_dir);
        assert!(config.nodes.iter().all(|node| node.listen.is_some()));
        assert_eq!(
            (config.nodes[3].zone.as_str(), config.nodes[4].zone.as_str()),
            ("zone1", "zone2")
        );
        assert_eq!(config.storage.snapshot_rate_mb_s, 7);
        assert_eq!(place.nodes.len(), 7, "those that may join have a place, too");
    }
}
