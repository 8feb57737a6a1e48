//! Addresses that anybody on a network can listen in on: refused unless they are asked for, and
//! then warned of at each start.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ranch_chaos::layout::Layout;
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::wait::until;
use tokio::process::Command;

use crate::support::{BINARY, refusal};

const LIMIT: Duration = Duration::from_mins(1);

/// A process that listens on loopback alone, and what it says when it has started.
const ROLES: [(&[&str], &str); 2] = [
    (&["node", "--name", "node1"], "the node has started"),
    (&["router"], "the router is listening"),
];

fn command(role: &[&str], config: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(role).arg("--config").arg(config).env("RANCH_ADMIN_KEY", ADMIN_KEY);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Everything a process says until it has started.
async fn start(role: &[&str], config: &Path, started: &str) -> String {
    let path = config.with_extension("log");
    let log = fs::File::create(&path).unwrap();
    let mut process = command(role, config);
    process.stdout(log.try_clone().unwrap()).stderr(log);
    let mut process = process.spawn().unwrap();
    let said = || fs::read_to_string(&path).unwrap();
    let probe = async || said().contains(started).then_some(());
    let found = until(&format!("{role:?} to say {started:?}"), LIMIT, probe).await;
    found.unwrap_or_else(|error| panic!("{error}: {}", said()));
    process.kill().await.unwrap();
    said()
}

#[tokio::test]
async fn what_is_open_to_a_network_is_refused_or_warned_of_loudly() {
    let place = Layout::default().place().unwrap();
    let on_loopback = fs::read_to_string(&place.config).unwrap();
    // Reserved for documentation (RFC 5737): another machine, so nothing is opened here by it.
    let far = on_loopback.replace(&place.nodes[1].addr.to_string(), "192.0.2.7:7102");
    assert_ne!(far, on_loopback);
    let allowed = |text: &str| text.replace("allow_plaintext = false", "allow_plaintext = true");
    assert_ne!(allowed(&far), far);

    for (role, started) in ROLES {
        fs::write(&place.config, &far).unwrap();
        let refused = command(role, &place.config).output().await.unwrap();
        let said = refusal(&refused);
        assert!(said.contains("[[node]] node2 addr is `192.0.2.7:7102`"), "{said}");
        assert!(said.contains("`ranch certs init` makes certificates"), "{said}");
        assert!(said.contains("`allow_plaintext = true` in [tls]"), "{said}");

        fs::write(&place.config, allowed(&far)).unwrap();
        let said = start(role, &place.config, started).await;
        let warning = said.lines().find(|line| line.contains("UNPROTECTED")).expect("a warning");
        assert!(warning.contains("WARN"), "{warning}");
        let open = "as [tls] allow_plaintext says: [[node]] node2 addr (192.0.2.7:7102). Whoever";
        assert!(warning.contains(open), "it names that one alone: {warning}");
        assert!(warning.contains("`ranch certs init` makes certificates"), "{warning}");

        // What stays on this machine is no cause for it, whatever is allowed.
        fs::write(&place.config, allowed(&on_loopback)).unwrap();
        let said = start(role, &place.config, started).await;
        assert!(!said.contains("UNPROTECTED"), "{said}");
    }
}
