//! How the state database is tuned: memory bounded first, then few bytes written, then speed.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, Options};

use crate::garbage::BlobOptions;
use crate::rocks;

/// Sizes a node chooses for its state database.
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// Cached blocks, filters and indexes, in bytes.
    pub block_cache_bytes: usize,
    /// One write buffer, in bytes; at most three exist at a time.
    pub write_buffer_bytes: usize,
    /// Files kept open.
    pub open_files_max: i32,
    /// Size of a file of large texts, in bytes; less garbage than that is left where it is.
    pub blob_file_bytes: u64,
    /// Most that flushes and compactions write, in bytes a second.
    pub compaction_bytes_per_s: u64,
    /// Whether files are merged in the background. Off only for tools that copy the directory of
    /// an open store.
    pub merge_files: bool,
}

impl Default for StateOptions {
    /// About 100 MiB when full, which leaves a node of 300 MiB room for logs and connections.
    fn default() -> Self {
        Self {
            block_cache_bytes: 48 << 20,
            write_buffer_bytes: 16 << 20,
            open_files_max: 512,
            blob_file_bytes: 64 << 20,
            compaction_bytes_per_s: rocks::RATE,
            merge_files: true,
        }
    }
}

/// Texts from this size on live in blob files, so that compaction does not rewrite them.
const BLOB_MIN_BYTES: u64 = 8 << 10;
/// To give back a byte costs one to three bytes written; with 0.3 it was two to six. When shards
/// leave, files have garbage all over.
const GARBAGE_MUCH: f64 = 0.5;
const BLOOM_BITS: f64 = 10.0;
const BLOCK_BYTES: usize = 16 << 10;

impl StateOptions {
    /// Options to open the database with.
    pub(crate) fn database(&self) -> Options {
        let cache = Cache::new_lru_cache(self.block_cache_bytes);
        let mut options = tables(&cache, self.compaction_bytes_per_s);
        options.create_if_missing(true);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(3);
        options.set_db_write_buffer_size(self.write_buffer_bytes * 3);
        options.set_memtable_prefix_bloom_ratio(0.05);
        options.set_memtable_whole_key_filtering(true);
        options.set_max_open_files(self.open_files_max);
        options.set_disable_auto_compactions(!self.merge_files);
        self.blobs().set(&mut options);
        options.set_blob_compression_type(DBCompressionType::Lz4);
        options.set_max_log_file_size(4 << 20);
        options
    }

    /// What goes to blob files.
    pub(crate) fn blobs(&self) -> BlobOptions {
        BlobOptions {
            min_bytes: BLOB_MIN_BYTES,
            file_bytes: self.blob_file_bytes,
            garbage_much: GARBAGE_MUCH,
        }
    }

    /// Options of the files a received snapshot is staged in: as the database writes them itself,
    /// with a small cache of their own, since staging never reads. They would count as the last
    /// level, but compactions soon write them anew, with blobs, so little time is spent on them.
    pub(crate) fn staging() -> Options {
        let mut options = tables(&Cache::new_lru_cache(1 << 20), rocks::RATE);
        options.set_bottommost_compression_type(DBCompressionType::Lz4);
        options
    }
}

fn tables(cache: &Cache, compaction_bytes_per_s: u64) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_bloom_filter(BLOOM_BITS, false);
    // Counted in the cache, so that many files cannot grow past it.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = rocks::options(compaction_bytes_per_s);
    options.set_block_based_table_factory(&blocks);
    // Fast everywhere but in the last level, which holds most bytes and is written least.
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options
}
