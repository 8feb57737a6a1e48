//! Copies of shards for backups: where one is opened, and asking for it there.
//!
//! A copy has everything that was acknowledged before it was asked for: the leader says how far
//! it is, and whoever gives the copy must be as far. Followers are asked first, since the leader
//! has enough to do.

use std::time::{Duration, Instant};

use ranch_proto::schema::{
    CopyReply, CopyRequest, ListUsages, ReadRequest, Request, read_request, reply, request,
};
use ranch_proto::{GroupId, NodeId, ShardError, Shards};

use super::{Forward, ForwardError, Home, Nature, body_of, garbled};

/// Longest one replica is asked for a copy, or for a piece of one.
const ATTEMPT_MAX: Duration = Duration::from_secs(8);

impl<S: Shards> Forward<S> {
    /// Opens a copy of a shard; which node has it, and its reply.
    ///
    /// # Errors
    /// Any but [`ForwardError::OutcomeUnknown`].
    pub async fn open_copy(&self, shard: GroupId) -> Result<(NodeId, CopyReply), ForwardError> {
        let what = Some(read_request::What::Usages(ListUsages { limit: 1, ..Default::default() }));
        let read = ReadRequest { what, ..ReadRequest::default() };
        let at_least = self.read(Home { shard, life: 0 }, read).await?.applied;
        let leader = self.shards.routes().leader(shard);
        let mut nodes = self.shards.directory().read().nodes_of(shard);
        fastrand::shuffle(&mut nodes);
        nodes.sort_by_key(|node| Some(*node) == leader);
        let mut last = ForwardError::Unavailable;
        for node in nodes {
            let asked = CopyRequest { at_least, ..CopyRequest::default() };
            match self.copy(shard, node, asked).await {
                Ok(reply) => return Ok((node, reply)),
                Err(ShardError::Overloaded { .. }) => last = ForwardError::Overloaded,
                Err(error) => tracing::info!(%shard, %node, %error, "no copy is given"),
            }
        }
        Err(last)
    }

    /// Asks one node for a copy, or for a piece of one.
    ///
    /// # Errors
    /// What the node refused with: [`ShardError::Invalid`] where it has no such copy.
    pub async fn copy(
        &self,
        shard: GroupId,
        node: NodeId,
        asked: CopyRequest,
    ) -> Result<CopyReply, ShardError> {
        let body = Some(request::Body::Copy(asked));
        let deadline_ms = ATTEMPT_MAX.as_millis() as u32;
        let request = Request { group: shard.0, body, deadline_ms, ..Request::default() };
        let reply = self.shards.call(node, request, Instant::now() + ATTEMPT_MAX).await;
        match body_of(reply)? {
            reply::Body::Copy(reply) => Ok(reply),
            _ => Err(ShardError::Unknown { detail: "a reply of another kind".to_owned() }),
        }
    }

    /// The directory's epoch such that whoever has it knows every change acknowledged before.
    ///
    /// # Errors
    /// Any but [`ForwardError::OutcomeUnknown`].
    pub async fn current_epoch(&self) -> Result<u64, ForwardError> {
        // The first answer makes sure of the leader, which has applied all of its past then.
        self.meta_epoch().await?;
        self.meta_epoch().await
    }

    async fn meta_epoch(&self) -> Result<u64, ForwardError> {
        let request = super::request(GroupId::META, request::Body::Members(true));
        match self.chase(request, Nature::Read, self.deadline).await? {
            reply::Body::Members(members) => Ok(members.epoch),
            _ => Err(garbled(GroupId::META)),
        }
    }
}
