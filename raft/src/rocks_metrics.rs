//! What a database says of itself: memory, files, work that waits.

use ranch_proto::schema::MetricFamily;
use rocksdb::DB;

/// Counts flushes and merges that failed; after one, some databases do neither until reopened.
pub(crate) const BACKGROUND_ERRORS: &str = "rocksdb.background-errors";

/// Bytes in blob files that nothing refers to any more.
pub(crate) const BLOB_GARBAGE: &str = "rocksdb.live-blob-file-garbage-size";

/// A property, the metric it becomes and what that means.
const PROPERTIES: [(&str, &str, &str); 13] = [
    (
        "rocksdb.cur-size-all-mem-tables",
        "ranch_rocksdb_memtable_bytes",
        "Memory of writes that are not in files yet.",
    ),
    (
        "rocksdb.block-cache-usage",
        "ranch_rocksdb_block_cache_bytes",
        "Memory of cached blocks, indexes and filters.",
    ),
    (
        "rocksdb.estimate-table-readers-mem",
        "ranch_rocksdb_table_readers_bytes",
        "Memory of open files outside the block cache.",
    ),
    ("rocksdb.total-sst-files-size", "ranch_rocksdb_sst_bytes", "Size of all table files."),
    ("rocksdb.total-blob-file-size", "ranch_rocksdb_blob_bytes", "Size of all blob files."),
    (
        BLOB_GARBAGE,
        "ranch_rocksdb_blob_garbage_bytes",
        "Bytes in blob files that nothing refers to any more.",
    ),
    ("rocksdb.estimate-num-keys", "ranch_rocksdb_keys", "Rows, as estimated."),
    (
        "rocksdb.estimate-pending-compaction-bytes",
        "ranch_rocksdb_pending_compaction_bytes",
        "Bytes that wait to be merged, as estimated.",
    ),
    (
        "rocksdb.num-running-compactions",
        "ranch_rocksdb_running_compactions",
        "Merges of files that run now.",
    ),
    ("rocksdb.num-running-flushes", "ranch_rocksdb_running_flushes", "Flushes that run now."),
    (
        "rocksdb.is-write-stopped",
        "ranch_rocksdb_writes_stopped",
        "1 while writes are stopped until merges catch up.",
    ),
    (
        "rocksdb.actual-delayed-write-rate",
        "ranch_rocksdb_delayed_write_bytes_per_second",
        "Rate writes are slowed down to; 0 when they are not.",
    ),
    (
        BACKGROUND_ERRORS,
        "ranch_rocksdb_background_errors",
        "Failures of flushes and merges so far.",
    ),
];

/// Gauges of a database, which the label `db` tells from others.
pub(crate) fn families(label: &str, db: &DB) -> Vec<MetricFamily> {
    let family = |(property, name, help): &(&str, &str, &str)| {
        let mut family = MetricFamily::gauge(name, help);
        if let Ok(Some(value)) = db.property_int_value(*property) {
            family.push(&[("db", label)], value as f64);
        }
        family
    };
    PROPERTIES.iter().map(family).collect()
}
