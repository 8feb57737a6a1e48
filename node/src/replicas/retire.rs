//! Replicas of shards that come to a node and leave it again: opened with their name on record,
//! closed, and deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ranch_proto::{GroupId, ReplicaId};
use ranch_raft::GroupCore;
use ranch_raft::state::StateError;

use super::{Replicas, opened};
use crate::error::NodeError;
use crate::roster::Resident;

/// Longest wait for a replica to stop, and for the last request in it to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

impl Replicas {
    /// Opens the replica that the directory of this epoch wants here. `None` where it was here
    /// and is gone, or where another one of the group has yet to go.
    pub(crate) async fn open_new_shard(
        &self,
        group: GroupId,
        replica: ReplicaId,
        epoch: u64,
    ) -> Result<Option<GroupCore>, NodeError> {
        let roster = &self.shared.roster;
        if roster.is_gone(group, replica) {
            return Ok(None);
        }
        match roster.resident(group) {
            Some(resident) if resident.replica != replica => return Ok(None),
            Some(_) => {}
            None => roster.admit(group, Resident { replica, epoch })?,
        }
        self.open_shard(group, replica).await.map(Some)
    }

    /// Stops the replica of a shard.
    pub(crate) async fn close_shard(&self, group: GroupId) {
        let Some(shard) = self.shards.write().remove(&group) else { return };
        let core = shard.core().clone();
        drop(shard);
        self.retired.lock().insert((group, core.replica()));
        self.copies.close(Some(group));
        core.shutdown(STOP_LIMIT).await;
        self.shared.board.forget(group);
    }

    /// Deletes everything of a group whose replica is listed as gone and closed. `false` while
    /// something still uses it.
    pub(crate) async fn delete_doomed(&self, group: GroupId) -> Result<bool, NodeError> {
        let deadline = Instant::now() + STOP_LIMIT;
        // The state machine and the last readers hold on to it.
        while self.shared.store.progress(group).is_some() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.shared.log.remove_group(group).await?;
        let store = Arc::clone(&self.shared.store);
        let removing = tokio::task::spawn_blocking(move || store.remove_group(group)).await;
        opened::<Result<(), StateError>>(group, removing)??;
        self.shared.roster.forget(group)?;
        if let Err(error) = self.shared.store.reclaim(group) {
            tracing::warn!(%group, "its disk space is given back later: {error}");
        }
        Ok(true)
    }
}
