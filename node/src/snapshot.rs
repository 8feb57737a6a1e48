//! Whole replicas on the wire: sending a snapshot to a replica that fell too far behind, and
//! receiving one. Of those that give way and of the others at most two are sent at a time, all
//! together at a bounded rate ([`Pace`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::alias::SnapshotOf;
use parking_lot::Mutex;
use ranch_proto::link::Links;
use ranch_proto::schema::{
    Sending, SnapshotHead, SnapshotPart, SnapshotReply, snapshot_part::What,
};
use ranch_proto::{GroupId, ReplicaId, ShardError};
use ranch_raft::convert::{
    snapshot_meta_from_wire, snapshot_meta_to_wire, vote_from_wire, vote_to_wire,
};
use ranch_raft::group::GroupCore;
use ranch_raft::state::{SnapshotPiece, SnapshotSink, SnapshotSource, StateError, StateStore};
use ranch_raft::types::{SnapshotMeta, TypeConfig, Vote};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::pace::Pace;

/// Version of the parts of a snapshot.
const VERSION: u32 = 1;
/// A replica that needs a snapshot again so soon had the last one too slowly.
const AGAIN: Duration = Duration::from_mins(10);
/// Snapshots of a kind sent at a time.
const AT_ONCE: usize = 2;
/// A receiver that takes no part for so long is given up.
const PART_LIMIT: Duration = Duration::from_secs(30);

/// Why a snapshot could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// Our state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The receiver cannot be reached.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// Another leader has taken over; its entries must not go out under our vote.
    #[error("this node no longer leads the group")]
    Superseded,
    /// The receiver refused, or the stream broke.
    #[error("the receiver did not take the snapshot: {status}")]
    Receiver {
        /// In gRPC's words.
        status: Box<Status>,
    },
}

/// Sends snapshots for all groups of a node.
pub(crate) struct SnapshotSender {
    links: Arc<Links>,
    store: Arc<StateStore>,
    /// For what must catch up.
    slots: Semaphore,
    /// For what gives way: slow as it is, it takes no place from the others.
    back_slots: Semaphore,
    pace: Pace,
    under_way: Mutex<BTreeMap<(GroupId, ReplicaId), Progress>>,
    /// When each last installed one, lately.
    installed: Mutex<BTreeMap<(GroupId, ReplicaId), Instant>>,
}

/// How far a snapshot has been sent.
#[derive(Clone, Copy, Debug)]
struct Progress {
    began: Instant,
    sent: u64,
}

/// Takes a snapshot off the list when it is done or broken off.
struct Listed<'a> {
    sender: &'a SnapshotSender,
    key: (GroupId, ReplicaId),
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.sender.under_way.lock().remove(&self.key);
    }
}

impl SnapshotSender {
    /// A sender of the states in `store`, at most `bytes_per_s` in all.
    pub(crate) fn new(links: Arc<Links>, store: Arc<StateStore>, bytes_per_s: u64) -> Self {
        let (slots, back_slots) = (Semaphore::new(AT_ONCE), Semaphore::new(AT_ONCE));
        let (under_way, installed) = (Mutex::default(), Mutex::default());
        let pace = Pace::new(bytes_per_s);
        Self { links, store, slots, back_slots, pace, under_way, installed }
    }

    /// What is being sent of a group.
    pub(crate) fn sending(&self, group: GroupId) -> Vec<Sending> {
        let under_way = self.under_way.lock();
        let of_group = under_way.iter().filter(|((other, _), _)| *other == group);
        let sending = of_group.map(|((_, to), progress)| Sending {
            to: to.0,
            sent: progress.sent,
            elapsed_ms: progress.began.elapsed().as_millis() as u64,
        });
        sending.collect()
    }

    /// Sends the group's state as it is now to `target` and waits until it is installed there.
    /// Returns the receiver's vote.
    pub(crate) async fn send(
        &self,
        group: GroupId,
        from: ReplicaId,
        target: ReplicaId,
        vote: Vote,
    ) -> Result<Vote, SendError> {
        // A replica that is away takes no place from the others.
        let mut client = self.links.client(target.node()).await?;
        let key = (group, target);
        let gives_way = self.gives_way(key);
        let slots = if gives_way { &self.back_slots } else { &self.slots };
        // The semaphores are never closed, so waiting cannot fail.
        let _slot = slots.acquire().await.ok();
        let progress = Progress { began: Instant::now(), sent: 0 };
        self.under_way.lock().insert(key, progress);
        let _listed = Listed { sender: self, key };
        let source = SnapshotSource::open(&self.store, group).await?;
        let last = source.meta().last_log_id;
        if last.is_some_and(|id| id.leader_id > vote.leader_id) {
            return Err(SendError::Superseded);
        }
        tracing::info!(%group, %target, last = ?last.map(|id| id.index), "sending a snapshot");
        let head = SnapshotHead {
            cluster_id: self.links.options().cluster_id.read().clone(),
            group: group.0,
            from: from.0,
            target: target.0,
            vote: Some(vote_to_wire(&vote)),
            meta: Some(snapshot_meta_to_wire(source.meta())),
            version: VERSION,
        };
        let (parts, outgoing) = mpsc::channel(2);
        let feeding = self.feed(head, source, (parts, key), gives_way);
        let installing = client.install_snapshot(ReceiverStream::new(outgoing));
        let (fed, installed) = tokio::join!(feeding, installing);
        let reply = installed
            .map_err(|status| SendError::Receiver { status: Box::new(status) })?
            .into_inner();
        fed?;
        self.note_installed(key);
        reply.vote.as_ref().map(vote_from_wire).ok_or_else(|| SendError::Receiver {
            status: Box::new(Status::internal("a reply without a vote")),
        })
    }

