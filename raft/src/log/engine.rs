//! The seam between the log and the database below it, so that another write-ahead log may take
//! `RocksDB`'s place.
//!
//! An engine is an ordered map from keys to values with a sequence number that grows with every
//! change and survives with it. Reading is shared; writing belongs to whoever holds the one
//! [`EngineWriter`], which is the log writer thread.

use std::io;

use ranch_proto::schema::MetricFamily;

/// A failure of the database, by what the log must do about it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Another process holds the database.
    #[error("locked: {detail}")]
    Locked {
        /// The database's own words.
        detail: String,
    },
    /// The files are not as they were written.
    #[error("{detail}")]
    Corrupt {
        /// The database's own words.
        detail: String,
    },
    /// Reading or writing failed.
    #[error("{detail}")]
    Failed {
        /// The database's own words.
        detail: String,
    },
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Called with each key and value of a scan; `false` ends it.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

/// The reading side of a log database.
pub trait LogEngine: Send + Sync + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Visits the keys in `from..to` in order, as they were at one instant.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), EngineError>;

    /// The last key in `from..to` and its value.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, EngineError>;

    /// The number of the newest change.
    fn sequence(&self) -> u64;

    /// Begins to give back the space of removed values, or ends it, by how much there is.
    ///
    /// # Errors
    /// When the database refuses.
    fn regulate_collection(&self) -> Result<(), EngineError>;

    /// Failures of flushes and merges since the database was opened.
    fn background_errors(&self) -> u64;

    /// What the database says of itself.
    fn metrics(&self) -> Vec<MetricFamily>;
}

/// The writing side: collects a batch, then commits it whole.
pub trait EngineWriter: Send + 'static {
    /// Adds a key and value to the batch.
    fn put(&mut self, key: &[u8], value: &[u8]);

    /// Adds the removal of a key.
    fn delete(&mut self, key: &[u8]);

    /// Adds the removal of all keys in `from..to`.
    fn delete_range(&mut self, from: &[u8], to: &[u8]);

    /// Bytes of the batch so far.
    fn size(&self) -> usize;

    /// Writes the batch as one and returns the database's sequence number once an fsync has put
    /// it on disk. The batch is empty afterwards.
    ///
    /// # Errors
    /// When the batch may not be on disk. It must not be tried again.
    fn commit(&mut self) -> Result<u64, EngineError>;
}

impl From<EngineError> for io::Error {
    fn from(error: EngineError) -> Self {
        Self::other(error)
    }
}
