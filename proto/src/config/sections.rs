//! The sections of `ranch.toml`. The macro puts a key, its meaning, its type and its default on
//! one spot, so that none of them can be forgotten or drift apart.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

macro_rules! section {
    ($(#[$about:meta])* $name:ident {
        $($(#[$doc:meta])* $key:ident: $type:ty = $default:expr,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$doc])* pub $key: $type,)+
        }

        impl $name {
            /// The keys of this section, in the order of `ranch.toml`.
            pub const KEYS: &[&str] = &[$(stringify!($key)),+];
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }
    };
}

section! {
    /// `[cluster]`: what all machines agree on. Name, shards and replicas take effect when the
    /// ranch first starts; the timers at each start.
    ClusterConfig {
        /// Name of the ranch, shown by `ranch status`. Machines of differently named ranches do
        /// not join each other.
        name: String = "ranch".to_owned(),
        /// Number of shards (Raft groups that hold tenants). Fixed at the first start.
        shards: u32 = 12,
        /// Copies of each shard; with fewer machines than this, one on each.
        replicas: u32 = 3,
        /// Time between a leader's signs of life, in milliseconds.
        heartbeat_ms: u64 = 100,
        /// Shortest silence after which a follower stands for election, in milliseconds.
        election_min_ms: u64 = 300,
        /// Longest such silence, in milliseconds; each wait is drawn between the two.
        election_max_ms: u64 = 600,
        /// How a read makes sure that it sees every acknowledged write.
        read_mode: ReadMode = ReadMode::Index,
        /// Whether the ranch goes on writing what the version before it can read, although every
        /// machine could write newer formats, until `ranch upgrade --finish`.
        hold_version: bool = false,
    }
}

/// `[cluster] read_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// The leader asks a majority whether it still leads, once for all reads waiting.
    Index,
}

section! {
    /// `[storage]`: disks and caches of a node.
    StorageConfig {
        /// Longest time between flushes of applied state to disk, in milliseconds.
        flush_interval_ms: u64 = 10_000,
        /// Log written since the last flush that brings on the next, in MiB.
        flush_log_mb: u64 = 256,
        /// Log entries kept per group behind a snapshot, so that a follower that was away
        /// briefly needs no snapshot.
        log_keep_entries: u64 = 4_096,
        /// Log kept per group of what all its copies have, in MiB.
        log_keep_mb: u64 = 64,
        /// Cache for blocks read from disk, in MiB a node.
        block_cache_mb: u64 = 32,
        /// Memory for writes not flushed yet, in MiB a node.
        write_buffer_mb: u64 = 32,
        /// Most that flushes and compactions write, in MiB a second for each of a node's two
        /// databases.
        compaction_rate_mb_s: u64 = 128,
        /// Most a node sends of snapshots, in MiB a second; new copies get less
        /// while processors are wanted.
        snapshot_rate_mb_s: u64 = 32,
        /// Room on the disk below which a node takes no more writes, in MiB; never more than a
        /// tenth of the disk.
        disk_reserve_mb: u64 = 512,
        /// How often the leader of a shard compares the rows of its copies, in seconds; 0 for only
        /// when asked.
        verify_interval_s: u64 = 3_600,
        /// Most a node reads for that, in MiB a second.
        verify_rate_mb_s: u64 = 32,
    }
}

section! {
    /// `[placement]`: moving copies of shards between machines.
    PlacementConfig {
        /// Copies moved at a time.
        moves_at_once: u32 = 2,
        /// How long a machine may be away before others are given what it holds, in seconds; 0 to
        /// wait for it, or for `ranch node remove`.
        replace_dead_after_s: u64 = 0,
    }
}

section! {
    /// `[router]`: the HTTP front.
    RouterConfig {
        /// Address the stand-alone router listens on, `host:port`.
        listen: String = "127.0.0.1:1337".to_owned(),
        /// Certificate chain for HTTPS (PEM), and its key; plain HTTP when absent. Of embedded
        /// routers, too.
        tls_cert: Option<PathBuf> = None,
        /// The key of `tls_cert` (PEM).
        tls_key: Option<PathBuf> = None,
        /// Tenants file (JSON) to follow; none when absent.
        tenants: Option<PathBuf> = None,
        /// Origins browsers may call from; `*` is any.
        cors_origins: Vec<String> = vec!["*".to_owned()],
        /// Whether each request is logged (without keys and texts).
        log_requests: bool = true,
    }
}

section! {
    /// `[limits]`: bounds on what clients may ask for.
    LimitsConfig {
        /// Largest scroll, in UTF-8 bytes; more is 413.
        scroll_max_bytes: u64 = 64 << 20,
        /// Largest phext text answered by `get`, in bytes; more is 413 before any byte.
        export_max_bytes: u64 = 1 << 30,
        /// Longest a request is tried, elections included, in milliseconds; then 503.
        request_deadline_ms: u64 = 10_000,
        /// Most client connections a router holds open.
        max_connections: u32 = 4_096,
        /// Longest wait for the head of a request, in milliseconds; then 408.
        head_timeout_ms: u64 = 10_000,
        /// Longest wait for another byte of a body, in milliseconds; then 408.
        body_timeout_ms: u64 = 30_000,
        /// Most requests waiting at one shard; more are refused with 503 at once.
        max_queue: u32 = 4_096,
        /// Most tenants with metrics of their own, the largest first; others are summed up.
        metrics_max_tenants: u32 = 1_000,
    }
}

section! {
    /// `[tls]`: protection of the links.
    TlsConfig {
        /// Directory of certificates, as `ranch certs` makes it: with it, nodes and routers talk
        /// by TLS and make sure of each other. Plain when absent.
        dir: Option<PathBuf> = None,
        /// Whether plain connections may leave this machine. Loopback may always be plain.
        allow_plaintext: bool = false,
    }
}

section! {
    /// `[log]`: what a process says about itself, on standard error.
    LogConfig {
        /// Least important level that is written.
        level: LogLevel = LogLevel::Info,
        /// Lines for people, or one JSON object a line.
        format: LogFormat = LogFormat::Text,
    }
}

/// `[log] level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What stops a role or loses a service.
    Error,
    /// What someone should look at.
    Warn,
    /// Starts, stops, elections and other changes.
    Info,
    /// For finding faults; in release builds the same as `info`.
    Debug,
}

impl LogLevel {
    /// The level as `ranch.toml` and `tracing` spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// `[log] format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[[node]]`: one machine of the ranch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Number of the machine, from 1; never given to another one.
    pub id: u32,
    /// Name of the machine, as in `ranch node --name`.
    pub name: String,
    /// Address the other machines and routers reach it at, `host:port`.
    pub addr: String,
    /// Directory of its data; relative to where the process is started.
    pub data_dir: PathBuf,
    /// Failure zone; copies are spread over zones first. Empty means all in one.
    #[serde(default)]
    pub zone: String,
    /// Address of a router embedded in this node, `host:port`; none when absent.
    #[serde(default)]
    pub listen: Option<String>,
}

impl NodeConfig {
    /// The keys of a `[[node]]`, in the order of `ranch.toml`.
    pub const KEYS: &[&str] = &["id", "name", "addr", "data_dir", "zone", "listen"];

    /// Machine number `id` of the default ranch, all on this machine.
    #[must_use]
    pub fn local(id: u32) -> Self {
        Self {
            id,
            name: format!("node{id}"),
            addr: format!("127.0.0.1:{}", 7_100 + id),
            data_dir: format!("data/node{id}").into(),
            zone: String::new(),
            listen: None,
        }
    }
}
