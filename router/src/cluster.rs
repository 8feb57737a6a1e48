//! An account of the whole ranch: every node asked for its own, put together by shard.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ranch_proto::schema::{DiskRoom, GroupStatus, NodeRecord, NodeStatusReply};
use ranch_proto::{Directory, GroupId, NodeId, ReplicaId, Shards};
use serde::Serialize;

use crate::http::date;

/// A node that does not answer in this time counts as down.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Entries a replica may be behind before that is called a problem.
const LAG_MAX: u64 = 1_000;

/// The ranch at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cluster {
    /// Name of the ranch; absent until it is known.
    pub name: Option<String>,
    /// Every machine.
    pub nodes: Vec<Node>,
    /// The group all machines belong to, in the form of a shard.
    pub meta: Option<Shard>,
    /// Every shard.
    pub shards: Vec<Shard>,
    /// The format the ranch has agreed to write.
    #[serde(rename = "cluster_version")]
    pub version: u32,
    /// The newest that every machine could write; absent where that is the same.
    pub next_version: Option<u32>,
    /// Copies on their way from machine to machine; absent when all are where they belong.
    pub moves: Option<Moves>,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// What has happened and is no problem any more, in words.
    pub notes: Vec<String>,
    /// Scrolls in all shards, as their leaders count them.
    #[serde(skip)]
    pub scrolls: u64,
    /// When anything was last written, in milliseconds since the Unix epoch; 0 for never.
    #[serde(skip)]
    pub last_write_ms: u64,
}

/// One machine.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Where other machines reach it.
    pub addr: String,
    /// Its process, when it answers.
    pub pid: Option<u32>,
    /// `up`, `starting` or `down`.
    pub state: &'static str,
    /// `serving`; `draining` when it is to lead nothing, `leaving` when what it holds goes
    /// elsewhere, `replaced` when others were given that because it was away too long.
    pub duty: &'static str,
    /// The version it runs, or ran last.
    pub version: String,
    /// The cluster versions it can do.
    pub formats: Versions,
    /// The protocols it speaks, when it answers.
    pub protocols: Option<Versions>,
}

/// One Raft group.
#[derive(Clone, Debug, Serialize)]
pub struct Shard {
    /// The group.
    pub id: u32,
    /// The node that leads it.
    pub leader: Option<u32>,
    /// The nodes that hold it.
    pub replicas: Vec<u32>,
    /// The replicas that vote, as `node.incarnation`; a node that lost its disk comes back under
    /// the next incarnation. Empty without a leader.
    pub voters: Vec<String>,
    /// Where one of its copies is going, if one is.
    pub moving: Option<Moving>,
    /// The highest term heard of.
    pub term: u64,
    /// Entries the replica furthest behind lacks; absent without a leader.
    pub lag: Option<u64>,
}

impl Cluster {
    /// Whether the directory is there and every shard has a leader.
    pub fn is_ready(&self) -> bool {
        self.name.is_some()
            && !self.shards.is_empty()
            && self.shards.iter().all(|shard| shard.leader.is_some())
    }

    /// `ok`, `degraded` or `down`.
    pub fn status(&self) -> &'static str {
        match (self.is_ready(), self.problems.is_empty()) {
            (true, true) => "ok",
            (true, false) => "degraded",
            (false, _) => "down",
        }
    }
}

/// Asks every node, all at once.
pub async fn gather<S: Shards>(shards: &S) -> Cluster {
    let nodes: Vec<NodeId> = shards.directory().read().nodes.keys().copied().collect();
    let deadline = Instant::now() + ANSWER_MAX;
    let answers = join_all(nodes.iter().map(|&node| async move {
        let answer = tokio::time::timeout(ANSWER_MAX, shards.node_status(node, deadline)).await;
        (node, answer.ok().and_then(Result::ok))
    }));
    let answers = answers.await.into_iter().collect();
    put_together(&shards.directory().read(), &answers)
}

type Answers = BTreeMap<NodeId, Option<NodeStatusReply>>;

fn put_together(directory: &Directory, answers: &Answers) -> Cluster {
    let mut cluster = Cluster {
        name: directory.cluster.as_ref().map(|cluster| cluster.name.clone()),
        ..Cluster::default()
    };
    for (id, record) in &directory.nodes {
        let answer = answers.get(id).and_then(Option::as_ref);
        cluster.nodes.push(Node {
            id: id.0,
            name: record.name.clone(),
            addr: record.addr.clone(),
            pid: answer.map(|answer| answer.pid),
            state: state(answer),
            duty: moves::duty(record),
            version: answer.map_or_else(|| record.version.clone(), |a| a.version.clone()),
            formats: versions::formats(record, answer),
            protocols: versions::protocols(answer),
        });
        if answer.is_none() {
            cluster.problems.push(format!("node {id} ({}) does not answer", record.name));
        }
        cluster.notes.extend(returned(record));
        if let Some(disk) = answer.and_then(|answer| answer.disk).filter(|disk| disk.full) {
            cluster.problems.push(disk_full(*id, &record.name, &disk));
        }
        let certificates = answer.iter().flat_map(|answer| &answer.tls_problems);
        cluster
            .problems
            .extend(certificates.map(|what| format!("node {id} ({}): {what}", record.name)));
    }
    let meta = shard(directory, answers, GroupId::META, &mut cluster);
    cluster.meta = directory.cluster.is_some().then_some(meta);
    for group in directory.shards.keys() {
        let shard = shard(directory, answers, *group, &mut cluster);
        cluster.shards.push(shard);
    }
    cluster.moves = moves::account(directory, answers);
    versions::describe(directory, &mut cluster);
    cluster
}

