//! The nodes of `ranch.toml`, as they answer from here: reachable, who they say they are, how far
//! away, with what clock and version.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ranch_proto::NodeId;
use ranch_proto::config::{Config, NodeConfig};
use ranch_proto::link::{LinkOptions, Links};
use ranch_proto::schema::{ProbeReply, ProbeRequest};
use tokio::net::TcpStream;

use super::clock::Offset;
use super::finding::{Finding, ms};

/// Whoever does not accept a connection so soon is not to be reached.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Whoever does not answer so soon is no node, or stands still.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Asked so often; the quickest answer says most about the clock and the way.
const TIMES: usize = 5;
/// This binary's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What became of asking at a node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquaintance {
    /// The machine is there, and nobody listens.
    Refused,
    /// There is no way there, for this reason.
    Unreachable(String),
    /// Something listens that does not answer like a node.
    Stranger(String),
    /// A node answered.
    Node(Answer),
}

/// What a node said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its number.
    pub node: u32,
    /// The name of its ranch.
    pub ranch: String,
    /// Whether this machine's node has been taken out of that ranch.
    pub gone: bool,
    /// There and back.
    pub way: Duration,
    /// How far its clock is ahead, in microseconds, where it said.
    pub ahead_us: Option<i64>,
    /// Number of its process, on its machine.
    pub pid: Option<u32>,
    /// Its version.
    pub version: Option<String>,
}

impl Acquaintance {
    fn version(&self) -> Option<&str> {
        match self {
            Self::Node(answer) => answer.version.as_deref(),
            _ => None,
        }
    }

    /// The number of the process that answered.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Node(answer) => answer.pid,
            _ => None,
        }
    }
}

impl Answer {
    /// What is wrong with this answer for one that should be of `node`.
    pub fn mistaken(&self, node: &NodeConfig, ranch: &str) -> Option<String> {
        let Self { node: id, ranch: found, .. } = self;
        (*id != node.id || found != ranch)
            .then(|| format!("at {} answers node {id} of the ranch `{found}`", node.addr))
    }
}

/// Every node that was asked.
pub struct Peers {
    met: BTreeMap<u32, (NodeConfig, Acquaintance)>,
}

impl Peers {
    /// Asks all nodes of a configuration at once; `me` is this machine's.
    pub async fn ask(config: &Config, me: Option<&NodeConfig>) -> Self {
        let me = me.map_or(0, |node| node.id);
        let links = Links::new(LinkOptions {
            node: 0,
            version: VERSION.to_owned(),
            boot: fastrand::u64(1..),
            cluster_id: Arc::default(),
        });
        for node in &config.nodes {
            links.set_peer(NodeId(node.id), &node.addr);
        }
        let links = &links;
        let asked = config
            .nodes
            .iter()
            .map(|node| async move { (node.id, (node.clone(), meet(links, node, me).await)) });
        Self { met: futures_util::future::join_all(asked).await.into_iter().collect() }
    }

    /// What became of asking one.
    pub fn of(&self, id: u32) -> Option<&Acquaintance> {
        self.met.get(&id).map(|(_, met)| met)
    }

    /// Those of other machines.
    pub fn others(&self, mine: &[NodeConfig]) -> Vec<(&NodeConfig, &Acquaintance)> {
        let is_mine = |id: u32| mine.iter().any(|node| node.id == id);
        let others = self.met.values().filter(|(node, _)| !is_mine(node.id));
        others.map(|(node, met)| (node, met)).collect()
    }

    /// The clocks of other machines.
    pub fn clocks(&self, mine: &[NodeConfig]) -> Vec<Offset> {
        let offset = |(node, met): (&NodeConfig, &Acquaintance)| match met {
            Acquaintance::Node(answer) => Some(Offset {
                node: node.name.clone(),
                ahead_us: answer.ahead_us?,
                error_us: answer.way.as_micros() as u64 / 2,
            }),
            _ => None,
        };
        self.others(mine).into_iter().filter_map(offset).collect()
    }

    /// The processes of this machine's nodes.
    pub fn pids(&self, mine: &[NodeConfig]) -> Vec<u32> {
        mine.iter().filter_map(|node| self.of(node.id)?.pid()).collect()
    }

    /// Whether a node says that this machine's has left the ranch.
    pub fn say_gone(&self) -> bool {
        self.met
            .values()
            .any(|(_, met)| matches!(met, Acquaintance::Node(Answer { gone: true, .. })))
    }

