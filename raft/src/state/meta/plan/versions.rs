//! The cluster version: what the ranch writes.

use ranch_proto::directory::Directory;
use ranch_proto::schema::{ClusterRecord, NodeRecord, RaiseVersion, record::What};
use ranch_proto::versions::Span;

use super::{Plan, Refused, one, put};

/// Has newer formats written from now on, which every machine must have said it can.
pub(super) fn raise(directory: &Directory, raise: RaiseVersion) -> Result<Plan, Refused> {
    let known = directory.cluster.clone().unwrap_or_default();
    if raise.to <= directory.version() {
        return Ok(Plan { records: Vec::new(), answer: Some(put(What::Cluster(known))) });
    }
    let cannot = |node: &&NodeRecord| !formats(node).contains(raise.to);
    if let Some(node) = directory.nodes.values().find(cannot) {
        return Err(Refused::exists(format!(
            "node {} ({}) runs version {}, which can do cluster version {} and not {}: upgrade it, \
             or remove it from the ranch",
            node.id,
            node.name,
            node.version,
            formats(node),
            raise.to
        )));
    }
    Ok(one(put(What::Cluster(ClusterRecord { version: raise.to, ..known }))))
}

/// What a node says its binary can write.
pub(super) fn formats(node: &NodeRecord) -> Span {
    Span { min: node.format_min.max(1), max: node.format_max.max(1) }
}
