//! Who has room for writes. Nodes tell each other whether their disks are full (`tidings.rs`). A
//! leader then refuses at once what a majority cannot take, and one whose own disk is
//! full hands over to a replica that has room.
//!
//! While every disk has room, which is nearly always, a write is asked one relaxed load.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::RwLock;
use ranch_proto::link::Lane;
use ranch_proto::schema::meta_command::What;
use ranch_proto::schema::{Command, DiskRoom, Op, Tidings, op};
use ranch_proto::{GroupId, NodeId, ReplicaId, ShardError};
use ranch_raft::GroupCore;

use crate::disk::{Disk, Level};
use crate::replicas::Replicas;

/// Between two looks at the groups led here; a disk that fills up brings on one at once.
const EVERY: Duration = Duration::from_millis(200);
/// How long a leader with a full disk sends writes on to the one it is handing over to, before
/// it refuses them.
const HAND_OVER_MAX: Duration = Duration::from_millis(700);

/// What this node knows of everybody's room.
pub(crate) struct Room {
    me: NodeId,
    disk: Arc<Disk>,
    /// Some disk is full, this node's or another's.
    some_full: AtomicBool,
    full: RwLock<BTreeSet<NodeId>>,
    /// Groups led here that cannot write as usual.
    short: RwLock<HashMap<GroupId, Short>>,
}

/// What a group lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Short {
    /// A node whose disk is full.
    node: NodeId,
    /// So many are full or away that the others are no majority.
    majority: bool,
    since: Instant,
}

impl Room {
    pub(crate) fn new(me: NodeId, disk: Arc<Disk>) -> Self {
        let (full, short) = (RwLock::default(), RwLock::default());
        Self { me, disk, some_full: AtomicBool::new(false), full, short }
    }

    /// This node's disk.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Whether a group led here may take a write. What makes room may go in while the reserve
    /// lasts.
    pub(crate) fn admit(
        &self,
        group: GroupId,
        makes_room: impl FnOnce() -> bool,
    ) -> Result<(), ShardError> {
        if !self.some_full.load(Relaxed) {
            return Ok(());
        }
        let Some(short) = self.short.read().get(&group).copied() else { return Ok(()) };
        let exhausted = self.disk.level() == Level::Exhausted;
        if !exhausted && makes_room() {
            return Ok(());
        }
        if !short.majority && short.since.elapsed() < HAND_OVER_MAX {
            let detail = "its disk is full, and another node takes over".to_owned();
            return Err(ShardError::Unavailable { detail });
        }
        Err(ShardError::DiskFull { node: short.node })
    }

    /// Whether this node's disk has room for entries from a leader.
    pub(crate) fn takes_entries(&self, needed: bool) -> Result<(), ShardError> {
        match self.disk.level() {
            Level::Room => Ok(()),
            Level::Full if needed => Ok(()),
            Level::Full | Level::Exhausted => Err(ShardError::DiskFull { node: self.me }),
        }
    }

    /// Whether a group led here has no majority without replicas whose disks are full.
    pub(crate) fn needs_all(&self, group: GroupId) -> bool {
        self.some_full.load(Relaxed)
            && self.short.read().get(&group).is_some_and(|short| short.majority)
    }

    /// Whether a node's disk is full, as far as known here.
    pub(crate) fn is_full(&self, node: NodeId) -> bool {
        self.some_full.load(Relaxed) && self.full.read().contains(&node)
    }

    /// Takes in what a node says of itself. Returns whether that changes anything.
    pub(crate) fn learn(&self, tidings: &Tidings) -> bool {
        let node = NodeId(tidings.node);
        let changed = self.full.read().contains(&node) != tidings.disk_full;
        if changed {
            self.set(node, tidings.disk_full);
        }
        changed
    }

    fn set(&self, node: NodeId, is_full: bool) {
        let mut full = self.full.write();
        if is_full {
            full.insert(node);
        } else {
            full.remove(&node);
        }
        self.some_full.store(!full.is_empty(), Relaxed);
    }

    /// As the node's status has it.
    pub(crate) fn status(&self) -> DiskRoom {
        DiskRoom {
            free_bytes: self.disk.free_bytes(),
            reserve_bytes: self.disk.reserve_bytes(),
            full: self.disk.is_full(),
        }
    }
}

/// Keeps an eye on who has room, and acts on what that says about the groups led here.
pub(crate) async fn follow(replicas: Arc<Replicas>) {
    let room = &replicas.room;
    loop {
        room.set(room.me, room.disk.is_full());
        judge_groups(&replicas);
        hand_over(&replicas).await;
        let _ = tokio::time::timeout(EVERY, room.disk.changed()).await;
    }
}

