//! Shards on their way from node to node: where they belong, and one move at a time to get there.
//!
//! A move is intent. While it is on, the replica being added and the one that goes are both in
//! the shard's record, so neither is given up before the shard's own leader has said how its
//! members really stand.

use std::collections::BTreeSet;

use ranch_proto::directory::Directory;
use ranch_proto::ids::{GroupId, NodeId, ReplicaId};
use ranch_proto::schema::{EndMove, NodeRecord, PlanShards, ShardRecord, StartMove, record::What};

use super::{Plan, Refused, put};

/// Takes note of where shards belong.
pub(super) fn plan_shards(directory: &Directory, plan: &PlanShards) -> Result<Plan, Refused> {
    let mut records = Vec::new();
    for goal in &plan.shards {
        let shard = known(directory, goal.shard)?;
        let distinct: BTreeSet<u32> = goal.nodes.iter().copied().collect();
        if goal.nodes.is_empty() || distinct.len() != goal.nodes.len() {
            let reason = format!("shard {} needs different nodes to be on", goal.shard);
            return Err(Refused::invalid(reason));
        }
        for id in &goal.nodes {
            let node = directory.nodes.get(&NodeId(*id));
            let stays = shard.replicas.iter().any(|replica| ReplicaId(*replica).node().0 == *id);
            if !node.is_some_and(|node| stays || !node.leaving) {
                let reason = format!("node {id} is not there or leaving, so it takes no shard");
                return Err(Refused::exists(reason));
            }
        }
        let planned = settled(ShardRecord { goal: goal.nodes.clone(), ..shard.clone() });
        if planned != *shard {
            records.push(put(What::Shard(planned)));
        }
    }
    Ok(Plan { records, answer: None })
}

/// Begins a move.
pub(super) fn start_move(
    directory: &Directory,
    asked: &StartMove,
    stamp_ms: u64,
) -> Result<Plan, Refused> {
    let shard = known(directory, asked.shard)?;
    let id = shard.id;
    if !shard.initialized || shard.adding != 0 || shard.removing != 0 {
        return Err(Refused::exists(format!("shard {id} has yet to end what it is doing")));
    }
    if asked.remove != 0 && !shard.replicas.contains(&asked.remove) {
        let replica = ReplicaId(asked.remove);
        return Err(Refused::exists(format!("shard {id} has no replica {replica}")));
    }
    if asked.add == 0 && (asked.remove == 0 || shard.replicas.len() == 1) {
        return Err(Refused::invalid(format!("shard {id} would be left without a replica")));
    }
    let mut moved = ShardRecord { removing: asked.remove, move_ms: stamp_ms, ..shard.clone() };
    let mut records = Vec::new();
    if asked.add != 0 {
        let node = directory.nodes.get(&NodeId(asked.add)).filter(|node| !node.leaving);
        let missing = || Refused::exists(format!("node {} takes no shard", asked.add));
        let mut node = node.ok_or_else(missing)?.clone();
        if directory.replica_of(GroupId(id), NodeId(asked.add)).is_some() {
            return Err(Refused::exists(format!("shard {id} is on node {} already", asked.add)));
        }
        moved.adding = ReplicaId::new(NodeId(node.id), next_number(&mut node)).0;
        records.push(put(What::Node(node)));
    }
    let answer = put(What::Shard(moved));
    records.push(answer.clone());
    Ok(Plan { records, answer: Some(answer) })
}

/// A number no life and no replica of the node has had.
pub(super) fn next_number(node: &mut NodeRecord) -> u32 {
    node.numbers = node.numbers.max(node.incarnation) + 1;
    node.numbers
}

/// Ends a move: the shard's members are as they were to be, or it was given up.
pub(super) fn end_move(directory: &Directory, end: &EndMove) -> Result<Plan, Refused> {
    let shard = known(directory, end.shard)?;
    if (shard.adding, shard.removing) != (end.adding, end.removing) || shard.move_ms == 0 {
        // Said twice, or another move by now.
        let answer = Some(put(What::Shard(shard.clone())));
        return Ok(Plan { records: Vec::new(), answer });
    }
    let mut moved = ShardRecord { adding: 0, removing: 0, move_ms: 0, ..shard.clone() };
    if !end.given_up {
        moved.replicas.retain(|replica| *replica != end.removing);
        moved.replicas.extend(Some(end.adding).filter(|id| *id != 0));
    }
    Ok(super::one(put(What::Shard(settled(moved)))))
}

/// Orders a shard's replicas as its goal prefers them, and drops a goal that is reached.
fn settled(mut shard: ShardRecord) -> ShardRecord {
    if shard.goal.is_empty() {
        return shard;
    }
    let place = |replica: &u64| {
        let node = ReplicaId(*replica).node().0;
        shard.goal.iter().position(|id| *id == node).unwrap_or(usize::MAX)
    };
    // Before that, the first one initialises the group.
    if shard.initialized {
        shard.replicas.sort_by_key(place);
    }
    let reached = shard.replicas.len() == shard.goal.len()
        && shard.replicas.iter().all(|replica| place(replica) != usize::MAX);
    if reached && shard.move_ms == 0 && shard.initialized {
        shard.goal.clear();
    }
    shard
}

fn known(directory: &Directory, shard: u32) -> Result<&ShardRecord, Refused> {
    let known = directory.shards.get(&GroupId(shard));
    known.ok_or_else(|| Refused::not_found(format!("there is no shard {shard}")))
}
