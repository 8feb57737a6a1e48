//! What nodes tell each other of themselves several times a second: whether there is room on the
//! disk, and how far the log is on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ranch_proto::link::Lane;
use ranch_proto::schema::{Request, Tidings, reply, request};
use ranch_proto::{GroupId, NodeId, ReplicaId};

use crate::error::NodeError;
use crate::replicas::Replicas;
use crate::room::judge_groups;

/// Between two rounds; a disk that fills up is told of at once.
const EVERY: Duration = Duration::from_millis(200);
/// Between two rounds before this node takes part.
const EVERY_AT_FIRST: Duration = Duration::from_millis(20);
/// Longest time spent on those. Whoever answers later is heard before this node votes.
const FIRST_MAX: Duration = Duration::from_millis(250);
/// A peer that does not answer by then is not waited for.
const ANSWER_MAX: Duration = Duration::from_millis(300);
/// Rounds between two times that what was heard is written down.
const SAVE: u32 = 10;

impl Replicas {
    /// What this node says of itself.
    fn tidings(&self) -> Tidings {
        let replica = self.core(GroupId::META).map(|core| core.replica());
        Tidings {
            node: self.shared.node.0,
            disk_full: self.room.disk().is_full(),
            incarnation: replica.map_or(0, ReplicaId::incarnation),
            log_end: self.shared.log.durable_sequence(),
            known_end: 0,
            led: self.shared.board.led_by(self.shared.node),
        }
    }

    /// Takes in what another node says, and answers in kind.
    pub(crate) fn exchange(&self, heard: &Tidings) -> Tidings {
        let known_end = self.take_in(heard);
        Tidings { known_end, ..self.tidings() }
    }

    fn take_in(&self, heard: &Tidings) -> u64 {
        if self.room.learn(heard) {
            judge_groups(self);
        }
        self.shared.board.hear(NodeId(heard.node), &heard.led);
        self.lives.learn(heard)
    }

    /// Tells every peer, and takes in what they answer.
    async fn tell_all(&self) -> Heard {
        let links = &self.shared.links;
        let deadline = Instant::now() + ANSWER_MAX;
        let asked = links.peers().into_iter().map(|(node, _)| async move {
            let body = Some(request::Body::Tidings(self.tidings()));
            let request = Request { body, ..Request::default() };
            let reply = links.get(node, Lane::Control)?.call(request, deadline).await.ok()?;
            let reply::Body::Tidings(heard) = reply.body? else { return None };
            self.take_in(&heard);
            Some(heard.known_end)
        });
        let known = join_all(asked).await;
        let end = self.shared.log.durable_sequence();
        Heard {
            behind: known.iter().flatten().any(|known| *known > end),
            from_all: known.iter().all(Option::is_some),
        }
    }
}

/// What the others said in one round.
struct Heard {
    /// One of them remembers more of this node's log than it has.
    behind: bool,
    /// All of them answered.
    from_all: bool,
}

/// Tells and asks before this node takes part in anything, until all have answered or it is time.
pub(crate) async fn before_taking_part(replicas: &Replicas) -> Result<(), NodeError> {
    let until = tokio::time::Instant::now() + FIRST_MAX;
    loop {
        let heard = replicas.tell_all().await;
        if heard.behind {
            return Err(rolled_back(replicas));
        }
        if heard.from_all || tokio::time::Instant::now() >= until {
            return Ok(());
        }
        tokio::time::sleep(EVERY_AT_FIRST).await;
    }
}

/// Goes on telling and asking. Ends only when this node must not go on.
pub(crate) async fn follow(replicas: Arc<Replicas>) -> NodeError {
    let mut round = 0;
    while !replicas.tell_all().await.behind {
        round += 1;
        if round % SAVE == 0 {
            let replicas = Arc::clone(&replicas);
            let saved = tokio::task::spawn_blocking(move || {
                let cluster_id = replicas.shared.links.options().cluster_id.read().clone();
                replicas.lives.save(&cluster_id)
            });
            if let Ok(Err(error)) = saved.await {
                tracing::debug!(%error, "cannot write down what the other nodes said");
            }
        }
        let _ = tokio::time::timeout(EVERY, replicas.room.disk().changed()).await;
    }
    rolled_back(&replicas)
}

fn rolled_back(replicas: &Replicas) -> NodeError {
    replicas.shared.damage.note("its data was an older copy of what it had acknowledged");
    NodeError::RolledBack
}
