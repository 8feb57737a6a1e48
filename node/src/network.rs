//! openraft's way to other replicas: its messages as requests on our links.
//!
//! What must hold: appends to one replica are queued in the order openraft gives them and their
//! results returned in that order; a broken transport is an error, never an answer, least of all
//! a granted pre-vote.

mod promises;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use openraft::alias::SnapshotOf;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use ranch_proto::link::{Lane, Link, Links};
use ranch_proto::schema::{self as wire, Reply, Request, append_reply, reply, request};
use ranch_proto::{GroupId, ReplicaId, ShardError};
use ranch_raft::convert::{
    entry_to_wire, log_id_from_wire, log_id_to_wire, vote_from_wire, vote_to_wire,
};
use ranch_raft::state::SnapshotHandle;
use ranch_raft::types::{LogId, TypeConfig, Vote};

use crate::network::promises::Others;
use crate::room::Room;
use crate::snapshot::{SendError, SnapshotSender};

type BoxFuture<'s, T> = Pin<Box<dyn Future<Output = T> + Send + 's>>;
type BoxStream<'s, T> = Pin<Box<dyn Stream<Item = T> + Send + 's>>;

/// Appends under way to one replica.
const PIPELINE: usize = 64;
/// A follower that leaves an append unanswered for so long is asked anew. Longer than a slow
/// fsync, shorter than an operator's patience.
const APPEND_LIMIT: Duration = Duration::from_secs(5);
/// An append to a replica that is away waits so long for its return, so that nothing is read from
/// the log meanwhile, and what there is goes out when it is back.
const RETURN_WAIT: Duration = Duration::from_millis(200);
/// Between attempts at a replica that was away, until one has succeeded. openraft's own back-off
/// doubles up to a second, and so long nothing would be committed when the only other follower
/// left has just been restarted.
const AWAY_RETRY: Duration = Duration::from_millis(50);
/// Between attempts at a replica that will not take what it is sent, which are as dear as the
/// first: one without room, or one that refused a snapshot.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// Makes connections for one group.
#[derive(Clone)]
pub(crate) struct Network {
    links: Arc<Links>,
    snapshots: Arc<SnapshotSender>,
    room: Arc<Room>,
    group: GroupId,
    from: ReplicaId,
    others: Arc<Others>,
}

impl Network {
    /// Of a group, from this replica of it.
    pub(crate) fn new(
        links: Arc<Links>,
        snapshots: Arc<SnapshotSender>,
        room: Arc<Room>,
        (group, from): (GroupId, ReplicaId),
    ) -> Self {
        Self { links, snapshots, room, group, from, others: Arc::default() }
    }

    fn request(&self, target: ReplicaId, body: request::Body) -> Request {
        let (group, from) = (self.group.0, self.from.0);
        Request { group, target: target.0, from, body: Some(body), ..Request::default() }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &openraft::EmptyNode) -> Peer {
        let (network, refuses) = (self.clone(), Arc::default());
        Peer { network, target: ReplicaId(target), appends: Lane::Data, refuses }
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &openraft::EmptyNode) -> Peer {
        Peer { appends: Lane::Control, ..self.new_client(target, node).await }
    }
}

/// The way to one replica of the group.
pub(crate) struct Peer {
    network: Network,
    target: ReplicaId,
    /// Heartbeats must not wait behind entries.
    appends: Lane,
    /// It answered last that it will not take what it is sent.
    refuses: Arc<AtomicBool>,
}

impl Peer {
    fn request(&self, body: request::Body) -> Request {
        self.network.request(self.target, body)
    }

    fn append(&self, rpc: &AppendEntriesRequest<TypeConfig>) -> request::Body {
        self.network.others.tell(rpc.leader_commit.as_ref());
        let needed = !rpc.entries.is_empty() && self.network.room.needs_all(self.network.group);
        request::Body::Append(wire::AppendRequest { needed, ..append_to_wire(rpc) })
    }

    fn link(&self, lane: Lane) -> Result<Arc<Link>, RPCError<TypeConfig>> {
        let link = self.network.links.get(self.target.node(), lane);
        link.ok_or_else(|| unreachable(&"the node's address is not known"))
    }

    /// The link for appends, waited for. openraft asks again at once when there is none.
    async fn standing_link(&self) -> Result<Arc<Link>, RPCError<TypeConfig>> {
        let end = tokio::time::Instant::now() + RETURN_WAIT;
        let link = self.link(self.appends);
        if let Ok(link) = &link
            && tokio::time::timeout_at(end, link.connected()).await.is_ok()
        {
            return Ok(Arc::clone(link));
        }
        tokio::time::sleep_until(end).await;
        link.and(Err(unreachable(&"there is no connection to the node")))
    }

    async fn call(
        &self,
        body: request::Body,
        option: &RPCOption,
    ) -> Result<Reply, RPCError<TypeConfig>> {
        let deadline = Instant::now() + option.soft_ttl();
        let request = self.request(body);
        self.link(Lane::Control)?.call(request, deadline).await.map_err(|e| rpc_error(&e))
    }