    fn gives_way(&self, (group, target): (GroupId, ReplicaId)) -> bool {
        let votes = self.store.progress(group).is_some_and(|progress| progress.is_voter(target));
        let installed = self.installed.lock().get(&(group, target)).map(Instant::elapsed);
        gives_way(votes, installed)
    }

    fn note_installed(&self, key: (GroupId, ReplicaId)) {
        let mut installed = self.installed.lock();
        installed.retain(|_, then| then.elapsed() < AGAIN);
        installed.insert(key, Instant::now());
    }

    /// Puts the parts on the stream; a receiver that is gone says so in its own reply.
    async fn feed(
        &self,
        head: SnapshotHead,
        mut source: SnapshotSource,
        (parts, key): (mpsc::Sender<SnapshotPart>, (GroupId, ReplicaId)),
        gives_way: bool,
    ) -> Result<(), SendError> {
        let mut part = What::Head(head);
        loop {
            let bytes = size(&part);
            let last = matches!(part, What::End(_));
            let sent = parts.send_timeout(SnapshotPart { what: Some(part) }, PART_LIMIT).await;
            if last || sent.is_err() {
                return Ok(());
            }
            if let Some(progress) = self.under_way.lock().get_mut(&key) {
                progress.sent += bytes;
            }
            self.pace.pass(bytes, gives_way).await;
            part = match source.next().await? {
                SnapshotPiece::Chunk(chunk) => What::Chunk(chunk),
                SnapshotPiece::End(end) => What::End(end),
            };
        }
    }
}

/// Whether a snapshot may take longer while processors are wanted: it is for a replica that does
/// not vote yet, and that `installed` none lately, so long ago.
fn gives_way(votes: bool, installed: Option<Duration>) -> bool {
    !votes && installed.is_none_or(|ago| ago >= AGAIN)
}

fn size(part: &What) -> u64 {
    let What::Chunk(chunk) = part else { return 0 };
    chunk.keys.iter().chain(&chunk.values).map(|bytes| bytes.len() as u64).sum()
}

/// The head of an incoming snapshot, checked.
pub(crate) struct Incoming {
    pub(crate) head: SnapshotHead,
    vote: Vote,
    meta: SnapshotMeta,
}

impl Incoming {
    /// Takes the head off the stream.
    pub(crate) async fn begin(parts: &mut Streaming<SnapshotPart>) -> Result<Self, Status> {
        let Some(What::Head(head)) = next(parts).await? else {
            return Err(Status::invalid_argument("a snapshot begins with its head"));
        };
        if head.version != VERSION {
            return Err(Status::failed_precondition(format!(
                "snapshot version {} is not known here ({VERSION} is); upgrade this node",
                head.version
            )));
        }
        let vote = head.vote.as_ref().map(vote_from_wire);
        let vote = vote.ok_or_else(|| Status::invalid_argument("a snapshot without a vote"))?;
        let meta = head.meta.as_ref().map(snapshot_meta_from_wire);
        let meta = meta
            .ok_or_else(|| Status::invalid_argument("a snapshot without its position"))?
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Self { head, vote, meta })
    }

    /// Receives the rest, checks it, and installs it in the replica.
    pub(crate) async fn install(
        self,
        mut parts: Streaming<SnapshotPart>,
        store: &Arc<StateStore>,
        core: &GroupCore,
    ) -> Result<SnapshotReply, Status> {
        let group = core.group();
        let sink = SnapshotSink::open(store, group, self.meta.clone());
        let mut sink = sink.map_err(|error| refuse(&error))?;
        let staged = loop {
            match next(&mut parts).await? {
                Some(What::Chunk(chunk)) => {
                    sink = sink.push(chunk).await.map_err(|error| refuse(&error))?;
                }
                Some(What::End(end)) => {
                    break sink.finish(end).await.map_err(|error| refuse(&error))?;
                }
                Some(What::Head(_)) | None => {
                    return Err(Status::data_loss("the snapshot broke off"));
                }
            }
        };
        let last = self.meta.last_log_id.map(|id| id.index);
        tracing::info!(%group, ?last, "installing a snapshot");
        let snapshot = SnapshotOf::<TypeConfig, _> { meta: self.meta, snapshot: staged };
        let installed = core.raft().install_full_snapshot(self.vote, snapshot).await;
        let reply = installed.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
        Ok(SnapshotReply { vote: Some(vote_to_wire(&reply.vote)) })
    }
}

async fn next(parts: &mut Streaming<SnapshotPart>) -> Result<Option<What>, Status> {
    let part = tokio::time::timeout(PART_LIMIT, parts.message()).await;
    let part = part.map_err(|_| Status::deadline_exceeded("the sender fell silent"))??;
    Ok(part.and_then(|part| part.what))
}

fn refuse(error: &StateError) -> Status {
    Status::data_loss(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_copies_give_way_and_once() {
        assert!(gives_way(false, None), "a new one");
        assert!(!gives_way(true, None), "one that votes must catch up");
        assert!(!gives_way(false, Some(Duration::ZERO)), "it had one too slowly");
        assert!(!gives_way(false, Some(AGAIN.saturating_sub(Duration::from_millis(1)))));
        assert!(gives_way(false, Some(AGAIN)), "it came back");
    }
}
