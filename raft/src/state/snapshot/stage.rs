//! Receiving a group's rows: into one sorted file, checked, then into the database at a stroke.
//!
//! The file begins with a tombstone over everything the group had. On ingestion all of the file
//! gets one sequence number, newer than any row's before; a tombstone hides only what is older
//! than itself, so the file's own rows stay. Old rows go and new ones come with one record in the
//! manifest.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use ranch_proto::ids::GroupId;
use ranch_proto::keys;
use ranch_proto::schema::{SnapshotChunk, SnapshotEnd};
use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};

use crate::state::batch::decode_applied;
use crate::state::error::StateError;
use crate::state::options::StateOptions;
use crate::state::snapshot::SnapshotHandle;
use crate::state::snapshot::hash::PairsHash;
use crate::state::store::{StateStore, crash_point, sync_dir};
use crate::types::SnapshotMeta;

/// Why a received snapshot was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFault {
    /// A chunk has not as many values as keys.
    #[error("a chunk has {keys} keys but {values} values")]
    Unpaired {
        /// Keys in the chunk.
        keys: usize,
        /// Values in the chunk.
        values: usize,
    },
    /// A key does not come after the one before it, or is empty.
    #[error("row {at} is out of order")]
    Order {
        /// Which row, from 1.
        at: u64,
    },
    /// Rows are missing or too many.
    #[error("{found} rows arrived where {expected} were sent")]
    Count {
        /// As the sender says.
        expected: u64,
        /// As counted here.
        found: u64,
    },
    /// The rows are not those that were sent.
    #[error("the checksum of its rows is not the sender's")]
    Hash,
    /// The rows stand elsewhere than was announced, or belong to another group.
    #[error("its rows do not stand where its head says")]
    Meta,
}

/// Options must outlive the writers made with them.
static FILE_OPTIONS: LazyLock<Options> = LazyLock::new(StateOptions::staging);

/// Tells apart the files of transfers to one group that overlap in time.
static NEXT_FILE: AtomicU64 = AtomicU64::new(0);

/// A snapshot being received. Dropped before its end, it leaves nothing behind. All its methods
/// block on the disk.
pub struct SnapshotStage {
    meta: SnapshotMeta,
    writer: SstFileWriter<'static>,
    file: StagedFile,
    hash: PairsHash,
    key: Vec<u8>,
    applied: Option<SnapshotMeta>,
}

/// A whole, checked snapshot in a file.
#[derive(Debug)]
pub(crate) struct StagedSnapshot {
    meta: SnapshotMeta,
    file: StagedFile,
}

/// Removes its file when dropped; one that has been moved into the database is not there any more.
#[derive(Debug)]
struct StagedFile {
    group: GroupId,
    path: PathBuf,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // What cannot be removed now goes when the store is opened next.
        let _ = fs::remove_file(&self.path);
    }
}

impl SnapshotStage {
    /// Begins to receive the rows of `group` that stand at `meta`.
    ///
    /// # Errors
    /// When the staging file cannot be made.
    pub fn begin(
        store: &Arc<StateStore>,
        group: GroupId,
        meta: SnapshotMeta,
    ) -> Result<Self, StateError> {
        let dir = store.staging_dir(group);
        fs::create_dir_all(&dir).map_err(StateError::io("create", &dir))?;
        let path = dir.join(format!("{}.sst", NEXT_FILE.fetch_add(1, Ordering::Relaxed)));
        let mut writer = SstFileWriter::create(&FILE_OPTIONS);
        writer.open(&path).map_err(StateError::engine("create a staging file"))?;
        let file = StagedFile { group, path };
        let (low, high) = keys::shard_bounds(group);
        writer.delete_range(low, high).map_err(StateError::engine("stage rows"))?;
        let (hash, key) = (PairsHash::default(), Vec::new());
        Ok(Self { meta, writer, file, hash, key, applied: None })
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`StateError::Snapshot`] for rows that cannot be right, or what the disk says.
    pub fn push(&mut self, chunk: &SnapshotChunk) -> Result<(), StateError> {
        let (keys, values) = (chunk.keys.len(), chunk.values.len());
        if keys != values {
            return Err(SnapshotFault::Unpaired { keys, values }.into());
        }
        for (rest, value) in chunk.keys.iter().zip(&chunk.values) {
            self.push_row(rest, value)?;
        }
        crash_point("state-snapshot-chunk-in");
        Ok(())
    }

    fn push_row(&mut self, rest: &[u8], value: &[u8]) -> Result<(), StateError> {
        let group = self.file.group.0.to_be_bytes();
        let last = self.key.get(group.len()..).unwrap_or_default();
        if rest <= last {
            return Err(SnapshotFault::Order { at: self.hash.pairs() + 1 }.into());
        }
        self.key.clear();
        self.key.extend_from_slice(&group);
        self.key.extend_from_slice(rest);
        self.writer.put(&self.key, value).map_err(StateError::engine("stage rows"))?;
        self.hash.add(rest, value);
        if self.applied.is_none() && self.key == keys::applied(self.file.group) {
            // A row that does not decode will fail the comparison at the end.
            self.applied = decode_applied(value).ok();
        }
        Ok(())
    }

    /// Ends the transfer: checks that everything arrived as it was sent, and makes it durable.
    ///
    /// # Errors
    /// As [`SnapshotStage::push`].
    pub fn finish(self, end: &SnapshotEnd) -> Result<SnapshotHandle, StateError> {
        self.finish_staged(end).map(SnapshotHandle::staged)
    }

    pub(crate) fn finish_staged(mut self, end: &SnapshotEnd) -> Result<StagedSnapshot, StateError> {
        let found = self.hash.pairs();
        if end.pairs != found {
            return Err(SnapshotFault::Count { expected: end.pairs, found }.into());
        }
        if end.hash != self.hash.bytes().as_slice() {
            return Err(SnapshotFault::Hash.into());
        }
        if self.applied.as_ref() != Some(&self.meta) {
            return Err(SnapshotFault::Meta.into());
        }
        self.writer.finish().map_err(StateError::engine("finish a staging file"))?;
        let path = &self.file.path;
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(StateError::io("sync", path))?;
        if let Some(dir) = path.parent() {
            sync_dir(dir)?;
        }
        crash_point("state-snapshot-staged");
        Ok(StagedSnapshot { meta: self.meta, file: self.file })
    }
}

impl std::fmt::Debug for SnapshotStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotStage").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl StagedSnapshot {
    pub(crate) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    pub(crate) fn group(&self) -> GroupId {
        self.file.group
    }

    /// Puts these rows in place of whatever the group had. Durable when it returns. Blocks.
    pub(crate) fn ingest(self, store: &StateStore) -> Result<(), StateError> {
        crash_point("state-snapshot-before-ingest");
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let files = vec![&self.file.path];
        let ingested = store.db().ingest_external_file_opts(&options, files);
        ingested.map_err(StateError::engine("take in a staging file"))?;
        crash_point("state-snapshot-after-ingest");
        Ok(())
    }
}
