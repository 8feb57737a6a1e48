//! What becomes of a replica whose rows differ from those of most others: nothing is served from
//! it any more, and its node gives up all it has and comes back empty, as one whose disk is damaged
//! ([`crate::rescue`]). One node at a time does so, and only while the others do without it: the
//! leader of the meta group allows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ranch_proto::directory::Directory;
use ranch_proto::schema::{GroupStatus, NodeStatusReply, OddRows, Request, reply, request};
use ranch_proto::{GroupId, NodeId, ReplicaId, ShardError};

use crate::hand_over::Successors;
use crate::handler::{Handled, invalid};
use crate::replicas::Replicas;

/// What the node has lost then.
const LOSS: &str = "its rows differed from those of most other copies";
/// Between two questions whether this node may go.
const ASK: Duration = Duration::from_secs(2);
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Longest wait for the state of another node.
const STATUS_MAX: Duration = Duration::from_secs(1);
/// For so long after one node was let go no other is: by then the first does not answer, or is
/// back and being filled.
const ONE_BY_ONE: Duration = Duration::from_secs(15);
/// Entries a replica may be behind and still be counted on.
const LAG_MAX: u64 = 1_000;

impl Replicas {
    /// Takes in that a replica here differs from most others.
    pub(crate) fn odd_rows(&self, group: GroupId, target: ReplicaId, told: &OddRows) -> Handled {
        self.target(group, target)?;
        let own = self.verifier.hashes.known((group, target), told.index);
        if own.is_some_and(|own| own.hash == told.hash) {
            return Err(invalid("the rows of this replica are those of the others"));
        }
        if self.verifier.set_odd(group, target) {
            tracing::error!(
                %group, index = told.index,
                "this node's copy of shard {group} differs from most others: nothing is served \
                 from it, and it will be filled anew"
            );
        }
        Ok(reply::Body::Pong(true))
    }

    /// The groups whose replica here differs, while they are still here.
    fn odd_groups(&self) -> Vec<GroupId> {
        // One that is not running is not here any more, or not yet.
        let is_another =
            |group, replica| self.core(group).is_some_and(|core| core.replica() != replica);
        let mut odd = self.verifier.odd.drop_replaced(is_another);
        odd.retain(|group| self.core(*group).is_some());
        odd
    }

    async fn hand_over_odd(&self, groups: &[GroupId]) {
        for &group in groups {
            if self.core(group).is_some_and(|core| core.is_leader()) {
                let others = self.successors(group, Successors::Anyone);
                if let Err(Some(error)) = self.first_to_take(group, others).await {
                    tracing::info!("{error}");
                }
            }
        }
    }

    /// Asks the leader of the meta group whether this node may give up its data.
    async fn ask_to_leave(&self) -> Result<(), ShardError> {
        let me = self.shared.node;
        let leader = self.shared.board.routes().leader(GroupId::META);
        let leader = leader.ok_or(ShardError::Unavailable { detail: "no leader".into() })?;
        if leader == me {
            return self.may_leave(me).await.map(drop);
        }
        let body = Some(request::Body::MayLeave(me.0));
        let request = Request { group: GroupId::META.0, body, ..Request::default() };
        let reply = self.shared.links.call(leader, request, Instant::now() + ANSWER_MAX).await?;
        match reply.body {
            Some(reply::Body::Pong(_)) => Ok(()),
            Some(reply::Body::Refusal(refusal)) => Err(refusal.into()),
            _ => Err(ShardError::Unavailable { detail: "an answer of another kind".into() }),
        }
    }

    /// Lets a node give up its data, if all its groups do without it.
    pub(crate) async fn may_leave(&self, node: NodeId) -> Handled {
        let meta = self.meta().ok_or(ShardError::NoReplica)?;
        meta.core().disk_barrier().await?;
        // Held to the end, so that two who ask at once are judged one after the other.
        let mut leaving = self.verifier.leaving.lock().await;
        if let Some((other, since)) = *leaving
            && since.elapsed() < ONE_BY_ONE
        {
            let detail = format!("node {other} was let go just now");
            return Err(ShardError::Unavailable { detail });
        }
        let statuses = self.all_statuses().await;
        let doubt = doubt(&self.shared.feed.directory().read(), &statuses, node);
        if let Some(detail) = doubt {
            return Err(ShardError::Unavailable { detail });
        }
        *leaving = Some((node, Instant::now()));
        tracing::warn!(%node, "a node is let go, to be filled anew");
        Ok(reply::Body::Pong(true))
    }

