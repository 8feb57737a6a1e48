//! Initial placement of replicas on nodes.
//!
//! Shard by shard, each replica goes to a zone the shard is not in yet, of those to the zone with
//! the least load a node, and there to the node with the least load. Among equals a hash of shard
//! and node decides, so that the shards of a lost node fail over to many others. Then the first
//! places, which lead, are evened out.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64;

use crate::ids::NodeId;

/// Nodes for each of `shards` shards, numbered from 1 in that order: `replicas` distinct ones, or
/// all nodes when there are fewer, from distinct zones as far as there are any. Loads differ by at
/// most one replica where zones are equally large, and so do first places wherever loads do. The
/// first node of a shard initialises its group and is its preferred leader.
#[must_use]
pub fn place_replicas(nodes: &[(NodeId, &str)], shards: u32, replicas: usize) -> Vec<Vec<NodeId>> {
    let mut planner = Planner::new(nodes);
    let mut placed: Vec<_> = (1..=shards).map(|shard| planner.place(shard, replicas)).collect();
    balance_firsts(&mut placed, nodes.len());
    let ids = |places: Vec<usize>| places.into_iter().map(|index| nodes[index].0).collect();
    placed.into_iter().map(ids).collect()
}

/// Loads while planning. Nodes and zones are indexes here.
struct Planner {
    ids: Vec<NodeId>,
    zone_of: Vec<usize>,
    zone_nodes: Vec<u64>,
    zone_load: Vec<u64>,
    node_load: Vec<u64>,
}

impl Planner {
    fn new(nodes: &[(NodeId, &str)]) -> Self {
        let (zones, zone_of) = distinct(nodes.iter().map(|&(_, zone)| zone));
        let mut zone_nodes = vec![0; zones];
        for &zone in &zone_of {
            zone_nodes[zone] += 1;
        }
        Self {
            ids: nodes.iter().map(|&(id, _)| id).collect(),
            zone_of,
            zone_nodes,
            zone_load: vec![0; zones],
            node_load: vec![0; nodes.len()],
        }
    }

    fn place(&mut self, shard: u32, replicas: usize) -> Vec<usize> {
        let mut chosen = Vec::new();
        while chosen.len() < replicas.min(self.ids.len()) {
            let free = (0..self.ids.len()).filter(|node| !chosen.contains(node));
            let Some(best) = free.min_by_key(|&node| self.rank(shard, node, &chosen)) else {
                break;
            };
            self.node_load[best] += 1;
            self.zone_load[self.zone_of[best]] += 1;
            chosen.push(best);
        }
        chosen
    }

    /// Less is better.
    fn rank(&self, shard: u32, node: usize, chosen: &[usize]) -> impl Ord + use<> {
        let zone = self.zone_of[node];
        let used = chosen.iter().filter(|&&other| self.zone_of[other] == zone).count();
        // Load a node in fixed point: exact enough to order zones, as loads are small numbers.
        let zone_load = (self.zone_load[zone] << 32) / self.zone_nodes[zone];
        let larger_zone = std::cmp::Reverse(self.zone_nodes[zone]);
        let mark = (u64::from(shard) << 32 | u64::from(self.ids[node].0)).to_be_bytes();
        (used, zone_load, larger_zone, self.node_load[node], xxh3_64(&mark))
    }
}

/// How many zones there are, and the number of each node's.
pub(super) fn distinct<'a>(zones: impl Iterator<Item = &'a str> + Clone) -> (usize, Vec<usize>) {
    let mut all: Vec<_> = zones.clone().collect();
    all.sort_unstable();
    all.dedup();
    let index = |zone| all.partition_point(|&other| other < zone);
    (all.len(), zones.map(index).collect())
}

/// Reorders each shard's nodes so that first places are spread as evenly as its choices allow.
///
/// As long as a node with many first places can pass one on, along a chain of shards, to a node
/// with at least two fewer, it does; when none can, no assignment is more even. (This is the
/// augmenting-path method for balancing an assignment; see Harvey, Ladner, Lovász, Tamir,
/// "Semi-matchings for bipartite graphs and load balancing", 2006.)
fn balance_firsts(placed: &mut [Vec<usize>], nodes: usize) {
    let mut firsts = vec![0_usize; nodes];
    for shard in placed.iter_mut() {
        let fewest = (0..shard.len()).min_by_key(|&at| firsts[shard[at]]);
        if let Some(at) = fewest {
            shard.swap(0, at);
            firsts[shard[0]] += 1;
        }
    }
    let mut from = 0;
    while from < nodes {
        if let Some(to) = pass_on(placed, &firsts, from) {
            firsts[from] -= 1;
            firsts[to] += 1;
            from = 0;
        } else {
            from += 1;
        }
    }
}

/// Moves one first place away from node `from` to one with at least two fewer, and says to which.
pub(super) fn pass_on(placed: &mut [Vec<usize>], firsts: &[usize], from: usize) -> Option<usize> {
    // How the search came to a node: through which shard, and which place in it.
    let mut via = vec![None; firsts.len()];
    let mut queue = VecDeque::from([from]);
    let to = 'search: loop {
        let node = queue.pop_front()?;
        for (number, shard) in
            placed.iter().enumerate().filter(|(_, shard)| shard.first() == Some(&node))
        {
            for (at, &next) in shard.iter().enumerate().skip(1) {
                if next == from || via[next].is_some() {
                    continue;
                }
                via[next] = Some((number, at));
                if firsts[next] + 2 <= firsts[from] {
                    break 'search next;
                }
                queue.push_back(next);
            }
        }
    };
    let mut node = to;
    while node != from {
        let (number, at) = via[node]?;
        node = placed[number][0];
        placed[number].swap(0, at);
    }
    Some(to)
}
