//! Packs the commands waiting for a group into as few log entries as possible.
//!
//! Under load the entries in flight are few and each carries many commands, so that the cost of
//! an entry (encoding, hashing, openraft's bookkeeping, one row of the request window) is shared.
//! Commands keep the order in which they arrived.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use ranch_proto::versions::ClusterVersion;
use ranch_proto::{GroupId, ShardError};
use tokio::sync::{mpsc, oneshot};

use super::core::{RaftHandle, not_leader};
use super::hold::Hold;
use super::options::GroupOptions;
use crate::types::{Applied, Proposal, TypeConfig};

/// Entries that may be under way at once; while so many are, commands gather.
const IN_FLIGHT: usize = 4;
/// Most commands of one entry.
const COMMANDS_MAX: usize = 256;
/// No command joins an entry of this many bytes. A shard's commands are no larger themselves, so
/// none of its entries exceeds 1 MiB.
const BYTES_ENOUGH: usize = 512 << 10;

/// The entries of one kind of state machine.
pub(super) trait Entries: Send + 'static {
    /// What is proposed.
    type Command: Send + 'static;
    /// What applying it answers.
    type Outcome: Send + 'static;

    /// Most bytes of one command.
    const COMMAND_MAX: usize;

    /// About how many bytes the command takes in an entry.
    fn size(command: &Self::Command) -> usize;
    /// One entry holding these commands, proposed at this cluster version.
    fn encode(version: u32, stamp_ms: u64, commands: Vec<Self::Command>) -> Bytes;
    /// The answers, one a command, or `None` when the machine answered something else.
    fn outcomes(applied: Applied) -> Option<Vec<Self::Outcome>>;
}

struct Waiting<E: Entries> {
    command: E::Command,
    reply: oneshot::Sender<Result<E::Outcome, ShardError>>,
}

/// Handle to a group's proposer, whose task ends with the last handle.
pub(super) struct Proposer<E: Entries> {
    group: GroupId,
    queue: mpsc::Sender<Waiting<E>>,
    hold: Arc<Hold>,
}

impl<E: Entries> Clone for Proposer<E> {
    fn clone(&self) -> Self {
        let (queue, hold) = (self.queue.clone(), Arc::clone(&self.hold));
        Self { group: self.group, queue, hold }
    }
}

impl<E: Entries> Proposer<E> {
    /// Starts the proposer of a group.
    pub(super) fn start(options: &GroupOptions, raft: RaftHandle) -> Self {
        let group = options.group;
        let (queue, waiting) = mpsc::channel(options.queue);
        let hold = Hold::new();
        let in_flight = FuturesUnordered::new();
        let (version, stamp_ms) = (options.version.clone(), 0);
        let packer = Packer::<E> { raft, version, stamp_ms, in_flight, hold: Arc::clone(&hold) };
        tokio::spawn(packer.run(waiting));
        Self { group, queue, hold }
    }

    /// Holds back what is proposed here.
    pub(super) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Proposes a command and waits until it is applied here.
    pub(super) async fn propose(&self, command: E::Command) -> Result<E::Outcome, ShardError> {
        let (reply, end) = oneshot::channel();
        self.queue.try_send(Waiting { command, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ShardError::Overloaded {
                detail: format!("the queue of group {} is full", self.group),
            },
            mpsc::error::TrySendError::Closed(_) => {
                ShardError::Unavailable { detail: "the replica is stopping".into() }
            }
        })?;
        end.await.unwrap_or_else(|_| Err(unknown("the replica stopped")))
    }
}

fn unknown(detail: &str) -> ShardError {
    ShardError::Unknown { detail: detail.to_owned() }
}

type Replies<E> = Vec<oneshot::Sender<Result<<E as Entries>::Outcome, ShardError>>>;
type Written = ClientWriteResult<TypeConfig>;
type Flight<E> = std::pin::Pin<Box<dyn Future<Output = (Option<Written>, Replies<E>)> + Send>>;

struct Packer<E: Entries> {
    raft: RaftHandle,
    version: ClusterVersion,
    stamp_ms: u64,
    in_flight: FuturesUnordered<Flight<E>>,
    hold: Arc<Hold>,
}

impl<E: Entries> Packer<E> {
    async fn run(mut self, mut waiting: mpsc::Receiver<Waiting<E>>) {
        let mut arrived = Vec::with_capacity(COMMANDS_MAX);
        loop {
            let held = self.hold.is_held();
            if held && self.in_flight.is_empty() {
                self.hold.say_quiet();
            }
            tokio::select! {
                biased;
                Some((written, replies)) = self.in_flight.next() => self.finish(written, replies),
                () = self.hold.changed() => {}
                count = waiting.recv_many(&mut arrived, COMMANDS_MAX),
                    if !held && self.in_flight.len() < IN_FLIGHT =>
                {
                    if count == 0 {
                        return;
                    }
                    self.pack(&mut arrived).await;
                }
            }
        }
    }

    /// Proposes everything that arrived, in as few entries as the byte bound allows.
    async fn pack(&mut self, arrived: &mut Vec<Waiting<E>>) {
        let mut commands = Vec::with_capacity(arrived.len());
        let mut replies = Vec::with_capacity(arrived.len());
        let mut bytes = 0;
        for waiting in arrived.drain(..) {
            let size = E::size(&waiting.command);
            if size > E::COMMAND_MAX {
                let detail = format!("a command of {size} bytes is too large for a log entry");
                fail(vec![waiting.reply], &ShardError::Invalid { detail });
                continue;
            }
            bytes += size;
            commands.push(waiting.command);
            replies.push(waiting.reply);
            if bytes >= BYTES_ENOUGH {
                bytes = 0;
                self.submit(std::mem::take(&mut commands), std::mem::take(&mut replies)).await;
            }
        }
        if !commands.is_empty() {
            self.submit(commands, replies).await;
        }
    }

    async fn submit(&mut self, commands: Vec<E::Command>, replies: Replies<E>) {
        let entry = E::encode(self.version.get(), self.stamp(), commands);
        let (responder, written) = ProgressResponder::complete_only();
        let submitted = self.raft.client_write_ff(Proposal(entry), Some(responder)).await;
        if let Err(fatal) = submitted {
            fail(replies, &unknown(&format!("the replica has stopped: {fatal}")));
            return;
        }
        self.in_flight.push(Box::pin(async move { (written.await.ok(), replies) }));
    }

    /// The leader's clock in milliseconds, which never goes back here.
    fn stamp(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        self.stamp_ms = self.stamp_ms.max(now);
        self.stamp_ms
    }

    fn finish(&self, written: Option<Written>, replies: Replies<E>) {
        let error = match written {
            Some(Ok(response)) => match E::outcomes(response.data) {
                Some(outcomes) if outcomes.len() == replies.len() => {
                    for (reply, outcome) in replies.into_iter().zip(outcomes) {
                        // An asker that gave up is no concern of ours.
                        let _ = reply.send(Ok(outcome));
                    }
                    return;
                }
                _ => unknown("the state machine gave no answer"),
            },
            Some(Err(ClientWriteError::ForwardToLeader(forward))) => {
                not_leader(&forward, self.raft.metrics().borrow_watched().current_term)
            }
            Some(Err(error)) => unknown(&error.to_string()),
            None => unknown("the replica stopped before it answered"),
        };
        fail(replies, &error);
    }
}

fn fail<T>(replies: Vec<oneshot::Sender<Result<T, ShardError>>>, error: &ShardError) {
    for reply in replies {
        let _ = reply.send(Err(error.clone()));
    }
}