    async fn all_statuses(&self) -> BTreeMap<NodeId, NodeStatusReply> {
        let nodes: Vec<_> = self.shared.feed.directory().read().nodes.keys().copied().collect();
        let deadline = Instant::now() + STATUS_MAX;
        let asked = nodes.into_iter().map(|node| async move {
            if node == self.shared.node {
                return Some((node, self.status()));
            }
            Some((node, self.shared.links.node_status(node, deadline).await.ok()?))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// Waits until a replica here differs from most others; then has this node end as one whose data
/// is damaged, as soon as that is safe.
pub(crate) async fn watch(replicas: Arc<Replicas>) {
    let mut said = String::new();
    loop {
        // Asked again in any case: the others may have come back meanwhile.
        let _ = tokio::time::timeout(ASK, replicas.verifier.odd_found.notified()).await;
        let groups = replicas.odd_groups();
        if groups.is_empty() {
            continue;
        }
        replicas.hand_over_odd(&groups).await;
        match replicas.ask_to_leave().await {
            // Noticed at once, and the node ends.
            Ok(()) => replicas.shared.damage.note(LOSS),
            Err(error) => {
                let why = error.to_string();
                if why != said {
                    tracing::warn!("this node's copies cannot be filled anew yet: {why}");
                    said = why;
                }
            }
        }
    }
}

/// Why the groups of a node cannot do without it; `None` when of each a majority of the voters is
/// there, caught up and not odd itself.
fn doubt(
    directory: &Directory,
    statuses: &BTreeMap<NodeId, NodeStatusReply>,
    node: NodeId,
) -> Option<String> {
    let mut groups = [GroupId::META].into_iter().chain(directory.shards.keys().copied());
    groups.find_map(|group| {
        let of = |node: &NodeId| {
            statuses.get(node)?.groups.iter().find(|status| status.group == group.0)
        };
        let accounts = statuses.keys().filter_map(of);
        let leading = accounts.filter(|status| status.state == "leader");
        let Some(leader) = leading.max_by_key(|status| status.term) else {
            return Some(format!("group {group} has no leader"));
        };
        let voters: Vec<_> = leader.voters.iter().copied().map(ReplicaId).collect();
        if !voters.iter().any(|voter| voter.node() == node) {
            return None;
        }
        let counts = |voter: &&ReplicaId| {
            voter.node() != node
                && of(&voter.node()).is_some_and(|status| is_sound(status, **voter, leader))
        };
        let (there, all) = (voters.iter().filter(counts).count(), voters.len());
        (there * 2 <= all).then(|| {
            format!("without node {node} only {there} of {all} copies of group {group} are sound")
        })
    })
}

/// Whether a replica is there, has all the leader has, and the right rows.
fn is_sound(status: &GroupStatus, voter: ReplicaId, leader: &GroupStatus) -> bool {
    status.replica == voter.0 && !status.odd && status.applied + LAG_MAX >= leader.last_index
}

#[cfg(test)]
mod tests {
    use super::*;
    use ranch_proto::schema::{Record, ShardRecord, record::What};

    const ODD: NodeId = NodeId(2);

    fn replica(node: u32) -> u64 {
        ReplicaId::new(NodeId(node), 1).0
    }

    fn directory() -> Directory {
        let mut directory = Directory::default();
        let shard = ShardRecord { id: 1, ..ShardRecord::default() };
        directory.apply(Record { what: Some(What::Shard(shard)), removed: false });
        directory
    }

    fn statuses(voters: u32) -> BTreeMap<NodeId, NodeStatusReply> {
        let group = |group, node: u32| GroupStatus {
            group,
            replica: replica(node),
            state: if node == 1 { "leader" } else { "follower" }.to_owned(),
            last_index: 5_000,
            applied: 5_000,
            voters: (1..=voters).map(replica).collect(),
            ..GroupStatus::default()
        };
        let of = |node| NodeStatusReply {
            node,
            groups: vec![group(0, node), group(1, node)],
            ..NodeStatusReply::default()
        };
        (1..=voters).map(|node| (NodeId(node), of(node))).collect()
    }

    fn doubted(
        voters: u32,
        spoil: impl FnOnce(&mut BTreeMap<NodeId, NodeStatusReply>),
    ) -> Option<String> {
        let mut statuses = statuses(voters);
        spoil(&mut statuses);
        doubt(&directory(), &statuses, ODD)
    }

    #[test]
    fn a_node_may_go_only_while_majorities_are_sound_without_it() {
        assert_eq!(doubted(3, |_| {}), None);
        assert_eq!(doubted(5, |all| drop(all.remove(&NodeId(4)))), None);
        let shard = |all: &mut BTreeMap<_, NodeStatusReply>, node| {
            all.get_mut(&NodeId(node)).unwrap().groups[1].clone()
        };
        let put = |all: &mut BTreeMap<_, NodeStatusReply>, node, status| {
            all.get_mut(&NodeId(node)).unwrap().groups[1] = status;
        };
        for (why, found) in [
            ("another is away", doubted(3, |all| drop(all.remove(&NodeId(3))))),
            ("no majority without it", doubted(2, |_| {})),
            (
                "the only one",
                doubted(1, |all| {
                    let alone = all.remove(&NodeId(1)).unwrap();
                    let groups = alone.groups.into_iter().map(|group| {
                        let (replica, voters) = (replica(2), vec![replica(2)]);
                        GroupStatus { replica, voters, ..group }
                    });
                    let groups = groups.collect();
                    all.insert(ODD, NodeStatusReply { groups, ..NodeStatusReply::default() });
                }),
            ),
            (
                "another is behind",
                doubted(3, |all| {
                    let late = GroupStatus { applied: 3_000, ..shard(all, 3) };
                    put(all, 3, late);
                }),
            ),
            (
                "another is odd, too",
                doubted(3, |all| {
                    let odd = GroupStatus { odd: true, ..shard(all, 3) };
                    put(all, 3, odd);
                }),
            ),
            (
                "another is being filled",
                doubted(3, |all| {
                    let new = ReplicaId::new(NodeId(3), 2).0;
                    let filled = GroupStatus { replica: new, ..shard(all, 3) };
                    put(all, 3, filled);
                }),
            ),
            (
                "no leader",
                doubted(3, |all| {
                    let deposed = GroupStatus { state: "follower".into(), ..shard(all, 1) };
                    put(all, 1, deposed);
                }),
            ),
        ] {
            assert!(found.is_some(), "{why}");
        }
    }
}
