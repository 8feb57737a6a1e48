//! Snapshots: a group's rows as of one applied log id, on their way from one store to another.
//!
//! Building one costs nothing: it only says up to where this node's state is on disk, which is
//! how far the log may be purged. The rows are read when a follower needs them ([`source`]),
//! collected in a file at the other end ([`sink`], [`stage`]), and put in place of the old ones by
//! a single change of the database's manifest. So after a crash at any step the state is the old
//! one or the new one, and the transfer simply starts again.

pub(crate) mod hash;
mod sink;
mod source;
mod stage;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use openraft::alias::SnapshotOf;
use openraft::storage::RaftSnapshotBuilder;
use ranch_proto::ids::GroupId;

use crate::state::error::StateError;
use crate::state::progress::Progress;
use crate::state::store::StateStore;
use crate::types::TypeConfig;

pub use sink::SnapshotSink;
pub(crate) use source::applied;
pub use source::{SnapshotPiece, SnapshotSource};
pub(crate) use stage::StagedSnapshot;
pub use stage::{SnapshotFault, SnapshotStage};

/// A snapshot as openraft passes it around.
pub(crate) type Snapshot = SnapshotOf<TypeConfig, SnapshotHandle>;

/// Where a snapshot's rows are.
#[derive(Debug)]
pub struct SnapshotHandle(Form);

#[derive(Debug)]
enum Form {
    /// In the store of this node, to be read when asked for.
    Local { store: Arc<StateStore>, group: GroupId },
    /// In a file, whole and checked, to be installed.
    Staged(StagedSnapshot),
}

impl SnapshotHandle {
    pub(crate) fn local(store: &Arc<StateStore>, group: GroupId) -> Self {
        Self(Form::Local { store: Arc::clone(store), group })
    }

    pub(crate) fn staged(snapshot: StagedSnapshot) -> Self {
        Self(Form::Staged(snapshot))
    }

    /// The staged rows, for `group` in `store`; local ones are copied there first. Blocks.
    pub(crate) fn stage_in(
        self,
        store: &Arc<StateStore>,
        group: GroupId,
    ) -> Result<StagedSnapshot, StateError> {
        match self.0 {
            Form::Staged(staged) if staged.group() == group => Ok(staged),
            Form::Staged(_) => Err(StateError::Snapshot(SnapshotFault::Meta)),
            Form::Local { store: from, group: of } => copy(&from, of, store, group),
        }
    }
}

fn copy(
    from: &Arc<StateStore>,
    of: GroupId,
    store: &Arc<StateStore>,
    group: GroupId,
) -> Result<StagedSnapshot, StateError> {
    let mut source = SnapshotSource::open_blocking(from, of)?;
    let mut stage = SnapshotStage::begin(store, group, source.meta().clone())?;
    loop {
        match source.next_blocking()? {
            SnapshotPiece::Chunk(chunk) => stage.push(&chunk)?,
            SnapshotPiece::End(end) => return stage.finish_staged(&end),
        }
    }
}

/// Says up to where the state is on disk.
#[derive(Debug)]
pub struct SnapshotBuilder {
    store: Arc<StateStore>,
    progress: Arc<Progress>,
    flush: bool,
}

impl SnapshotBuilder {
    /// With `flush`, everything applied is brought to disk first.
    pub(crate) fn new(store: Arc<StateStore>, progress: Arc<Progress>, flush: bool) -> Self {
        Self { store, progress, flush }
    }

    async fn flush(&self) -> Result<(), StateError> {
        let store = Arc::clone(&self.store);
        let task = tokio::task::spawn_blocking(move || store.flush_and_publish());
        task.await.map_err(|_| StateError::ThreadLost { action: "flush" })?
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotHandle;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        if self.flush && self.progress.is_ahead_of_disk() {
            self.flush().await?;
        }
        let meta = self.progress.durable_meta();
        self.progress.set_snapshot(meta.clone());
        let snapshot = SnapshotHandle::local(&self.store, self.progress.group());
        Ok(Snapshot { meta, snapshot })
    }
}
