//! Sums over all tenants of a shard, kept beside the rows for cheap status reports.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a shard holds in all.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    scrolls: AtomicU64,
    last_write_ms: AtomicU64,
}

impl Totals {
    /// Replaces both sums.
    pub(crate) fn set(&self, scrolls: u64, last_write_ms: u64) {
        self.scrolls.store(scrolls, Ordering::Relaxed);
        self.last_write_ms.store(last_write_ms, Ordering::Relaxed);
    }

    /// Adds what a batch changed; `scrolls` wraps around for a decrease.
    pub(crate) fn add(&self, scrolls: i64, last_write_ms: u64) {
        self.scrolls.fetch_add(scrolls.cast_unsigned(), Ordering::Relaxed);
        self.last_write_ms.fetch_max(last_write_ms, Ordering::Relaxed);
    }

    pub(crate) fn scrolls(&self) -> u64 {
        self.scrolls.load(Ordering::Relaxed)
    }

    pub(crate) fn last_write_ms(&self) -> u64 {
        self.last_write_ms.load(Ordering::Relaxed)
    }
}
