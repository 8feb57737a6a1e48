//! Leaders where they belong: each shard's record lists its replicas in order of preference, and
//! those lists are balanced over the nodes. A leader hands over to the first replica in the list
//! that is connected and holds everything.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ranch_proto::{GroupId, ReplicaId};
use ranch_raft::GroupCore;

use crate::replicas::Replicas;

/// A leader stays at least so long, so that leadership does not follow a flapping node around.
const LEAST_TERM: Duration = Duration::from_secs(3);

/// Since when this node has led which shards.
#[derive(Default)]
pub(super) struct Balance {
    leading: HashMap<GroupId, Instant>,
}

impl Balance {
    /// Hands over at most one leadership.
    pub(super) async fn turn(&mut self, replicas: &Replicas) {
        let cores = replicas.shards().into_iter().map(|shard| shard.core().clone());
        let (led, not_led): (Vec<_>, Vec<_>) = cores.partition(GroupCore::is_leader);
        for core in not_led {
            self.leading.remove(&core.group());
        }
        for core in led {
            let since = *self.leading.entry(core.group()).or_insert_with(Instant::now);
            if since.elapsed() < LEAST_TERM {
                continue;
            }
            let Some(to) = preferred(replicas, core.group(), core.replica()) else { continue };
            match replicas.first_to_take(core.group(), vec![to]).await {
                Ok(to) => {
                    tracing::info!(group = %core.group(), %to, "handed over leadership");
                    self.leading.remove(&core.group());
                    return;
                }
                Err(error) => tracing::debug!(group = %core.group(), ?error, "leadership stays"),
            }
        }
    }
}

/// The replica that should lead a group instead of `me`, if one can be reached.
fn preferred(replicas: &Replicas, group: GroupId, me: ReplicaId) -> Option<ReplicaId> {
    let order = {
        let directory = replicas.shared.feed.directory().read();
        directory.shards.get(&group)?.replicas.clone()
    };
    let better = order.into_iter().map(ReplicaId).take_while(|replica| *replica != me);
    let may_lead = |replica: &ReplicaId| {
        let directory = replicas.shared.feed.directory().read();
        !directory.is_draining(replica.node()) && !replicas.room.is_full(replica.node())
    };
    better.into_iter().find(|to| may_lead(to) && replicas.is_reached(to.node()))
}
