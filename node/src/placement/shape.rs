//! Which change of members comes next: a pure comparison of what is with what should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use openraft::RaftMetrics;
use ranch_proto::schema::ShardRecord;
use ranch_raft::TypeConfig;

/// A learner this many entries behind the leader counts as caught up.
const CAUGHT_UP: u64 = 128;

/// The members a group should have, as replica ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) voters: BTreeSet<u64>,
    pub(super) learners: BTreeSet<u64>,
}

impl Shape {
    /// A shard's, as its record says: with the replica being added, without the one that goes.
    pub(super) fn shard(record: &ShardRecord) -> Self {
        let all = record.replicas.iter().chain([&record.adding]).copied();
        let voters = all.filter(|id| *id != 0 && *id != record.removing).collect();
        Self { voters, learners: BTreeSet::new() }
    }

    /// The meta group's: every node is in it, at most `most` of them voters. Those that vote now
    /// go on doing so, unless others are in zones that have none.
    pub(super) fn meta(all: &[Member], now: &RaftMetrics<TypeConfig>, most: usize) -> Self {
        let voting: BTreeSet<u64> = now.membership_config.membership().voter_ids().collect();
        Self::choose(all, &voting, most)
    }

    fn choose(all: &[Member], voting: &BTreeSet<u64>, most: usize) -> Self {
        // An even number of voters tolerates no more failures than one less, but a pair of
        // machines should both hold the data.
        let mut left: Vec<&Member> = all.iter().collect();
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        let mut voters = BTreeSet::new();
        while voters.len() < most && !left.is_empty() {
            let rank = |member: &&&Member| {
                let crowd = zones.get(member.zone.as_str()).copied().unwrap_or(0);
                (member.leaving, crowd, !voting.contains(&member.replica), member.replica)
            };
            let Some(next) = left.iter().min_by_key(rank).copied() else { break };
            left.retain(|member| member.replica != next.replica);
            *zones.entry(&next.zone).or_default() += 1;
            voters.insert(next.replica);
        }
        let learners = left.into_iter().map(|member| member.replica).collect();
        Self { voters, learners }
    }
}

/// A node, as the meta group sees it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) replica: u64,
    pub(super) zone: String,
    /// It votes only where there are too few others.
    pub(super) leaving: bool,
}

/// One change of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    AddLearner(u64),
    SetVoters(BTreeSet<u64>),
    RemoveLearners(BTreeSet<u64>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ranch_proto::ReplicaId;

        let list = |ids: &BTreeSet<u64>| {
            ids.iter().map(|id| ReplicaId(*id).to_string()).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::AddLearner(replica) => write!(f, "add learner {}", ReplicaId(*replica)),
            Self::SetVoters(voters) => write!(f, "make {} the voters", list(voters)),
            Self::RemoveLearners(gone) => write!(f, "remove {}", list(gone)),
        }
    }
}

/// What is: the members and how far each has come.
struct Now {
    /// More than one while a change is half done.
    voter_sets: Vec<BTreeSet<u64>>,
    learners: BTreeSet<u64>,
    caught_up: BTreeSet<u64>,
}

/// The next step of a leader towards `shape`; `None` when there is none to take now.
pub(super) fn next_step(metrics: &RaftMetrics<TypeConfig>, shape: &Shape) -> Option<Step> {
    let membership = metrics.membership_config.membership();
    let enough = metrics.last_log_index.unwrap_or(0).saturating_sub(CAUGHT_UP);
    let progress = metrics.replication.iter().flatten();
    let caught_up =
        progress.filter(|(_, matched)| matched.as_ref().is_some_and(|id| id.index >= enough));
    let now = Now {
        voter_sets: membership.get_joint_config().clone(),
        learners: membership.learner_ids().collect(),
        caught_up: caught_up.map(|(replica, _)| *replica).collect(),
    };
    step_from(&now, shape)
}

