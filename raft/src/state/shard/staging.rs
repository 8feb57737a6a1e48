//! Commands on their way in, part by part, until they are carried out or forgotten.
//!
//! An upload is known by its tenant and id. With its first part the bytes of all are reserved, so
//! that uploads side by side cannot leave each other without room for their last parts. One that
//! goes quiet gives way to others after seconds and is forgotten after minutes, by the shard's
//! age. What memory holds is what the rows say at any moment; the bytes are in rows only,
//! those of the batch under way aside.
//!
//! ```text
//! upload = 0x01 age_ms u64 length u64 parts u32 here u64[4]      big-endian, bit n: part n
//! staged = bytes
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Kind};
use ranch_proto::schema::{OpStatus, StageCommit, StagePart};
use ranch_proto::stage::{STAGE_PART_BYTES, STAGE_PARTS_MAX, STAGED_BYTES_MAX};
use xxhash_rust::xxh3::xxh3_128;

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::store::StateStore;

/// How long an upload is kept after its last part, by the shard's age.
pub const STAGED_MS: u64 = 10 * 60 * 1000;
/// Most bytes a tenant may have staged: two of the largest commands.
pub const STAGED_TENANT_MAX: u64 = 2 * STAGED_BYTES_MAX;
/// Most bytes all tenants of a shard may have staged.
const STAGED_SHARD_MAX: u64 = 1 << 30;
/// An upload this long without a new part gives way when room is needed; longer than any part is
/// tried while its router lives.
const QUIET_MS: u64 = 15_000;

const VERSION: u8 = 1;
const WORDS: usize = 4;
const _: () = assert!(STAGE_PARTS_MAX as usize <= WORDS * 64, "a bit for each part");

type UploadId = (String, [u8; 16]);

/// What is known of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Upload {
    /// The shard's age when its last part came.
    age_ms: u64,
    length: u64,
    parts: u32,
    here: [u64; WORDS],
}

/// The uploads of a shard.
pub(super) struct Staging {
    store: Arc<StateStore>,
    group: GroupId,
    uploads: BTreeMap<UploadId, Upload>,
    /// Parts of the batch under way, which the database does not have yet.
    pending: HashMap<Vec<u8>, Bytes>,
}

impl Staging {
    /// Takes up the uploads the database knows of.
    pub(super) fn load(store: &Arc<StateStore>, group: GroupId) -> Result<Self, StateError> {
        let mut uploads = BTreeMap::new();
        store.for_each(keys::kind_bounds(group, Kind::Upload), |key, row| {
            let (tenant, id) = keys::read_upload(key)
                .map_err(|source| StateError::Key { what: "upload", source })?;
            uploads.insert((tenant.to_owned(), id), Upload::decode(row)?);
            Ok(true)
        })?;
        Ok(Self { store: Arc::clone(store), group, uploads, pending: HashMap::new() })
    }

    /// Keeps a part.
    pub(super) fn stage(
        &mut self,
        tenant: &str,
        part: &StagePart,
        age_ms: u64,
        batch: &mut ApplyBatch,
    ) -> OpStatus {
        let Some(upload) = checked(part) else { return OpStatus::OpInvalid };
        let id = (tenant.to_owned(), upload);
        let new = Upload { age_ms, length: part.length, parts: part.parts, here: [0; WORDS] };
        let known = self.uploads.get(&id).map(|known| (known.length, known.parts));
        if known.is_some_and(|sizes| sizes != (new.length, new.parts)) {
            return OpStatus::OpInvalid;
        }
        if known.is_none() && !self.make_room(tenant, part.length, age_ms, batch) {
            return OpStatus::OpStagingFull;
        }
        let known = self.uploads.entry(id).or_insert(new);
        known.age_ms = known.age_ms.max(age_ms);
        known.here[part.part as usize / 64] |= 1 << (part.part % 64);
        batch.put(keys::upload(self.group, tenant, &upload), known.encode());
        let key = keys::staged(self.group, tenant, &upload, part.part);
        batch.put(&key, &part.bytes);
        self.pending.insert(key, part.bytes.clone());
        OpStatus::OpOk
    }

    /// Whether there is room for so many bytes more, after quiet uploads have given way.
    fn make_room(
        &mut self,
        tenant: &str,
        length: u64,
        age_ms: u64,
        batch: &mut ApplyBatch,
    ) -> bool {
        if self.has_room(tenant, length) {
            return true;
        }
        self.forget(|upload| upload.age_ms.saturating_add(QUIET_MS) < age_ms, batch);
        self.has_room(tenant, length)
    }

    fn has_room(&self, tenant: &str, length: u64) -> bool {
        let all = self.uploads.values().map(|upload| upload.length).sum::<u64>();
        let own = self.uploads.iter().filter(|(id, _)| id.0 == tenant);
        let own = own.map(|(_, upload)| upload.length).sum::<u64>();
        own + length <= STAGED_TENANT_MAX && all + length <= STAGED_SHARD_MAX
    }

