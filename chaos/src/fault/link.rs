//! Slow links: packets take longer, some overtake others, some come twice.

use std::net::Ipv4Addr;

use super::Blow;
use crate::error::HarnessError;
use crate::ranch::Ranch;
use crate::tool;
use crate::world::network::{CLIENTS, ROUTER, ROUTER_NAME, node_ip, node_name};

/// Links that are slow.
#[derive(Debug)]
pub struct Slowed {
    number: usize,
    pairs: Vec<(Machine, Machine)>,
}

/// Name and address.
type Machine = (String, Ipv4Addr);

impl Slowed {
    /// Slows the links between the nodes and all others, the router too.
    ///
    /// # Errors
    /// When there is no detour for packets, or a route cannot be set.
    pub fn begin(blow: Blow<'_>, ranch: &Ranch) -> Result<Self, HarnessError> {
        let Blow { spec, nodes, number } = blow;
        let pairs = pairs(nodes, &ranch.node_ids());
        let addresses: Vec<_> = pairs.iter().map(|(one, other)| (one.1, other.1)).collect();
        ranch.relay()?.slow(number, &addresses, spec.slowness());
        let slowed = Self { number, pairs };
        slowed.route("replace", ranch)?;
        Ok(slowed)
    }

    /// Makes them fast again, and gives the number of packets that were delayed.
    ///
    /// # Errors
    /// When a route cannot be removed.
    pub fn heal(&self, ranch: &Ranch) -> Result<u64, HarnessError> {
        self.route("delete", ranch)?;
        Ok(ranch.relay()?.heal(self.number))
    }

    fn route(&self, verb: &str, ranch: &Ranch) -> Result<(), HarnessError> {
        let network = ranch.network()?;
        let via = CLIENTS.to_string();
        let both = |(one, other): &(Machine, Machine)| {
            [(one.0.clone(), other.1), (other.0.clone(), one.1)]
        };
        for (name, to) in self.pairs.iter().flat_map(both) {
            let mut words = network.on(&name);
            let to = to.to_string();
            words.extend(["ip", "route", verb, &to, "via", &via].map(str::to_owned));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            tool::run(words[0], &words[1..])?;
        }
        Ok(())
    }
}

/// Each target with each other machine, once.
fn pairs(targets: &[u32], all: &[u32]) -> Vec<(Machine, Machine)> {
    let node = |id: u32| (node_name(id), node_ip(id));
    let router = || (ROUTER_NAME.to_owned(), ROUTER);
    let mut pairs = Vec::new();
    for (at, &target) in targets.iter().enumerate() {
        let others = all.iter().filter(|other| !targets[..=at].contains(other));
        pairs.extend(others.map(|other| (node(target), node(*other))));
        pairs.push((node(target), router()));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_of_a_target_is_there_once() {
        let named = |targets: &[u32]| {
            let pairs = pairs(targets, &[1, 2, 3]);
            pairs.iter().map(|((a, _), (b, _))| format!("{a}-{b}")).collect::<Vec<_>>()
        };
        assert_eq!(named(&[2]), ["node2-node1", "node2-node3", "node2-router"]);
        assert_eq!(named(&[1, 2, 3]).len(), 6, "three between nodes, three to the router");
    }
}
