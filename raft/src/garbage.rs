//! Blob files: values kept apart from their keys, so that merges do not write them again, and when
//! those that nothing refers to any more are collected.
//!
//! `RocksDB` collects garbage as it merges: each live value of the oldest blob files that a merge
//! comes across is written anew, whether there is any garbage beside it or not. If that were always
//! on, a database at rest but for a few small writes would rewrite its values for ever. So it is on
//! only while there is garbage worth it.

use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{DB, Options};

use crate::rocks_metrics::BLOB_GARBAGE;

/// What a database keeps in blob files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobOptions {
    /// Values from this size on.
    pub(crate) min_bytes: u64,
    /// Size of one file; less garbage than that is left where it is.
    pub(crate) file_bytes: u64,
    /// Part of all bytes in blob files from which garbage is collected. It is left again from half
    /// of that on.
    pub(crate) garbage_much: f64,
}

impl BlobOptions {
    /// Has a database keep large values in blob files.
    pub(crate) fn set(self, options: &mut Options) {
        // Otherwise the kernel is told to read nothing ahead, and whoever reads many rows waits
        // for the disk at every blob.
        options.set_advise_random_on_open(false);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(self.min_bytes);
        options.set_blob_file_size(self.file_bytes);
        // Whether garbage is collected is decided while the database is open; from this part of
        // it on, the oldest files need not wait for a merge to come by.
        options.set_enable_blob_gc(false);
        options.set_blob_gc_force_threshold(self.garbage_much);
    }
}

/// Decides when a database collects garbage.
#[derive(Debug)]
pub(crate) struct Collector {
    options: BlobOptions,
    collecting: AtomicBool,
}

/// What is in blob files.
#[derive(Clone, Copy, Debug)]
struct Blobs {
    bytes: u64,
    /// Of these, values that nothing refers to any more.
    garbage: u64,
}

impl Collector {
    /// Of a database that was just opened with these options.
    pub(crate) fn new(options: BlobOptions) -> Self {
        Self { options, collecting: AtomicBool::new(false) }
    }

    /// Begins to collect garbage, or ends it, by how much there is; merges do the work. Blocks on
    /// the disk when it begins or ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) fn regulate(&self, db: &DB) -> Result<(), rocksdb::Error> {
        let read = |name| db.property_int_value(name).ok().flatten().unwrap_or(0);
        let blobs =
            Blobs { bytes: read("rocksdb.live-blob-file-size"), garbage: read(BLOB_GARBAGE) };
        let collecting = self.collecting.load(Ordering::Relaxed);
        let wanted = self.options.worth_collecting(blobs, collecting);
        if wanted == collecting {
            return Ok(());
        }
        let value = if wanted { "true" } else { "false" };
        db.set_options(&[("enable_blob_garbage_collection", value)])?;
        self.collecting.store(wanted, Ordering::Relaxed);
        tracing::debug!(wanted, ?blobs, path = ?db.path(), "whether garbage is collected changes");
        Ok(())
    }
}

impl BlobOptions {
    fn worth_collecting(self, blobs: Blobs, collecting: bool) -> bool {
        let part = if collecting { self.garbage_much / 2.0 } else { self.garbage_much };
        blobs.garbage > self.file_bytes && blobs.garbage as f64 > blobs.bytes as f64 * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_garbage_is_left_and_much_is_collected_until_little_is_left() {
        let options = BlobOptions { min_bytes: 1, file_bytes: 64, garbage_much: 0.3 };
        let worth = |bytes, garbage, collecting| {
            options.worth_collecting(Blobs { bytes, garbage }, collecting)
        };
        assert!(!worth(1_000, 0, false) && !worth(1_000, 0, true));
        assert!(!worth(1_000, 300, false) && worth(1_000, 301, false));
        assert!(worth(1_000, 151, true) && !worth(1_000, 150, true));
        assert!(!worth(100, 64, true), "not a file's worth");
    }
}
