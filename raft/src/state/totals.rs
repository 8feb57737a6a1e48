//! Sums over all tenants of a shard, kept beside the rows for cheap status reports.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a shard holds in all.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    scrolls: AtomicU64,
    bytes: AtomicU64,
    last_write_ms: AtomicU64,
}

impl Totals {
    /// Replaces all sums.
    pub(crate) fn set(&self, scrolls: u64, bytes: u64, last_write_ms: u64) {
        self.scrolls.store(scrolls, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.last_write_ms.store(last_write_ms, Ordering::Relaxed);
    }

    /// Adds what a batch changed; sums wrap around for a decrease.
    pub(crate) fn add(&self, scrolls: i64, bytes: i64, last_write_ms: u64) {
        self.scrolls.fetch_add(scrolls.cast_unsigned(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes.cast_unsigned(), Ordering::Relaxed);
        self.last_write_ms.fetch_max(last_write_ms, Ordering::Relaxed);
    }

    pub(crate) fn scrolls(&self) -> u64 {
        self.scrolls.load(Ordering::Relaxed)
    }

    /// As counted against quotas.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn last_write_ms(&self) -> u64 {
        self.last_write_ms.load(Ordering::Relaxed)
    }
}
