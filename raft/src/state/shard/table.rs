//! Rows of totals in memory: read once, changed many times, written once a batch.

use std::collections::HashMap;

use ranch_proto::keys::Bounds;

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::shard::codec::{PhextRow, UsageRow};
use crate::state::store::StateStore;

/// Rows kept between batches; beyond it all are dropped and read again when needed.
const ROWS_MAX: usize = 4_096;

/// A row that sums something up.
pub(super) trait Total: Copy + Default + PartialEq {
    fn encode(&self) -> Vec<u8>;
    fn decode(row: &[u8]) -> Result<Self, StateError>;
    /// Whether there is nothing to store.
    fn is_nothing(&self) -> bool;
}

impl Total for UsageRow {
    fn encode(&self) -> Vec<u8> {
        UsageRow::encode(self)
    }

    fn decode(row: &[u8]) -> Result<Self, StateError> {
        UsageRow::decode(row)
    }

    fn is_nothing(&self) -> bool {
        self.revision == 0 && self.life == 0
    }
}

impl Total for PhextRow {
    fn encode(&self) -> Vec<u8> {
        PhextRow::encode(self)
    }

    fn decode(row: &[u8]) -> Result<Self, StateError> {
        PhextRow::decode(row)
    }

    fn is_nothing(&self) -> bool {
        self.scrolls == 0
    }
}

/// Totals by key, as of the batch under way.
pub(super) struct Table<T> {
    places: HashMap<Box<[u8]>, usize>,
    rows: Vec<Row<T>>,
    dirty: Vec<usize>,
}

struct Row<T> {
    key: Box<[u8]>,
    now: T,
    stored: T,
    dirty: bool,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: HashMap::new(), rows: Vec::new(), dirty: Vec::new() }
    }
}

impl<T: Total> Table<T> {
    /// The place of the row under `key`, valid until [`Table::finish`].
    pub(super) fn find(&mut self, store: &StateStore, key: &[u8]) -> Result<usize, StateError> {
        if let Some(&place) = self.places.get(key) {
            return Ok(place);
        }
        let stored = store.get(key)?.map_or_else(|| Ok(T::default()), |row| T::decode(&row))?;
        let place = self.rows.len();
        self.rows.push(Row { key: key.into(), now: stored, stored, dirty: false });
        self.places.insert(key.into(), place);
        Ok(place)
    }

    pub(super) fn get(&self, place: usize) -> T {
        self.rows[place].now
    }

    pub(super) fn set(&mut self, place: usize, now: T) {
        let row = &mut self.rows[place];
        row.now = now;
        if !row.dirty {
            row.dirty = true;
            self.dirty.push(place);
        }
    }

    /// Takes note that the rows of `bounds` are removed by the batch under way.
    pub(super) fn forget(&mut self, (low, high): &Bounds) {
        for row in &mut self.rows {
            if (low.as_slice()..high).contains(&&*row.key) {
                (row.now, row.stored) = (T::default(), T::default());
            }
        }
    }

    /// Adds the changed rows to the batch, telling `changed` what each was and is.
    pub(super) fn finish(&mut self, batch: &mut ApplyBatch, mut changed: impl FnMut(T, T)) {
        for place in self.dirty.drain(..) {
            let row = &mut self.rows[place];
            row.dirty = false;
            if row.now == row.stored {
                continue;
            }
            if row.now.is_nothing() {
                batch.delete(&row.key);
            } else {
                batch.put(&row.key, row.now.encode());
            }
            changed(row.stored, row.now);
            row.stored = row.now;
        }
        if self.rows.len() > ROWS_MAX {
            self.places.clear();
            self.rows.clear();
        }
    }
}
