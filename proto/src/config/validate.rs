//! The rules a configuration must keep before anything is opened.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use super::error::ConfigError;
use super::sections::{ClusterConfig, LimitsConfig, NodeConfig, PlacementConfig, StorageConfig};
use super::{Config, host_and_port, is_loopback};
use crate::tls::{CA_STEM, ROUTER_STEM};
use crate::value::SCROLL_MAX;

/// Most shards of one ranch: each costs a little memory and a heartbeat on every machine.
const SHARDS_MAX: u32 = 1_024;
/// Most copies of a shard: beyond this, writes only get slower.
const REPLICAS_MAX: u32 = 7;

impl Config {
    /// Checks every rule that can be checked without opening anything.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the first key that breaks a rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        cluster(&self.cluster)?;
        storage(&self.storage)?;
        placement(&self.placement)?;
        limits(&self.limits)?;
        nodes(&self.nodes)?;
        self.listeners()?;
        self.tls()?;
        self.plaintext()
    }

    fn tls(&self) -> Result<(), ConfigError> {
        let router = &self.router;
        for (name, path, other) in [
            ("tls_cert", &router.tls_cert, &router.tls_key),
            ("tls_key", &router.tls_key, &router.tls_cert),
        ] {
            let Some(path) = path else { continue };
            let key = format!("[router] {name}");
            ensure(!path.as_os_str().is_empty(), &*key, "empty", "it names a file in PEM form")?;
            let rule = "HTTPS needs both, tls_cert and tls_key";
            ensure(other.is_some(), key, path.display(), rule)?;
        }
        let Some(dir) = &self.tls.dir else { return Ok(()) };
        let placed = !dir.as_os_str().is_empty();
        ensure(placed, "[tls] dir", "empty", "certificates need a directory")?;
        for node in &self.nodes {
            let free = ![CA_STEM, ROUTER_STEM].contains(&node.name.as_str());
            let rule = "with [tls] dir no node is called `ca` or `router`: files there have these \
                        names";
            ensure(free, key_of(node, "name"), &node.name, rule)?;
        }
        Ok(())
    }

    fn listeners(&self) -> Result<(), ConfigError> {
        address("[router] listen", &self.router.listen)?;
        for node in &self.nodes {
            node.listen.iter().try_for_each(|addr| address(&key_of(node, "listen"), addr))?;
        }
        let router = ("[router] listen".to_owned(), self.router.listen.clone());
        let addrs = self.nodes.iter().map(|node| (key_of(node, "addr"), node.addr.clone()));
        let embedded = self.nodes.iter().filter_map(|node| {
            node.listen.as_ref().map(|addr| (key_of(node, "listen"), addr.clone()))
        });
        unique(std::iter::once(router).chain(addrs).chain(embedded))
    }

    fn plaintext(&self) -> Result<(), ConfigError> {
        if self.tls.allow_plaintext {
            return Ok(());
        }
        if self.tls.dir.is_none() {
            let rule = "plain connections stay on this machine: set `dir` in [tls] (`ranch certs \
                        init` makes certificates), use a loopback address, or set \
                        `allow_plaintext = true` in [tls] if the network itself is protected";
            for node in &self.nodes {
                ensure(is_loopback(&node.addr), key_of(node, "addr"), &node.addr, rule)?;
            }
        }
        if self.router.tls_cert.is_none() {
            let rule = "plain HTTP stays on this machine: set `tls_cert` and `tls_key` in \
                        [router], use a loopback address, or set `allow_plaintext = true` in \
                        [tls] if the network itself is protected";
            for (key, addr) in self.fronts() {
                ensure(is_loopback(addr), key, addr, rule)?;
            }
        }
        Ok(())
    }

    /// Where clients are listened to, each with its key.
    fn fronts(&self) -> impl Iterator<Item = (String, &str)> {
        let embedded = self
            .nodes
            .iter()
            .filter_map(|node| node.listen.as_deref().map(|addr| (key_of(node, "listen"), addr)));
        std::iter::once(("[router] listen".to_owned(), self.router.listen.as_str())).chain(embedded)
    }

    /// Addresses beyond this machine that are not protected, in words; empty when all are.
    #[must_use]
    pub fn unprotected(&self) -> Vec<String> {
        let nodes = self.nodes.iter().filter(|_| self.tls.dir.is_none());
        let nodes = nodes.map(|node| (key_of(node, "addr"), node.addr.as_str()));
        let fronts = self.fronts().filter(|_| self.router.tls_cert.is_none());
        let all = nodes.chain(fronts).filter(|(_, addr)| !is_loopback(addr));
        all.map(|(key, addr)| format!("{key} ({addr})")).collect()
    }
}

fn ensure(
    kept: bool,
    key: impl Into<String>,
    value: impl Display,
    rule: &str,
) -> Result<(), ConfigError> {
    if kept { Ok(()) } else { Err(ConfigError::invalid(key, value, rule)) }
}

fn cluster(c: &ClusterConfig) -> Result<(), ConfigError> {
    let key = |name: &str| format!("[cluster] {name}");
    let named = !c.name.is_empty() && c.name.len() <= 64 && !c.name.contains(char::is_control);
    ensure(named, key("name"), &c.name, "a name has 1 to 64 bytes and no control characters")?;
    let shards = (1..=SHARDS_MAX).contains(&c.shards);
    ensure(shards, key("shards"), c.shards, "there must be 1 to 1024 shards")?;
    let replicas = c.replicas % 2 == 1 && c.replicas <= REPLICAS_MAX;
    let rule = "only 1, 3, 5 or 7 are allowed: an even number survives no more failures than \
                the odd one below it";
    ensure(replicas, key("replicas"), c.replicas, rule)?;
    let beats = (10..=60_000).contains(&c.heartbeat_ms);
    ensure(beats, key("heartbeat_ms"), c.heartbeat_ms, "10 to 60000 ms are allowed")?;
    let rule = "it must be at least twice heartbeat_ms, or one late heartbeat unseats a leader";
    let patient = c.election_min_ms >= c.heartbeat_ms.saturating_mul(2);
    ensure(patient, key("election_min_ms"), c.election_min_ms, rule)?;
    let rule = "it must be greater than election_min_ms, or candidates collide";
    let spread = c.election_max_ms > c.election_min_ms;
    ensure(spread, key("election_max_ms"), c.election_max_ms, rule)?;
    let bounded = c.election_max_ms <= 600_000;
    ensure(bounded, key("election_max_ms"), c.election_max_ms, "at most 600000 ms are allowed")
}