/// Finds out which groups led here cannot write as usual.
pub(crate) fn judge_groups(replicas: &Replicas) {
    let room = &replicas.room;
    if !room.some_full.load(Relaxed) && room.short.read().is_empty() {
        return;
    }
    let full = room.full.read().clone();
    let connected = |node: NodeId| {
        let link = replicas.shared.links.get(node, Lane::Control);
        link.is_some_and(|link| link.is_connected())
    };
    let led = replicas.cores().into_iter().filter(GroupCore::is_leader);
    let found: Vec<_> = led
        .filter_map(|core| {
            let voters = core.status().voters.into_iter().map(|id| ReplicaId(id).node());
            let lacks = lacking(&voters.collect::<Vec<_>>(), room.me, &full, connected)?;
            Some((core.group(), lacks))
        })
        .collect();
    let mut short = room.short.write();
    let now = Instant::now();
    let since = |group| short.get(&group).map_or(now, |before: &Short| before.since);
    let found = found
        .into_iter()
        .map(|(group, (node, majority))| (group, Short { node, majority, since: since(group) }));
    let found = found.collect();
    *short = found;
}

/// Whose full disk keeps a group from writing as usual, and whether it cannot at all.
fn lacking(
    voters: &[NodeId],
    me: NodeId,
    full: &BTreeSet<NodeId>,
    connected: impl Fn(NodeId) -> bool,
) -> Option<(NodeId, bool)> {
    let first_full = voters.iter().copied().find(|voter| full.contains(voter))?;
    let able = |voter: &&NodeId| !full.contains(voter) && (**voter == me || connected(**voter));
    if voters.iter().filter(able).count() <= voters.len() / 2 {
        return Some((first_full, true));
    }
    full.contains(&me).then_some((me, false))
}

/// Hands what is led here to replicas with room, while this node has none.
async fn hand_over(replicas: &Replicas) {
    let room = &replicas.room;
    if !room.disk.is_full() {
        return;
    }
    let mine: Vec<GroupId> = {
        let short = room.short.read();
        short.iter().filter(|(_, short)| !short.majority).map(|(group, _)| *group).collect()
    };
    let handing =
        mine.into_iter().filter_map(|group| replicas.core(group)).map(|core| async move {
            let group = core.group();
            let voters = core.status().voters.into_iter().map(ReplicaId);
            let able =
                voters.filter(|to| to.node() != room.me && !room.is_full(to.node())).collect();
            if let Ok(to) = replicas.first_to_take(group, able).await {
                tracing::info!(%group, %to, "handed over leadership: the disk here is full");
            }
        });
    // Whatever takes longer is taken up again in the next round.
    let _ = tokio::time::timeout(HAND_OVER_MAX, join_all(handing)).await;
}

/// Whether a command only makes room.
pub(crate) fn makes_room(command: &Command) -> bool {
    let purges = command.life.as_ref().is_some_and(|life| life.purge);
    let removes = |op: &Op| match op.kind() {
        op::Kind::Delete => true,
        op::Kind::Write => op.text.is_empty(),
        _ => false,
    };
    let plain = command.stage.is_none() && command.commit.is_none();
    purges || (plain && !command.ops.is_empty() && command.ops.iter().all(removes))
}

/// Whether a command of the meta group is one that a full ranch still takes: all but those that
/// add and change what tenants have.
pub(crate) fn meta_makes_room(what: Option<&What>) -> bool {
    !matches!(
        what,
        Some(
            What::AddTenant(_)
                | What::SetTenant(_)
                | What::RestoreTenant(_)
                | What::AddKey(_)
                | What::PatchTenant(_)
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn lacks(full: &[u32], away: &[u32]) -> Option<(NodeId, bool)> {
        let full = full.iter().copied().map(NodeId).collect();
        lacking(&VOTERS, NodeId(1), &full, |node| !away.contains(&node.0))
    }

    #[test]
    fn a_group_writes_as_long_as_a_majority_has_room() {
        assert_eq!(lacks(&[], &[2]), None, "nobody is full");
        assert_eq!(lacks(&[3], &[]), None, "a full follower is not needed");
        assert_eq!(lacks(&[1], &[]), Some((NodeId(1), false)), "the leader is to hand over");
        assert_eq!(lacks(&[2, 3], &[]), Some((NodeId(2), true)));
        assert_eq!(lacks(&[3], &[2]), Some((NodeId(3), true)), "one is full and one is away");
        assert_eq!(lacks(&[1, 2, 3], &[]), Some((NodeId(1), true)));
    }

    #[test]
    fn only_what_removes_makes_room() {
        let command = |kinds: &[op::Kind]| Command {
            ops: kinds
                .iter()
                .map(|kind| Op {
                    kind: (*kind).into(),
                    text: if *kind == op::Kind::Append { "x".into() } else { bytes::Bytes::new() },
                    ..Op::default()
                })
                .collect(),
            ..Command::default()
        };
        assert!(makes_room(&command(&[op::Kind::Delete, op::Kind::Write])));
        assert!(!makes_room(&command(&[op::Kind::Delete, op::Kind::Append])));
        assert!(!makes_room(&command(&[])));
    }
}
