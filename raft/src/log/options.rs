//! What an operator may tune of the log store.

use crate::garbage::BlobOptions;
use crate::rocks;

/// Entries from this size on live in blob files. Merges would write them anew five times before
/// they are purged, and what they are merged with; smaller ones are hardly more than their keys.
const BLOB_MIN_BYTES: u64 = 512;
/// Entries are purged soon, and the oldest files go with them, whole, without being collected. Only
/// groups that are seldom written to keep files with little in them.
const GARBAGE_MUCH: f64 = 0.75;

/// Sizes of the log store, all in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Most bytes written with one fsync, except that one append is never split.
    pub batch_bytes_max: usize,
    /// Most bytes waiting for the log writer; above it appends wait before they begin.
    pub queue_bytes_max: usize,
    /// Newest entries kept in memory over all groups, for replication and apply. Entries not yet
    /// on disk are always kept, even above it.
    pub cache_bytes_max: usize,
    /// Most bytes of entries in one read for replication; one entry is always returned.
    pub read_bytes_max: usize,
    /// Size of one of the database's write buffers, and with it about that of one write-ahead
    /// file. Up to four are in memory when the disk is slow.
    pub write_buffer_bytes: usize,
    /// Most that flushes and compactions write a second.
    pub compaction_bytes_per_s: u64,
}

impl LogOptions {
    /// What goes to blob files: each flush makes one.
    pub(crate) fn blobs(&self) -> BlobOptions {
        BlobOptions {
            min_bytes: BLOB_MIN_BYTES,
            file_bytes: self.write_buffer_bytes as u64,
            garbage_much: GARBAGE_MUCH,
        }
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            batch_bytes_max: 4 << 20,
            queue_bytes_max: 32 << 20,
            cache_bytes_max: 16 << 20,
            read_bytes_max: 1 << 20,
            write_buffer_bytes: 16 << 20,
            compaction_bytes_per_s: rocks::RATE,
        }
    }
}
