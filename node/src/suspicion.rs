//! Faster elections after a crash. openraft's follower waits out its leader's lease and then a
//! random time more, because it knows only that heartbeats stopped. A node knows more: one that
//! has heard nothing at all from the leader's machine for as long as the lease, pings included,
//! need not wait further. Nor does it need to wait for openraft's timer again where voters stood
//! against each other and nobody won.
//!
//! Safe, because it only begins a Pre-Vote, which every voter that still hears the leader
//! refuses. The voters begin one after another, so that they do not split the vote.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ranch_proto::link::Lane;
use ranch_proto::{GroupId, NodeId, ReplicaId};
use ranch_raft::GroupCore;
use tokio::time::{MissedTickBehavior, interval};

use crate::replicas::Replicas;

/// How often the links are looked at.
const LOOK: Duration = Duration::from_millis(40);
/// Between the beginnings of two voters.
const STAGGER: Duration = Duration::from_millis(80);
/// Added to the lease, because a follower counts it from when it took in the leader's last
/// message, which is a little after the message was heard.
const MARGIN: Duration = Duration::from_millis(20);
/// Before this node begins another Pre-Vote in the same group: it is refused here or elsewhere
/// while a lease has some milliseconds to go.
const AGAIN: Duration = Duration::from_millis(60);
/// How long an election may take on a busy machine before it counts as won by nobody. Less would
/// unseat leaders that have just been elected and are not known everywhere yet.
const ELECTION: Duration = Duration::from_millis(150);
/// Longest wait between Pre-Votes of a group that nobody can lead, most of its voters being away.
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// What is remembered of a group without a leader that answers.
#[derive(Default)]
struct Suspicion {
    /// Since when no leader is known; `None` while one is, though it is silent.
    leaderless: Option<Instant>,
    /// When a Pre-Vote was last begun here, and how long to wait before the next.
    begun: Option<(Instant, Duration)>,
}

/// Begins a Pre-Vote in every group whose leader has been silent for `lease`, openraft's longest
/// election timeout, and in every group that has had no leader for longer than an election takes.
pub(crate) async fn watch(replicas: Arc<Replicas>, lease: Duration) {
    let lease = lease + MARGIN;
    let mut suspicions: HashMap<GroupId, Suspicion> = HashMap::new();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for core in replicas.cores() {
            let Some(why) = suspect(&replicas, &core, lease) else {
                suspicions.remove(&core.group());
                continue;
            };
            let suspicion = suspicions.entry(core.group()).or_default();
            let overdue = suspicion.overdue(&why);
            let turn = rank(&core).map(|rank| STAGGER * rank);
            if suspicion.may_begin() && turn.is_some_and(|turn| overdue >= Some(turn)) {
                suspicion.begin();
                // A replica that has stopped is reported by its own watcher.
                let _ = core.raft().trigger().elect(true).await;
            }
        }
    }
}

impl Suspicion {
    /// How long the group should have had an election by now; `None` while it is too early.
    fn overdue(&mut self, why: &Why) -> Option<Duration> {
        match *why {
            Why::Silent(overdue) => {
                self.leaderless = None;
                Some(overdue)
            }
            Why::Leaderless => {
                let since = self.leaderless.get_or_insert_with(Instant::now);
                since.elapsed().checked_sub(ELECTION)
            }
        }
    }

    fn may_begin(&self) -> bool {
        self.begun.is_none_or(|(at, wait)| at.elapsed() >= wait)
    }

    fn begin(&mut self) {
        let wait = self.begun.map_or(AGAIN, |(_, wait)| (wait * 3 / 2).min(AGAIN_MAX));
        self.begun = Some((Instant::now(), wait));
    }
}

/// Why a group needs an election.
enum Why {
    /// Its leader's lease ran out so long ago.
    Silent(Duration),
    /// No leader is known.
    Leaderless,
}

/// Whether the group needs an election, as far as this node can tell.
fn suspect(replicas: &Replicas, core: &GroupCore, lease: Duration) -> Option<Why> {
    match core.leader().1 {
        None => Some(Why::Leaderless),
        Some(leader) if leader == replicas.shared.node => None,
        Some(leader) => {
            let silence = silence(replicas, core.group(), leader);
            silence.checked_sub(lease).map(Why::Silent)
        }
    }
}

/// For how long the process that leads the group has been silent. A process that took its place
/// on the same machine does not speak for it.
fn silence(replicas: &Replicas, group: GroupId, leader: NodeId) -> Duration {
    let shared = &replicas.shared;
    let Some(link) = shared.links.get(leader, Lane::Control) else { return Duration::ZERO };
    match (link.died(), shared.board.since(group)) {
        (Some(died), Some(led_since)) if died >= led_since => died.elapsed(),
        _ => link.silence(),
    }
}

/// This replica's turn among the voters that are left, from 0; `None` if it does not vote.
fn rank(core: &GroupCore) -> Option<u32> {
    let leader = core.leader().1;
    let voters = core.status().voters.into_iter().map(ReplicaId);
    let mut left: Vec<_> = voters.filter(|voter| Some(voter.node()) != leader).collect();
    // A different voter begins in each group, so that leadership spreads.
    let first = core.group().0 as usize % left.len().max(1);
    left.rotate_left(first);
    left.iter().position(|voter| *voter == core.replica()).map(|rank| rank as u32)
}
