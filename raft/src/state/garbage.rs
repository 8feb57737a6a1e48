//! Giving disk space back: blob files that have become garbage in part, and what removed groups
//! leave behind.
//!
//! `RocksDB` collects garbage as it merges: each live text of the oldest blob files that a merge
//! comes across is written anew, whether there is any garbage beside it or not. If that were always
//! on, a database at rest but for a few small writes would rewrite its texts for ever. So it is on
//! only while there is garbage worth it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ranch_proto::ids::GroupId;
use ranch_proto::keys;
use rocksdb::CompactOptions;

use crate::background;
use crate::rocks_metrics::BLOB_GARBAGE;
use crate::state::error::StateError;
use crate::state::store::StateStore;

/// Part of all bytes in blob files from which garbage is collected.
pub(super) const GARBAGE_MUCH: f64 = 0.3;
/// Part from which it is left again.
const GARBAGE_LITTLE: f64 = GARBAGE_MUCH / 2.0;

/// What is in blob files.
#[derive(Clone, Copy, Debug)]
struct Blobs {
    bytes: u64,
    /// Of these, texts that nothing refers to any more.
    garbage: u64,
    /// Size of one file.
    file_bytes: u64,
}

impl Blobs {
    fn worth_collecting(self, collecting: bool) -> bool {
        let part = if collecting { GARBAGE_LITTLE } else { GARBAGE_MUCH };
        self.garbage > self.file_bytes && self.garbage as f64 > self.bytes as f64 * part
    }
}

impl StateStore {
    /// Begins to collect garbage, or ends it, by how much there is; merges do the work. To be
    /// called every few seconds. Blocks on the disk when it begins or ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn regulate_collection(&self) -> Result<(), StateError> {
        let read = |name| self.db().property_int_value(name).ok().flatten().unwrap_or(0);
        let blobs = Blobs {
            bytes: read("rocksdb.live-blob-file-size"),
            garbage: read(BLOB_GARBAGE),
            file_bytes: self.blob_file_bytes,
        };
        let collecting = self.collecting.load(Ordering::Relaxed);
        let wanted = blobs.worth_collecting(collecting);
        if wanted == collecting {
            return Ok(());
        }
        let value = if wanted { "true" } else { "false" };
        let set = self.db().set_options(&[("enable_blob_garbage_collection", value)]);
        set.map_err(StateError::engine("set how garbage is collected"))?;
        self.collecting.store(wanted, Ordering::Relaxed);
        tracing::debug!(wanted, ?blobs, "whether garbage is collected changes");
        Ok(())
    }

    /// Has the disk space of a removed group given back, on a thread of its own: its rows are gone
    /// already, but hidden rather than dropped.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn reclaim(self: &Arc<Self>, group: GroupId) -> Result<(), StateError> {
        let store = Arc::clone(self);
        let merge = move || store.merge_away(group);
        let spawned = background::spawn(format!("reclaim-{group}"), merge);
        let thread =
            spawned.map_err(StateError::io("start a thread to merge", "the state database"))?;
        let mut reclaiming = self.reclaiming.lock();
        reclaiming.retain(|thread| !thread.is_finished());
        reclaiming.push(thread);
        Ok(())
    }

    /// Breaks off all merges, for good: nothing is flushed afterwards either. To be called before
    /// the process ends, where a thread may have the database open still: what `RocksDB` does in
    /// the background must not outlive its own globals.
    pub fn end_merges(&self) {
        self.db().cancel_all_background_work(true);
        for thread in self.reclaiming.lock().drain(..) {
            // One that panicked has ended, too.
            let _ = thread.join();
        }
    }

    /// Merges the files that have keys of a group. Blocks for as long as that takes.
    fn merge_away(&self, group: GroupId) {
        let (low, high) = keys::shard_bounds(group);
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        self.db().compact_range_opt(Some(low), Some(high), &options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_garbage_is_left_and_much_is_collected_until_little_is_left() {
        let of = |garbage| Blobs { bytes: 1_000, garbage, file_bytes: 64 };
        assert!(!of(0).worth_collecting(false) && !of(0).worth_collecting(true));
        assert!(!of(300).worth_collecting(false) && of(301).worth_collecting(false));
        assert!(of(151).worth_collecting(true) && !of(150).worth_collecting(true));
        let small = Blobs { bytes: 100, garbage: 64, file_bytes: 64 };
        assert!(!small.worth_collecting(true), "not a file's worth");
    }
}
