//! Copies of shards that are read for a backup: opened on a replica that is up to date, which may
//! be a follower, then read piece by piece by whoever asks through a router.
//!
//! A copy keeps a snapshot of the database, so one that nobody asks for any more is given up
//! after a while. It lives in this process only: whoever loses it opens another one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use ranch_proto::backup::PART_BYTES;
use ranch_proto::schema::copy_reply::What;
use ranch_proto::schema::{CopiedChunk, CopyReply, CopyRequest, reply};
use ranch_proto::{GroupId, ShardError};
use ranch_raft::state::{CopyPiece, CopySource, StateError};

use crate::handler::{Handled, invalid};
use crate::replicas::Replicas;

/// Most copies open on a node.
const OPEN_MAX: usize = 256;
/// How long one is kept that nobody asks for.
const IDLE_MAX: Duration = Duration::from_mins(10);
/// Between looks for such.
const LOOK: Duration = Duration::from_secs(30);
/// Longest wait for this replica to catch up.
const BEHIND_MAX: Duration = Duration::from_secs(3);

/// The copies open on a node.
#[derive(Default)]
pub(crate) struct Copies {
    open: Mutex<HashMap<u64, Arc<Open>>>,
}

struct Open {
    group: GroupId,
    touched: Mutex<Instant>,
    reading: tokio::sync::Mutex<Reading>,
}

/// How far a copy has been read.
struct Reading {
    source: CopySource,
    /// Number of the piece at hand, or of the first if there is none.
    at: u64,
    piece: Option<CopyPiece>,
}

impl Reading {
    /// Has the piece of this number at hand: the one that was, or the next.
    async fn go_to(&mut self, number: u64) -> Result<&CopyPiece, ShardError> {
        let next = if self.piece.is_some() { self.at + 1 } else { self.at };
        let ended = matches!(self.piece, Some(CopyPiece::End));
        if number == next && !ended {
            let piece = self.source.next().await.map_err(|error| unreadable(&error))?;
            (self.at, self.piece) = (number, Some(piece));
        }
        let at_hand = self.piece.as_ref().filter(|_| self.at == number);
        at_hand.ok_or_else(|| invalid("the copy has been read to another piece"))
    }
}

impl Copies {
    /// Gives up those of a group, or all.
    pub(crate) fn close(&self, group: Option<GroupId>) {
        self.open.lock().retain(|_, open| group.is_some_and(|group| open.group != group));
    }

    fn find(&self, group: GroupId, copy: u64) -> Result<Arc<Open>, ShardError> {
        let open = self.open.lock().get(&copy).filter(|open| open.group == group).cloned();
        let open = open.ok_or_else(|| invalid("there is no such copy here, or none any more"))?;
        *open.touched.lock() = Instant::now();
        Ok(open)
    }

    fn add(&self, group: GroupId, source: CopySource) -> Result<u64, ShardError> {
        let reading = tokio::sync::Mutex::new(Reading { source, at: 0, piece: None });
        let open = Open { group, touched: Mutex::new(Instant::now()), reading };
        let mut all = self.open.lock();
        if all.len() >= OPEN_MAX {
            return Err(ShardError::Overloaded {
                detail: format!("{OPEN_MAX} copies are being read from this node"),
            });
        }
        let copy = fastrand::u64(1..);
        all.insert(copy, Arc::new(open));
        Ok(copy)
    }

    fn expire(&self) {
        self.open.lock().retain(|_, open| open.touched.lock().elapsed() < IDLE_MAX);
    }
}

/// Gives up copies that nobody asks for.
pub(crate) async fn expire(replicas: Arc<Replicas>) {
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tick.tick().await;
        replicas.copies.expire();
    }
}

impl Replicas {
    /// Opens a copy, or answers what is asked of one.
    pub(crate) async fn copy(&self, group: GroupId, asked: CopyRequest) -> Handled {
        let copy = asked.copy;
        let reply = if copy == 0 {
            self.open_copy(group, asked.at_least).await?
        } else if asked.close {
            self.copies.find(group, copy)?;
            self.copies.open.lock().remove(&copy);
            CopyReply { copy, ..CopyReply::default() }
        } else {
            let open = self.copies.find(group, copy)?;
            let mut reading = open.reading.lock().await;
            let piece = reading.go_to(asked.piece).await?;
            let what = match asked.offset {
                Some(offset) => What::Bytes(part(piece, offset, asked.length)?),
                None => describe(piece),
            };
            CopyReply { copy, what: Some(what), ..CopyReply::default() }
        };
        Ok(reply::Body::Copy(reply))
    }

    async fn open_copy(&self, group: GroupId, at_least: u64) -> Result<CopyReply, ShardError> {
        let shard = self.shard(group).ok_or(ShardError::NoReplica)?;
        let mut applied = shard.reader().watch_applied();
        let current = applied.wait_for(|applied| *applied >= at_least);
        if tokio::time::timeout(BEHIND_MAX, current).await.is_err() {
            let detail = "this replica is behind".to_owned();
            return Err(ShardError::Unavailable { detail });
        }
        let source = CopySource::open(&self.shared.store, group)
            .await
            .map_err(|error| unreadable(&error))?;
        let (applied, stored_bytes) = (source.applied(), shard.reader().bytes());
        let copy = self.copies.add(group, source)?;
        tracing::info!(%group, applied, "a copy for a backup is opened");
        Ok(CopyReply { copy, applied, stored_bytes, what: None })
    }
}

fn describe(piece: &CopyPiece) -> What {
    match piece {
        CopyPiece::Chunk(chunk) => What::Chunk(CopiedChunk {
            digest: Bytes::copy_from_slice(&chunk.digest),
            length: chunk.bytes.len() as u64,
        }),
        CopyPiece::Tenant(tenant) => What::Tenant(tenant.clone()),
        CopyPiece::End => What::End(true),
    }
}

/// Bytes of a chunk from `offset` on: as many as are wanted, or fit.
fn part(piece: &CopyPiece, offset: u64, wanted: u64) -> Result<Bytes, ShardError> {
    let CopyPiece::Chunk(chunk) = piece else { return Err(invalid("this piece has no bytes")) };
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(chunk.bytes.len());
    let most = usize::try_from(wanted).ok().filter(|most| *most > 0).unwrap_or(PART_BYTES);
    let end = (start + most.min(PART_BYTES)).min(chunk.bytes.len());
    Ok(chunk.bytes.slice(start..end))
}

fn unreadable(error: &StateError) -> ShardError {
    ShardError::Unavailable { detail: error.to_string() }
}
