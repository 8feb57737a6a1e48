//! The Raft log of a node: logs, votes and commit marks of all its groups in one store.
//!
//! What holds here, and what everything else relies on:
//!
//! 1. Nothing is reported as on disk before an fsync that covered it returned. A write or fsync
//!    that fails ends the process: the kernel may have dropped the page, so trying again would
//!    report bytes that are not there.
//! 2. All writes of all groups pass through one queue and one thread ([`writer`]), in the order
//!    in which they were made. So a vote is a barrier, and order needs no waiting.
//! 3. Readers are bounded by what memory says a log holds ([`tail`]), never by what the database
//!    happens to hold: a truncated or purged entry is gone the moment the call returns.
//! 4. A log is one unbroken run of indexes. A write that would leave a hole is refused, a hole
//!    found is damage.
//! 5. The watermark file ([`watermark`]) remembers how much has been acknowledged, outside the
//!    log's own tail. A log that ends below it has lost acknowledged bytes and is refused: this
//!    replica must not vote or answer again under its old name.
//!
//! 6. Each record of an entry holds the hash of the one before it ([`record`]), and is held to it
//!    whenever both are read: at the start, by replication, by apply. A record that is whole and
//!    not the one written last is damage like any other.
//!
//! Deliberately absent: repair. A replica whose log is damaged is filled again by its peers.

mod crash_point;
mod engine;
mod error;
mod group_log;
mod group_state;
mod marks;
mod options;
mod promise;
mod queue;
mod reader;
mod record;
mod recovery;
mod rocks;
mod stats;
mod store;
mod tail;
mod watermark;
mod writer;

#[cfg(test)]
mod test_support;

pub use engine::EngineError;
pub use error::{DamagedRow, LogError};
pub use group_log::GroupLog;
pub use options::LogOptions;
pub use promise::Promise;
pub use reader::GroupLogReader;
pub use record::RecordError;
pub use stats::{FSYNC_BUCKETS_US, LogStats};
pub use store::LogStore;
pub use watermark::WatermarkFault;
