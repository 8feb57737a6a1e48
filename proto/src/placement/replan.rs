//! Where replicas belong when nodes come and go: the placement there is, changed as little as
//! possible.
//!
//! Whatever may stay stays. Free places go to a zone the shard is not in yet, there to the node
//! with the least load. Then replicas pass from the fullest node to the emptiest while they differ
//! by two or more, so a new node is given its fair share and nothing else moves. Among equals a
//! hash of shard and node decides: the point a consistent-hash ring would have put them at, so
//! that the shards of a node that goes spread over many others. (Bounding the load of a ring in
//! this way is the idea of Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded
//! loads", 2018; the zones and the even shares are why a plain ring does not do.)

use xxhash_rust::xxh3::xxh3_64;

use super::replicas::{distinct, pass_on};
use crate::ids::{GroupId, NodeId};

/// A shard and the nodes it is on or already on its way to, the one that should lead first.
pub type Placed = (GroupId, Vec<NodeId>);

/// The nodes for each of `shards`, in the same order: `copies` distinct ones each of `nodes`, with
/// their zones, or as many as there are. Where there are too few, a shard keeps those it is on
/// although they are not among `nodes`. Calling it with its own result changes nothing.
#[must_use]
pub fn replan(nodes: &[(NodeId, &str)], shards: &[Placed], copies: usize) -> Vec<Vec<NodeId>> {
    let mut plan = Replan::new(nodes, shards);
    for (at, (_, now)) in shards.iter().enumerate() {
        plan.keep(at, now, copies);
    }
    (0..shards.len()).for_each(|at| plan.fill(at, copies));
    (0..shards.len()).for_each(|at| plan.widen(at));
    while plan.pass_one() {}
    plan.even_firsts();
    plan.result(shards, copies)
}

/// Loads while planning. Nodes are indexes into `ids` here.
struct Replan {
    ids: Vec<NodeId>,
    zone_of: Vec<usize>,
    shards: Vec<GroupId>,
    placed: Vec<Vec<usize>>,
    load: Vec<u64>,
}

impl Replan {
    fn new(nodes: &[(NodeId, &str)], shards: &[Placed]) -> Self {
        let (_, zone_of) = distinct(nodes.iter().map(|&(_, zone)| zone));
        Self {
            ids: nodes.iter().map(|&(id, _)| id).collect(),
            zone_of,
            shards: shards.iter().map(|(id, _)| *id).collect(),
            placed: vec![Vec::new(); shards.len()],
            load: vec![0; nodes.len()],
        }
    }

    /// Leaves a shard where it is, as far as those nodes may have it.
    fn keep(&mut self, at: usize, now: &[NodeId], copies: usize) {
        for id in now {
            let Some(node) = self.ids.iter().position(|other| other == id) else { continue };
            if self.placed[at].len() < copies && !self.placed[at].contains(&node) {
                self.placed[at].push(node);
                self.load[node] += 1;
            }
        }
    }

    /// Finds nodes for the replicas a shard lacks.
    fn fill(&mut self, at: usize, copies: usize) {
        while self.placed[at].len() < copies.min(self.ids.len()) {
            let free = (0..self.ids.len()).filter(|node| !self.placed[at].contains(node));
            let rank = |&node: &usize| {
                (self.shares_zone(at, node, None), self.load[node], self.mark(at, node))
            };
            let Some(node) = free.min_by_key(rank) else { return };
            self.placed[at].push(node);
            self.load[node] += 1;
        }
    }

    /// Moves replicas that share a zone to zones the shard is not in.
    fn widen(&mut self, at: usize) {
        loop {
            let mine = &self.placed[at];
            let doubled = mine.iter().filter(|&&node| self.shares_zone(at, node, Some(node)));
            let Some(&from) = doubled.max_by_key(|&&node| (self.load[node], node)) else { return };
            let free = (0..self.ids.len()).filter(|node| !mine.contains(node));
            let alone = free.filter(|&node| !self.shares_zone(at, node, None));
            let Some(to) = alone.min_by_key(|&node| (self.load[node], self.mark(at, node))) else {
                return;
            };
            self.replace(at, from, to);
        }
    }

    /// Passes one replica from a fuller node to an emptier one, if any two differ enough.
    fn pass_one(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        order.sort_by_key(|&node| (self.load[node], self.ids[node]));
        for &from in order.iter().rev() {
            for &to in order.iter().take_while(|&&to| self.load[to] + 2 <= self.load[from]) {
                if let Some(at) = self.passable(from, to) {
                    self.replace(at, from, to);
                    return true;
                }
            }
        }
        false
    }

    /// The shard that had best go from one node to the other; zones must not suffer.
    fn passable(&self, from: usize, to: usize) -> Option<usize> {
        let may_go = |&at: &usize| {
            let mine = &self.placed[at];
            mine.contains(&from)
                && !mine.contains(&to)
                && (self.shares_zone(at, from, Some(from)) || !self.shares_zone(at, to, Some(from)))
        };
        (0..self.placed.len()).filter(may_go).min_by_key(|&at| self.mark(at, to))
    }

    /// Whether the shard has a replica in the zone of `node`, leaving aside the one on `but`.
    fn shares_zone(&self, at: usize, node: usize, but: Option<usize>) -> bool {
        let others = self.placed[at].iter().filter(|&&other| Some(other) != but);
        others.into_iter().any(|&other| self.zone_of[other] == self.zone_of[node])
    }

    fn replace(&mut self, at: usize, from: usize, to: usize) {
        self.placed[at].retain(|&node| node != from);
        self.placed[at].push(to);
        self.load[from] -= 1;
        self.load[to] += 1;
    }

    fn mark(&self, at: usize, node: usize) -> u64 {
        let mark = u64::from(self.shards[at].0) << 32 | u64::from(self.ids[node].0);
        xxh3_64(&mark.to_be_bytes())
    }

    /// Spreads first places evenly, changing as few as that takes.
    fn even_firsts(&mut self) {
        let mut firsts = vec![0; self.ids.len()];
        for first in self.placed.iter().filter_map(|shard| shard.first()) {
            firsts[*first] += 1;
        }
        let mut from = 0;
        while from < firsts.len() {
            if let Some(to) = pass_on(&mut self.placed, &firsts, from) {
                firsts[from] -= 1;
                firsts[to] += 1;
                from = 0;
            } else {
                from += 1;
            }
        }
    }

    fn result(self, shards: &[Placed], copies: usize) -> Vec<Vec<NodeId>> {
        let ids = |nodes: &[usize]| nodes.iter().map(|&node| self.ids[node]).collect();
        let result = self.placed.iter().zip(shards).map(|(nodes, (_, before))| {
            let mut nodes: Vec<NodeId> = ids(nodes);
            let leftover = before.iter().filter(|id| !self.ids.contains(id));
            let room = copies.saturating_sub(nodes.len());
            nodes.extend(leftover.take(room));
            nodes
        });
        result.collect()
    }
}
