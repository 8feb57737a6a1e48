//! Changing a row as no entry would, as a bad machine does, for tests that see whether the other
//! replicas notice.

use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Kind};
use rocksdb::WriteBatch;

use crate::state::error::StateError;
use crate::state::store::StateStore;

impl StateStore {
    /// Changes the last bit of the last byte of the first row of a kind that a group has, for good
    /// when this returns. Whether there was one. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn spoil(&self, group: GroupId, kind: Kind) -> Result<bool, StateError> {
        let mut batch = WriteBatch::default();
        self.for_each(keys::kind_bounds(group, kind), |key, row| {
            let mut row = row.to_vec();
            if let Some(last) = row.last_mut() {
                *last ^= 1;
            }
            batch.put(key, row);
            Ok(false)
        })?;
        let found = !batch.is_empty();
        self.write(batch)?;
        self.flush()?;
        Ok(found)
    }
}
