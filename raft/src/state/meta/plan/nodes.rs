//! Machines: the first ones, those that join, and those that come back without their data.

use std::collections::HashSet;

use ranch_proto::api_key::KeyHash;
use ranch_proto::directory::Directory;
use ranch_proto::ids::{NodeId, ReplicaId};
use ranch_proto::schema::{
    Bootstrap, ClusterRecord, JoinNode, JoinToken, KeyRecord, NodeRecord, Role, ShardRecord,
    record::What,
};
use ranch_proto::versions::Feature;

use super::versions::formats;
use super::{Plan, Refused, moves, put};

const CLUSTER_ID_BYTES: usize = 16;
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The first command of a ranch, which all others need.
pub(super) fn bootstrap(
    directory: &Directory,
    mut bootstrap: Bootstrap,
    stamp_ms: u64,
) -> Result<Plan, Refused> {
    if directory.cluster.is_some() {
        return Err(Refused::exists("this ranch is bootstrapped already"));
    }
    let cluster = bootstrap.cluster.take();
    let cluster = cluster.ok_or_else(|| Refused::invalid("a bootstrap without a cluster"))?;
    check_cluster(&cluster)?;
    for node in &mut bootstrap.nodes {
        node.incarnation = node.incarnation.max(1);
    }
    check_nodes(&bootstrap.nodes)?;
    check_shards(&bootstrap.shards, &bootstrap.nodes)?;
    check_admin_keys(&bootstrap.keys)?;
    for key in &mut bootstrap.keys {
        key.created_ms = stamp_ms;
    }
    let answer = put(What::Cluster(cluster));
    let mut records = vec![answer.clone()];
    records.extend(bootstrap.nodes.into_iter().map(What::Node).map(put));
    records.extend(bootstrap.shards.into_iter().map(What::Shard).map(put));
    records.extend(bootstrap.keys.into_iter().map(What::Key).map(put));
    Ok(Plan { records, answer: Some(answer) })
}

fn check_cluster(cluster: &ClusterRecord) -> Result<(), Refused> {
    if cluster.cluster_id.len() != CLUSTER_ID_BYTES || cluster.key_salt.len() != SALT_BYTES {
        return Err(Refused::invalid("a cluster id must have 16 bytes and a key salt 32"));
    }
    Ok(())
}

fn check_nodes(nodes: &[NodeRecord]) -> Result<(), Refused> {
    if nodes.is_empty() {
        return Err(Refused::invalid("a ranch needs at least one node"));
    }
    for (at, node) in nodes.iter().enumerate() {
        check_node(node, nodes[..at].iter())?;
        if nodes[..at].iter().any(|other| other.id == node.id) {
            return Err(Refused::invalid(format!("two nodes have the id {}", node.id)));
        }
    }
    Ok(())
}

/// Checks a node by itself and against others that must not be mistaken for it.
fn check_node<'a>(
    node: &NodeRecord,
    mut others: impl Iterator<Item = &'a NodeRecord>,
) -> Result<(), Refused> {
    if node.id == 0 || node.name.is_empty() || node.addr.is_empty() {
        return Err(Refused::invalid("a node needs an id above 0, a name and an address"));
    }
    let same = |other: &&NodeRecord| other.name == node.name || other.addr == node.addr;
    let Some(other) = others.find(same) else { return Ok(()) };
    let (what, value) =
        if other.name == node.name { ("name", &node.name) } else { ("address", &node.addr) };
    let (id, taken_by) = (node.id, other.id);
    Err(Refused::invalid(format!(
        "node {id} cannot have the {what} {value}: node {taken_by} has it; give it another one, or \
         remove node {taken_by} first if this machine is to take its place"
    )))
}

