//! What the log writer and the readers count, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of [`LogStats::fsync_buckets`], in microseconds; a last bucket takes the rest.
pub const FSYNC_BUCKETS_US: [u64; 11] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000];

const BUCKETS: usize = FSYNC_BUCKETS_US.len() + 1;

/// The log's counters at one moment. All but the gauges only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Batches written, each with one fsync.
    pub fsyncs: u64,
    /// Microseconds spent writing and syncing them.
    pub fsync_us_sum: u64,
    /// The longest of them, in microseconds.
    pub fsync_us_max: u64,
    /// How many took how long: see [`FSYNC_BUCKETS_US`]. Not cumulative.
    pub fsync_buckets: [u64; BUCKETS],
    /// Writes of all kinds (appends, votes, truncations, purges).
    pub writes: u64,
    /// The most writes that shared one fsync.
    pub batch_writes_max: u64,
    /// Bytes handed to the database.
    pub batch_bytes_sum: u64,
    /// The largest batch, in bytes.
    pub batch_bytes_max: u64,
    /// Entries appended.
    pub entries: u64,
    /// Entries served from memory.
    pub read_cached: u64,
    /// Entries that had to be read from the database.
    pub read_disk: u64,
    /// Gauge: bytes waiting for the log writer.
    pub queued_bytes: u64,
    /// Gauge: bytes of the tail cache.
    pub cache_bytes: u64,
}

/// Where the counts are collected.
#[derive(Debug, Default)]
pub(super) struct Counters {
    fsyncs: AtomicU64,
    fsync_us_sum: AtomicU64,
    fsync_us_max: AtomicU64,
    fsync_buckets: [AtomicU64; BUCKETS],
    writes: AtomicU64,
    batch_writes_max: AtomicU64,
    batch_bytes_sum: AtomicU64,
    batch_bytes_max: AtomicU64,
    entries: AtomicU64,
    read_cached: AtomicU64,
    read_disk: AtomicU64,
}

impl Counters {
    /// Counts one batch that was written and synced.
    pub(super) fn batch(&self, took: Duration, writes: u64, bytes: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = FSYNC_BUCKETS_US.partition_point(|&bound| bound < us);
        self.fsync_buckets[bucket].fetch_add(1, Relaxed);
        self.fsyncs.fetch_add(1, Relaxed);
        self.fsync_us_sum.fetch_add(us, Relaxed);
        self.fsync_us_max.fetch_max(us, Relaxed);
        self.writes.fetch_add(writes, Relaxed);
        self.batch_writes_max.fetch_max(writes, Relaxed);
        self.batch_bytes_sum.fetch_add(bytes, Relaxed);
        self.batch_bytes_max.fetch_max(bytes, Relaxed);
    }

    /// Counts entries appended.
    pub(super) fn appended(&self, entries: usize) {
        self.entries.fetch_add(entries as u64, Relaxed);
    }

    /// Counts entries read from memory and from the database.
    pub(super) fn read(&self, cached: usize, disk: usize) {
        self.read_cached.fetch_add(cached as u64, Relaxed);
        if disk > 0 {
            self.read_disk.fetch_add(disk as u64, Relaxed);
        }
    }

    /// The counts now, with the gauges given.
    pub(super) fn snapshot(&self, queued_bytes: usize, cache_bytes: usize) -> LogStats {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        LogStats {
            fsyncs: get(&self.fsyncs),
            fsync_us_sum: get(&self.fsync_us_sum),
            fsync_us_max: get(&self.fsync_us_max),
            fsync_buckets: std::array::from_fn(|at| get(&self.fsync_buckets[at])),
            writes: get(&self.writes),
            batch_writes_max: get(&self.batch_writes_max),
            batch_bytes_sum: get(&self.batch_bytes_sum),
            batch_bytes_max: get(&self.batch_bytes_max),
            entries: get(&self.entries),
            read_cached: get(&self.read_cached),
            read_disk: get(&self.read_disk),
            queued_bytes: queued_bytes as u64,
            cache_bytes: cache_bytes as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let counters = Counters::default();
        for us in [0, 100, 101, 1_000, 600_000] {
            counters.batch(Duration::from_micros(us), 2, 10);
        }
        let stats = counters.snapshot(0, 0);
        assert_eq!(stats.fsync_buckets, [2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((stats.fsyncs, stats.fsync_us_max, stats.writes), (5, 600_000, 10));
    }
}