/// That a node has lost what it had, and came back.
fn returned(node: &NodeRecord) -> Option<String> {
    if node.returned_ms == 0 {
        return None;
    }
    let how = node.lost_how.trim_end();
    let how = if how.is_empty() { "it had lost its data" } else { how };
    Some(format!(
        "node {} ({}) came back as incarnation {} at {}, because {how}",
        node.id,
        node.name,
        node.incarnation,
        date::rfc3339(node.returned_ms),
    ))
}

fn disk_full(node: NodeId, name: &str, disk: &DiskRoom) -> String {
    let (free, reserve) = (disk.free_bytes >> 20, disk.reserve_bytes >> 20);
    format!(
        "the disk of node {node} ({name}) is full: {free} MiB are free and {reserve} MiB are kept \
         back; it takes no writes until there is more room"
    )
}

/// One group as its nodes describe it; also adds up what its leader counts.
fn shard(directory: &Directory, answers: &Answers, id: GroupId, cluster: &mut Cluster) -> Shard {
    let accounts = || {
        answers.iter().filter_map(|(node, answer)| {
            let groups = &answer.as_ref()?.groups;
            Some((*node, groups.iter().find(|group| group.group == id.0)?))
        })
    };
    let term = accounts().map(|(_, account)| account.term).max().unwrap_or(0);
    // A deposed leader that has not heard of its successor is of a lower term.
    let leading = accounts().filter(|(_, account)| account.state == "leader");
    let leader = leading.max_by_key(|(_, account)| account.term);
    let replicas = directory.nodes_of(id);
    let record = directory.shards.get(&id);
    let adding = record.map_or(0, |shard| shard.adding);
    let lag = leader.and_then(|(_, account)| lag_of(account, adding));
    let name = verified::name(id);
    match (leader, lag) {
        (None, _) => cluster.problems.push(format!("{name} has no leader")),
        (_, Some(lag)) if lag > LAG_MAX => {
            cluster.problems.push(format!("a replica of {name} is {lag} entries behind"));
        }
        _ => {}
    }
    let voters: Vec<ReplicaId> = leader
        .map(|(_, account)| account.voters.iter().copied().map(ReplicaId).collect())
        .unwrap_or_default();
    let learners = leader.iter().flat_map(|(_, account)| &account.learners).copied();
    let members: Vec<_> = voters.iter().copied().chain(learners.map(ReplicaId)).collect();
    let all = accounts().map(|(_, account)| account);
    cluster.problems.extend(verified::problem(&name, &members, all));
    // What a move adds is on its way, which is no problem.
    for replica in record.iter().flat_map(|shard| &shard.replicas).copied().map(ReplicaId) {
        if leader.is_some() && !voters.contains(&replica) {
            let node = replica.node();
            cluster.problems.push(format!("node {node}'s copy of {name} is being filled"));
        }
    }
    if let Some((_, account)) = leader
        && id != GroupId::META
    {
        cluster.scrolls += account.scrolls;
        cluster.last_write_ms = cluster.last_write_ms.max(account.last_write_ms);
    }
    Shard {
        id: id.0,
        leader: leader.map(|(node, _)| node.0),
        replicas: replicas.iter().map(|node| node.0).collect(),
        voters: voters.iter().map(ToString::to_string).collect(),
        moving: record.and_then(|shard| moves::moving(shard, leader.map(|(_, account)| account))),
        term,
        lag,
    }
}

/// How a node is. One that was just started serves, but cannot yet stand in for another in
/// elections, so the next one should not be stopped.
fn state(answer: Option<&NodeStatusReply>) -> &'static str {
    match answer {
        None => "down",
        Some(answer) if answer.starting => "starting",
        Some(_) => "up",
    }
}

/// How far the leader's slowest replica is behind it, leaving aside the one being added.
fn lag_of(leader: &GroupStatus, adding: u64) -> Option<u64> {
    let others = leader.progress.iter();
    let others = others.filter(|of| of.replica != leader.replica && of.replica != adding);
    let lags = others.map(|progress| leader.last_index.saturating_sub(progress.matched));
    let members = leader.voters.iter().chain(&leader.learners);
    // A replica the leader has never heard of is behind by everything.
    let silent = members
        .filter(|member| **member != leader.replica && **member != adding)
        .any(|member| !leader.progress.iter().any(|progress| progress.replica == *member));
    let all = silent.then_some(leader.last_index);
    lags.chain(all).max().or(Some(0))
}

mod moves;
mod verified;
mod versions;

pub use moves::{Moves, Moving};
pub use versions::Versions;

#[cfg(test)]
mod tests;