fn check_shards(shards: &[ShardRecord], nodes: &[NodeRecord]) -> Result<(), Refused> {
    if shards.is_empty() {
        return Err(Refused::invalid("a ranch needs at least one shard"));
    }
    let replicas: HashSet<u64> =
        nodes.iter().map(|node| ReplicaId::new(NodeId(node.id), node.incarnation).0).collect();
    let mut ids = HashSet::new();
    for shard in shards {
        let id = shard.id;
        if id == 0 || !ids.insert(id) {
            return Err(Refused::invalid(format!("shard ids are unique and above 0, not {id}")));
        }
        let mut seen = HashSet::new();
        let good = |replica: &u64| replicas.contains(replica) && seen.insert(*replica);
        if shard.replicas.is_empty() || !shard.replicas.iter().all(good) {
            return Err(Refused::invalid(format!(
                "shard {id} needs replicas on different nodes of this ranch"
            )));
        }
    }
    Ok(())
}

fn check_admin_keys(keys: &[KeyRecord]) -> Result<(), Refused> {
    let admin = |key: &KeyRecord| {
        key.hash.len() == HASH_BYTES && key.role() == Role::Admin && key.tenant.is_empty()
    };
    if keys.iter().all(admin) {
        return Ok(());
    }
    Err(Refused::invalid("the keys of a bootstrap are admin keys with hashes of 32 bytes"))
}

/// A node that starts asks for its place. The nonce of its data directory tells apart a restart,
/// which finds everything as it was, from a return without data, which begins a new incarnation:
/// what the old replicas promised is gone, so they must never vote again.
pub(super) fn join(directory: &Directory, join: JoinNode, stamp_ms: u64) -> Result<Plan, Refused> {
    let mut asked = join.node.ok_or_else(|| Refused::invalid("a join without a node"))?;
    if asked.boot_nonce.len() != NONCE_BYTES {
        return Err(Refused::invalid("a node's nonce must have 16 bytes"));
    }
    check_version(directory, &asked)?;
    let used = by_token(directory, &mut asked, &join.token, stamp_ms)?;
    if let Some(gone) = directory.gone.get(&NodeId(asked.id)) {
        return Err(Refused::exists(format!(
            "node {} ({}) has left this ranch, and ids are not given twice: give the machine a \
             new id and an empty data directory",
            gone.id, gone.name
        )));
    }
    check_node(&asked, directory.nodes.values().filter(|node| node.id != asked.id))?;
    let Some(known) = directory.nodes.get(&NodeId(asked.id)) else {
        let answer = put(What::Node(NodeRecord { incarnation: 1, ..asked }));
        let token = used.map(What::Token).map(put);
        let records = token.into_iter().chain([answer.clone()]).collect();
        return Ok(Plan { records, answer: Some(answer) });
    };
    // Bootstrap lists nodes that have not started yet: their first nonce is as good as any.
    let same = known.boot_nonce == asked.boot_nonce || known.boot_nonce.is_empty();
    // A node says where it is and what it runs; what was decided about it stays.
    let mut node = NodeRecord {
        incarnation: known.incarnation,
        draining: known.draining,
        leaving: known.leaving,
        lost: known.lost,
        numbers: known.numbers,
        lost_how: known.lost_how.clone(),
        returned_ms: known.returned_ms,
        ..asked.clone()
    };
    if !same {
        check_absent(known, &node)?;
        (node.lost_how, node.returned_ms) = (asked.lost_how, stamp_ms);
        node.incarnation = moves::next_number(&mut node);
        // Without moves the incarnation alone says it.
        if known.numbers == 0 {
            node.numbers = 0;
        }
    }
    let mut plan = Plan { records: Vec::new(), answer: Some(put(What::Node(node.clone()))) };
    if node == *known {
        return Ok(plan);
    }
    if !same {
        let new = ReplicaId::new(NodeId(node.id), node.incarnation);
        plan.records.extend(replace_replicas(directory, new));
    }
    plan.records.push(put(What::Node(node)));
    Ok(plan)
}

