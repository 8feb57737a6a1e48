//! Proposing to the meta group from any node, whoever leads it.

use std::time::{Duration, Instant};

use ranch_proto::link::Lane;
use ranch_proto::schema::{MetaCommand, MetaResult, Request, meta_command::What, reply, request};
use ranch_proto::{GroupId, NodeId, RequestId, ShardError};

use crate::replicas::Replicas;

/// Longest one node may take over it.
const PROPOSE_MAX: Duration = Duration::from_secs(5);

impl Replicas {
    /// Has whichever node leads the meta group propose something, as far as this one knows.
    ///
    /// # Errors
    /// When no leader is known, or as proposing fails there.
    pub(crate) async fn propose_meta(&self, what: What) -> Result<MetaResult, ShardError> {
        let leader = self.meta().and_then(|meta| meta.core().leader().1);
        let none = || ShardError::Unavailable { detail: "the meta group has no leader".into() };
        self.propose_meta_at(leader.ok_or_else(none)?, command(what)).await
    }

    /// Asks the leader, and failing that each of the others, until one carries it out: also when
    /// nobody reaches this node, which therefore knows of no leader.
    pub(crate) async fn propose_meta_anywhere(&self, what: What) -> Result<MetaResult, ShardError> {
        let leader = self.meta().and_then(|meta| meta.core().leader().1);
        let others = self.shared.links.peers().into_iter().map(|(node, _)| node);
        let command = command(what);
        let mut last = ShardError::Unavailable { detail: "no other node is known".into() };
        for node in leader.into_iter().chain(others) {
            match self.propose_meta_at(node, command.clone()).await {
                Ok(result) => return Ok(result),
                Err(error @ ShardError::Invalid { .. }) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn propose_meta_at(
        &self,
        node: NodeId,
        command: MetaCommand,
    ) -> Result<MetaResult, ShardError> {
        if node == self.shared.node {
            let meta = self.meta().ok_or(ShardError::NoReplica)?;
            return meta.propose(command).await;
        }
        let body = Some(request::Body::Meta(command));
        let request = Request { group: GroupId::META.0, body, ..Request::default() };
        let unavailable = || ShardError::Unavailable { detail: "no link".into() };
        let link = self.shared.links.get(node, Lane::Data).ok_or_else(unavailable)?;
        match link.call(request, Instant::now() + PROPOSE_MAX).await?.body {
            Some(reply::Body::Meta(result)) => Ok(result),
            _ => Err(ShardError::Invalid { detail: "not a meta result".into() }),
        }
    }
}

fn command(what: What) -> MetaCommand {
    let request_id = RequestId::random().0.to_vec().into();
    MetaCommand { request_id, what: Some(what) }
}