fn storage(s: &StorageConfig) -> Result<(), ConfigError> {
    for (name, value, most) in [
        ("flush_interval_ms", s.flush_interval_ms, 3_600_000),
        ("flush_log_mb", s.flush_log_mb, 1 << 20),
        ("log_keep_entries", s.log_keep_entries, 1 << 32),
        ("log_keep_mb", s.log_keep_mb, 1 << 20),
        ("block_cache_mb", s.block_cache_mb, 1 << 20),
        ("write_buffer_mb", s.write_buffer_mb, 1 << 16),
        ("compaction_rate_mb_s", s.compaction_rate_mb_s, 1 << 20),
        ("snapshot_rate_mb_s", s.snapshot_rate_mb_s, 1 << 20),
        ("disk_reserve_mb", s.disk_reserve_mb, 1 << 30),
        ("verify_rate_mb_s", s.verify_rate_mb_s, 1 << 20),
    ] {
        within(&format!("[storage] {name}"), value, most)?;
    }
    let (key, every) = ("[storage] verify_interval_s", s.verify_interval_s);
    ensure(every <= 31_536_000, key, every, "0 (only when asked) to 31536000 seconds are allowed")
}

fn placement(p: &PlacementConfig) -> Result<(), ConfigError> {
    within("[placement] moves_at_once", p.moves_at_once.into(), 64)?;
    let key = "[placement] replace_dead_after_s";
    let after = p.replace_dead_after_s;
    let rule = "0 (never) or 10 to 31536000 seconds are allowed: less would take a restart for a \
                dead machine";
    ensure(after == 0 || (10..=31_536_000).contains(&after), key, after, rule)
}

fn limits(l: &LimitsConfig) -> Result<(), ConfigError> {
    for (name, value, most) in [
        ("scroll_max_bytes", l.scroll_max_bytes, SCROLL_MAX),
        ("export_max_bytes", l.export_max_bytes, 1 << 50),
        ("request_deadline_ms", l.request_deadline_ms, 600_000),
        ("max_connections", l.max_connections.into(), 1 << 20),
        ("head_timeout_ms", l.head_timeout_ms, 600_000),
        ("body_timeout_ms", l.body_timeout_ms, 3_600_000),
        ("max_queue", l.max_queue.into(), 1 << 20),
        ("metrics_max_tenants", l.metrics_max_tenants.into(), 1 << 20),
    ] {
        within(&format!("[limits] {name}"), value, most)?;
    }
    Ok(())
}

fn within(key: &str, value: u64, most: u64) -> Result<(), ConfigError> {
    ensure((1..=most).contains(&value), key, value, &format!("1 to {most} are allowed"))
}

fn nodes(nodes: &[NodeConfig]) -> Result<(), ConfigError> {
    ensure(!nodes.is_empty(), "[[node]]", "empty", "a ranch needs at least one node")?;
    for node in nodes {
        ensure(node.id != 0, key_of(node, "id"), node.id, "ids begin at 1")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let named = (1..=64).contains(&node.name.len())
            && node.name.bytes().all(plain)
            && !node.name.starts_with('.');
        let rule = "a name has 1 to 64 of A-Z a-z 0-9 . _ - and does not begin with a dot";
        ensure(named, key_of(node, "name"), &node.name, rule)?;
        address(&key_of(node, "addr"), &node.addr)?;
        let placed = !node.data_dir.as_os_str().is_empty();
        ensure(placed, key_of(node, "data_dir"), "empty", "a node needs a directory")?;
    }
    unique(nodes.iter().map(|node| (key_of(node, "id"), node.id)))?;
    unique(nodes.iter().map(|node| (key_of(node, "name"), node.name.clone())))?;
    unique(
        nodes
            .iter()
            .map(|node| (key_of(node, "data_dir"), node.data_dir.to_string_lossy().into_owned())),
    )
}

/// How messages point at a key of one `[[node]]`.
fn key_of(node: &NodeConfig, key: &str) -> String {
    format!("[[node]] {} {key}", if node.name.is_empty() { "(unnamed)" } else { &node.name })
}

fn address(key: &str, addr: &str) -> Result<(), ConfigError> {
    let rule = "an address is host:port, as in 127.0.0.1:7101 or [::1]:7101";
    ensure(host_and_port(addr).is_some(), key, addr, rule)
}

/// Refuses the second of two equal values, naming the first. Port 0 asks the system for any free
/// port, so it may be asked for twice.
fn unique<V: Eq + Hash + Display>(
    values: impl Iterator<Item = (String, V)>,
) -> Result<(), ConfigError> {
    let mut seen: HashMap<V, String> = HashMap::new();
    for (key, value) in values {
        if let Some(other) = seen.get(&value) {
            if value.to_string().ends_with(":0") {
                continue;
            }
            let rule = format!("{other} has it already: each needs its own");
            return Err(ConfigError::invalid(key, value, rule));
        }
        seen.insert(value, key);
    }
    Ok(())
}
