//! Moving shards, where this node leads the meta group: noting where they belong, beginning the
//! next moves within the limits, and forgetting nodes that have nothing left.
//!
//! Everything is decided anew from the directory in each turn and takes effect through the meta
//! group, so a leader that dies anywhere leaves nothing half done that its successor would not
//! find and go on with.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ranch_proto::directory::Directory;
use ranch_proto::placement::{Placed, replan};
use ranch_proto::schema::{
    EndMove, LoseNode, NodeRecord, PlanShards, ShardGoal, ShardRecord, StartMove,
    meta_command::What,
};
use ranch_proto::{GroupId, NodeId, ReplicaId};

/// Bounds on moving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MoveLimits {
    /// Copies of each shard, where there are nodes enough.
    pub(crate) copies: usize,
    /// Moves at a time.
    pub(crate) at_once: usize,
    /// How long a node may be away before others are given what it holds; never when absent.
    pub(crate) replace_after: Option<Duration>,
    /// Whether the cluster version is raised only on command.
    pub(crate) hold_version: bool,
}

/// What the leader of the meta group remembers between turns: nothing but how long nodes have
/// been silent, which begins anew with each leader.
#[derive(Default)]
pub(super) struct Absences {
    since: HashMap<NodeId, Instant>,
}

/// What a leader of the meta group sees beside the directory.
pub(super) struct Seen<'a> {
    pub(super) limits: MoveLimits,
    pub(super) me: NodeId,
    /// Nodes that can be reached, this one among them.
    pub(super) reached: &'a HashSet<NodeId>,
}

impl Absences {
    /// Takes note of who can be reached; says whose absence is to be noted, or is over.
    pub(super) fn look(&mut self, directory: &Directory, seen: &Seen<'_>) -> Vec<What> {
        let mut changes = Vec::new();
        self.since.retain(|node, _| !seen.reached.contains(node));
        for (id, node) in &directory.nodes {
            if seen.reached.contains(id) {
                if node.lost {
                    changes.push(What::LoseNode(LoseNode { id: id.0, lost: false }));
                }
                continue;
            }
            let since = *self.since.entry(*id).or_insert_with(Instant::now);
            let long = seen.limits.replace_after.is_some_and(|after| since.elapsed() >= after);
            if long && !node.lost {
                changes.push(What::LoseNode(LoseNode { id: id.0, lost: true }));
            }
        }
        changes
    }
}

/// What is to be proposed now, in order.
pub(super) fn next_commands(directory: &Directory, seen: &Seen<'_>) -> Vec<What> {
    if directory.shards.values().any(|shard| !shard.initialized) {
        return Vec::new();
    }
    let goals = plan(directory, seen.limits.copies);
    if !goals.is_empty() {
        // Moves follow when the plan is stored.
        return vec![What::PlanShards(PlanShards { shards: goals })];
    }
    let mut commands = pointless(directory);
    if commands.is_empty() {
        commands = starts(directory, seen);
    }
    // A leader that leaves hands over first; its successor forgets it.
    let left = left(directory).filter(|id| *id != seen.me.0);
    commands.extend(left.map(What::ForgetNode));
    commands
}

/// Whether copies are put on a node: it neither leaves nor has been away for too long.
fn may_have_copies(node: &NodeRecord) -> bool {
    !node.leaving && !node.lost
}

/// Why a node cannot leave while others are away: copies would have nowhere to go. Without that
/// the meta group itself decides.
pub(crate) fn why_not_leave(directory: &Directory, id: u32) -> Option<String> {
    let stays = |node: &&NodeRecord| node.id != id;
    let away = |node: &&NodeRecord| node.lost && !node.leaving;
    let others = || directory.nodes.values().filter(stays);
    let known = directory.nodes.get(&NodeId(id)).filter(|node| !node.leaving)?;
    let (stay, needed) =
        (others().filter(|node| may_have_copies(node)).count(), directory.machines_needed());
    let gone: Vec<_> = others().filter(away).map(|node| node.name.as_str()).collect();
    (stay < needed && !gone.is_empty()).then(|| {
        let (name, gone) = (&known.name, gone.join(", "));
        format!(
            "without node {id} ({name}) and {gone}, which is replaced while it is away, there \
             would be {stay} nodes for {needed} copies of each shard: bring that back or add a \
             machine first, then remove this one"
        )
    })
}

/// The shards that belong elsewhere than noted so far.
fn plan(directory: &Directory, copies: usize) -> Vec<ShardGoal> {
    let nodes = directory.nodes.values().filter(|node| may_have_copies(node));
    let nodes: Vec<_> = nodes.map(|node| (NodeId(node.id), node.zone.as_str())).collect();
    let shards: Vec<Placed> =
        directory.shards.iter().map(|(id, shard)| (*id, belongs(shard))).collect();
    let planned = replan(&nodes, &shards, copies.max(1)).into_iter().zip(&shards);
    let changed = planned.filter(|(nodes, (_, before))| nodes != before && !nodes.is_empty());
    let goal = |(nodes, (id, _)): (Vec<NodeId>, &Placed)| {
        let nodes = nodes.into_iter().map(|node| node.0).collect();
        ShardGoal { shard: id.0, nodes }
    };
    changed.map(goal).collect()
}

