//! The addresses that processes of this machine listen at: free, or answered by the right process.

use std::io::ErrorKind;
use std::net::TcpListener;

use http::StatusCode;
use ranch_proto::config::{Config, NodeConfig, host_and_port};

use super::finding::Finding;
use super::peers::Acquaintance;
use crate::cli::http::{Call, ClientError, Http};
use crate::cli::local;

/// Whether an address can be listened at.
type Bound = Result<(), ErrorKind>;

/// The address of a node of this machine, where `met` was found.
pub fn own(node: &NodeConfig, config: &Config, met: Option<&Acquaintance>) -> Finding {
    let met = met.cloned().unwrap_or(Acquaintance::Refused);
    judge_own(node, &config.cluster.name, &met, bind(&node.addr))
}

fn judge_own(node: &NodeConfig, ranch: &str, met: &Acquaintance, bound: Bound) -> Finding {
    const CHECK: &str = "address";
    let NodeConfig { name, addr, .. } = node;
    match (met, bound) {
        (Acquaintance::Node(answer), _) => match answer.mistaken(node, ranch) {
            Some(mistaken) => {
                let remedy = "stop that process, or give this [[node]] another addr";
                Finding::problem(CHECK, mistaken, remedy)
            }
            None => Finding::ok(CHECK, format!("{name} runs and answers at {addr}")),
        },
        (Acquaintance::Stranger(reason), _) => {
            let says = format!("what listens at {addr} is not {name} ({reason})");
            let remedy = "stop that process (`ss -ltnp` names it), or give this [[node]] another \
                          addr";
            Finding::problem(CHECK, says, remedy)
        }
        (_, Ok(())) => Finding::ok(CHECK, format!("{addr} is free, {name} does not run")),
        (_, Err(kind)) => unbound(CHECK, addr, "addr", kind),
    }
}

/// An address that cannot be listened at.
fn unbound(check: &'static str, addr: &str, key: &str, kind: ErrorKind) -> Finding {
    match kind {
        ErrorKind::AddrNotAvailable => {
            let says = format!("{addr} is not an address of this machine");
            let remedy = format!("see `ip addr`; bring the interface up, or mend {key}");
            Finding::problem(check, says, remedy)
        }
        ErrorKind::AddrInUse => {
            let says = format!("{addr} is in use by another process");
            let remedy = format!("stop it (`ss -ltnp` names it), or change {key}");
            Finding::problem(check, says, remedy)
        }
        kind => {
            let says = format!("cannot listen at {addr}: {}", std::io::Error::from(kind));
            Finding::problem(check, says, format!("change {key}"))
        }
    }
}

/// This machine's node was taken out of the ranch.
pub fn left(mine: &[NodeConfig], gone: bool) -> Option<Finding> {
    let node = mine.first().filter(|_| gone)?;
    let says = format!("node {} ({}) has left this ranch", node.id, node.name);
    let remedy = "delete its data directory; to use the machine again, give it an id no machine \
                  has had";
    Some(Finding::problem("node", says, remedy))
}

/// What was found where a router should listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Front {
    /// A router, and whether it says that all shards can be used.
    Router {
        /// Whether it is ready.
        ready: bool,
    },
    /// Something else, as it was described.
    Stranger(String),
    /// Nobody.
    Nobody(Bound),
}

/// The addresses of the stand-alone router and of those embedded in this machine's nodes.
pub async fn fronts(config: &Config, mine: &[NodeConfig]) -> Vec<Finding> {
    let router = ("[router] listen".to_owned(), config.router.listen.clone());
    let embedded = mine.iter().filter_map(|node| {
        Some((format!("listen of [[node]] {}", node.name), node.listen.clone()?))
    });
    let mut findings = Vec::new();
    for (key, addr) in std::iter::once(router).chain(embedded) {
        findings.push(judge_front(&key, &addr, &visit(&addr).await));
    }
    findings
}

