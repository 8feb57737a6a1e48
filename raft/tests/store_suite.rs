//! openraft's own suite over the real log store and the real state machine, on a real disk.

// A test's helpers may panic as its body may; clippy sees only the body.
#![allow(clippy::unwrap_used)]

use std::io;

use futures_util::{Stream, StreamExt, stream};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, StorageError};
use ranch_proto::GroupId;
use ranch_raft::TypeConfig;
use ranch_raft::log::{GroupLog, LogOptions, LogStore};
use ranch_raft::state::{SnapshotBuilder, SnapshotHandle, StateMachine, StateOptions, StateStore};
use ranch_raft::types::{Entry, LogId, SnapshotMeta, StoredMembership};
use tempfile::TempDir;

/// The real machine, for a suite whose fixtures leave out indexes. No Raft does that and ours
/// refuses it, so blank entries take the places left out.
struct WithoutGaps {
    machine: StateMachine,
}

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotHandle>;

/// The entry at `index`, behind blank ones for every index after `last` that was left out.
fn without_gap(
    last: &mut Option<LogId>,
    item: io::Result<EntryResponder<TypeConfig>>,
) -> Vec<io::Result<EntryResponder<TypeConfig>>> {
    let Ok((entry, responder)) = item else { return vec![item] };
    let leader_id = entry.log_id.leader_id;
    let from = last.map_or(entry.log_id.index, |last| last.index + 1);
    *last = Some(entry.log_id);
    let blank = |index| {
        let log_id = LogId { leader_id, index };
        Ok((Entry { log_id, payload: EntryPayload::Blank }, None))
    };
    let left_out = (from..entry.log_id.index).map(blank);
    left_out.chain([Ok((entry, responder))]).collect()
}

impl RaftStateMachine<TypeConfig> for WithoutGaps {
    type SnapshotData = SnapshotHandle;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.machine.applied_state().await
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut last = self.machine.applied_state().await?.0;
        let filled = entries.flat_map(move |item| stream::iter(without_gap(&mut last, item)));
        self.machine.apply(Box::pin(filled)).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        self.machine.try_create_snapshot_builder(force).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.machine.get_snapshot_builder().await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotHandle,
    ) -> io::Result<()> {
        self.machine.install_snapshot(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.machine.get_current_snapshot().await
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, GroupLog, WithoutGaps, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, GroupLog, WithoutGaps), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let logs = LogStore::open(&dir.path().join("log"), LogOptions::default()).unwrap();
        let states = StateStore::open(dir.path().join("state"), StateOptions::default()).unwrap();
        let (machine, _) = StateMachine::shard(&states, GroupId(1)).unwrap();
        Ok((dir, logs.group(GroupId(1)).unwrap(), WithoutGaps { machine }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_accepts_the_store() {
    Suite::test_all(Builder).await.unwrap();
}
