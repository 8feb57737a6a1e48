//! Faults: what can happen to a ranch, to whom, and when. Each family has a file of its own that
//! begins its faults and heals them.
//!
//! A new kind is a [`FaultKind`] with what it needs and whether it fells its nodes, and its begin
//! and heal in the file of its family. A fault that may turn out to have done nothing counts
//! what it did, since a run whose faults did not bite proves nothing.

pub mod clock;
pub mod disk;
pub mod link;
pub mod members;
pub mod network;
pub mod process;
pub mod rot;
pub mod storm;

use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::HarnessError;
use crate::ranch::Ranch;
use crate::world::relay::Slowness;

/// One kind of fault of a scenario, and when it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What happens.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// It lasts between these many milliseconds.
    pub hold_ms: [u64; 2],
    /// Once the ranch is whole again, the next comes after between these many milliseconds.
    pub pause_ms: [u64; 2],
    /// How often it is chosen, compared with the others.
    #[serde(default = "one")]
    pub weight: u32,
    /// Of a hundred packets, so many are lost.
    #[serde(default = "ten")]
    pub loss_percent: u32,
    /// A packet of a slow link takes between these many milliseconds.
    #[serde(default = "slow")]
    pub delay_ms: [u64; 2],
    /// Of a hundred packets of a slow link, so many overtake others.
    #[serde(default = "few")]
    pub reorder_percent: u32,
    /// Of a hundred packets of a slow link, so many come twice.
    #[serde(default = "few")]
    pub duplicate_percent: u32,
}

impl FaultSpec {
    fn slowness(&self) -> Slowness {
        let Self { delay_ms, reorder_percent, duplicate_percent, .. } = *self;
        Slowness { delay_ms, reorder_percent, duplicate_percent }
    }
}

fn slow() -> [u64; 2] {
    [10, 80]
}

fn few() -> u32 {
    2
}

fn one() -> u32 {
    1
}

fn ten() -> u32 {
    10
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// `kill -9`; healed by starting it again.
    Kill,
    /// Its processes stand still, as in a long pause of the machine.
    Pause,
    /// It is asked to end, and started again.
    Restart,
    /// `kill -9`, and its data is gone when it comes back.
    LostDisk,
    /// It and the other nodes do not hear each other; the router reaches both sides.
    Partition,
    /// Nobody hears it and it hears nobody.
    Isolate,
    /// It hears the other nodes, which do not hear it.
    OneWayOut,
    /// The other nodes hear it, and it does not hear them.
    OneWayIn,
    /// Two halves, the target in one of them, joined by a single node that hears both.
    Bridge,
    /// All links are cut but those of a single node, which is not the target.
    Star,
    /// The router and it do not hear each other.
    RouterCut,
    /// All that others send it is answered by a reset of the connection.
    Resets,
    /// Some packets between it and all others are lost.
    Loss,
    /// Packets between it and all others take long, some overtake, some come twice.
    SlowLinks,
    /// Its clock jumps, and jumps back in the end.
    ClockJump,
    /// Its clock runs too fast or too slowly, and is set right in the end.
    ClockDrift,
    /// One more machine joins, and stays.
    Join,
    /// It is taken out of the ranch, and ends when it has nothing left.
    Leave,
    /// `kill -9`, never to return: another machine joins, and it is removed on command.
    Replace,
    /// `kill -9`, and it is away until the ranch has given what it held to others.
    LongDead,
    /// It is asked to end, and started again from the other of two binaries.
    Upgrade,
    /// Leaderships of all shards are handed on without a pause.
    TransferStorm,
    /// Its disk is full.
    DiskFull,
    /// Its disk writes nothing, and who tries waits.
    DiskStall,
    /// Its disk stands still again and again.
    DiskSlow,
    /// A write or `fsync` of its process fails, and all that follow.
    DiskError,
    /// It loses power: what is not synced is gone.
    PowerCut,
    /// Some of its bytes are others when it comes back.
    Rot,
    /// A copy of its data from some time ago is put in its place.
    StaleBackup,
}

/// What a fault cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// A world of its own, with a network between machines.
    Network,
    /// A way to hold up packets between machines.
    Detour,
    /// A clock of each node's own.
    Clocks,
    /// A disk of each node's own.
    Disks,
}

/// Which nodes it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The one that leads the shard of the first tenant.
    Leader,
    /// One that does not.
    Follower,
    /// Any one.
    Any,
    /// As many as may fail at once, at random.
    Minority,
    /// All, at one moment.
    All,
}

impl FaultKind {
    /// What it needs.
    #[must_use]
    pub fn need(self) -> Option<Need> {
        match self {
            Self::Kill
            | Self::Pause
            | Self::Restart
            | Self::LostDisk
            | Self::Join
            | Self::Leave
            | Self::Replace
            | Self::LongDead
            | Self::Upgrade
            | Self::TransferStorm => None,
            Self::DiskFull | Self::DiskStall | Self::DiskSlow | Self::DiskError => {
                Some(Need::Disks)
            }
            Self::PowerCut | Self::Rot | Self::StaleBackup => Some(Need::Disks),
            Self::SlowLinks => Some(Need::Detour),
            Self::ClockJump | Self::ClockDrift => Some(Need::Clocks),
            Self::Partition
            | Self::Isolate
            | Self::OneWayOut
            | Self::OneWayIn
            | Self::Bridge
            | Self::Star
            | Self::RouterCut
            | Self::Resets
            | Self::Loss => Some(Need::Network),
        }
    }

