//! How a node comes to have a place in a ranch: it founds one together with the other nodes of
//! `ranch.toml`, joins the one they have, or goes on with the place it has.
//!
//! What must hold: a ranch is founded once. The node with the lowest id does so, and only after
//! every other node has said that it holds no data; a founder that lost its disk therefore finds
//! the ranch the others hold, and comes back under a new incarnation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ranch_proto::api_key::{KeyHash, Secret};
use ranch_proto::config::{Config, NodeConfig};
use ranch_proto::link::{Lane, Links};
use ranch_proto::placement::place_replicas;
use ranch_proto::schema::{
    Bootstrap, ClusterRecord, JoinNode, MetaCommand, MetaResult, MetaStatus, NodeRecord,
    ProbeReply, ProbeRequest, Request, ShardRecord, meta_command, record, reply, request,
};
use ranch_proto::versions::Support;
use ranch_proto::{GroupId, NodeId, ReplicaId, RequestId, ShardError};

use crate::announce::record_of;
use crate::error::NodeError;
use crate::identity::Identity;
use crate::placement::admin_key_record;
use crate::replicas::Replicas;

/// Between two looks at the other nodes.
const LOOK: Duration = Duration::from_millis(100);
/// Between two lines in the log about waiting.
const SAY: Duration = Duration::from_secs(5);
/// A new node that has met only machines of other ranches for so long, or of other ids, has been
/// led astray.
const ASTRAY: Duration = Duration::from_secs(3);
/// A node that does not answer a probe so soon is not there.
const PROBE_LIMIT: Duration = Duration::from_millis(700);
const PROPOSE_LIMIT: Duration = Duration::from_secs(2);

/// A node on its way into a ranch.
pub(crate) struct Entrance<'a> {
    pub(crate) config: &'a Config,
    pub(crate) node: &'a NodeConfig,
    pub(crate) version: &'a str,
    pub(crate) links: &'a Arc<Links>,
    /// What became of the data the node had before, as "its log was …".
    pub(crate) lost: String,
}

/// What the machines at the addresses of the other nodes say of themselves.
#[derive(Default)]
struct Probed {
    ours: BTreeMap<u32, ProbeReply>,
    strangers: Vec<Stranger>,
}

/// A machine that is not the node of `ranch.toml` whose address it has.
struct Stranger {
    /// In a sentence, with the remedy.
    what: String,
    has_data: bool,
}

/// What a node does once it has its incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It found the ranch, or goes on founding it.
    Founder,
    /// It has a place in a ranch.
    Member,
}