    async fn vote_call(
        &self,
        rpc: VoteRequest<TypeConfig>,
        pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = wire::VoteRequest {
            vote: Some(vote_to_wire(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(log_id_to_wire),
            leadership_transfer: rpc.leadership_transfer,
            pre_vote,
        };
        match self.call(request::Body::Vote(message), option).await?.body {
            Some(reply::Body::Vote(wire::VoteReply { vote: Some(vote), granted, last })) => {
                let last = last.as_ref().map(log_id_from_wire);
                Ok(VoteResponse::new(vote_from_wire(&vote), last, granted))
            }
            _ => Err(unexpected("a vote")),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotHandle;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let reply = self.call(self.append(&rpc), &option).await?;
        append_from_wire(&reply)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<
            BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>,
            RPCError<TypeConfig>,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            let link = self.standing_link().await?;
            let peer = &*self;
            // Queued when taken from the input, so their order is openraft's.
            let sent = input.map(move |rpc| peer.send_append(&link, &rpc));
            let results = sent.buffered(PIPELINE);
            let until_broken = results.scan(false, |ended, result| {
                let goes_on = !*ended;
                *ended = !matches!(result, Ok(Ok(_)));
                std::future::ready(goes_on.then_some(result))
            });
            Ok(Box::pin(until_broken) as BoxStream<'s, _>)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.vote_call(rpc, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.vote_call(rpc, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        _snapshot: SnapshotOf<TypeConfig, SnapshotHandle>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // What is sent is the state as it is now, with the log id that belongs to it, rather
        // than the older point openraft knows of.
        let (group, from) = (self.network.group, self.network.from);
        let sent = self.network.snapshots.send(group, from, self.target, vote);
        tokio::select! {
            sent = sent => {
                self.refuses.store(matches!(sent, Err(SendError::Receiver { .. })), Relaxed);
                sent.map(SnapshotResponse::new)
                    .map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))
            }
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = wire::TransferRequest {
            from: Some(vote_to_wire(req.from_leader())),
            to: *req.to_node_id(),
            last: req.last_log_id().map(log_id_to_wire),
        };
        match self.call(request::Body::Transfer(message), &option).await?.body {
            Some(reply::Body::Transfer(done)) if done.refused.is_empty() => Ok(Ok(())),
            Some(reply::Body::Transfer(done)) => Err(unreachable(&done.refused)),
            _ => Err(unexpected("a transfer of leadership")),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(backoff(Arc::clone(&self.refuses)))
    }
}

/// openraft's waits between attempts, without an end.
fn backoff(refuses: Arc<AtomicBool>) -> Backoff {
    let wait = move || if refuses.load(Relaxed) { REFUSED_RETRY } else { AWAY_RETRY };
    Backoff::new(std::iter::repeat_with(wait))
}

type Appended = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

impl Peer {
    /// Queues one append now; the future is its result.
    fn send_append(
        &self,
        link: &Link,
        rpc: &AppendEntriesRequest<TypeConfig>,
    ) -> impl Future<Output = Appended> + use<> {
        let prev = rpc.prev_log_id;
        let last = rpc.entries.last().map(|entry| entry.log_id).or(prev);
        let sent = link.send(self.request(self.append(rpc)));
        let refuses = Arc::clone(&self.refuses);
        async move {
            let sent = sent.map_err(|error| rpc_error(&error))?;
            let reply = tokio::time::timeout(APPEND_LIMIT, sent)
                .await
                .map_err(|_| network("an append was not answered in time"))?;
            refuses.store(matches!(reply, Err(ShardError::DiskFull { .. })), Relaxed);
            stream_result(&reply.map_err(|error| rpc_error(&error))?, prev, last)
        }
    }
}

fn append_to_wire(rpc: &AppendEntriesRequest<TypeConfig>) -> wire::AppendRequest {
    wire::AppendRequest {
        vote: Some(vote_to_wire(&rpc.vote)),
        prev: rpc.prev_log_id.as_ref().map(log_id_to_wire),
        entries: rpc.entries.iter().map(entry_to_wire).collect(),
        commit: rpc.leader_commit.as_ref().map(log_id_to_wire),
        needed: false,
    }
}

fn append_from_wire(
    reply: &Reply,
) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
    let Some(reply::Body::Append(append)) = &reply.body else {
        return Err(unexpected("an append"));
    };
    match &append.what {
        Some(append_reply::What::Success(_)) => Ok(AppendEntriesResponse::Success),
        Some(append_reply::What::Partial(id)) => {
            Ok(AppendEntriesResponse::PartialSuccess(Some(log_id_from_wire(id))))
        }
        Some(append_reply::What::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
        Some(append_reply::What::HigherVote(vote)) => {
            Ok(AppendEntriesResponse::HigherVote(vote_from_wire(vote)))
        }
        None => Err(unexpected("an append")),
    }
}

/// An append's reply as openraft's stream wants it.
fn stream_result(reply: &Reply, prev: Option<LogId>, last: Option<LogId>) -> Appended {
    let response = append_from_wire(reply)?;
    if matches!(response, AppendEntriesResponse::Conflict) && prev.is_none() {
        // Nothing precedes the first entry, so nothing can conflict with it.
        return Err(unexpected("an append from the beginning"));
    }
    Ok(response.into_stream_result(prev, last))
}

/// What a transport failure or a refusal means to openraft: not connected, or without room, is
/// worth a back-off, anything else is tried again soon.
fn rpc_error(error: &ShardError) -> RPCError<TypeConfig> {
    match error {
        ShardError::Unavailable { .. } | ShardError::NoReplica | ShardError::DiskFull { .. } => {
            unreachable(error)
        }
        error => network(&error.to_string()),
    }
}

fn unreachable(why: &impl ToString) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(why.to_string()))
}

fn network(why: &str) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string(why))
}

fn unexpected(what: &str) -> RPCError<TypeConfig> {
    network(&format!("an answer that does not belong to {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_away_is_tried_again_soon_however_long_it_was_away() {
        let refuses = Arc::<AtomicBool>::default();
        let mut waits = backoff(Arc::clone(&refuses));
        assert!(waits.by_ref().take(1_000).all(|wait| wait == AWAY_RETRY));
        refuses.store(true, Relaxed);
        assert_eq!(waits.next(), Some(REFUSED_RETRY), "it costs as much as the first time");
        refuses.store(false, Relaxed);
        assert_eq!(waits.next(), Some(AWAY_RETRY));
    }
}
