//! The last request ids of the meta group and their answers: one row a log entry.
//!
//! ```text
//! row = 0x01, then per command: id [16] length u32 MetaResult        big-endian
//! ```

use std::collections::{HashMap, VecDeque};

use prost::Message;
use ranch_proto::ids::{GroupId, RequestId};
use ranch_proto::keys::{self, Kind};
use ranch_proto::schema::MetaResult;

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::store::StateStore;

/// Request ids remembered; changes of the directory are rare.
const IDS_MAX: usize = 4_096;

const VERSION: u8 = 1;

/// Request ids lately applied, with their answers.
#[derive(Default)]
pub(super) struct MetaDedup {
    seen: HashMap<RequestId, MetaResult>,
    entries: VecDeque<(u64, Vec<RequestId>)>,
    current: Vec<RequestId>,
}

impl MetaDedup {
    /// Reads back what is remembered.
    pub(super) fn load(store: &StateStore) -> Result<Self, StateError> {
        let mut dedup = Self::default();
        store.for_each(keys::kind_bounds(GroupId::META, Kind::MetaDedup), |key, row| {
            let index = keys::read_index(key)
                .map_err(|source| StateError::Key { what: "meta dedup", source })?;
            dedup.load_row(index, row).ok_or(StateError::Row { what: "meta dedup" })?;
            Ok(true)
        })?;
        Ok(dedup)
    }

    fn load_row(&mut self, index: u64, row: &[u8]) -> Option<()> {
        let (&VERSION, mut row) = row.split_first()? else { return None };
        let mut ids = Vec::new();
        while !row.is_empty() {
            let (id, rest) = row.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (result, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            self.seen.insert(RequestId(*id), MetaResult::decode(result).ok()?);
            ids.push(RequestId(*id));
            row = rest;
        }
        self.entries.push_back((index, ids));
        Some(())
    }

    /// The first answer to a command remembered.
    pub(super) fn find(&self, id: &RequestId) -> Option<&MetaResult> {
        self.seen.get(id)
    }

    /// Remembers a command of the entry being applied.
    pub(super) fn remember(&mut self, id: RequestId, result: MetaResult) {
        self.current.push(id);
        self.seen.insert(id, result);
    }

    /// Stores what was remembered of the entry, and forgets the oldest beyond the limit.
    pub(super) fn end_entry(&mut self, index: u64, batch: &mut ApplyBatch) {
        if !self.current.is_empty() {
            let ids = std::mem::take(&mut self.current);
            batch.put(keys::meta_dedup(index), self.row(&ids));
            self.entries.push_back((index, ids));
        }
        while self.seen.len() > IDS_MAX
            && let Some((index, ids)) = self.entries.pop_front()
        {
            batch.delete(keys::meta_dedup(index));
            for id in ids {
                self.seen.remove(&id);
            }
        }
    }

    fn row(&self, ids: &[RequestId]) -> Vec<u8> {
        let mut row = vec![VERSION];
        for id in ids {
            // All of them were put there by `remember`.
            let Some(result) = self.seen.get(id) else { continue };
            row.extend_from_slice(&id.0);
            // An answer holds one record, which is small.
            row.extend_from_slice(&(result.encoded_len() as u32).to_be_bytes());
            row.extend_from_slice(&result.encode_to_vec());
        }
        row
    }
}
