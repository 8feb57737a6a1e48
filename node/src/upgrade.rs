//! What all machines of the ranch can write, by what they are on record with and by what they say
//! now, which are different things while one is being replaced by another version.

use ranch_proto::link::{Lane, Peer};
use ranch_proto::schema::{MetaResult, MetaStatus, NodeRecord, RaiseVersion};
use ranch_proto::versions::Support;
use ranch_proto::{NodeId, ShardError};

use crate::replicas::Replicas;

impl Replicas {
    /// The newest format that all machines are on record as able to write.
    pub(crate) fn newest_for_all(&self) -> u32 {
        let directory = self.shared.feed.directory().read();
        let recorded = directory.nodes.values().map(|node| node.format_max.max(1));
        recorded.min().unwrap_or(1).min(Support::ours().formats.max)
    }

    /// Why the ranch cannot go to a version at this moment, as a sentence.
    pub(crate) fn why_not_at(&self, version: u32) -> Option<String> {
        let nodes: Vec<NodeRecord> =
            self.shared.feed.directory().read().nodes.values().cloned().collect();
        nodes.iter().find_map(|node| self.why_not(node, version))
    }

    fn why_not(&self, node: &NodeRecord, version: u32) -> Option<String> {
        let NodeRecord { id, name, .. } = node;
        let (runs, formats) = if NodeId(*id) == self.shared.node {
            (self.shared.version.clone(), Support::ours().formats)
        } else {
            match self.present(NodeId(*id)) {
                Some(peer) => (peer.version, peer.support.formats),
                None => {
                    return Some(format!(
                        "node {id} ({name}) does not answer, so it is not known what it runs: \
                         start it, or remove it from the ranch"
                    ));
                }
            }
        };
        (!formats.contains(version)).then(|| {
            format!(
                "node {id} ({name}) runs version {runs}, which can do cluster version {formats} \
                 and not {version}: upgrade it, or remove it from the ranch"
            )
        })
    }

    /// The process at the other end of a link that is up.
    fn present(&self, node: NodeId) -> Option<Peer> {
        let link = self.shared.links.get(node, Lane::Control)?;
        link.peer().filter(|_| link.is_connected())
    }

    /// The processes that are there, this one aside.
    pub(crate) fn processes(&self) -> Vec<(NodeId, u64)> {
        let nodes: Vec<NodeId> =
            self.shared.feed.directory().read().nodes.keys().copied().collect();
        let present = |node: NodeId| self.present(node).map(|peer| (node, peer.boot));
        nodes.into_iter().filter_map(present).collect()
    }

    /// Refuses to raise the version while a machine cannot follow, where this node decides.
    pub(crate) fn check_raise(
        &self,
        raise: RaiseVersion,
    ) -> Result<Option<MetaResult>, ShardError> {
        let meta = self.meta().ok_or(ShardError::NoReplica)?;
        // Whoever does not lead refuses for that.
        let reason = self.why_not_at(raise.to).filter(|_| meta.core().is_leader());
        Ok(reason.map(|reason| {
            let status = MetaStatus::MetaExists.into();
            MetaResult { status, reason, ..MetaResult::default() }
        }))
    }
}