impl Entrance<'_> {
    /// Gets an incarnation for a node that has none, and says what to do next. The identity is
    /// changed but not saved. That of a node that is refused is forgotten, unless it was asked for
    /// before without an answer: it may be in then.
    pub(crate) async fn find_place(&self, identity: &mut Identity) -> Result<Place, NodeError> {
        if identity.incarnation != 0 {
            // Only a founder knows which ranch it is before it has seen one.
            let founds = !identity.settled && !identity.cluster_id.is_empty();
            let founder = identity.incarnation == 1 && self.is_first() && founds;
            return Ok(if founder { Place::Founder } else { Place::Member });
        }
        let mut has_asked = false;
        let found = self.seek(identity, &mut has_asked).await;
        if found.is_err() && !has_asked {
            identity.forget();
        }
        found
    }

    async fn seek(
        &self,
        identity: &mut Identity,
        has_asked: &mut bool,
    ) -> Result<Place, NodeError> {
        let (mut said, mut met) = (Instant::now(), Instant::now());
        loop {
            let Probed { ours: probes, strangers } = self.probe_all().await;
            if probes.values().any(|probe| probe.gone) {
                return Err(NodeError::Gone { id: NodeId(self.node.id) });
            }
            check_protocols(&probes)?;
            check_one_ranch(&probes)?;
            let others = self.config.nodes.len() - 1;
            let has_ranch = probes.values().any(|probe| probe.has_data);
            if has_ranch {
                met = Instant::now();
                for stranger in strangers.iter().filter(|_| !*has_asked) {
                    tracing::warn!("{}", stranger.what);
                }
                let joined = self.join(identity).await;
                // Whoever had let it in before would not refuse it now.
                *has_asked = joined.is_ok();
                if joined? {
                    return Ok(Place::Member);
                }
            } else if self.is_first() && probes.len() == others {
                let mut id = [0; 16];
                getrandom::fill(&mut id).map_err(|source| NodeError::Randomness { source })?;
                identity.cluster_id = Bytes::copy_from_slice(&id);
                identity.incarnation = 1;
                return Ok(Place::Founder);
            }
            // An address may have been given to another machine; that none is right is a mistake.
            let stranger = strangers.iter().find(|stranger| stranger.has_data);
            if let Some(stranger) = stranger.filter(|_| met.elapsed() > ASTRAY) {
                return Err(NodeError::Refused { reason: stranger.what.clone() });
            }
            if said.elapsed() > SAY {
                said = Instant::now();
                tracing::info!(
                    answered = probes.len(),
                    others,
                    "waiting for the other nodes of ranch.toml to answer"
                );
                for stranger in &strangers {
                    tracing::warn!("{}", stranger.what);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_first(&self) -> bool {
        self.config.nodes.iter().all(|other| other.id >= self.node.id)
    }

    /// What the other nodes say of themselves; those that do not answer are left out.
    async fn probe_all(&self) -> Probed {
        let others = self.config.nodes.iter().filter(|other| other.id != self.node.id);
        let probes = others.map(|other| async move {
            let asked = async {
                let mut client = self.links.client(NodeId(other.id)).await.ok()?;
                let asked = client.probe(ProbeRequest { node: self.node.id }).await;
                asked.inspect_err(|status| self.links.complain_of(NodeId(other.id), status)).ok()
            };
            let reply = tokio::time::timeout(PROBE_LIMIT, asked).await.ok().flatten()?;
            Some((other, reply.into_inner()))
        });
        let mut found = Probed::default();
        for (other, reply) in futures_util::future::join_all(probes).await.into_iter().flatten() {
            match strangeness(&self.config.cluster.name, other, &reply) {
                Some(what) => {
                    found.strangers.push(Stranger { what, has_data: reply.has_data });
                }
                None => {
                    found.ours.insert(other.id, reply);
                }
            }
        }
        found
    }

    /// What this node says of itself, for those who know it already.
    pub(crate) fn announcement(&self, identity: &Identity) -> NodeRecord {
        record_of(self.node, identity.incarnation, identity.boot_nonce.clone(), self.version)
    }

    fn record(&self, incarnation: u32, boot_nonce: Bytes) -> NodeRecord {
        let lost_how = self.lost.clone();
        NodeRecord { lost_how, ..record_of(self.node, incarnation, boot_nonce, self.version) }
    }

    /// Asks the ranch to take this node in. `false` when it could not be asked yet.
    async fn join(&self, identity: &mut Identity) -> Result<bool, NodeError> {
        let node = self.record(0, identity.boot_nonce.clone());
        let join = JoinNode { node: Some(node), ..JoinNode::default() };
        let what = meta_command::What::Join(join);
        let request_id = RequestId::random();
        for other in self.config.nodes.iter().filter(|other| other.id != self.node.id) {
            let asked = propose_at(self.links, NodeId(other.id), request_id, what.clone()).await;
            let result = match asked {
                Ok(result) => result,
                Err(ShardError::Invalid { detail }) => {
                    return Err(NodeError::Refused { reason: detail });
                }
                Err(_) => continue,
            };
            match MetaStatus::try_from(result.status) {
                Ok(MetaStatus::MetaOk) => {
                    let Some(record::What::Node(node)) = result.record.and_then(|r| r.what) else {
                        continue;
                    };
                    identity.incarnation = node.incarnation;
                    return Ok(true);
                }
                Ok(MetaStatus::MetaNotBootstrapped) => {}
                _ => return Err(NodeError::Refused { reason: result.reason }),
            }
        }
        Ok(false)
    }

    /// Founds the ranch: this node is the meta group's first member, and writes down who the
    /// nodes are and where the shards go. Ends when the directory shows it; may be repeated.
    pub(crate) async fn found(
        &self,
        replicas: &Replicas,
        identity: &Identity,
        admin_key: &Secret,
    ) -> Result<(), NodeError> {
        let Some(meta) = replicas.meta() else { return Ok(()) };
        let me = ReplicaId::new(NodeId(identity.node), identity.incarnation);
        let founded = || replicas.shared.feed.directory().read().cluster.is_some();
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|source| NodeError::Randomness { source })?;
        while !founded() {
            let probes = self.probe_all().await.ours;
            if probes.len() + 1 == self.config.nodes.len() {
                meta.core().initialize(&[me]).await?;
                let bootstrap = self.bootstrap(identity, &probes, salt, admin_key);
                let request_id = RequestId::random().0.to_vec().into();
                let what = Some(meta_command::What::Bootstrap(bootstrap));
                // Refused while there is no leader, and when it was done before.
                let _ = meta.propose(MetaCommand { request_id, what }).await;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn bootstrap(
        &self,
        identity: &Identity,
        probes: &BTreeMap<u32, ProbeReply>,
        salt: [u8; 32],
        admin_key: &Secret,
    ) -> Bootstrap {
        let cluster = ClusterRecord {
            cluster_id: identity.cluster_id.clone(),
            name: self.config.cluster.name.clone(),
            key_salt: Bytes::copy_from_slice(&salt),
            version: newest_common(probes),
            replicas: self.config.cluster.replicas,
            ..ClusterRecord::default()
        };
        let nodes = self.config.nodes.iter().map(|node| {
            let Some(probe) = probes.get(&node.id) else {
                return record_of(node, 1, identity.boot_nonce.clone(), self.version);
            };
            // What it runs it will say itself; what it can write counts from the beginning.
            let formats = Support::from_wire(probe.versions.as_ref()).formats;
            NodeRecord {
                format_min: formats.min,
                format_max: formats.max,
                ..record_of(node, 1, probe.boot_nonce.clone(), self.version)
            }
        });
        let zones: Vec<(NodeId, &str)> =
            self.config.nodes.iter().map(|node| (NodeId(node.id), node.zone.as_str())).collect();
        let copies = self.config.cluster.replicas as usize;
        let placed = place_replicas(&zones, self.config.cluster.shards, copies);
        let shards = (1..).zip(placed).map(|(id, nodes)| ShardRecord {
            id,
            replicas: nodes.into_iter().map(|node| ReplicaId::new(node, 1).0).collect(),
            initialized: false,
            ..ShardRecord::default()
        });
        let hash = KeyHash::of(&salt, admin_key.expose());
        let key = admin_key_record(Bytes::copy_from_slice(&hash.0), "first".to_owned());
        Bootstrap {
            cluster: Some(cluster),
            nodes: nodes.collect(),
            shards: shards.collect(),
            keys: vec![key],
        }
    }
}

/// The newest format that this binary and those of all others can write: what a new ranch writes.
fn newest_common(probes: &BTreeMap<u32, ProbeReply>) -> u32 {
    let others =
        probes.values().map(|probe| Support::from_wire(probe.versions.as_ref()).formats.max);
    others.fold(Support::ours().formats.max, u32::min)
}

/// Refuses to work with machines whose binaries speak no protocol this one does.
fn check_protocols(probes: &BTreeMap<u32, ProbeReply>) -> Result<(), NodeError> {
    for (node, probe) in probes {
        let theirs = Support::from_wire(probe.versions.as_ref());
        let agreed = Support::ours().agree(theirs, &format!("of node {node}"));
        agreed.map_err(|error| NodeError::Refused { reason: error.to_string() })?;
    }
    Ok(())
}

/// Why the machine at the address of a node is not that node of the ranch of this name, if so.
fn strangeness(ranch: &str, node: &NodeConfig, reply: &ProbeReply) -> Option<String> {
    let NodeConfig { id, addr, .. } = node;
    if reply.cluster_name != ranch {
        let theirs = &reply.cluster_name;
        return Some(format!(
            "at {addr}, the address of node {id}, is a machine of the ranch `{theirs}`, and this \
             ranch.toml is for `{ranch}`: correct [cluster] name, or the address of node {id}"
        ));
    }
    (reply.node != *id).then(|| {
        let said = reply.node;
        format!(
            "at {addr}, the address of node {id}, is node {said}: correct the addresses in \
             ranch.toml"
        )
    })
}

/// Refuses machines that belong to several ranches of one name: none of them is to be joined by
/// chance.
fn check_one_ranch(probes: &BTreeMap<u32, ProbeReply>) -> Result<(), NodeError> {
    let mut known = probes.iter().filter(|(_, probe)| !probe.cluster_id.is_empty());
    let Some((first, of)) = known.next() else { return Ok(()) };
    match known.find(|(_, probe)| probe.cluster_id != of.cluster_id) {
        None => Ok(()),
        Some((other, _)) => Err(NodeError::Refused {
            reason: format!(
                "node {first} and node {other} of ranch.toml belong to different ranches: correct \
                 their addresses, or, if one of them is to join, move its data directory away"
            ),
        }),
    }
}

/// Proposes a meta command at one node.
async fn propose_at(
    links: &Links,
    node: NodeId,
    request_id: RequestId,
    what: meta_command::What,
) -> Result<MetaResult, ShardError> {
    let unavailable = || ShardError::Unavailable { detail: "no link".into() };
    let link = links.get(node, Lane::Data).ok_or_else(unavailable)?;
    let request_id = request_id.0.to_vec().into();
    let body = request::Body::Meta(MetaCommand { request_id, what: Some(what) });
    let request = Request { group: GroupId::META.0, body: Some(body), ..Request::default() };
    let reply = link.call(request, Instant::now() + PROPOSE_LIMIT).await?;
    match reply.body {
        Some(reply::Body::Meta(result)) => Ok(result),
        _ => Err(ShardError::Invalid { detail: "not a meta result".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_the_node_whose_address_it_has_or_a_stranger() {
        let node = NodeConfig::local(2);
        let reply = |node, name: &str| {
            let cluster_name = name.to_owned();
            ProbeReply { node, cluster_name, ..ProbeReply::default() }
        };
        assert_eq!(strangeness("ranch", &node, &reply(2, "ranch")), None);
        let other_ranch = strangeness("ranch", &node, &reply(2, "farm")).unwrap();
        assert!(other_ranch.contains(&node.addr) && other_ranch.contains("`farm`"));
        let other_node = strangeness("ranch", &node, &reply(3, "ranch")).unwrap();
        assert!(other_node.contains("is node 3: correct the addresses"), "{other_node}");
    }

    #[test]
    fn machines_of_several_ranches_are_not_joined() {
        let of = |id: &'static [u8]| ProbeReply {
            cluster_id: Bytes::from_static(id),
            ..ProbeReply::default()
        };
        // Who is being founded does not know yet.
        let one = BTreeMap::from([(1, of(b"a")), (2, of(b"")), (3, of(b"a"))]);
        assert!(check_one_ranch(&one).is_ok() && check_one_ranch(&BTreeMap::new()).is_ok());
        let two = BTreeMap::from([(1, of(b"a")), (2, of(b"")), (3, of(b"b"))]);
        let refused = check_one_ranch(&two).unwrap_err().to_string();
        assert!(refused.contains("node 1 and node 3"), "{refused}");
    }
}
