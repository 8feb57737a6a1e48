//! One atomic step of a state machine: rows to put and remove, gathered from a run of entries.
//!
//! Machines keep their own view of what they changed within a batch; the batch itself is only
//! ever written, never read.

use std::sync::Arc;

use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Bounds};
use rocksdb::WriteBatch;

use crate::convert::snapshot_meta_to_wire;
use crate::state::error::StateError;
use crate::state::store::StateStore;
use crate::state::turn::{Turn, Turns, unhurried};
use crate::types::SnapshotMeta;

/// Entries and bytes at which a batch is written, though more could be had at once.
const ENTRIES_MAX: usize = 256;
const BYTES_MAX: usize = 4 << 20;

/// Version of the row that says what is applied.
const APPLIED_VERSION: u8 = 1;

/// Gathers the rows of a run of entries.
#[derive(Default)]
pub(crate) struct ApplyBatch {
    rows: WriteBatch,
    entries: usize,
    held_bytes: usize,
    closed: bool,
    /// Held while a large command is in the batch.
    turn: Option<Turn>,
}

impl ApplyBatch {
    /// Counts an entry, and the bytes it makes the machine hold until the batch is written.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.entries += 1;
        self.held_bytes += bytes;
    }

    /// Counts more bytes the machine holds until the batch is written.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.held_bytes += bytes;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Ends the batch with the entry at hand: what follows must see the rows as they are then.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether no more entries may be added.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Waits for this batch's turn to carry out a large command, unless it has it already. The
    /// batch ends with the entry at hand, so that the turn ends soon.
    pub(crate) fn take_turn(&mut self, turns: &Arc<Turns>) {
        self.close();
        if self.turn.is_none() {
            self.turn = Some(unhurried(|| turns.take()));
        }
    }

    /// Whether a large command is in the batch.
    pub(crate) fn is_large(&self) -> bool {
        self.turn.is_some()
    }

    /// Whether it is time to write.
    pub(crate) fn is_full(&self) -> bool {
        self.closed || self.entries >= ENTRIES_MAX || self.held_bytes >= BYTES_MAX
    }

    pub(crate) fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.rows.put(key, value);
    }

    pub(crate) fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.rows.delete(key);
    }

    /// Removes all rows of a range that the batch or the database has so far.
    pub(crate) fn delete_range(&mut self, (low, high): Bounds) {
        self.rows.delete_range(low, high);
    }

    /// Writes all rows and what is applied with them, at once.
    pub(crate) fn write(
        mut self,
        store: &StateStore,
        group: GroupId,
        applied: &SnapshotMeta,
    ) -> Result<(), StateError> {
        self.rows.put(keys::applied(group), encode_applied(applied));
        store.write(self.rows)
    }
}

/// The row that says what is applied: a version, then the message of the wire.
pub(crate) fn encode_applied(applied: &SnapshotMeta) -> Vec<u8> {
    let message = snapshot_meta_to_wire(applied);
    let mut row = Vec::with_capacity(1 + prost::Message::encoded_len(&message));
    row.push(APPLIED_VERSION);
    // A Vec grows as needed, so encoding into one cannot fail.
    let _ = prost::Message::encode(&message, &mut row);
    row
}

/// Reads what [`encode_applied`] wrote.
pub(crate) fn decode_applied(row: &[u8]) -> Result<SnapshotMeta, StateError> {
    const WHAT: &str = "applied";
    let Some((&APPLIED_VERSION, message)) = row.split_first() else {
        return Err(StateError::Row { what: WHAT });
    };
    let message: ranch_proto::schema::SnapshotMeta =
        prost::Message::decode(message).map_err(|_| StateError::Row { what: WHAT })?;
    crate::convert::snapshot_meta_from_wire(&message)
        .map_err(|source| StateError::Incomplete { what: WHAT, source })
}
