//! Copies of shards on their way: how many, how far, and how long it may still take.

use ranch_proto::schema::{GroupStatus, NodeRecord, ShardRecord};
use ranch_proto::{Directory, ReplicaId};
use serde::Serialize;

use super::Answers;

/// All that is on its way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moves {
    /// Under way now.
    pub running: usize,
    /// Not begun yet.
    pub waiting: usize,
    /// Copies there are to be in all, of all shards.
    pub wanted: usize,
    /// Those of them that are where they are to be.
    pub placed: usize,
    /// Bytes of scrolls that have yet to arrive.
    pub bytes_left: u64,
    /// Seconds until then at the present rate; absent while that is not known.
    pub eta_s: Option<u64>,
}

/// One copy on its way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moving {
    /// The node that gets it; absent where one is only taken away.
    pub to: Option<u32>,
    /// The node that gives it up; absent where one is only added.
    pub from: Option<u32>,
    /// Bytes sent of the whole copy.
    pub sent_bytes: u64,
    /// Bytes of the whole copy, about.
    pub total_bytes: u64,
}

/// What a node does, in a word.
pub(super) fn duty(node: &NodeRecord) -> &'static str {
    match (node.leaving, node.lost, node.draining) {
        (true, ..) => "leaving",
        (_, true, _) => "replaced",
        (.., true) => "draining",
        _ => "serving",
    }
}

/// Where one of a shard's copies is going, as its leader tells.
pub(super) fn moving(shard: &ShardRecord, leader: Option<&GroupStatus>) -> Option<Moving> {
    if shard.move_ms == 0 {
        return None;
    }
    let node = |replica: u64| (replica != 0).then(|| ReplicaId(replica).node().0);
    let total_bytes = leader.map_or(0, |leader| leader.bytes);
    let (sent_bytes, _) = sent(shard, leader);
    let (to, from) = (node(shard.adding), node(shard.removing));
    Some(Moving { to, from, sent_bytes, total_bytes })
}

/// Bytes sent of a shard's copy, and for how many milliseconds they have been sent; all of them
/// once the new copy keeps up with the others.
fn sent(shard: &ShardRecord, leader: Option<&GroupStatus>) -> (u64, u64) {
    let Some(leader) = leader else { return (0, 0) };
    if let Some(sending) = leader.sending.iter().find(|sending| sending.to == shard.adding) {
        return (sending.sent.min(leader.bytes), sending.elapsed_ms);
    }
    let matched = leader.progress.iter().find(|progress| progress.replica == shard.adding);
    let is_there = shard.adding == 0 || matched.is_some_and(|progress| progress.matched > 0);
    (if is_there { leader.bytes } else { 0 }, 0)
}

/// Everything on its way together.
pub(super) fn account(directory: &Directory, answers: &Answers) -> Option<Moves> {
    let mut moves =
        Moves { running: 0, waiting: 0, wanted: 0, placed: 0, bytes_left: 0, eta_s: None };
    // Bytes a second of all that are being sent.
    let mut rate = 0.0;
    for (id, shard) in &directory.shards {
        let leader = answers.values().flatten().flat_map(|answer| &answer.groups);
        let leader = leader.filter(|group| group.group == id.0 && group.state == "leader");
        let leader = leader.max_by_key(|group| group.term);
        let bytes = leader.map_or(0, |leader| leader.bytes);
        let here: Vec<u32> = shard.replicas.iter().map(|r| ReplicaId(*r).node().0).collect();
        let coming = |node: &&u32| !here.contains(node);
        let mut waiting = shard.goal.iter().filter(coming).count();
        let goal = if shard.goal.is_empty() { shard.replicas.len() } else { shard.goal.len() };
        moves.wanted += goal;
        moves.placed += goal - waiting;
        if shard.move_ms != 0 {
            moves.running += 1;
            waiting = waiting.saturating_sub(usize::from(shard.adding != 0));
            let (sent, ms) = sent(shard, leader);
            moves.bytes_left += bytes.saturating_sub(sent);
            if ms > 0 {
                rate += sent as f64 * 1_000.0 / ms as f64;
            }
        }
        moves.waiting += waiting;
        moves.bytes_left += bytes * waiting as u64;
    }
    if moves.running + moves.waiting == 0 {
        return None;
    }
    #[allow(clippy::cast_sign_loss)] // neither is below 0
    let eta = (rate > 0.0).then(|| (moves.bytes_left as f64 / rate).ceil() as u64);
    moves.eta_s = eta;
    Some(moves)
}
