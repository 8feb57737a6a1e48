//! Who is to lead instead of this node, and handing over to it: on request, while this node is
//! being drained, and before it stops.

use futures_util::StreamExt as _;
use futures_util::stream;
use ranch_proto::link::Lane;
use ranch_proto::schema::{HandOver, HandOverReply, reply};
use ranch_proto::{GroupId, NodeId, ReplicaId, ShardError};
use ranch_raft::group::HandOverError;

use crate::handler::Handled;
use crate::replicas::Replicas;

/// Groups handed over side by side. More would only wait for the same disks.
const AT_ONCE: usize = 4;

/// Whom a leader may hand over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Successors {
    /// Nodes that are not being drained.
    Staying,
    /// Those first, and failing them any other.
    Anyone,
}

impl Replicas {
    /// Carries out a request to let another node lead.
    pub(crate) async fn hand_over_on_request(&self, group: GroupId, asked: HandOver) -> Handled {
        let core = self.core(group).ok_or(ShardError::NoReplica)?;
        let (term, leader) = core.leader();
        if !core.is_leader() {
            return Err(ShardError::NotLeader { leader, term });
        }
        let to = (asked.to != 0).then_some(NodeId(asked.to));
        if to == Some(self.shared.node) {
            let leader = self.shared.node.0;
            let reply = HandOverReply { leader, ..HandOverReply::default() };
            return Ok(reply::Body::HandOver(reply));
        }
        let candidates: Vec<_> = match to {
            None => self.successors(group, Successors::Staying),
            Some(to) => {
                let voters = core.status().voters.into_iter().map(ReplicaId);
                voters.filter(|voter| voter.node() == to).collect()
            }
        };
        let reply = match self.first_to_take(group, candidates).await {
            Ok(taken) => HandOverReply { leader: taken.node().0, ..HandOverReply::default() },
            Err(None) => HandOverReply {
                refused: match to {
                    Some(to) => format!("node {to} does not vote in group {group}"),
                    None => format!("no other node that can be reached may lead group {group}"),
                },
                ..HandOverReply::default()
            },
            Err(Some(HandOverError::NotLeader { .. })) => {
                let (term, leader) = core.leader();
                return Err(ShardError::NotLeader { leader, term });
            }
            Err(Some(error)) => {
                HandOverReply { refused: error.to_string(), ..HandOverReply::default() }
            }
        };
        Ok(reply::Body::HandOver(reply))
    }

    /// Hands over every group this node leads, as far as anyone can take it.
    pub(crate) async fn hand_over_all(&self, to: Successors) {
        let led = self.cores().into_iter().filter(ranch_raft::GroupCore::is_leader);
        let moves = led.map(|core| async move {
            let group = core.group();
            match self.first_to_take(group, self.successors(group, to)).await {
                Ok(to) => tracing::info!(%group, %to, "handed over leadership"),
                Err(None) => tracing::debug!(%group, "nobody can take over leadership"),
                Err(Some(error)) => tracing::info!("{error}"),
            }
        });
        stream::iter(moves).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }

    /// Hands over to the first of these replicas that takes it. Without any, the error is empty.
    pub(crate) async fn first_to_take(
        &self,
        group: GroupId,
        candidates: Vec<ReplicaId>,
    ) -> Result<ReplicaId, Option<HandOverError>> {
        let mut last = None;
        for to in candidates {
            let handed = if group == GroupId::META {
                let Some(meta) = self.meta() else { break };
                meta.hand_over(to).await
            } else {
                let Some(shard) = self.shard(group) else { break };
                shard.hand_over(to).await
            };
            match handed {
                Ok(()) => return Ok(to),
                // Whoever leads now has it.
                Err(error @ HandOverError::NotLeader { .. }) => return Err(Some(error)),
                Err(error) => last = Some(error),
            }
        }
        Err(last)
    }

    /// The voters that could lead a group instead of this node, the best first: in the order of
    /// the shard's record, those being drained last.
    pub(crate) fn successors(&self, group: GroupId, which: Successors) -> Vec<ReplicaId> {
        let Some(core) = self.core(group) else { return Vec::new() };
        let voters = core.status().voters.into_iter().map(ReplicaId);
        let directory = self.shared.feed.directory().read();
        let preferred = |voter: &ReplicaId| {
            let shard = directory.shards.get(&group);
            let place = shard.and_then(|s| s.replicas.iter().position(|id| *id == voter.0));
            (directory.is_draining(voter.node()), place.unwrap_or(usize::MAX))
        };
        let mut others: Vec<_> = voters
            .filter(|voter| voter.node() != self.shared.node && self.is_reached(voter.node()))
            .filter(|voter| which == Successors::Anyone || !directory.is_draining(voter.node()))
            .collect();
        others.sort_by_key(preferred);
        others
    }

    /// Whether the link for heartbeats and votes to a node is up.
    pub(crate) fn is_reached(&self, node: NodeId) -> bool {
        let link = self.shared.links.get(node, Lane::Control);
        link.is_some_and(|link| link.is_connected())
    }
}