    fn versions(&self) -> BTreeSet<&str> {
        self.met.values().filter_map(|(_, met)| met.version()).collect()
    }
}

/// Judges a node of another machine.
pub fn judge(node: &NodeConfig, config: &Config, met: &Acquaintance) -> Finding {
    const CHECK: &str = "peer";
    let NodeConfig { name, addr, .. } = node;
    let answer = match met {
        Acquaintance::Node(answer) => answer,
        Acquaintance::Refused => {
            let says = format!("{name}: its machine is there, but no node runs at {addr}");
            let remedy = "start it there: `systemctl start ranch-node`";
            return Finding::warning(CHECK, says, remedy);
        }
        Acquaintance::Unreachable(reason) => {
            let says = format!("{name}: no way to {addr} ({reason})");
            let remedy = "start that machine, or mend its addr in ranch.toml, the network, or \
                          firewalls: every machine must reach the addr of every other";
            return Finding::problem(CHECK, says, remedy);
        }
        Acquaintance::Stranger(reason) => {
            let says = format!("{name}: what listens at {addr} is no node ({reason})");
            let remedy = "mend its addr in ranch.toml, or stop that process on its machine";
            return Finding::problem(CHECK, says, remedy);
        }
    };
    if let Some(mistaken) = answer.mistaken(node, &config.cluster.name) {
        let remedy = "give each [[node]] its own addr, and all machines the same ranch.toml";
        return Finding::problem(CHECK, format!("{name}: {mistaken}"), remedy);
    }
    let version = answer.version.as_deref().unwrap_or("of a version it does not say");
    let says = format!("{name} answers in {}, {version}", ms(answer.way));
    let remedy = "raise heartbeat_ms, election_min_ms and election_max_ms in [cluster], \
                  everywhere: heartbeats to at least twice the way, elections to six times";
    if answer.way >= Duration::from_millis(config.cluster.election_min_ms / 2) {
        return Finding::problem(
            CHECK,
            format!("{says}: leaders cannot be held that long"),
            remedy,
        );
    }
    if answer.way >= Duration::from_millis(config.cluster.heartbeat_ms / 2) {
        return Finding::warning(CHECK, format!("{says}: long for the heartbeats"), remedy);
    }
    Finding::ok(CHECK, says)
}

/// Judges whether all run the same.
pub fn versions(peers: &Peers) -> Finding {
    let found = peers.versions();
    let here = format!("this binary is {VERSION}");
    let others: Vec<_> = found.iter().copied().filter(|version| *version != VERSION).collect();
    if others.is_empty() {
        return Finding::ok("versions", here);
    }
    let says = format!("{here}, nodes run {}", found.into_iter().collect::<Vec<_>>().join(" and "));
    let remedy = "finish the upgrade: the same binary on every machine, one after the other";
    Finding::warning("versions", says, remedy)
}

/// Asks at one node's address.
async fn meet(links: &Links, node: &NodeConfig, me: u32) -> Acquaintance {
    match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(&node.addr)).await {
        Err(_) => return Acquaintance::Unreachable("nothing comes back".to_owned()),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            return Acquaintance::Refused;
        }
        Ok(Err(error)) => return Acquaintance::Unreachable(error.to_string()),
        Ok(Ok(_)) => {}
    }
    match tokio::time::timeout(ANSWER_LIMIT, interview(links, node, me)).await {
        Err(_) => Acquaintance::Stranger("no answer".to_owned()),
        Ok(Err(reason)) => Acquaintance::Stranger(reason),
        Ok(Ok(answer)) => Acquaintance::Node(answer),
    }
}

async fn interview(links: &Links, node: &NodeConfig, me: u32) -> Result<Answer, String> {
    let id = NodeId(node.id);
    let mut client = links.client(id).await.map_err(|error| error.to_string())?;
    let mut best: Option<(Duration, u64, ProbeReply)> = None;
    for _ in 0..TIMES {
        let (asked, asked_us) = (Instant::now(), now_us());
        let reply = client.probe(ProbeRequest { node: me }).await;
        let reply = reply.map_err(|status| status.message().to_owned())?.into_inner();
        let way = asked.elapsed();
        if best.as_ref().is_none_or(|(shortest, ..)| way < *shortest) {
            best = Some((way, asked_us, reply));
        }
    }
    let (way, asked_us, reply) = best.ok_or("it was not asked")?;
    // A node that is busy may owe its status; it has said who it is.
    let status = links.node_status(id, Instant::now() + ANSWER_LIMIT / 2).await.ok();
    Ok(Answer {
        node: reply.node,
        ranch: reply.cluster_name,
        gone: reply.gone,
        way,
        ahead_us: ahead(reply.clock_us, asked_us, way),
        pid: status.as_ref().map(|status| status.pid),
        version: status.map(|status| status.version),
    })
}

