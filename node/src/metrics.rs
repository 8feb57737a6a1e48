//! What a node counts of itself beside its groups: its process, its log, its databases, and what
//! it refused.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use ranch_proto::ShardError;
use ranch_proto::process;
use ranch_proto::schema::{DiskRoom, MetricFamily};
use ranch_proto::tls::Certified as _;
use ranch_raft::log::{FSYNC_BUCKETS_US, LogStats};

use crate::replicas::Replicas;

/// Requests refused, by reason.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    not_leader: AtomicU64,
    unavailable: AtomicU64,
    overloaded: AtomicU64,
    unknown: AtomicU64,
    invalid: AtomicU64,
    disk_full: AtomicU64,
    rate: AtomicU64,
    day: AtomicU64,
}

impl Refusals {
    pub(crate) fn count(&self, error: &ShardError) {
        let counter = match error {
            ShardError::NotLeader { .. } => &self.not_leader,
            ShardError::NoReplica | ShardError::Unavailable { .. } => &self.unavailable,
            ShardError::Overloaded { .. } => &self.overloaded,
            ShardError::Unknown { .. } => &self.unknown,
            ShardError::Invalid { .. } => &self.invalid,
            ShardError::DiskFull { .. } => &self.disk_full,
            ShardError::RateLimited { .. } => &self.rate,
            ShardError::CallsExhausted { .. } => &self.day,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn family(&self) -> MetricFamily {
        let help = "Requests a node refused: redirected, over a limit, or not possible.";
        let mut family = MetricFamily::counter("ranch_refusals_total", help);
        for (reason, counter) in [
            ("not_leader", &self.not_leader),
            ("unavailable", &self.unavailable),
            ("overloaded", &self.overloaded),
            ("unknown", &self.unknown),
            ("invalid", &self.invalid),
            ("disk_full", &self.disk_full),
            ("rate_limited", &self.rate),
            ("calls_exhausted", &self.day),
        ] {
            family.push(&[("reason", reason)], counter.load(Relaxed) as f64);
        }
        family
    }
}

impl Replicas {
    /// Everything this node counts.
    pub(crate) fn metrics(&self) -> Vec<MetricFamily> {
        let version = [("version", self.shared.version.as_str())];
        let build = MetricFamily::gauge("ranch_build_info", "1, with the version that runs.");
        let now_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let uptime_s = now_ms.saturating_sub(self.started_ms()) as f64 / 1e3;
        let uptime = MetricFamily::gauge("ranch_uptime_seconds", "Since the process started.");
        let help = "The format the ranch writes, as far as this node knows.";
        let at = f64::from(self.shared.feed.version().get());
        let at = MetricFamily::gauge("ranch_cluster_version", help).with(&[], at);
        let mut all = vec![build.with(&version, 1.0), uptime.with(&[], uptime_s), at];
        all.extend(process::metrics("ranch_process"));
        all.push(self.refusals.family());
        all.extend(disk(&self.room.status()));
        all.extend(log(&self.shared.log.stats()));
        all.extend(self.shared.log.metrics());
        all.extend(self.shared.store.metrics());
        if let Some(credentials) = self.shared.links.options().security.credentials() {
            all.extend(credentials.metrics());
        }
        all.extend(self.verifier.metrics());
        all
    }
}

fn disk(room: &DiskRoom) -> Vec<MetricFamily> {
    let gauge = |name, help, value| MetricFamily::gauge(name, help).with(&[], value);
    vec![
        gauge(
            "ranch_disk_free_bytes",
            "Room on the disk of the data directory.",
            room.free_bytes as f64,
        ),
        gauge(
            "ranch_disk_reserve_bytes",
            "Room below which the disk counts as full.",
            room.reserve_bytes as f64,
        ),
        gauge(
            "ranch_disk_full",
            "1 while the node takes no writes for want of room.",
            f64::from(u8::from(room.full)),
        ),
    ]
}

fn log(stats: &LogStats) -> Vec<MetricFamily> {
    let bounds = FSYNC_BUCKETS_US.map(|us| us as f64 / 1e6);
    let help = "Batches the log writer wrote and synced: how many, and how long each took.";
    let mut fsyncs = MetricFamily::histogram("ranch_log_fsync_seconds", help);
    fsyncs.push_distribution(&[], &bounds, &stats.fsync_buckets, stats.fsync_us_sum as f64 / 1e6);
    let counter =
        |name, help, value: u64| MetricFamily::counter(name, help).with(&[], value as f64);
    let gauge = |name, help, value: u64| MetricFamily::gauge(name, help).with(&[], value as f64);
    let help = "Log entries read, from memory or from disk.";
    let reads = MetricFamily::counter("ranch_log_reads_total", help)
        .with(&[("from", "memory")], stats.read_cached as f64)
        .with(&[("from", "disk")], stats.read_disk as f64);
    vec![
        fsyncs,
        counter(
            "ranch_log_writes_total",
            "Appends, votes, truncations and purges; by fsyncs, the size of a batch.",
            stats.writes,
        ),
        counter("ranch_log_entries_total", "Entries appended.", stats.entries),
        counter("ranch_log_bytes_total", "Bytes written to the log.", stats.batch_bytes_sum),
        gauge(
            "ranch_log_batch_writes_max",
            "Most writes one fsync covered.",
            stats.batch_writes_max,
        ),
        gauge("ranch_log_batch_bytes_max", "The largest batch, in bytes.", stats.batch_bytes_max),
        gauge("ranch_log_queued_bytes", "Bytes that wait for the log writer.", stats.queued_bytes),
        gauge("ranch_log_cache_bytes", "Entries kept in memory, in bytes.", stats.cache_bytes),
        reads,
    ]
}