/// Has a token let in a machine that comes with one and is not in yet, under the id it comes with
/// or, without any, under a new one; returns the token as it is from then on.
fn by_token(
    directory: &Directory,
    asked: &mut NodeRecord,
    token: &[u8],
    stamp_ms: u64,
) -> Result<Option<JoinToken>, Refused> {
    // Before there was this feature, a token beside an id meant nothing.
    let chosen = asked.id != 0;
    if token.is_empty() || chosen && !directory.allows(Feature::JoinTokens) {
        return Ok(None);
    }
    let known = directory.nodes.values().find(|node| node.boot_nonce == asked.boot_nonce);
    if let Some(known) = known.filter(|known| !chosen || known.id == asked.id) {
        // It asks again: whatever became of the token meanwhile, it is in.
        asked.id = known.id;
        return Ok(None);
    }
    let used = use_token(directory, token, stamp_ms)?;
    if !chosen {
        asked.id = next_id(directory)?;
    } else if let Some(known) = directory.nodes.get(&NodeId(asked.id)) {
        return Err(Refused::exists(format!(
            "the id {} is taken by node {} at {}: a token lets in new machines, with a \
             certificate for an id no machine has had; a machine that has lost its data comes \
             back by `ranch node` with a ranch.toml that lists it",
            known.id, known.name, known.addr
        )));
    }
    Ok(Some(used))
}

/// An id nobody has had.
fn next_id(directory: &Directory) -> Result<u32, Refused> {
    let ids = directory.nodes.keys().chain(directory.gone.keys());
    let highest = ids.map(|id| id.0).max().unwrap_or(0);
    highest.checked_add(1).ok_or_else(|| {
        Refused::invalid("the highest id there is has been given: list the machine in ranch.toml")
    })
}

/// Refuses binaries that cannot write what the ranch writes.
fn check_version(directory: &Directory, asked: &NodeRecord) -> Result<(), Refused> {
    let (ours, theirs) = (directory.version(), formats(asked));
    if theirs.contains(ours) {
        return Ok(());
    }
    Err(Refused::invalid(format!(
        "this ranch is at cluster version {ours}, and version {} can do {theirs}: run the version \
         the other machines run",
        asked.version
    )))
}

/// The token with one use more, if it lets another machine in.
fn use_token(directory: &Directory, hash: &[u8], stamp_ms: u64) -> Result<JoinToken, Refused> {
    let no =
        |why: &str| Refused::not_found(format!("{why}: make a new one with `ranch node token`"));
    // Hashes are compared in constant time.
    let hash = KeyHash::from_slice(hash);
    let mut tokens = directory.tokens.values();
    let known = tokens.find(|known| hash.is_some() && KeyHash::from_slice(&known.hash) == hash);
    let known = known.ok_or_else(|| no("the token is not one of this ranch"))?;
    if known.expires_ms <= stamp_ms {
        return Err(no("the token has expired"));
    }
    // Those from before uses were counted let in as many as come.
    if known.uses > 0 && known.used >= known.uses {
        return Err(no("the token has let in as many machines as it may"));
    }
    Ok(JoinToken { used: known.used + 1, ..known.clone() })
}

/// A node that comes back without its data has the name and address it had. Anything else is
/// another machine with an id that is taken.
fn check_absent(known: &NodeRecord, asked: &NodeRecord) -> Result<(), Refused> {
    if known.name == asked.name || known.addr == asked.addr {
        return Ok(());
    }
    Err(Refused::exists(format!(
        "the id {} is taken by node {} at {}: give the new machine an id of its own",
        known.id, known.name, known.addr
    )))
}

/// The shards with a replica on the node of `new`, with `new` in its place at the end: the first
/// one initialises a shard, which a replica without data should do last.
fn replace_replicas(
    directory: &Directory,
    new: ReplicaId,
) -> impl Iterator<Item = ranch_proto::schema::Record> + '_ {
    let old = move |replica: u64| ReplicaId(replica).node() == new.node();
    directory.shards.values().filter_map(move |shard| {
        let mut changed = shard.clone();
        changed.replicas.retain(|&replica| !old(replica));
        if changed.replicas.len() < shard.replicas.len() {
            changed.replicas.push(new.0);
        }
        if old(changed.adding) {
            changed.adding = new.0;
        }
        if old(changed.removing) {
            changed.removing = new.0;
        }
        (changed != *shard).then(|| put(What::Shard(changed)))
    })
}
