//! What the machines can write and speak, and why the ranch does not write the newest of it.

use ranch_proto::Directory;
use ranch_proto::schema::{NodeRecord, NodeStatusReply};
use ranch_proto::versions::{Span, Support};
use serde::Serialize;

use super::Cluster;

/// Versions from the oldest to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl From<Span> for Versions {
    fn from(Span { min, max }: Span) -> Self {
        Self { min, max }
    }
}

/// The cluster versions a node says it can do, or said last.
pub(super) fn formats(record: &NodeRecord, answer: Option<&NodeStatusReply>) -> Versions {
    match answer {
        Some(answer) => Support::from_wire(answer.versions.as_ref()).formats.into(),
        None => Versions { min: record.format_min.max(1), max: record.format_max.max(1) },
    }
}

/// The protocols a node says it speaks.
pub(super) fn protocols(answer: Option<&NodeStatusReply>) -> Option<Versions> {
    Some(Support::from_wire(answer?.versions.as_ref()).protocols.into())
}

/// Says which version the ranch is at, and what keeps it from the next one, if anything could do
/// that.
pub(super) fn describe(directory: &Directory, cluster: &mut Cluster) {
    let at = directory.version();
    cluster.version = at;
    let all = cluster.nodes.iter().map(|node| node.formats.max).min().unwrap_or(at);
    let any = cluster.nodes.iter().map(|node| node.formats.max).max().unwrap_or(at);
    cluster.next_version = (all > at).then_some(all);
    if all > at {
        cluster.notes.push(format!(
            "the ranch is at cluster version {at} and all machines can do {all}: it goes there \
             when all have been up for some seconds, or with [cluster] hold_version on `ranch \
             upgrade --finish`; until then every machine can go back to the version before"
        ));
    } else if any > at {
        let behind = cluster.nodes.iter().filter(|node| node.formats.max < any);
        let behind: Vec<&str> = behind.map(|node| node.name.as_str()).collect();
        cluster.notes.push(format!(
            "the ranch stays at cluster version {at} until {} can do {any}, too",
            behind.join(", ")
        ));
    }
}
