//! What the databases of a node have in common.

use std::path::Path;

use rocksdb::{DB, LogLevel, Options};

use crate::background;

/// Starts writing table files back early, so that an fsync of the log does not wait for them all.
const BYTES_PER_SYNC: u64 = 1 << 20;

/// How often what may be written is handed out, in microseconds: a tenth of `RocksDB`'s own choice,
/// at which a disk gets a tenth of a second's writes at once.
const RATE_PERIOD_US: i64 = 10_000;
/// In one of so many turns compactions come before flushes: `RocksDB`'s own choice.
const RATE_FAIRNESS: i32 = 10;
/// What flushes and compactions of a database may write unless something else is asked for, in
/// bytes a second. Without a bound a compaction fills the disk's queue, and an fsync of the log
/// takes tens of milliseconds instead of one: see docs/decisions/017.
pub(crate) const RATE: u64 = 128 << 20;

/// Options to begin with: background work that leaves a small machine to others and writes at most
/// so many bytes a second, and little said.
pub(crate) fn options(bytes_per_s: u64) -> Options {
    let mut options = Options::default();
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    let bytes_per_s = i64::try_from(bytes_per_s).unwrap_or(i64::MAX);
    options.set_ratelimiter(bytes_per_s, RATE_PERIOD_US, RATE_FAIRNESS);
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
