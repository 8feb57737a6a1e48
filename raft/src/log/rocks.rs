//! `RocksDB` as the log's engine.
//!
//! Write-ahead files are recycled: writing over blocks that exist lets fdatasync leave the inode
//! alone. That rules out the strict recovery modes, so recovery is point-in-time: it stops at the
//! first record that is not whole. Whether it stopped too early is for the watermark to say.

use std::path::Path;
use std::sync::Arc;

use ranch_proto::schema::MetricFamily;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, ErrorKind, Options,
    ReadOptions, WriteBatch, WriteOptions,
};

use super::engine::{EngineError, EngineWriter, LogEngine, Row, Visit};
use super::options::LogOptions;
use crate::damage::is_read_failure;
use crate::garbage::Collector;
use crate::rocks;
use crate::rocks_metrics::{self, BACKGROUND_ERRORS};

/// Reads of the log beyond the tail cache are rare and sequential: they need little cache.
const BLOCK_CACHE_BYTES: usize = 8 << 20;
const BLOCK_BYTES: usize = 16 << 10;
/// One is written while the others wait to be flushed; beyond that writes are held up.
const WRITE_BUFFERS: i32 = 4;
const TABLE_BYTES: u64 = 64 << 20;
/// Write-ahead files kept for reuse.
const RECYCLED_FILES: usize = 2;

/// An open database.
pub(super) struct RocksEngine {
    db: Arc<DB>,
    collector: Collector,
}

/// The one writer of a database.
pub(super) struct RocksWriter {
    db: Arc<DB>,
    batch: WriteBatch,
    durably: WriteOptions,
}

impl RocksEngine {
    /// Opens or creates the database in `path`.
    ///
    /// # Errors
    /// [`EngineError::Locked`] when another process has it open.
    pub(super) fn open(
        path: &Path,
        options: &LogOptions,
    ) -> Result<(Self, RocksWriter), EngineError> {
        let db = Arc::new(rocks::open(&database_options(options), path).map_err(classify)?);
        let mut durably = WriteOptions::new();
        durably.set_sync(true);
        let writer = RocksWriter { db: Arc::clone(&db), batch: WriteBatch::new(), durably };
        let collector = Collector::new(options.blobs());
        Ok((Self { db, collector }, writer))
    }
}

fn database_options(options: &LogOptions) -> Options {
    let mut o = rocks::options(options.compaction_bytes_per_s);
    o.create_if_missing(true);
    o.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    o.set_recycle_log_file_num(RECYCLED_FILES);
    o.set_compression_type(DBCompressionType::None);
    o.set_write_buffer_size(options.write_buffer_bytes);
    o.set_max_write_buffer_number(WRITE_BUFFERS);
    o.set_target_file_size_base(TABLE_BYTES);
    // One thread writes: what lets several share the memtable only costs.
    o.set_allow_concurrent_memtable_write(false);
    o.set_enable_write_thread_adaptive_yield(false);
    o.set_avoid_unnecessary_blocking_io(true);
    o.set_max_log_file_size(1 << 20);
    options.blobs().set(&mut o);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    table.set_block_size(BLOCK_BYTES);
    o.set_block_based_table_factory(&table);
    o
}

#[allow(clippy::needless_pass_by_value)] // taken by value so that it fits `map_err`
fn classify(error: rocksdb::Error) -> EngineError {
    let kind = error.kind();
    let unreadable = is_read_failure(&error);
    let detail = error.into_string();
    match kind {
        // RocksDB has no kind of its own for a held lock; it names the file it could not lock.
        ErrorKind::IOError if detail.contains("/LOCK") && detail.contains("lock ") => {
            EngineError::Locked { detail }
        }
        _ if unreadable => EngineError::Corrupt { detail },
        _ => EngineError::Failed { detail },
    }
}

fn bounded(from: &[u8], to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    options.fill_cache(false);
    options
}

impl LogEngine for RocksEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.db.get(key).map_err(classify)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), EngineError> {
        let mut rows = self.db.raw_iterator_opt(bounded(from, to));
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !visit(key, value) {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(classify)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, EngineError> {
        let mut rows = self.db.raw_iterator_opt(bounded(from, to));
        rows.seek_to_last();
        let last = rows.item().map(|(key, value)| (key.to_vec(), value.to_vec()));
        rows.status().map_err(classify)?;
        Ok(last)
    }

    fn sequence(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    fn regulate_collection(&self) -> Result<(), EngineError> {
        self.collector.regulate(&self.db).map_err(classify)
    }

    fn background_errors(&self) -> u64 {
        self.db.property_int_value(BACKGROUND_ERRORS).ok().flatten().unwrap_or(0)
    }

    fn metrics(&self) -> Vec<MetricFamily> {
        rocks_metrics::families("log", &self.db)
    }
}

impl EngineWriter for RocksWriter {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.batch.delete(key);
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.batch.delete_range(from, to);
    }

    fn size(&self) -> usize {
        self.batch.size_in_bytes()
    }

    fn commit(&mut self) -> Result<u64, EngineError> {
        let batch = std::mem::take(&mut self.batch);
        fail::fail_point!("log_fsync_fails", |_| {
            Err(EngineError::Failed { detail: "a failure injected by a test".to_owned() })
        });
        self.db.write_opt(batch, &self.durably).map_err(classify)?;
        Ok(self.db.latest_sequence_number())
    }
}
