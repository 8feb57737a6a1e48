//! The configuration, and which of its nodes this machine is.

use ranch_proto::config::{Config, NodeConfig};

use super::finding::Finding;
use crate::cli::error::CliError;
use crate::cli::local::Local;

/// What is known of this machine before anything is asked.
pub struct Here {
    /// The name or id given with `--name`.
    pub asked: Option<String>,
    /// The host's name.
    pub host: String,
    /// The nodes that have an address of this machine.
    pub by_addr: Vec<NodeConfig>,
}

/// The configuration cannot be used.
pub fn bad_configuration(error: &CliError) -> Finding {
    let remedy = "correct it; the ranch.toml that Ranch is shipped with explains every key";
    Finding::problem("config", error.to_string(), remedy)
}

/// The configuration in force.
pub fn configuration(local: &Local) -> Finding {
    let nodes = local.config.nodes.len();
    let nodes = format!("{nodes} node{}", if nodes == 1 { "" } else { "s" });
    match &local.config_file {
        Some(file) => Finding::ok("config", format!("{} is valid, {nodes}", file.display())),
        None => Finding::ok("config", format!("no ranch.toml found: built-in defaults, {nodes}")),
    }
}

/// The nodes that are to run here. More than one only where none has the host's name, as in a
/// whole ranch on one machine.
pub fn mine(config: &Config, here: &Here) -> (Vec<NodeConfig>, Finding) {
    let known: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
    let known = known.join(", ");
    if let Some(asked) = &here.asked
        && config.node(asked).is_none()
    {
        let says = format!("no [[node]] is named {asked}");
        let remedy = format!("choose one of {known}, or add it to ranch.toml");
        return (Vec::new(), Finding::problem("node", says, remedy));
    }
    if let Some(node) = config.node(here.asked.as_ref().unwrap_or(&here.host)) {
        return (vec![node.clone()], Finding::ok("node", described(node)));
    }
    match &here.by_addr[..] {
        [] => {
            let says = format!(
                "no [[node]] is named {} like this host or has an address of it: it can run a \
                 router only",
                here.host
            );
            let remedy = format!(
                "if a node is to run here, add it to ranch.toml, or say which it is of {known} \
                 with --name"
            );
            (Vec::new(), Finding::warning("node", says, remedy))
        }
        [node] => {
            let says = format!("{}, by its address: run it with --name", described(node));
            (vec![node.clone()], Finding::ok("node", says))
        }
        nodes => {
            let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
            let says = format!("{} have addresses of this machine", names.join(", "));
            (nodes.to_vec(), Finding::ok("node", says))
        }
    }
}

fn described(node: &NodeConfig) -> String {
    format!("this is node {} ({}) at {}", node.id, node.name, node.addr)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn here(asked: Option<&str>, host: &str, by_addr: &[u32]) -> Here {
        let by_addr = by_addr.iter().map(|id| NodeConfig::local(*id)).collect();
        Here { asked: asked.map(str::to_owned), host: host.to_owned(), by_addr }
    }

    fn ids(here: &Here) -> (Vec<u32>, Level) {
        let (nodes, finding) = mine(&Config::default(), here);
        (nodes.iter().map(|node| node.id).collect(), finding.level)
    }

    #[test]
    fn a_machine_is_found_by_what_was_asked_then_its_name_then_its_addresses() {
        assert_eq!(ids(&here(Some("3"), "node2", &[1])), (vec![3], Level::Ok));
        assert_eq!(ids(&here(None, "node2", &[1])), (vec![2], Level::Ok));
        assert_eq!(ids(&here(None, "elsewhere", &[1])), (vec![1], Level::Ok));
        assert_eq!(ids(&here(None, "elsewhere", &[1, 2, 3])), (vec![1, 2, 3], Level::Ok));
    }

    #[test]
    fn a_machine_that_is_not_listed_is_told_what_is() {
        let asked = here(Some("node9"), "node2", &[]);
        assert_eq!(ids(&asked), (Vec::new(), Level::Problem));
        let (_, finding) = mine(&Config::default(), &asked);
        assert!(finding.remedy.unwrap().contains("node1, node2, node3"));
        assert_eq!(ids(&here(None, "elsewhere", &[])), (Vec::new(), Level::Warning));
    }
}
