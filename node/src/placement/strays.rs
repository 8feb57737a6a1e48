//! Replicas that should not be here any more: stopped, deleted, and never opened again.
//!
//! That the directory does not list a replica is not enough. A leader with an older directory may
//! be making it a voter at this moment, and a voter whose log is deleted can take the majority's
//! promises with it. So the replica is stopped first, after which nobody can bring it further,
//! and then the shard's leader is asked, confirmed by a majority, whether it is a member.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ranch_proto::schema::{Request, reply, request};
use ranch_proto::{GroupId, ReplicaId, ShardError, Shards as _};

use crate::error::NodeError;
use crate::local::LocalShards;
use crate::replicas::Replicas;

/// A leader that answers later is asked again in the next turn.
const ASK_LIMIT: Duration = Duration::from_secs(1);

/// Destroys the replicas of shards that the directory does not want here.
pub(super) async fn destroy_all(replicas: &Arc<Replicas>) {
    for shard in replicas.shards() {
        let (group, replica) = (shard.core().group(), shard.core().replica());
        drop(shard);
        let Some(epoch) = unwanted_since(replicas, group, replica) else { continue };
        match destroy(replicas, group, replica, epoch).await {
            Ok(true) => tracing::info!(%group, %replica, "destroyed a replica that has moved away"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%group, %replica, "cannot destroy a replica: {error}"),
        }
    }
    for group in replicas.shared.roster.doomed() {
        if replicas.shard(group).is_none()
            && let Err(error) = replicas.delete_doomed(group).await
        {
            tracing::warn!(%group, "cannot delete a destroyed replica: {error}");
        }
    }
}

/// The epoch of a directory that knows the shard, is no older than the one that called for the
/// replica, and does not list it.
fn unwanted_since(replicas: &Replicas, group: GroupId, replica: ReplicaId) -> Option<u64> {
    let directory = replicas.shared.feed.directory().read();
    let called_for = replicas.shared.roster.resident(group).map_or(0, |resident| resident.epoch);
    let known = directory.shards.contains_key(&group) && directory.epoch >= called_for;
    let wanted = directory.replica_of(group, replicas.shared.node);
    (known && wanted != Some(replica)).then_some(directory.epoch)
}

/// Whether the replica is gone now.
async fn destroy(
    replicas: &Arc<Replicas>,
    group: GroupId,
    replica: ReplicaId,
    epoch: u64,
) -> Result<bool, NodeError> {
    // Asked before, too, lest a replica that is only about to leave be stopped for nothing.
    if !is_left_out(replicas, group, replica, epoch).await {
        return Ok(false);
    }
    replicas.close_shard(group).await;
    if !is_left_out(replicas, group, replica, epoch).await {
        replicas.open_shard(group, replica).await?.run();
        return Ok(false);
    }
    replicas.shared.roster.doom(group, replica)?;
    replicas.delete_doomed(group).await
}

/// Whether the shard's leader, certain that it leads and with a directory no older, has no such
/// member. Silence is no answer.
async fn is_left_out(
    replicas: &Arc<Replicas>,
    group: GroupId,
    replica: ReplicaId,
    epoch: u64,
) -> bool {
    match members(replicas, group).await {
        Ok((members, theirs)) => theirs >= epoch && !members.contains(&replica.0),
        Err(error) => {
            tracing::debug!(%group, %error, "the leader does not say who its members are");
            false
        }
    }
}

async fn members(replicas: &Arc<Replicas>, group: GroupId) -> Result<(Vec<u64>, u64), ShardError> {
    let shards = LocalShards::new(Arc::clone(replicas));
    let mut asked = replicas.shared.board.routes().leader(group);
    let nodes = replicas.shared.feed.directory().read().nodes_of(group);
    let deadline = Instant::now() + ASK_LIMIT;
    for turn in 0..=nodes.len() {
        let next = nodes.get(turn).copied();
        let Some(node) = asked.take().or(next) else { break };
        let body = Some(request::Body::Members(true));
        let request = Request { group: group.0, body, ..Request::default() };
        match shards.call(node, request, deadline).await {
            Ok(reply) => match reply.body {
                Some(reply::Body::Members(members)) => {
                    let all = members.voters.into_iter().chain(members.learners);
                    return Ok((all.collect(), members.epoch));
                }
                _ => return Err(ShardError::Invalid { detail: "not a list of members".into() }),
            },
            Err(ShardError::NotLeader { leader, .. }) => asked = leader,
            Err(_) => {}
        }
    }
    Err(ShardError::Unavailable { detail: format!("shard {group} has no leader that answers") })
}
