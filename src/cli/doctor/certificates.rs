//! How links between machines are protected. The checks of certificates (are they there, whose are
//! they, how long do they hold) belong here.

use ranch_proto::config::{Config, is_loopback};

use super::finding::Finding;

const CHECK: &str = "links";

/// Judges the protection that is configured.
pub fn judge(config: &Config) -> Vec<Finding> {
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

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn plain_links_that_leave_the_machine_are_told() {
        let mut config = Config::default();
        assert_eq!(judge(&config)[0].level, Level::Ok);
        config.nodes[1].addr = "192.0.2.7:7100".to_owned();
        let finding = &judge(&config)[0];
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.says.contains("node2") && !finding.says.contains("node1"));
    }
}
