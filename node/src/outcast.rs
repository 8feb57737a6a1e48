//! Finding out that a ranch goes on without this node: it was taken out while it was away, or the
//! machines at the addresses it knows belong to another ranch. Nobody calls on one that is no
//! member, and it may go on believing in the leader it last had, so it asks the others in turn,
//! and all of them while it knows of no leader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ranch_proto::NodeId;
use ranch_proto::schema::{ProbeReply, ProbeRequest};
use ranch_proto::versions::Support;

use crate::error::NodeError;
use crate::replicas::Replicas;

/// Between questions.
const LOOK: Duration = Duration::from_secs(2);
/// Longest a node that has left goes on to destroy what replicas it still has. Whatever is left
/// then is of no use to anybody, and goes with its data directory.
pub(crate) const CLEARING_MAX: Duration = Duration::from_secs(10);
/// Between looks at what is left.
const CLEARING_LOOK: Duration = Duration::from_millis(100);
/// A node that does not answer a probe so soon is not there.
const PROBE_LIMIT: Duration = Duration::from_millis(700);

/// Returns when this node must not go on, and says why.
pub(crate) async fn watch(replicas: Arc<Replicas>) -> NodeError {
    let mut turn = fastrand::usize(..);
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(meta) = replicas.meta() else { continue };
        let mut peers = replicas.shared.links.peers();
        // A leader it cannot hear is one it only remembers.
        let hears = peers.iter().any(|(node, _)| replicas.is_reached(*node));
        let is_led = hears && meta.core().leader().1.is_some();
        if is_led && !peers.is_empty() {
            peers.sort();
            turn = turn.wrapping_add(1);
            peers = vec![peers.swap_remove(turn % peers.len())];
        }
        let asked = peers.into_iter().map(|(node, addr)| {
            let replicas = Arc::clone(&replicas);
            async move { probe(&replicas, node).await.map(|reply| (addr, reply)) }
        });
        let replies: Vec<_> = futures_util::future::join_all(asked).await;
        let replies: Vec<_> = replies.into_iter().flatten().collect();
        if let Some(verdict) = judge(&replicas, &replies, is_led) {
            if matches!(verdict, NodeError::Gone { .. }) {
                clear(&replicas).await;
            }
            return verdict;
        }
    }
}

/// Waits for the placement loop to destroy the replicas this node still has.
async fn clear(replicas: &Replicas) {
    let give_up = Instant::now() + CLEARING_MAX;
    while !replicas.is_cleared() && Instant::now() < give_up {
        tokio::time::sleep(CLEARING_LOOK).await;
    }
}

async fn probe(replicas: &Replicas, node: NodeId) -> Option<ProbeReply> {
    let asked = async {
        let mut client = replicas.shared.links.client(node).await.ok()?;
        client.probe(ProbeRequest { node: replicas.shared.node.0 }).await.ok()
    };
    let reply = tokio::time::timeout(PROBE_LIMIT, asked).await.ok().flatten();
    reply.map(tonic::Response::into_inner)
}

fn judge(replicas: &Replicas, replies: &[(String, ProbeReply)], is_led: bool) -> Option<NodeError> {
    let ours = replicas.shared.links.options().cluster_id.read().clone();
    let is_strange = |reply: &ProbeReply| {
        !ours.is_empty() && !reply.cluster_id.is_empty() && reply.cluster_id != ours
    };
    let mut known = replies.iter().filter(|(_, reply)| !is_strange(reply));
    if known.any(|(_, reply)| reply.gone) {
        return Some(NodeError::Gone { id: replicas.shared.node });
    }
    // One stranger among those that have a leader is their own trouble.
    let strange = replies.first().filter(|_| !is_led);
    if let Some(reason) = strange.and_then(|_| no_common_protocol(replies)) {
        return Some(NodeError::Refused { reason });
    }
    let (addr, _) = strange?;
    replies.iter().all(|(_, reply)| is_strange(reply)).then(|| NodeError::Refused {
        reason: format!(
            "the data directory is of one ranch, and the machine at {addr} of another: correct \
             the addresses in ranch.toml, or move the data directory away to join as a new machine"
        ),
    })
}

/// Why no machine that answers can be worked with, if none can.
fn no_common_protocol(replies: &[(String, ProbeReply)]) -> Option<String> {
    let whys = replies.iter().map(|(addr, reply)| {
        let theirs = Support::from_wire(reply.versions.as_ref());
        Support::ours().agree(theirs, &format!("at {addr}")).err()
    });
    let whys: Option<Vec<_>> = whys.collect();
    whys?.first().map(ToString::to_string)
}
