//! A node tells the ranch what has changed of it since it last ran: its address, name and zone, the
//! version of its binary and what that can write.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ranch_proto::config::NodeConfig;
use ranch_proto::schema::{JoinNode, MetaStatus, NodeRecord, meta_command::What};
use ranch_proto::versions::Support;
use ranch_proto::{NodeId, ShardError};

use crate::error::NodeError;
use crate::replicas::Replicas;

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(500);

/// What a node says of itself.
pub(crate) fn record_of(
    node: &NodeConfig,
    incarnation: u32,
    boot_nonce: Bytes,
    version: &str,
) -> NodeRecord {
    let formats = Support::ours().formats;
    NodeRecord {
        id: node.id,
        name: node.name.clone(),
        addr: node.addr.clone(),
        zone: node.zone.clone(),
        incarnation,
        boot_nonce,
        version: version.to_owned(),
        format_min: formats.min,
        format_max: formats.max,
        ..NodeRecord::default()
    }
}

/// Tells the ranch until the directory has it. Returns only when the ranch refuses it.
pub(crate) async fn announce(replicas: Arc<Replicas>, record: NodeRecord) -> NodeError {
    let mut epochs = replicas.shared.feed.epochs();
    loop {
        if needs_telling(&replicas, &record) {
            let join = JoinNode { node: Some(record.clone()), ..JoinNode::default() };
            match replicas.propose_meta_anywhere(What::Join(join)).await {
                Ok(result) if result.status() == MetaStatus::MetaOk => {}
                // Whether it was taken out is found out elsewhere.
                Ok(result) if result.status() == MetaStatus::MetaInvalid => {
                    return NodeError::Refused { reason: result.reason };
                }
                Err(ShardError::Invalid { detail }) => {
                    return NodeError::Refused { reason: detail };
                }
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        } else {
            // The feed lives as long as the node. A directory that is behind comes to know more.
            let _ = epochs.changed().await;
        }
    }
}

fn needs_telling(replicas: &Replicas, wanted: &NodeRecord) -> bool {
    let directory = replicas.shared.feed.directory().read();
    // Before this node is in the directory there is nothing to change.
    let Some(known) = directory.nodes.get(&NodeId(wanted.id)) else { return false };
    let said = |node: &NodeRecord| {
        let NodeRecord { name, addr, zone, version, .. } = node.clone();
        (name, addr, zone, version, node.format_min, node.format_max)
    };
    known.boot_nonce == wanted.boot_nonce && said(known) != said(wanted)
}
