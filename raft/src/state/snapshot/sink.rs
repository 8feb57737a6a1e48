//! Receiving a group's rows piece by piece, written by a thread of its own that gives way to
//! requests.

use std::sync::Arc;

use ranch_proto::ids::GroupId;
use ranch_proto::schema::{SnapshotChunk, SnapshotEnd};
use tokio::sync::{mpsc, oneshot};

use crate::background;
use crate::state::error::StateError;
use crate::state::snapshot::{SnapshotHandle, SnapshotPiece, SnapshotStage};
use crate::state::store::StateStore;
use crate::types::SnapshotMeta;

/// Pieces taken before those ahead of them are written.
const AHEAD: usize = 1;

const LOST: StateError = StateError::ThreadLost { action: "write a snapshot" };

type Staged = Result<SnapshotHandle, StateError>;

/// Takes the pieces of a snapshot. Dropped before the end, it leaves nothing behind.
#[derive(Debug)]
pub struct SnapshotSink {
    pieces: mpsc::Sender<SnapshotPiece>,
    staged: oneshot::Receiver<Staged>,
}

impl SnapshotSink {
    /// Begins to receive the rows of `group` that stand at `meta`.
    ///
    /// # Errors
    /// When the thread cannot be started. What the disk says is told with a later piece.
    pub fn open(
        store: &Arc<StateStore>,
        group: GroupId,
        meta: SnapshotMeta,
    ) -> Result<Self, StateError> {
        let (pieces, arriving) = mpsc::channel(AHEAD);
        let (told, staged) = oneshot::channel();
        let store = Arc::clone(store);
        let started = background::spawn(format!("stage-{group}"), move || {
            let done = stage(&store, group, meta, arriving);
            // Whoever sees the end may close the store.
            drop(store);
            if let Some(done) = done.transpose() {
                // A sender that is gone has broken off.
                let _ = told.send(done);
            }
        });
        started.map_err(StateError::io("start a thread to write", "the state database"))?;
        Ok(Self { pieces, staged })
    }

    /// Takes the next chunk; waits while those before it are written.
    ///
    /// # Errors
    /// As [`SnapshotStage::push`], for this chunk or an earlier one.
    pub async fn push(self, chunk: SnapshotChunk) -> Result<Self, StateError> {
        if self.pieces.send(SnapshotPiece::Chunk(chunk)).await.is_ok() {
            return Ok(self);
        }
        // The thread ends before the end only with an error.
        Err(self.staged.await.ok().and_then(Result::err).unwrap_or(LOST))
    }

    /// Ends the transfer: all is checked and durable.
    ///
    /// # Errors
    /// As [`SnapshotStage::finish`].
    pub async fn finish(self, end: SnapshotEnd) -> Result<SnapshotHandle, StateError> {
        // Where nobody takes the end, the reason has been told.
        let _ = self.pieces.send(SnapshotPiece::End(end)).await;
        self.staged.await.map_err(|_| LOST)?
    }
}

/// Writes what arrives; `None` when nothing comes any more.
fn stage(
    store: &Arc<StateStore>,
    group: GroupId,
    meta: SnapshotMeta,
    mut arriving: mpsc::Receiver<SnapshotPiece>,
) -> Result<Option<SnapshotHandle>, StateError> {
    let mut stage = SnapshotStage::begin(store, group, meta)?;
    while let Some(piece) = arriving.blocking_recv() {
        match piece {
            SnapshotPiece::Chunk(chunk) => stage.push(&chunk)?,
            SnapshotPiece::End(end) => return stage.finish(&end).map(Some),
        }
    }
    Ok(None)
}
