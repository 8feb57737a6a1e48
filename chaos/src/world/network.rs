//! The network of a world: a bridge, and a namespace with a cable to it for each node and for the
//! router. Clients, which run in the harness itself, sit at the bridge's own address.
//!
//! All traffic between processes crosses the bridge, so a rule there is a fault of the network
//! that no machine can tell from a cut cable.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::error::HarnessError;
use crate::tool;

/// The bridge.
pub const BRIDGE: &str = "br0";
/// Where clients are.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Where the router is.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
/// The name of the router's namespace.
pub const ROUTER_NAME: &str = "router";
/// The port everybody listens at: addresses differ, so ports need not.
const PORT: u16 = 7100;
/// Most nodes of a world: what their addresses have room for.
pub const NODES_MAX: u32 = 100;
/// Where `ip netns` keeps its names. Hidden behind a file system in memory, so that a world has
/// names of its own.
const NAMES: &str = "/run/netns";
/// Also in memory, and shared by programs that leave things behind there.
const IN_MEMORY: [&str; 2] = ["/run", "/dev/shm"];

/// A network that is up.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    nodes: u32,
}

impl Network {
    /// Builds it. There is one to a world.
    ///
    /// # Errors
    /// When a tool is missing or refuses.
    pub fn build(nodes: u32) -> Result<Self, HarnessError> {
        for dir in IN_MEMORY {
            tool::run("mount", &["-t", "tmpfs", "tmpfs", dir])?;
        }
        let naming = HarnessError::io("making names for namespaces");
        std::fs::create_dir(NAMES).map_err(naming)?;
        let mut batch = format!(
            "link set lo up\nlink add {BRIDGE} type bridge\n\
             address add {CLIENTS}/24 dev {BRIDGE}\nlink set {BRIDGE} up\n"
        );
        let network = Self { nodes };
        for (name, _) in network.machines() {
            // Writing to a String cannot fail.
            let _ = write!(
                batch,
                "netns add {name}\nlink add {name} type veth peer name eth0 netns {name}\n\
                 link set {name} master {BRIDGE} up\n"
            );
        }
        tool::feed("ip", &["-batch", "-"], &batch)?;
        for (name, addr) in network.machines() {
            let batch =
                format!("link set lo up\naddress add {addr}/24 dev eth0\nlink set eth0 up\n");
            tool::feed("ip", &["-netns", &name, "-batch", "-"], &batch)?;
        }
        Ok(network)
    }

    /// Name and address of every machine: the nodes by id, then the router.
    fn machines(self) -> impl Iterator<Item = (String, Ipv4Addr)> {
        let nodes = (1..=self.nodes).map(|id| (node_name(id), node_ip(id)));
        nodes.chain([(ROUTER_NAME.to_owned(), ROUTER)])
    }

    /// Ids of all nodes.
    #[must_use]
    pub fn nodes(self) -> Vec<u32> {
        (1..=self.nodes).collect()
    }

    /// The words before a command that has it run on a machine.
    #[must_use]
    pub fn on(self, machine: &str) -> Vec<String> {
        let name = PathBuf::from(NAMES).join(machine);
        vec!["nsenter".to_owned(), format!("--net={}", name.display())]
    }
}

/// The name of a node's namespace, and of its cable.
#[must_use]
pub fn node_name(id: u32) -> String {
    format!("node{id}")
}

/// The address of a node.
#[must_use]
pub fn node_ip(id: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(10 + id).unwrap_or(u8::MAX))
}

/// Where a machine's process listens.
#[must_use]
pub fn socket(ip: Ipv4Addr) -> SocketAddr {
    SocketAddr::from((ip, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_machine_has_a_name_and_an_address_of_its_own() {
        let network = Network { nodes: NODES_MAX };
        let (names, ips): (BTreeSet<_>, BTreeSet<_>) = network.machines().unzip();
        assert_eq!((names.len(), ips.len()), (101, 101));
        assert!(!ips.contains(&CLIENTS));
        // What an interface may be called is at most so long.
        assert!(names.iter().all(|name| name.len() <= 15));
    }
}
