//! Giving disk space back: what removed groups leave behind, and values that have become garbage.

use std::sync::Arc;

use ranch_proto::ids::GroupId;
use ranch_proto::keys;
use rocksdb::CompactOptions;

use crate::background;
use crate::state::error::StateError;
use crate::state::store::StateStore;

impl StateStore {
    /// Begins to collect garbage, or ends it, by how much there is; merges do the work. To be
    /// called every few seconds. Blocks on the disk when it begins or ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn regulate_collection(&self) -> Result<(), StateError> {
        let regulated = self.collector.regulate(self.db());
        regulated.map_err(StateError::engine("set how garbage is collected"))
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