fn judge_front(key: &str, addr: &str, front: &Front) -> Finding {
    const CHECK: &str = "router";
    match front {
        Front::Router { ready: true } => Finding::ok(CHECK, format!("answers at {addr}, ready")),
        Front::Router { ready: false } => {
            let says = format!("answers at {addr}, but not every shard has a leader");
            let remedy = "start the nodes; `ranch status` names what is missing";
            Finding::problem(CHECK, says, remedy)
        }
        Front::Stranger(reason) => {
            let says = format!("what listens at {addr} is no router ({reason})");
            Finding::problem(CHECK, says, format!("stop that process, or change {key}"))
        }
        Front::Nobody(Ok(())) => {
            Finding::ok(CHECK, format!("{addr} ({key}) is free, no router runs there"))
        }
        Front::Nobody(Err(kind)) => unbound(CHECK, addr, key, *kind),
    }
}

async fn visit(addr: &str) -> Front {
    let bound = bind(addr);
    if bound != Err(ErrorKind::AddrInUse) {
        return Front::Nobody(bound);
    }
    let Ok(http) = Http::new(&format!("http://{}", reachable(addr)), None) else {
        return Front::Nobody(bound);
    };
    match http.send(&Call::get("/health/ready", "asking whether it is ready")).await {
        Ok(answer) if answer.status() == StatusCode::OK => Front::Router { ready: true },
        Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
            Front::Router { ready: false }
        }
        Ok(answer) => Front::Stranger(format!("it answers {}", answer.status())),
        Err(ClientError::Unreachable { .. }) => Front::Nobody(bound),
        Err(error) => Front::Stranger(error.to_string()),
    }
}

/// Where to reach what listens at all addresses.
fn reachable(addr: &str) -> String {
    match host_and_port(addr) {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("::", port)) => format!("[::1]:{port}"),
        _ => addr.to_owned(),
    }
}

fn bind(addr: &str) -> Bound {
    if !local::is_this_machine(addr) {
        return Err(ErrorKind::AddrNotAvailable);
    }
    TcpListener::bind(addr).map(drop).map_err(|error| error.kind())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::peers::Answer;
    use super::*;

    fn level(met: &Acquaintance, bound: Bound) -> Level {
        judge_own(&NodeConfig::local(2), "ranch", met, bound).level
    }

    #[test]
    fn an_address_is_free_or_the_nodes_own() {
        let answer = Answer { node: 2, ranch: "ranch".to_owned(), ..Answer::default() };
        let in_use = Err(ErrorKind::AddrInUse);
        assert_eq!(level(&Acquaintance::Node(answer.clone()), in_use), Level::Ok);
        let other = Answer { node: 3, ..answer };
        assert_eq!(level(&Acquaintance::Node(other), in_use), Level::Problem);
        assert_eq!(level(&Acquaintance::Refused, Ok(())), Level::Ok);
        assert_eq!(level(&Acquaintance::Stranger("x".to_owned()), in_use), Level::Problem);
        let not_ours = Err(ErrorKind::AddrNotAvailable);
        let finding = judge_own(&NodeConfig::local(2), "ranch", &Acquaintance::Refused, not_ours);
        assert_eq!(finding.level, Level::Problem);
        assert!(finding.says.contains("not an address of this machine"));
    }

    #[test]
    fn a_node_that_has_left_is_told() {
        assert!(left(&[NodeConfig::local(2)], false).is_none());
        assert!(left(&[], true).is_none());
        assert_eq!(left(&[NodeConfig::local(2)], true).unwrap().level, Level::Problem);
    }

    #[test]
    fn a_router_is_ready_or_absent() {
        let level = |front| judge_front("[router] listen", "127.0.0.1:1337", &front).level;
        assert_eq!(level(Front::Router { ready: true }), Level::Ok);
        assert_eq!(level(Front::Router { ready: false }), Level::Problem);
        assert_eq!(level(Front::Nobody(Ok(()))), Level::Ok);
        assert_eq!(level(Front::Nobody(Err(ErrorKind::AddrInUse))), Level::Problem);
        assert_eq!(level(Front::Stranger("it answers 404".to_owned())), Level::Problem);
    }

    #[tokio::test]
    async fn who_listens_is_asked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let closing = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        assert!(matches!(visit(&addr).await, Front::Stranger(_)));
        closing.abort();
        // Cancelled at its next wait, with the listener.
        assert!(closing.await.is_err());
        assert_eq!(visit(&addr).await, Front::Nobody(Ok(())));
        assert_eq!(visit("192.0.2.1:1").await, Front::Nobody(Err(ErrorKind::AddrNotAvailable)));
        assert_eq!(reachable("0.0.0.0:1337"), "127.0.0.1:1337");
    }
}