fn step_from(now: &Now, shape: &Shape) -> Option<Step> {
    let voters: BTreeSet<u64> = now.voter_sets.iter().flatten().copied().collect();
    if now.voter_sets.len() > 1 && voters.is_superset(&shape.voters) {
        // Left behind by a leader that went away half-way.
        return Some(Step::SetVoters(shape.voters.clone()));
    }
    let wanted = shape.voters.union(&shape.learners);
    let unknown = |id: &&u64| !voters.contains(id) && !now.learners.contains(id);
    if let Some(replica) = wanted.clone().find(unknown) {
        return Some(Step::AddLearner(*replica));
    }
    let ready = |id: &u64| voters.contains(id) || now.caught_up.contains(id);
    if voters != shape.voters && shape.voters.iter().all(ready) {
        return Some(Step::SetVoters(shape.voters.clone()));
    }
    let strange = now.learners.iter().filter(|id| !wanted.clone().any(|w| w == *id));
    let strange: BTreeSet<u64> = strange.copied().collect();
    (!strange.is_empty()).then_some(Step::RemoveLearners(strange))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    fn now(voter_sets: &[&[u64]], learners: &[u64], caught_up: &[u64]) -> Now {
        Now {
            voter_sets: voter_sets.iter().map(|ids| set(ids)).collect(),
            learners: set(learners),
            caught_up: set(caught_up),
        }
    }

    fn shape(voters: &[u64], learners: &[u64]) -> Shape {
        Shape { voters: set(voters), learners: set(learners) }
    }

    #[test]
    fn a_replaced_replica_is_added_waited_for_and_swapped_in() {
        let want = shape(&[1, 3, 4], &[]);
        let step = |now: &Now| step_from(now, &want);
        assert_eq!(step(&now(&[&[1, 2, 3]], &[], &[1, 3])), Some(Step::AddLearner(4)));
        assert_eq!(step(&now(&[&[1, 2, 3]], &[4], &[1, 3])), None);
        let swap = Some(Step::SetVoters(set(&[1, 3, 4])));
        assert_eq!(step(&now(&[&[1, 2, 3]], &[4], &[1, 3, 4])), swap);
        assert_eq!(step(&now(&[&[1, 2, 3], &[1, 3, 4]], &[], &[])), swap);
        assert_eq!(step(&now(&[&[1, 3, 4]], &[], &[])), None);
    }

    #[test]
    fn learners_that_should_not_be_are_removed() {
        let found = now(&[&[1, 2]], &[3, 9], &[1, 2, 3, 9]);
        assert_eq!(step_from(&found, &shape(&[1, 2], &[3])), Some(Step::RemoveLearners(set(&[9]))));
    }

    fn members(zones: &[&str]) -> Vec<Member> {
        let member = |(replica, zone): (u64, &&str)| {
            let zone = (*zone).to_owned();
            Member { replica, zone, leaving: false }
        };
        (1..).zip(zones).map(member).collect()
    }

    #[test]
    fn the_meta_group_keeps_its_voters() {
        let chosen = Shape::choose(&members(&[""; 3]), &set(&[1]), 5);
        assert_eq!(chosen, shape(&[1, 2, 3], &[]));
        let chosen = Shape::choose(&members(&[""; 4]), &set(&[4, 2]), 3);
        assert_eq!(chosen, shape(&[1, 2, 4], &[3]));
    }

    #[test]
    fn the_meta_group_votes_in_every_zone_and_without_those_that_leave() {
        let zones = members(&["a", "a", "a", "b", "c"]);
        assert_eq!(Shape::choose(&zones, &set(&[1, 2, 3]), 3), shape(&[1, 4, 5], &[2, 3]));
        let mut four = members(&[""; 4]);
        four[0].leaving = true;
        assert_eq!(Shape::choose(&four, &set(&[1, 2, 3]), 3), shape(&[2, 3, 4], &[1]));
        assert_eq!(Shape::choose(&four, &set(&[1, 2, 3]), 5), shape(&[1, 2, 3, 4], &[]));
    }

    #[test]
    fn a_move_adds_before_it_takes_away() {
        let record = ShardRecord { replicas: vec![1, 2, 3], ..ShardRecord::default() };
        assert_eq!(Shape::shard(&record), shape(&[1, 2, 3], &[]));
        let swap = ShardRecord { adding: 4, removing: 2, ..record.clone() };
        assert_eq!(Shape::shard(&swap), shape(&[1, 3, 4], &[]));
        let grow = ShardRecord { adding: 4, ..record };
        assert_eq!(Shape::shard(&grow), shape(&[1, 2, 3, 4], &[]));
    }
}
