//! Writing scrolls: a header row, and the text whole or in parts.
//!
//! How a text is cut depends on its bytes alone, so that replicas agree however it grew. A text
//! that grew behind its last full part has the parts before it left as they are; only its hash
//! runs over all of it, and goes on from where it was for scrolls that grow again and again.

use std::collections::HashMap;

use ranch_proto::keys;
use ranch_proto::value::{self, PART_BYTES, ScrollHeader, parts_of};
use xxhash_rust::xxh3::Xxh3;

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::shard::scrolls::Head;
use crate::state::store::StateStore;
use crate::state::view::{body_key, part_at};

/// Most scrolls whose hash is kept to go on from; about half a KiB each.
const HASHES_MAX: usize = 64;

/// A text in parts that grew.
pub(super) struct Grown<'a> {
    /// What the database has.
    pub(super) stored: Head,
    /// Bytes of the parts that stay, all of them full.
    pub(super) kept: u64,
    /// What follows them.
    pub(super) tail: &'a [u8],
}

/// Puts the rows of scrolls into batches.
#[derive(Default)]
pub(super) struct RowWriter {
    row: Vec<u8>,
    part_key: Vec<u8>,
    /// By header key: the hash of the text at a revision, to go on from.
    hashes: HashMap<Box<[u8]>, (u64, Xxh3)>,
}

impl RowWriter {
    /// Forgets all hashes to go on from.
    pub(super) fn forget_hashes(&mut self) {
        self.hashes.clear();
    }

    /// Removes a scroll that had so many bytes, if there was one.
    pub(super) fn remove(&mut self, key: &[u8], before: Option<u64>, batch: &mut ApplyBatch) {
        let Some(before) = before else { return };
        batch.delete(key);
        batch.delete(body_key(key));
        self.remove_parts(key, 0..parts_of(before), batch);
    }

    /// Writes a scroll with its text; before, it had so many bytes.
    pub(super) fn whole(
        &mut self,
        (key, head): (&[u8], &Head),
        text: &[u8],
        before: Option<u64>,
        batch: &mut ApplyBatch,
    ) {
        let header = ScrollHeader::describe(text, head.revision, head.created_ms, head.modified_ms);
        value::encode_header_row(&header, text, &mut self.row);
        batch.put(key, &self.row);
        let parts = parts_of(text.len() as u64);
        if parts == 0 {
            value::encode_body_row(&header, text, &mut self.row);
        } else {
            value::encode_manifest(&header, &mut self.row);
            self.put_parts(key, 0, text, batch);
        }
        batch.put(body_key(key), &self.row);
        self.remove_parts(key, parts..before.map_or(0, parts_of), batch);
    }

    /// Writes a scroll whose text grew behind its last full part.
    pub(super) fn grown(
        &mut self,
        (key, head): (&[u8], &Head),
        grown: &Grown<'_>,
        store: &StateStore,
        batch: &mut ApplyBatch,
    ) -> Result<(), StateError> {
        let hash = self.hash(key, head.revision, grown, store)?;
        let header = ScrollHeader {
            revision: head.revision,
            created_ms: head.created_ms,
            modified_ms: head.modified_ms,
            // At most SCROLL_MAX.
            length: head.length as u32,
            hash,
        };
        let before = store.get(key)?.ok_or(StateError::HalfScroll)?;
        value::encode_grown_header_row(&header, &before, &mut self.row)
            .map_err(|source| StateError::Value { what: "header", source })?;
        batch.put(key, &self.row);
        value::encode_manifest(&header, &mut self.row);
        batch.put(body_key(key), &self.row);
        self.put_parts(key, part_at(grown.kept), grown.tail, batch);
        Ok(())
    }

    fn hash(
        &mut self,
        key: &[u8],
        revision: u64,
        grown: &Grown<'_>,
        store: &StateStore,
    ) -> Result<u128, StateError> {
        let known = self.hashes.remove(key).filter(|(at, _)| *at == grown.stored.revision);
        let mut hasher = Xxh3::new();
        if let Some((_, so_far)) = known {
            hasher = so_far;
            hasher.update(&grown.tail[(grown.stored.length - grown.kept) as usize..]);
        } else {
            for part in 0..part_at(grown.kept) {
                keys::body_part_into(&mut self.part_key, key, part);
                hasher.update(&store.get(&self.part_key)?.ok_or(StateError::HalfScroll)?);
            }
            hasher.update(grown.tail);
        }
        let hash = hasher.digest128();
        if self.hashes.len() >= HASHES_MAX {
            self.hashes.clear();
        }
        self.hashes.insert(key.into(), (revision, hasher));
        Ok(hash)
    }

    fn put_parts(&mut self, key: &[u8], first: u32, text: &[u8], batch: &mut ApplyBatch) {
        for (part, bytes) in (first..).zip(text.chunks(PART_BYTES)) {
            keys::body_part_into(&mut self.part_key, key, part);
            batch.put(&self.part_key, bytes);
        }
    }

    fn remove_parts(&mut self, key: &[u8], parts: std::ops::Range<u32>, batch: &mut ApplyBatch) {
        for part in parts {
            keys::body_part_into(&mut self.part_key, key, part);
            batch.delete(&self.part_key);
        }
    }
}
