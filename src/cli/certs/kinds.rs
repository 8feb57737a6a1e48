//! Who can have a certificate: each node of `ranch.toml`, and routers, which share one.

use ranch_proto::NodeId;
use ranch_proto::config::{Config, NodeConfig, host_and_port};
use ranch_proto::tls::{Identity, ROUTER_STEM};

use super::CertsError;

/// Whose a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One node's.
    Node(NodeConfig),
    /// Every router's.
    Router,
}

impl Kind {
    /// Everyone of the ranch.
    pub fn all(config: &Config) -> Vec<Self> {
        let nodes = config.nodes.iter().cloned().map(Self::Node);
        nodes.chain([Self::Router]).collect()
    }

    /// Those named: nodes by name or id, and `router`.
    ///
    /// # Errors
    /// [`CertsError::Unknown`].
    pub fn named(config: &Config, names: &[String]) -> Result<Vec<Self>, CertsError> {
        let find = |name: &String| {
            if name == ROUTER_STEM {
                return Ok(Self::Router);
            }
            let known: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
            let node = config.node(name).cloned().map(Self::Node);
            node.ok_or_else(|| CertsError::Unknown { name: name.clone(), known: known.join(", ") })
        };
        names.iter().map(find).collect()
    }

    /// What its files are called.
    pub fn stem(&self) -> &str {
        match self {
            Self::Node(node) => &node.name,
            Self::Router => ROUTER_STEM,
        }
    }

    /// Who it is in its certificate.
    pub fn identity(&self, config: &Config) -> Identity {
        match self {
            Self::Node(node) => Identity::node(&config.cluster.name, NodeId(node.id)),
            Self::Router => Identity::router(&config.cluster.name),
        }
    }

    /// The hosts and addresses it is reached at: a node by other machines, a router by clients.
    pub fn hosts(&self, config: &Config) -> Vec<String> {
        let addrs: Vec<&str> = match self {
            Self::Node(node) => vec![&node.addr],
            Self::Router => {
                let embedded = config.nodes.iter().filter_map(|node| node.listen.as_deref());
                std::iter::once(config.router.listen.as_str()).chain(embedded).collect()
            }
        };
        let hosts = addrs.into_iter().filter_map(|addr| host_and_port(addr).map(|(host, _)| host));
        // Nobody is reached at "all addresses".
        let hosts = hosts.filter(|host| !matches!(*host, "0.0.0.0" | "::"));
        let local = ["localhost", "127.0.0.1", "::1"].into_iter().filter(|_| *self == Self::Router);
        let mut all: Vec<String> = hosts.chain(local).map(str::to_owned).collect();
        all.sort();
        all.dedup();
        all
    }
}
