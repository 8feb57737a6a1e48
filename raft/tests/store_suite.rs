//! openraft's own suite over the real log store and the real state machine, on a real disk.

// A test's helpers may panic as its body may; clippy sees only the body.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use ranch_proto::GroupId;
use ranch_raft::TypeConfig;
use ranch_raft::log::{GroupLog, LogOptions, LogStore};
use ranch_raft::state::{StateMachine, StateOptions, StateStore};
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, GroupLog, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, GroupLog, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let logs = LogStore::open(&dir.path().join("log"), LogOptions::default()).unwrap();
        let states = StateStore::open(dir.path().join("state"), StateOptions::default()).unwrap();
        let (machine, _) = StateMachine::shard(&states, GroupId(1)).unwrap();
        Ok((dir, logs.group(GroupId(1)).unwrap(), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_accepts_the_store() {
    Suite::test_all(Builder).await.unwrap();
}
