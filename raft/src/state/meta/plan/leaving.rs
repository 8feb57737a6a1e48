//! Machines that are to lead nothing, that leave, that have been away too long, and what lets new
//! ones in.

use ranch_proto::directory::Directory;
use ranch_proto::ids::{NodeId, ReplicaId};
use ranch_proto::schema::{
    DrainNode, GoneNode, JoinToken, LoseNode, NodeRecord, Record, ShardRecord, record::What,
};

use super::{Plan, Refused, put};

const HASH_BYTES: usize = 32;
/// Tokens in force at a time.
const TOKENS_MAX: usize = 100;

/// Has a node lead nothing, or lets it lead again, which also calls off its leaving.
pub(super) fn drain(directory: &Directory, drain: DrainNode) -> Result<Plan, Refused> {
    let known = known(directory, drain.id)?;
    let leaving = known.leaving && drain.draining;
    Ok(changed(known, NodeRecord { draining: drain.draining, leaving, ..known.clone() }))
}

/// Begins to take a node out of the ranch.
pub(super) fn remove(directory: &Directory, id: u32) -> Result<Plan, Refused> {
    let known = known(directory, id)?;
    if known.leaving {
        return Ok(changed(known, known.clone()));
    }
    let stay = directory.nodes.values().filter(|node| !node.leaving && node.id != id).count();
    let needed = directory.machines_needed();
    if stay < needed {
        return Err(Refused::exists(format!(
            "without node {id} ({}) there would be {stay} nodes for {needed} copies of each \
             shard: add a machine first, then remove this one",
            known.name
        )));
    }
    Ok(changed(known, NodeRecord { leaving: true, ..known.clone() }))
}

/// Forgets a node that is leaving, once no shard is on it or on its way to it.
pub(super) fn forget(directory: &Directory, id: u32, stamp_ms: u64) -> Result<Plan, Refused> {
    if directory.gone.contains_key(&NodeId(id)) {
        return Ok(Plan::default());
    }
    let known = known(directory, id)?;
    if !known.leaving {
        return Err(Refused::exists(format!("node {id} is not leaving")));
    }
    if let Some(shard) = directory.shards.values().find(|shard| is_on(shard, NodeId(id))) {
        let reason = format!("shard {} is still on node {id}", shard.id);
        return Err(Refused::exists(reason));
    }
    let gone = GoneNode { id, name: known.name.clone(), gone_ms: stamp_ms };
    let node = Record { what: Some(What::Node(known.clone())), removed: true };
    let answer = put(What::Gone(gone));
    Ok(Plan { records: vec![node, answer.clone()], answer: Some(answer) })
}

/// Whether a shard is on a node, or is to be.
fn is_on(shard: &ShardRecord, node: NodeId) -> bool {
    let replicas = shard.replicas.iter().chain([&shard.adding, &shard.removing]);
    let nodes = replicas.map(|replica| ReplicaId(*replica).node());
    nodes.chain(shard.goal.iter().copied().map(NodeId)).any(|on| on == node)
}

/// Takes note that a node has been away for too long, or that it is back.
pub(super) fn lose(directory: &Directory, lose: LoseNode) -> Result<Plan, Refused> {
    let known = known(directory, lose.id)?;
    Ok(changed(known, NodeRecord { lost: lose.lost, ..known.clone() }))
}

/// Lets machines join with a token; those that have expired go at the same time.
pub(super) fn add_token(
    directory: &Directory,
    token: JoinToken,
    stamp_ms: u64,
) -> Result<Plan, Refused> {
    if token.hash.len() != HASH_BYTES || token.expires_ms <= stamp_ms {
        return Err(Refused::invalid("a token has a hash of 32 bytes and ends in the future"));
    }
    let (expired, live): (Vec<_>, Vec<_>) =
        directory.tokens.values().partition(|known| known.expires_ms <= stamp_ms);
    if live.len() >= TOKENS_MAX {
        let reason = format!("{TOKENS_MAX} tokens are in force: use one, or wait until some end");
        return Err(Refused::exists(reason));
    }
    let old = expired.into_iter().cloned().map(What::Token);
    let mut records: Vec<_> = old.map(|what| Record { what: Some(what), removed: true }).collect();
    let answer = put(What::Token(JoinToken { created_ms: stamp_ms, ..token }));
    records.push(answer.clone());
    Ok(Plan { records, answer: Some(answer) })
}

fn known(directory: &Directory, id: u32) -> Result<&NodeRecord, Refused> {
    let known = directory.nodes.get(&NodeId(id));
    known.ok_or_else(|| Refused::not_found(format!("there is no node {id}")))
}

fn changed(known: &NodeRecord, node: NodeRecord) -> Plan {
    if *known == node {
        return Plan { records: Vec::new(), answer: Some(put(What::Node(node))) };
    }
    super::one(put(What::Node(node)))
}
