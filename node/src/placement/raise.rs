//! Raising the cluster version, where this node leads the meta group: when every machine has said
//! that it can, is there, and nobody has come, gone or started again for a while.

use std::time::{Duration, Instant};

use ranch_proto::NodeId;
use ranch_proto::schema::{RaiseVersion, meta_command::What};

use crate::replicas::Replicas;

/// How long all must have been there as they are.
const STABLE: Duration = Duration::from_secs(5);

/// Since when all nodes have been there, and which processes they are.
#[derive(Default)]
pub(super) struct Raise {
    seen: Option<(Vec<(NodeId, u64)>, Instant)>,
}

impl Raise {
    /// Looks at who is there; says when the version is to be raised.
    pub(super) fn look(&mut self, replicas: &Replicas, held: bool) -> Option<What> {
        let leads = replicas.meta().is_some_and(|meta| meta.core().is_leader());
        let newest = replicas.newest_for_all();
        let at = replicas.shared.feed.directory().read().version();
        if held || !leads || newest <= at || replicas.why_not_at(newest).is_some() {
            self.seen = None;
            return None;
        }
        let there = replicas.processes();
        match &self.seen {
            Some((before, since)) if *before == there => {
                let ripe = since.elapsed() >= STABLE;
                ripe.then_some(What::RaiseVersion(RaiseVersion { to: newest }))
            }
            _ => {
                self.seen = Some((there, Instant::now()));
                None
            }
        }
    }
}
