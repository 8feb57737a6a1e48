//! What the databases of a node have in common.

use std::path::Path;

use rocksdb::{DB, LogLevel, Options};

use crate::background;

/// Starts writing table files back early, so that an fsync of the log does not wait for them all.
const BYTES_PER_SYNC: u64 = 1 << 20;

/// Options to begin with: background work that leaves a small machine to others, and little said.
pub(crate) fn options() -> Options {
    let mut options = Options::default();
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// Opens or creates a database in `path`.
pub(crate) fn open(options: &Options, path: &Path) -> Result<DB, rocksdb::Error> {
    let db = DB::open(options, path)?;
    background::compactions_behind();
    Ok(db)
}