/// How far a clock is ahead that was read halfway between question and answer.
fn ahead(clock_us: u64, asked_us: u64, way: Duration) -> Option<i64> {
    let halfway = asked_us + way.as_micros() as u64 / 2;
    (clock_us != 0).then(|| clock_us.cast_signed() - halfway.cast_signed())
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn answer(way_ms: u64) -> Answer {
        let way = Duration::from_millis(way_ms);
        Answer { node: 2, ranch: "ranch".to_owned(), way, ..Answer::default() }
    }

    fn level(met: &Acquaintance) -> Level {
        judge(&NodeConfig::local(2), &Config::default(), met).level
    }

    fn peers(versions: &[&str]) -> Peers {
        let met = (1..).zip(versions).map(|(id, version)| {
            let version = Some((*version).to_owned());
            let answer = Answer { node: id, version, pid: Some(40 + id), ..answer(1) };
            (id, (NodeConfig::local(id), Acquaintance::Node(answer)))
        });
        Peers { met: met.collect() }
    }

    #[test]
    fn a_node_must_be_the_right_one_and_near() {
        assert_eq!(level(&Acquaintance::Node(answer(1))), Level::Ok);
        assert_eq!(level(&Acquaintance::Node(answer(50))), Level::Warning);
        assert_eq!(level(&Acquaintance::Node(answer(150))), Level::Problem);
        let other = Answer { node: 3, ..answer(1) };
        assert_eq!(level(&Acquaintance::Node(other)), Level::Problem);
        let elsewhere = Answer { ranch: "other".to_owned(), ..answer(1) };
        assert_eq!(level(&Acquaintance::Node(elsewhere)), Level::Problem);
    }

    #[test]
    fn a_node_that_is_down_is_no_broken_network() {
        assert_eq!(level(&Acquaintance::Refused), Level::Warning);
        assert_eq!(level(&Acquaintance::Unreachable("no route".to_owned())), Level::Problem);
        assert_eq!(level(&Acquaintance::Stranger("http".to_owned())), Level::Problem);
    }

    #[test]
    fn versions_that_differ_are_told() {
        assert_eq!(versions(&peers(&[VERSION, VERSION])).level, Level::Ok);
        let finding = versions(&peers(&[VERSION, "0.0.9"]));
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.says.contains("0.0.9"), "{}", finding.says);
    }

    #[test]
    fn clocks_and_processes_are_told_apart_by_machine() {
        let mut all = peers(&[VERSION, VERSION]);
        if let Some((_, Acquaintance::Node(answer))) = all.met.get_mut(&2) {
            answer.ahead_us = Some(-7);
        }
        let mine = [NodeConfig::local(1)];
        assert_eq!(all.pids(&mine), [41]);
        let clocks = all.clocks(&mine);
        assert_eq!((clocks.len(), clocks[0].ahead_us, clocks[0].error_us), (1, -7, 500));
        assert!(!all.say_gone());
    }

    #[test]
    fn a_clock_is_compared_with_the_middle_of_the_way() {
        assert_eq!(ahead(2_000, 1_000, Duration::from_micros(200)), Some(900));
        assert_eq!(ahead(500, 1_000, Duration::from_micros(200)), Some(-600));
        assert_eq!(ahead(0, 1_000, Duration::ZERO), None, "a version that does not say");
    }

    #[tokio::test]
    async fn whoever_listens_there_is_told_apart() {
        let mut config = Config::default();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        config.nodes.truncate(2);
        config.nodes[0].addr = closed.local_addr().unwrap().to_string();
        drop(closed);
        let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        config.nodes[1].addr = stranger.local_addr().unwrap().to_string();
        // Closes whatever comes.
        let closing = tokio::spawn(async move { while stranger.accept().await.is_ok() {} });
        let peers = Peers::ask(&config, None).await;
        closing.abort();
        assert_eq!(peers.of(1), Some(&Acquaintance::Refused));
        assert!(matches!(peers.of(2), Some(Acquaintance::Stranger(_))), "{:?}", peers.of(2));
    }
}
