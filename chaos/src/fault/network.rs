//! Faults of the network: packets that do not arrive, all or some, in one direction or both.
//!
//! A fault is a table of `nft` rules of its own, set in one step and removed in one, so faults
//! overlap without knowing of each other. Where packets vanish, the table is at the bridge between
//! the machines, none of which can tell. Only resets are made at the machine whose they seem to be.

use std::net::Ipv4Addr;

use fastrand::Rng;

use super::{Blow, FaultKind};
use crate::error::HarnessError;
use crate::tool;
use crate::world::network::{CLIENTS, Network, ROUTER, node_ip, node_name};

/// A direction: from, to.
type Way = (Ipv4Addr, Ipv4Addr);

/// Rules that hold, where they are.
#[derive(Debug)]
pub struct Cut {
    /// The table of the rules: its family and its name.
    table: [String; 2],
    /// The words before `nft` for each machine that has it: none for the bridge.
    places: Vec<Vec<String>>,
}

impl Cut {
    /// Sets the rules.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn begin(blow: Blow<'_>, network: Network, rng: &mut Rng) -> Result<Self, HarnessError> {
        let Blow { spec, nodes, number } = blow;
        let mut all = network.nodes();
        rng.shuffle(&mut all);
        if spec.kind == FaultKind::Resets {
            let table = ["inet".to_owned(), format!("fault{number}")];
            let rules = resets(&table.join(" "));
            let places = nodes.iter().map(|node| network.on(&node_name(*node))).collect();
            return Self { table, places }.set(&rules);
        }
        let table = ["bridge".to_owned(), format!("fault{number}")];
        let share = (spec.kind == FaultKind::Loss).then_some(spec.loss_percent);
        let rules = drops(&table.join(" "), &ways(spec.kind, nodes, &all), share);
        Self { table, places: vec![Vec::new()] }.set(&rules)
    }

    fn set(self, rules: &str) -> Result<Self, HarnessError> {
        for place in &self.places {
            nft(place, &["-f", "-"], rules)?;
        }
        Ok(self)
    }

    /// Removes the rules, and gives the number of packets they met.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn heal(self) -> Result<u64, HarnessError> {
        let mut packets = 0;
        for place in &self.places {
            // Not in one file: nft 1.0.6 lists, deletes, and crashes.
            let [family, name] = &self.table;
            packets += counted(&nft(place, &["list", "table", family, name], "")?);
            nft(place, &["delete", "table", family, name], "")?;
        }
        Ok(packets)
    }
}

/// Runs `nft` at a place, with an input or none.
fn nft(place: &[String], args: &[&str], input: &str) -> Result<String, HarnessError> {
    let words: Vec<&str> = place.iter().map(String::as_str).chain(["nft"]).collect();
    tool::feed(words[0], &[&words[1..], args].concat(), input)
}

/// The ways a fault closes.
fn ways(kind: FaultKind, targets: &[u32], all: &[u32]) -> Vec<Way> {
    let others = || all.iter().filter(|node| !targets.contains(node));
    let out: Vec<Way> = targets
        .iter()
        .flat_map(|target| others().map(|other| (node_ip(*target), node_ip(*other))))
        .collect();
    let outside = |ip| targets.iter().map(move |target| (node_ip(*target), ip));
    match kind {
        FaultKind::OneWayOut => out,
        FaultKind::OneWayIn => back(&out),
        FaultKind::Isolate => both(&[out, outside(ROUTER).collect(), outside(CLIENTS).collect()]),
        FaultKind::RouterCut => both(&[outside(ROUTER).collect()]),
        FaultKind::Bridge => both(&[halves(targets, all)]),
        FaultKind::Star => both(&[spokes(targets, all)]),
        FaultKind::Loss => both(&[out, outside(ROUTER).collect()]),
        _ => both(&[out]),
    }
}

fn back(ways: &[Way]) -> Vec<Way> {
    ways.iter().map(|(from, to)| (*to, *from)).collect()
}

fn both<const N: usize>(ways: &[Vec<Way>; N]) -> Vec<Way> {
    let ways = ways.concat();
    [back(&ways), ways].concat()
}

/// The ways between two halves, the first of which has the targets and the last node belongs to
/// neither.
fn halves(targets: &[u32], all: &[u32]) -> Vec<Way> {
    let others = all.iter().filter(|node| !targets.contains(node));
    let order: Vec<u32> = targets.iter().chain(others).copied().collect();
    let sides = order.split_last().map_or(&[][..], |(_, sides)| sides);
    let (left, right) = sides.split_at(sides.len() / 2);
    let across = |one: &u32| {
        let one = node_ip(*one);
        right.iter().map(move |other| (one, node_ip(*other)))
    };
    left.iter().flat_map(across).collect()
}

