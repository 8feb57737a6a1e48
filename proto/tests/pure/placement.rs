//! Placement: stable over versions, fair, and moving little.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use ranch_proto::placement::{ShardRing, place_replicas};
use ranch_proto::{GroupId, NodeId};

const TENANTS: u32 = 10_000;

fn ring(shards: u32) -> ShardRing {
    ShardRing::new((1..=shards).map(GroupId))
}

fn tenants() -> impl Iterator<Item = String> {
    (0..TENANTS).map(|number| format!("tenant-{number}"))
}

#[test]
fn tenants_go_where_they_always_went() {
    let placed = |shards: u32| {
        let ring = ring(shards);
        ["demo", "default", "will", "alice", "a", "tenant-1", "tenant-2"]
            .map(|tenant| ring.shard_of(tenant).0)
    };
    assert_eq!(placed(1), [1; 7]);
    assert_eq!(placed(12), [9, 10, 5, 2, 9, 11, 4]);
    assert_eq!(placed(96), [30, 46, 5, 93, 85, 54, 73]);
}

#[test]
fn the_order_of_shards_makes_no_difference() {
    let backwards = ShardRing::new((1..=12).rev().chain([3, 3]).map(GroupId));
    let forwards = ring(12);
    assert!(tenants().all(|tenant| backwards.shard_of(&tenant) == forwards.shard_of(&tenant)));
}

#[test]
fn without_shards_nobody_is_placed_on_one() {
    assert_eq!(ring(0).shard_of("will"), GroupId::META);
}

#[test]
fn shares_are_fair() {
    let ring = ring(12);
    let mut shares: HashMap<GroupId, u32> = HashMap::new();
    for tenant in tenants() {
        *shares.entry(ring.shard_of(&tenant)).or_default() += 1;
    }
    assert_eq!(shares.len(), 12);
    let fair = TENANTS / 12;
    assert!(
        shares.values().all(|share| (fair * 3 / 4..=fair * 5 / 4).contains(share)),
        "{shares:?}"
    );
}

#[test]
fn a_new_shard_takes_its_share_and_nothing_else_moves() {
    let (before, after) = (ring(12), ring(13));
    let places = tenants().map(|tenant| (before.shard_of(&tenant), after.shard_of(&tenant)));
    let moved: Vec<_> = places.filter(|(from, to)| from != to).collect();
    assert!(moved.iter().all(|(_, to)| *to == GroupId(13)), "moved between old shards");
    let (moved, fair) = (moved.len() as u32, TENANTS / 13);
    assert!((fair * 3 / 4..=fair * 5 / 4).contains(&moved), "{moved} moved, {fair} are fair");
}

#[test]
fn replicas_go_where_they_always_went() {
    let ids = |nodes: Vec<Vec<NodeId>>| -> Vec<Vec<u32>> {
        nodes.into_iter().map(|shard| shard.into_iter().map(|node| node.0).collect()).collect()
    };
    let three = [(NodeId(1), ""), (NodeId(2), ""), (NodeId(3), "")];
    assert_eq!(ids(place_replicas(&three, 4, 3)), [[2, 3, 1], [1, 2, 3], [3, 1, 2], [3, 1, 2]]);
    let zoned = [(NodeId(1), "a"), (NodeId(2), "a"), (NodeId(3), "b"), (NodeId(4), "b")];
    assert_eq!(ids(place_replicas(&zoned, 4, 2)), [[2, 3], [1, 4], [3, 1], [4, 2]]);
}

#[test]
fn fewer_nodes_than_replicas_take_one_each() {
    let two = [(NodeId(1), "a"), (NodeId(2), "b")];
    assert!(place_replicas(&two, 5, 3).iter().all(|shard| shard.len() == 2));
    assert_eq!(place_replicas(&[], 2, 3), [vec![], vec![]]);
    assert_eq!(place_replicas(&two, 0, 3), Vec::<Vec<NodeId>>::new());
}

#[test]
fn zones_come_before_even_loads() {
    let nodes = [(NodeId(1), "a"), (NodeId(2), "a"), (NodeId(3), "a"), (NodeId(4), "b")];
    let placed = place_replicas(&nodes, 12, 2);
    assert!(placed.iter().all(|shard| shard.contains(&NodeId(4))));
}

/// Least and greatest number of times any node occurs.
fn spread(nodes: &[(NodeId, &str)], occurrences: impl Iterator<Item = NodeId>) -> (usize, usize) {
    let mut counts: HashMap<_, _> = nodes.iter().map(|&(node, _)| (node, 0)).collect();
    for node in occurrences {
        *counts.get_mut(&node).unwrap() += 1;
    }
    (*counts.values().min().unwrap(), *counts.values().max().unwrap())
}

proptest! {
    #[test]
    fn replicas_are_distinct_spread_and_balanced(
        zones in 1..5_u32, nodes_a_zone in 1..5_u32, shards in 0..60_u32, replicas in 1..6_usize,
    ) {
        let names = ["a", "b", "c", "d"];
        let node = |id: u32| (NodeId(id + 1), names[(id % zones) as usize]);
        let nodes: Vec<_> = (0..zones * nodes_a_zone).map(node).collect();
        let zone_of: HashMap<_, _> = nodes.iter().copied().collect();
        let placed = place_replicas(&nodes, shards, replicas);
        prop_assert_eq!(placed.len(), shards as usize);
        for shard in &placed {
            prop_assert_eq!(shard.len(), replicas.min(nodes.len()));
            let distinct: HashSet<_> = shard.iter().collect();
            prop_assert_eq!(distinct.len(), shard.len());
            let in_zones: HashSet<_> = shard.iter().map(|node| zone_of[node]).collect();
            prop_assert_eq!(in_zones.len(), shard.len().min(zones as usize));
        }
        let (least, most) = spread(&nodes, placed.iter().flatten().copied());
        prop_assert!(most - least <= 1, "replicas from {} to {}", least, most);
        let (least, most) = spread(&nodes, placed.iter().map(|shard| shard[0]));
        prop_assert!(most - least <= 1, "first places from {} to {}", least, most);
    }
}