/// Where a shard belongs as far as is noted.
fn belongs(shard: &ShardRecord) -> Vec<NodeId> {
    if shard.goal.is_empty() {
        on(shard)
    } else {
        shard.goal.iter().map(|id| NodeId(*id)).collect()
    }
}

fn on(shard: &ShardRecord) -> Vec<NodeId> {
    shard.replicas.iter().map(|id| ReplicaId(*id).node()).collect()
}

/// Moves to nodes that the shard does not belong on any more.
fn pointless(directory: &Directory) -> Vec<What> {
    let off_goal = |shard: &&ShardRecord| {
        shard.adding != 0 && !belongs(shard).contains(&ReplicaId(shard.adding).node())
    };
    let given_up = |shard: &ShardRecord| EndMove {
        shard: shard.id,
        adding: shard.adding,
        removing: shard.removing,
        given_up: true,
    };
    directory.shards.values().filter(off_goal).map(given_up).map(What::EndMove).collect()
}

/// The next moves, as many as may be on at a time. One whose target is away does not count, so
/// that a machine that died while it was being filled holds up nobody.
fn starts(directory: &Directory, seen: &Seen<'_>) -> Vec<What> {
    let goes_on = |shard: &&ShardRecord| {
        let target = ReplicaId(if shard.adding == 0 { shard.removing } else { shard.adding });
        shard.move_ms != 0 && seen.reached.contains(&target.node())
    };
    let running = directory.shards.values().filter(goes_on).count();
    let mut next: Vec<_> =
        directory.shards.iter().filter_map(|(id, s)| step(*id, s, seen)).collect();
    // Shards with too few copies first.
    next.sort_by_key(|step| (step.remove != 0, step.shard));
    let room = seen.limits.at_once.saturating_sub(running);
    next.into_iter().take(room).map(What::StartMove).collect()
}

/// The next move of a shard towards its goal, if it can begin one.
fn step(id: GroupId, shard: &ShardRecord, seen: &Seen<'_>) -> Option<StartMove> {
    if shard.goal.is_empty() || shard.move_ms != 0 {
        return None;
    }
    let here = on(shard);
    let missing: Vec<_> =
        shard.goal.iter().map(|id| NodeId(*id)).filter(|node| !here.contains(node)).collect();
    let surplus = shard
        .replicas
        .iter()
        .copied()
        .find(|replica| !shard.goal.contains(&ReplicaId(*replica).node().0));
    // While copies are missing nothing is taken away.
    let remove = surplus.filter(|_| shard.replicas.len() >= shard.goal.len()).unwrap_or(0);
    match missing.iter().find(|node| seen.reached.contains(node)) {
        Some(node) => Some(StartMove { shard: id.0, add: node.0, remove }),
        None if missing.is_empty() && remove != 0 => {
            Some(StartMove { shard: id.0, add: 0, remove })
        }
        None => None,
    }
}

/// Nodes that are leaving and have nothing left.
fn left(directory: &Directory) -> impl Iterator<Item = u32> + '_ {
    let leaving = directory.nodes.values().filter(|node| node.leaving).map(|node| node.id);
    leaving.filter(|id| {
        let node = NodeId(*id);
        !directory.shards.values().any(|shard| {
            let moving = [shard.adding, shard.removing].map(|id| ReplicaId(id).node());
            on(shard).contains(&node) || moving.contains(&node) || shard.goal.contains(id)
        })
    })
}

#[cfg(test)]
mod tests {
    use ranch_proto::schema::{Record, record};

    use super::*;

    #[test]
    fn nobody_leaves_while_too_few_others_may_have_its_copies() {
        let mut directory = Directory::default();
        let mut put = |id: u32, lost| {
            let node = NodeRecord { id, name: format!("node{id}"), lost, ..Default::default() };
            directory.apply(Record { what: Some(record::What::Node(node)), removed: false });
            let replicas = (1..=3).map(|id| ReplicaId::new(NodeId(id), 1).0).collect();
            let shard = ShardRecord { id: 1, replicas, initialized: true, ..Default::default() };
            directory.apply(Record { what: Some(record::What::Shard(shard)), removed: false });
            directory.clone()
        };
        for id in 1..=3 {
            put(id, false);
        }
        assert_eq!(why_not_leave(&put(4, false), 1), None, "three stay");
        let away = put(4, true);
        let said = why_not_leave(&away, 1).unwrap();
        assert!(said.starts_with("without node 1 (node1) and node4, which is replaced"), "{said}");
        assert!(said.contains("2 nodes for 3 copies") && said.contains("add a machine"), "{said}");
        assert_eq!(why_not_leave(&away, 4), None, "it has no copies");
        assert_eq!(why_not_leave(&away, 9), None, "there is none");
        assert_eq!(why_not_leave(&put(5, false), 1), None, "three stay");
    }
}
