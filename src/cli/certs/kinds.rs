//! Who can have a certificate: each node of `ranch.toml`, nodes that join by token, of which only
//! their certificates tell here, and routers, which share one.

use std::fs;

use ranch_proto::NodeId;
use ranch_proto::config::{Config, NodeConfig, host_and_port};
use ranch_proto::tls::{CertFiles, Identity, ROUTER_STEM, Role, certificates};

use super::super::error::CliError;
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
    /// Everyone of the ranch that `ranch.toml` knows of.
    pub fn all(config: &Config) -> Vec<Self> {
        let nodes = config.nodes.iter().cloned().map(Self::Node);
        nodes.chain([Self::Router]).collect()
    }

    /// As [`Kind::all`], and the nodes that have a certificate here though `ranch.toml` does not
    /// list them, by id.
    pub fn present(config: &Config, certs: &CertFiles) -> Vec<Self> {
        let mut more: Vec<NodeConfig> = unlisted(config, certs);
        more.sort_by_key(|node| node.id);
        let mut all = Self::all(config);
        all.extend(more.into_iter().map(Self::Node));
        all
    }

    /// Those named: nodes by name or id, and `router`.
    ///
    /// # Errors
    /// [`CertsError::Unknown`].
    pub fn named(
        config: &Config,
        certs: &CertFiles,
        names: &[String],
    ) -> Result<Vec<Self>, CertsError> {
        let more = unlisted(config, certs);
        let find = |name: &String| {
            if name == ROUTER_STEM {
                return Ok(Self::Router);
            }
            let unlisted =
                || more.iter().find(|node| node.name == *name || node.id.to_string() == *name);
            let node = config.node(name).or_else(unlisted).cloned().map(Self::Node);
            let known = || config.nodes.iter().chain(&more).map(|node| node.name.as_str());
            node.ok_or_else(|| {
                let known = known().collect::<Vec<_>>().join(", ");
                CertsError::Unknown { name: name.clone(), known }
            })
        };
        names.iter().map(find).collect()
    }

    /// The node `name` with the number `id`, which `ranch.toml` need not list. Nothing known here
    /// has the number or the name without the other.
    ///
    /// # Errors
    /// [`CertsError::Taken`], and a name that no node can have.
    pub fn with_id(
        config: &Config,
        certs: &CertFiles,
        name: &str,
        id: u32,
    ) -> Result<Self, CliError> {
        for node in &config.nodes {
            match (node.name == name, node.id == id) {
                (true, true) => return Ok(Self::Node(node.clone())),
                (false, false) => {}
                _ => {
                    let of = format!("[[node]] {} of ranch.toml has the id {}", node.name, node.id);
                    return Err(CertsError::Taken { of }.into());
                }
            }
        }
        let own = NodeConfig { listen: None, ..unlisted_node(id, name) };
        // The rules of a [[node]], and of one that has files here.
        let addr = "127.0.0.1:1".to_owned();
        let mut alone =
            Config { nodes: vec![NodeConfig { addr, ..own.clone() }], ..Config::default() };
        alone.tls.dir = Some(certs.dir().to_owned());
        alone.validate()?;
        let taken = unlisted(config, certs);
        if let Some(other) = taken.iter().find(|other| (other.name == name) != (other.id == id)) {
            let path = certs.cert(&other.name);
            let of = format!("the certificate in {} is for node {}", path.display(), other.id);
            return Err(CertsError::Taken { of }.into());
        }
        Ok(Self::Node(own))
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

/// A node of which nothing but its name and number is known: it says itself where it is.
fn unlisted_node(id: u32, name: &str) -> NodeConfig {
    NodeConfig { id, name: name.to_owned(), addr: String::new(), ..NodeConfig::local(id) }
}

/// The nodes of this ranch that have a certificate here and no place in `ranch.toml`.
fn unlisted(config: &Config, certs: &CertFiles) -> Vec<NodeConfig> {
    let entries = fs::read_dir(certs.dir()).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "crt"));
    let read = files.filter_map(|path| {
        let stem = path.file_stem()?.to_str()?;
        // What is no certificate is nobody's.
        let leaf = certificates(&path, &fs::read(&path).ok()?).ok()?.swap_remove(0);
        let identity = leaf.identity.filter(|of| of.cluster == config.cluster.name)?;
        let Role::Node(id) = identity.role else { return None };
        let listed = config.nodes.iter().any(|node| node.id == id.0 || node.name == stem);
        (!listed).then(|| unlisted_node(id.0, stem))
    });
    read.collect()
}