    /// Takes out what was staged, put together, if it is whole. All of it is gone then.
    pub(super) fn take(
        &mut self,
        tenant: &str,
        commit: &StageCommit,
        batch: &mut ApplyBatch,
    ) -> Result<Option<Bytes>, StateError> {
        let Ok(upload) = <[u8; 16]>::try_from(commit.upload.as_ref()) else { return Ok(None) };
        let id = (tenant.to_owned(), upload);
        let Some(known) = self.uploads.get(&id) else { return Ok(None) };
        let same = (known.length, known.parts) == (commit.length, commit.parts);
        if !same || !known.is_whole() {
            return Ok(None);
        }
        batch.take_turn(self.store.turns());
        let mut whole = Vec::with_capacity(known.length as usize);
        for part in 0..known.parts {
            let key = keys::staged(self.group, tenant, &upload, part);
            if let Some(bytes) = self.pending.get(&key) {
                whole.extend_from_slice(bytes);
            } else {
                let bytes = self.store.get(&key)?;
                whole.extend_from_slice(&bytes.ok_or(StateError::Row { what: "upload" })?);
            }
        }
        let right = whole.len() as u64 == commit.length
            && commit.hash == xxh3_128(&whole).to_be_bytes().as_slice();
        // Wrong ones would stay wrong.
        self.forget_one(&id, batch);
        Ok(right.then(|| whole.into()))
    }

    /// Forgets uploads that have been quiet for too long.
    pub(super) fn sweep(&mut self, age_ms: u64, batch: &mut ApplyBatch) {
        self.forget(|upload| upload.age_ms.saturating_add(STAGED_MS) < age_ms, batch);
    }

    /// Forgets a tenant's uploads, whose rows are removed by the batch under way.
    pub(super) fn purge(&mut self, tenant: &str) {
        let group = self.group;
        let bounds = keys::tenant_bounds(Kind::Staged, group, tenant);
        self.uploads.retain(|id, _| id.0 != tenant);
        self.pending.retain(|key, _| !(bounds.0 <= *key && *key < bounds.1));
    }

    fn forget(&mut self, is_over: impl Fn(&Upload) -> bool, batch: &mut ApplyBatch) {
        let over = self.uploads.iter().filter(|(_, upload)| is_over(upload));
        for id in over.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.forget_one(&id, batch);
        }
    }

    fn forget_one(&mut self, id: &UploadId, batch: &mut ApplyBatch) {
        let Some(upload) = self.uploads.remove(id) else { return };
        for part in (0..upload.parts).filter(|&part| upload.has(part)) {
            let key = keys::staged(self.group, &id.0, &id.1, part);
            self.pending.remove(&key);
            batch.delete(key);
        }
        batch.delete(keys::upload(self.group, &id.0, &id.1));
    }

    /// The batch is about to be written: the database will have what was pending.
    pub(super) fn finish(&mut self) {
        self.pending.clear();
    }
}

impl Upload {
    fn has(&self, part: u32) -> bool {
        self.here[part as usize / 64] >> (part % 64) & 1 == 1
    }

    fn is_whole(&self) -> bool {
        (0..self.parts).all(|part| self.has(part))
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(53);
        row.push(VERSION);
        row.extend_from_slice(&self.age_ms.to_be_bytes());
        row.extend_from_slice(&self.length.to_be_bytes());
        row.extend_from_slice(&self.parts.to_be_bytes());
        for word in self.here {
            row.extend_from_slice(&word.to_be_bytes());
        }
        row
    }

    fn decode(row: &[u8]) -> Result<Self, StateError> {
        let parts = || {
            let (&VERSION, row) = row.split_first()? else { return None };
            let (age, row) = row.split_first_chunk()?;
            let (length, row) = row.split_first_chunk()?;
            let (parts, row) = row.split_first_chunk()?;
            let (words, rest) = row.as_chunks::<8>();
            let words: &[[u8; 8]; WORDS] = words.try_into().ok()?;
            rest.is_empty().then(|| Self {
                age_ms: u64::from_be_bytes(*age),
                length: u64::from_be_bytes(*length),
                parts: u32::from_be_bytes(*parts),
                here: words.map(u64::from_be_bytes),
            })
        };
        let upload = parts().filter(|upload| upload.parts <= STAGE_PARTS_MAX);
        upload.ok_or(StateError::Row { what: "upload" })
    }
}

/// The upload a part belongs to, if the part can be one.
fn checked(part: &StagePart) -> Option<[u8; 16]> {
    // As few parts as can be: what is reserved must cover all that may come.
    let sizes = (1..=STAGED_BYTES_MAX).contains(&part.length)
        && u64::from(part.parts) == part.length.div_ceil(STAGE_PART_BYTES as u64)
        && part.part < part.parts
        && (1..=STAGE_PART_BYTES).contains(&part.bytes.len());
    if sizes { part.upload.as_ref().try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_their_golden_bytes() {
        let upload = Upload { age_ms: 0x0102, length: 3, parts: 66, here: [1, 2, 0, 4] };
        let bytes = [
            &[1_u8][..],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 66],
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &[0; 8],
            &[0, 0, 0, 0, 0, 0, 0, 4],
        ];
        assert_eq!(upload.encode(), bytes.concat());
        assert_eq!(Upload::decode(&upload.encode()).unwrap(), upload);
        assert!(upload.has(0) && upload.has(65) && !upload.has(1) && !upload.is_whole());
        for damaged in [&upload.encode()[..52], &[2; 53], &[upload.encode(), vec![0]].concat()] {
            assert!(matches!(Upload::decode(damaged), Err(StateError::Row { what: "upload" })));
        }
    }
}