/// The ways between all nodes but the last that is no target.
fn spokes(targets: &[u32], all: &[u32]) -> Vec<Way> {
    let hub = all.iter().rfind(|node| !targets.contains(node));
    let rest: Vec<u32> = all.iter().filter(|node| Some(*node) != hub).copied().collect();
    let later = |at: usize| rest[at + 1..].iter();
    let from = |(at, one): (usize, &u32)| {
        let one = node_ip(*one);
        later(at).map(|other| (one, node_ip(*other))).collect::<Vec<_>>()
    };
    rest.iter().enumerate().flat_map(from).collect()
}

/// Rules that drop what goes these ways: all of it, or a share in a hundred.
fn drops(table: &str, ways: &[Way], share: Option<u32>) -> String {
    let pairs: Vec<_> = ways.iter().map(|(from, to)| format!("{from} . {to}")).collect();
    let some = share.map_or_else(String::new, |share| format!("numgen random mod 100 < {share} "));
    // What a cable brings is seen on its arrival, what this machine sends on its departure.
    format!(
        "table {table} {{\n\
         chain cut {{\nip saddr . ip daddr {{ {} }} {some}counter drop\n}}\n\
         chain arriving {{\ntype filter hook prerouting priority 0\njump cut\n}}\n\
         chain leaving {{\ntype filter hook output priority 0\n\
         ip saddr {CLIENTS} jump cut\n}}\n}}\n",
        pairs.join(", ")
    )
}

/// Rules that answer whatever arrives from another machine with a reset.
fn resets(table: &str) -> String {
    format!(
        "table {table} {{\nchain arriving {{\ntype filter hook input priority 0\n\
         iifname \"eth0\" tcp flags & rst == 0 counter reject with tcp reset\n}}\n}}\n"
    )
}

/// The packets that a listing of rules has counted.
fn counted(listing: &str) -> u64 {
    let after = listing.split("counter packets ").skip(1);
    after.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: FaultKind, targets: &[u32], all: &[u32]) -> Vec<String> {
        let last = |ip: Ipv4Addr| u32::from(ip.octets()[3]);
        let mut ways: Vec<_> = ways(kind, targets, all)
            .into_iter()
            .map(|(from, to)| format!("{}-{}", last(from), last(to)))
            .collect();
        ways.sort_unstable();
        ways
    }

    #[test]
    fn each_kind_closes_its_ways() {
        let all = [1, 2, 3];
        let of = |kind| named(kind, &[2], &all).join(" ");
        assert_eq!(of(FaultKind::OneWayOut), "12-11 12-13");
        assert_eq!(of(FaultKind::OneWayIn), "11-12 13-12");
        assert_eq!(of(FaultKind::Partition), "11-12 12-11 12-13 13-12");
        assert_eq!(of(FaultKind::RouterCut), "12-200 200-12");
        assert_eq!(of(FaultKind::Isolate), "1-12 11-12 12-1 12-11 12-13 12-200 13-12 200-12");
        // 2 and 1 do not hear each other, 3 hears both.
        assert_eq!(of(FaultKind::Bridge), "11-12 12-11");
    }

    #[test]
    fn a_bridge_of_five_has_two_halves_and_one_that_hears_both() {
        let ways = named(FaultKind::Bridge, &[4], &[1, 2, 3, 4, 5]);
        let expected = ["11-12", "11-13", "12-11", "12-14", "13-11", "13-14", "14-12", "14-13"];
        assert_eq!(ways, expected, "4 and 1 on one side, 2 and 3 on the other");
    }

    #[test]
    fn a_star_has_one_node_that_hears_all_and_is_no_target() {
        let ways = named(FaultKind::Star, &[4], &[1, 2, 3, 4]);
        assert_eq!(ways, ["11-12", "11-14", "12-11", "12-14", "14-11", "14-12"], "3 hears all");
    }

    #[test]
    fn two_targets_still_hear_each_other() {
        let ways = named(FaultKind::Partition, &[1, 2], &[1, 2, 3]);
        assert_eq!(ways, ["11-13", "12-13", "13-11", "13-12"]);
    }

    #[test]
    fn packets_are_counted_over_all_rules() {
        let listing = "ip saddr x counter packets 12 bytes 720 drop\ncounter packets 3 bytes 1";
        assert_eq!(counted(listing), 15);
        assert_eq!(counted("nothing"), 0);
    }
}
