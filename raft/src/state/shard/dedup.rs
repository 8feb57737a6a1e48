//! The window of request ids: a command seen in it is answered as before, not applied again.
//!
//! One row a log entry holds the ids and outcomes of its commands. Entries leave the window by
//! their stamps alone, one entry at a time, so it is the same on every replica, and what memory
//! holds is what the rows say at any moment.

use std::collections::{HashMap, VecDeque};

use ranch_proto::ids::{GroupId, RequestId};
use ranch_proto::keys::{self, Kind};

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::shard::outcome::Outcome;
use crate::state::store::StateStore;

/// How long a request id is remembered, by the stamps of entries.
pub const DEDUP_WINDOW_MS: u64 = 60_000;
/// Most ops whose outcomes a shard remembers; about 80 bytes of memory each.
pub const DEDUP_OPS_MAX: usize = 100_000;
/// Ops remembered however old they are: if a clock jumps ahead, retries under way still find
/// their first answers.
const OPS_MIN: usize = 4_096;

const VERSION: u8 = 1;

/// Request ids lately applied, with their outcomes.
pub(super) struct DedupWindow {
    group: GroupId,
    seen: HashMap<RequestId, Outcome>,
    entries: VecDeque<Entry>,
    ops: usize,
    current: Vec<RequestId>,
    row: Vec<u8>,
}

struct Entry {
    index: u64,
    stamp_ms: u64,
    ops: usize,
    ids: Box<[RequestId]>,
}

impl DedupWindow {
    /// Reads the window back from its rows.
    pub(super) fn load(store: &StateStore, group: GroupId) -> Result<Self, StateError> {
        let mut window = Self {
            group,
            seen: HashMap::new(),
            entries: VecDeque::new(),
            ops: 0,
            current: Vec::new(),
            row: Vec::new(),
        };
        store.for_each(keys::kind_bounds(group, Kind::Dedup), |key, row| {
            let index = keys::read_index(key)
                .map_err(|source| StateError::Key { what: "dedup", source })?;
            window.load_row(index, row).ok_or(StateError::Row { what: "dedup" })?;
            Ok(true)
        })?;
        Ok(window)
    }

    fn load_row(&mut self, index: u64, row: &[u8]) -> Option<()> {
        let (&VERSION, row) = row.split_first()? else { return None };
        let (stamp, mut row) = row.split_first_chunk()?;
        let mut ids = Vec::new();
        let mut ops = 0;
        while !row.is_empty() {
            let (id, rest) = row.split_first_chunk()?;
            row = rest;
            let outcome = Outcome::decode(&mut row)?;
            ops += outcome.ops().len();
            ids.push(RequestId(*id));
            self.seen.insert(RequestId(*id), outcome);
        }
        let stamp_ms = u64::from_be_bytes(*stamp);
        self.entries.push_back(Entry { index, stamp_ms, ops, ids: ids.into() });
        self.ops += ops;
        Some(())
    }

    /// The first outcome of a command seen within the window.
    pub(super) fn find(&self, id: &RequestId) -> Option<&Outcome> {
        self.seen.get(id)
    }

    /// Remembers a command of the entry being applied.
    pub(super) fn remember(&mut self, id: RequestId, outcome: Outcome) {
        self.current.push(id);
        self.seen.insert(id, outcome);
    }

    /// Stores what was remembered of the entry, and lets go of what has left the window.
    pub(super) fn end_entry(&mut self, index: u64, stamp_ms: u64, batch: &mut ApplyBatch) {
        if !self.current.is_empty() {
            self.store_entry(index, stamp_ms, batch);
        }
        while let Some(first) = self.entries.front() {
            let old = first.stamp_ms.saturating_add(DEDUP_WINDOW_MS) < stamp_ms;
            let spare = self.ops - first.ops >= OPS_MIN;
            if !(self.ops > DEDUP_OPS_MAX || (old && spare)) {
                break;
            }
            batch.delete(keys::dedup(self.group, first.index));
            for id in &first.ids {
                self.seen.remove(id);
            }
            self.ops -= first.ops;
            self.entries.pop_front();
        }
    }

    fn store_entry(&mut self, index: u64, stamp_ms: u64, batch: &mut ApplyBatch) {
        self.row.clear();
        self.row.push(VERSION);
        self.row.extend_from_slice(&stamp_ms.to_be_bytes());
        let mut ops = 0;
        for id in &self.current {
            // All of them were put there by `remember`.
            let Some(outcome) = self.seen.get(id) else { continue };
            self.row.extend_from_slice(&id.0);
            outcome.encode(&mut self.row);
            ops += outcome.ops().len();
        }
        batch.put(keys::dedup(self.group, index), &self.row);
        let ids = self.current.as_slice().into();
        self.current.clear();
        self.entries.push_back(Entry { index, stamp_ms, ops, ids });
        self.ops += ops;
    }
}

#[cfg(test)]
mod tests {
    use ranch_proto::schema::OpResult;

    use super::*;
    use crate::state::StateOptions;

    const GROUP: GroupId = GroupId(1);

    fn add(window: &mut DedupWindow, index: u64, ops: usize, batch: &mut ApplyBatch) {
        let id = RequestId(u128::from(index).to_be_bytes());
        window.remember(id, Outcome::of(&vec![OpResult::default(); ops]));
        window.end_entry(index, index, batch);
    }

    #[test]
    fn the_window_is_bounded_and_is_what_its_rows_say() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::open(dir.path(), StateOptions::default()).unwrap();
        let mut window = DedupWindow::load(&store, GROUP).unwrap();
        let mut batch = ApplyBatch::default();
        for index in 0..15 {
            add(&mut window, index, 10_000, &mut batch);
        }
        assert_eq!((window.ops, window.entries.len()), (DEDUP_OPS_MAX, 10));
        // The oldest has to go for one more.
        add(&mut window, 15, 1, &mut batch);
        assert_eq!((window.ops, window.entries.len()), (90_001, 10));
        batch.write(&store, GROUP, &crate::types::SnapshotMeta::default()).unwrap();
        let loaded = DedupWindow::load(&store, GROUP).unwrap();
        assert_eq!((loaded.ops, loaded.entries.len()), (window.ops, window.entries.len()));
        assert_eq!(loaded.seen, window.seen);
        let pairs = loaded.entries.iter().zip(&window.entries);
        for (loaded, kept) in pairs {
            assert_eq!((loaded.index, loaded.stamp_ms), (kept.index, kept.stamp_ms));
            assert_eq!(loaded.ids, kept.ids);
        }
    }
}
