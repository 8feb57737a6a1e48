//! Replanning: fair, over zones, moving little, and done when it is done.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ranch_proto::placement::{Placed, place_replicas, replan};
use ranch_proto::{GroupId, NodeId};

type Nodes = Vec<(NodeId, &'static str)>;

fn nodes(ids: impl IntoIterator<Item = u32>, zones: usize) -> Nodes {
    let zone = |id: u32| ["a", "b", "c", "d", "e"][id as usize % zones];
    ids.into_iter().map(|id| (NodeId(id), zone(id))).collect()
}

fn founded(nodes: &Nodes, shards: u32, copies: usize) -> Vec<Placed> {
    (1..).map(GroupId).zip(place_replicas(nodes, shards, copies)).collect()
}

fn again(nodes: &Nodes, before: &[Placed], copies: usize) -> Vec<Placed> {
    let ids = before.iter().map(|(id, _)| *id);
    ids.zip(replan(nodes, before, copies)).collect()
}

/// Replicas that have to be filled anew.
fn moved(before: &[Placed], after: &[Placed]) -> usize {
    let new = |((_, before), (_, after)): (&Placed, &Placed)| {
        after.iter().filter(|node| !before.contains(node)).count()
    };
    before.iter().zip(after).map(new).sum()
}

fn loads(nodes: &Nodes, placed: &[Placed]) -> BTreeMap<NodeId, usize> {
    let mut loads: BTreeMap<_, _> = nodes.iter().map(|(id, _)| (*id, 0)).collect();
    for node in placed.iter().flat_map(|(_, nodes)| nodes) {
        *loads.get_mut(node).expect("only these nodes are used") += 1;
    }
    loads
}

fn spread(counts: impl Iterator<Item = usize> + Clone) -> usize {
    counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
}

fn firsts(nodes: &Nodes, placed: &[Placed]) -> Vec<usize> {
    let first = |id: NodeId| placed.iter().filter(|(_, on)| on.first() == Some(&id)).count();
    nodes.iter().map(|(id, _)| first(*id)).collect()
}

#[test]
fn what_was_founded_stays_as_it_is() {
    for (count, zones, shards) in [(1, 1, 12), (3, 1, 12), (3, 3, 48), (5, 2, 12), (7, 3, 96)] {
        let nodes = nodes(1..=count, zones);
        let before = founded(&nodes, shards, 3);
        assert_eq!(again(&nodes, &before, 3), before, "{count} nodes, {zones} zones");
    }
}

#[test]
fn one_machine_becomes_three_and_each_has_everything() {
    let before = founded(&nodes([1], 1), 12, 3);
    let three = nodes(1..=3, 1);
    let after = again(&three, &before, 3);
    assert!(after.iter().all(|(_, on)| on.len() == 3), "{after:?}");
    assert_eq!(firsts(&three, &after), [4, 4, 4]);
}

#[test]
fn a_new_node_gets_its_fair_share_and_nothing_else_moves() {
    for (count, shards) in [(3_u32, 12_u32), (4, 12), (5, 48), (3, 96)] {
        let before = founded(&nodes(1..=count, 1), shards, 3);
        let more = nodes(1..=count + 1, 1);
        let after = again(&more, &before, 3);
        let share = shards as usize * 3 / (count as usize + 1);
        assert!((share..=share + 1).contains(&moved(&before, &after)), "{count} {shards}");
        let loads = loads(&more, &after);
        assert_eq!(loads[&NodeId(count + 1)], moved(&before, &after), "all moves are to it");
        assert!(spread(loads.values().copied()) <= 1, "{loads:?}");
        assert!(spread(firsts(&more, &after).into_iter()) <= 1, "leaders are even");
    }
}

#[test]
fn a_node_that_goes_moves_only_what_it_has() {
    let before = founded(&nodes(1..=5, 1), 12, 3);
    let fewer = nodes([1, 2, 3, 5], 1);
    let after = again(&fewer, &before, 3);
    let gone = before.iter().filter(|(_, on)| on.contains(&NodeId(4))).count();
    assert_eq!(moved(&before, &after), gone);
}

#[test]
fn copies_stay_where_they_are_when_nobody_can_take_them() {
    let before = founded(&nodes(1..=3, 1), 12, 3);
    let after = again(&nodes([1, 3], 1), &before, 3);
    for ((_, before), (_, after)) in before.iter().zip(&after) {
        let (before, after): (BTreeSet<_>, BTreeSet<_>) =
            (before.iter().collect(), after.iter().collect());
        assert_eq!(before, after);
    }
}

proptest! {
    #[test]
    fn any_change_ends_fair_and_whole(
        start in 1..8_u32, end in 1..8_u32, zones in 1..4_usize, shards in 1..40_u32,
        away in 0..3_u32,
    ) {
        let before = founded(&nodes(1..=start, zones), shards, 3);
        let now = nodes((1 + away)..=(end + away), zones);
        let after = again(&now, &before, 3);
        let copies = 3.min(now.len());
        for (_, on) in &after {
            let used: BTreeSet<_> = on.iter().collect();
            prop_assert_eq!(used.len(), on.len(), "distinct nodes");
            prop_assert!(on.len() >= copies);
        }
        if now.len() >= 3 {
            let zone = |id: &NodeId| now.iter().find(|(other, _)| other == id).unwrap().1;
            let there: BTreeSet<_> = now.iter().map(|(_, zone)| zone).collect();
            for (_, on) in &after {
                let used: BTreeSet<_> = on.iter().map(zone).collect();
                prop_assert_eq!(used.len(), there.len().min(3), "as many zones as there are");
            }
            if zones == 1 {
                let loads = loads(&now, &after);
                prop_assert!(spread(loads.values().copied()) <= 1, "{:?}", loads);
            }
        }
        prop_assert_eq!(again(&now, &after, 3), after, "nothing is left to do");
    }
}
