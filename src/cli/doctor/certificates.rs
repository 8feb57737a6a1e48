//! How links between machines are protected: whether this machine's certificates are there, whose
//! they are, and how long they hold.

use ranch_proto::config::{Config, NodeConfig, is_loopback};

use super::finding::Finding;
use crate::cli::secure;

const CHECK: &str = "links";

/// Judges the protection that is configured, of the node here or of a router.
pub fn judge(config: &Config, me: Option<&NodeConfig>) -> Vec<Finding> {
    if config.tls.dir.is_some() {
        return certificates(config, me);
    }
    let outside: Vec<_> = config
        .nodes
        .iter()
        .filter(|node| !is_loopback(&node.addr))
        .map(|node| &*node.name)
        .collect();
    if outside.is_empty() {
        return vec![Finding::ok(CHECK, "plain, and on this machine only")];
    }
    let says = format!("plain connections leave this machine: {}", outside.join(", "));
    let remedy = "keep their network to yourself (a VPN, a VLAN, or firewall rules that let only \
                  the machines of the ranch reach each other's addr)";
    vec![Finding::warning(CHECK, says, remedy)]
}

fn certificates(config: &Config, me: Option<&NodeConfig>) -> Vec<Finding> {
    let remedy = "`ranch certs show` tells what there is, `ranch certs --help` what can be made";
    let security = match secure::of(config, me) {
        Ok(security) => security,
        Err(error) => return vec![Finding::problem(CHECK, error.to_string(), remedy)],
    };
    let near = security.problems().into_iter();
    let near: Vec<_> = near.map(|says| Finding::warning(CHECK, says, remedy)).collect();
    if near.is_empty() { vec![Finding::ok(CHECK, "by TLS, with good certificates")] } else { near }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn plain_links_that_leave_the_machine_are_told() {
        let mut config = Config::default();
        assert_eq!(judge(&config, None)[0].level, Level::Ok);
        config.nodes[1].addr = "192.0.2.7:7100".to_owned();
        let finding = &judge(&config, None)[0];
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.says.contains("node2") && !finding.says.contains("node1"));
    }
}
