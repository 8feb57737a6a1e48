//! What the log's unit tests share.

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;

use crate::types::{Entry, LogId, Proposal, TypeConfig};

type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

/// A log id of leader 1.
pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId::new(term, 1), index }
}

/// A normal entry of leader 1.
pub(super) fn entry(term: u64, index: u64, payload: &'static [u8]) -> Entry {
    let payload = EntryPayload::Normal(Proposal(payload.into()));
    Entry { log_id: log_id(term, index), payload }
}

/// A directory next to the test binary, so on a disk and not in memory; removed at the end.
pub(super) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(super) fn new() -> Self {
        let binary = std::env::current_exe().unwrap();
        Self(tempfile::tempdir_in(binary.parent().unwrap()).unwrap())
    }

    pub(super) fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}