    /// Whether its nodes are of no use meanwhile, so that of those there may be a minority at most.
    #[must_use]
    pub fn fells(self) -> bool {
        !matches!(
            self,
            Self::Resets
                | Self::Loss
                | Self::SlowLinks
                | Self::ClockJump
                | Self::ClockDrift
                | Self::TransferStorm
                | Self::DiskSlow
                | Self::Join
                | Self::Leave
        )
    }

    /// Whether it changes who belongs to the ranch, or who holds what.
    #[must_use]
    pub fn changes_members(self) -> bool {
        matches!(self, Self::Join | Self::Leave | Self::Replace | Self::LongDead)
    }

    /// Whether a majority hangs on a single node meanwhile, so that no other may be felled.
    #[must_use]
    pub fn splits(self) -> bool {
        matches!(self, Self::Bridge | Self::Star)
    }

    /// Whether the end of one would undo the other. Those that fell never strike the same node.
    #[must_use]
    pub fn clashes(self, other: Self) -> bool {
        let both = |need| self.need() == Some(need) && other.need() == Some(need);
        // A disk that is frozen again and again is thawed again and again.
        let thaws = self == Self::DiskSlow || other == Self::DiskSlow;
        (self == other && !self.fells())
            || both(Need::Clocks)
            || (thaws && both(Need::Disks))
            || (self.changes_members() && other.changes_members())
    }

    /// Time without service that is promised for it when it strikes a minority (R6).
    #[must_use]
    pub fn promised(self) -> Option<Duration> {
        let ms = match self {
            Self::Kill | Self::Replace | Self::LongDead => 1_000,
            Self::Pause => 1_200,
            Self::Partition
            | Self::Isolate
            | Self::OneWayOut
            | Self::OneWayIn
            | Self::RouterCut => 1_500,
            Self::Bridge | Self::Star | Self::DiskStall => 3_000,
            _ => return None,
        };
        Some(Duration::from_millis(ms))
    }
}

/// One fault about to strike.
#[derive(Clone, Copy, Debug)]
pub struct Blow<'a> {
    /// What happens.
    pub spec: &'a FaultSpec,
    /// To whom.
    pub nodes: &'a [u32],
    /// Its number, which no other fault of the run has.
    pub number: usize,
}

/// A fault that holds, with what its family must know to heal it.
#[derive(Debug)]
pub enum Wound {
    /// Processes that do not run.
    Process(process::Felled),
    /// Machines that come and go.
    Members(members::Change),
    /// Packets that do not arrive.
    Network(network::Cut),
    /// Packets that arrive late.
    Link(link::Slowed),
    /// Clocks that are wrong.
    Clock(clock::Wrong),
    /// Leaderships that do not stay.
    Storm(storm::Storm),
    /// Disks that do not work.
    Disk(disk::Faulty),
    /// Data that is not what it was.
    Rot(rot::Rotten),
}

impl Wound {
    /// Strikes.
    ///
    /// # Errors
    /// When a process or tool does not do as it is told.
    pub async fn begin(
        blow: Blow<'_>,
        ranch: &mut Ranch,
        rng: &mut Rng,
    ) -> Result<Self, HarnessError> {
        match blow.spec.kind.need() {
            Some(Need::Network) => {
                network::Cut::begin(blow, ranch.network()?, rng).map(Self::Network)
            }
            Some(Need::Detour) => link::Slowed::begin(blow, ranch).map(Self::Link),
            Some(Need::Clocks) => clock::Wrong::begin(blow, ranch, rng).map(Self::Clock),
            None if blow.spec.kind == FaultKind::TransferStorm => {
                Ok(Self::Storm(storm::Storm::begin(ranch, rng)))
            }
            None if blow.spec.kind.changes_members() => {
                members::Change::begin(blow, ranch).await.map(Self::Members)
            }
            Some(Need::Disks) => match blow.spec.kind {
                FaultKind::Rot | FaultKind::StaleBackup => {
                    rot::Rotten::begin(blow, ranch, rng).map(Self::Rot)
                }
                _ => disk::Faulty::begin(blow, ranch, rng).map(Self::Disk),
            },
            None => process::Felled::begin(blow, ranch).await.map(Self::Process),
        }
    }

    /// Ends it. Gives how often it bit, such as packets that were dropped, unless it is of a kind
    /// that cannot fail to.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn heal(self, ranch: &mut Ranch) -> Result<Option<u64>, HarnessError> {
        match self {
            Self::Process(felled) => felled.heal(ranch),
            Self::Members(change) => change.heal(ranch).await.map(Some),
            Self::Network(cut) => cut.heal().map(Some),
            Self::Link(slowed) => slowed.heal(ranch).map(Some),
            Self::Clock(wrong) => wrong.heal().map(Some),
            Self::Storm(storm) => Ok(Some(storm.heal())),
            Self::Disk(faulty) => faulty.heal(ranch).map(Some),
            Self::Rot(rotten) => rotten.heal(ranch).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FaultKind;

    #[test]
    fn no_fault_undoes_another() {
        assert!(FaultKind::ClockJump.clashes(FaultKind::ClockDrift));
        assert!(FaultKind::SlowLinks.clashes(FaultKind::SlowLinks));
        assert!(FaultKind::DiskStall.clashes(FaultKind::DiskSlow));
        assert!(!FaultKind::DiskStall.clashes(FaultKind::DiskFull), "of another node");
        assert!(!FaultKind::Loss.clashes(FaultKind::Resets));
        assert!(!FaultKind::Kill.clashes(FaultKind::Kill), "of another node");
    }
}
