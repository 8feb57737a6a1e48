//! Which change of members comes next: a pure comparison of what is with what should be.

use std::collections::BTreeSet;
use std::fmt;

use openraft::RaftMetrics;
use ranch_raft::TypeConfig;

/// A learner this many entries behind the leader counts as caught up.
const CAUGHT_UP: u64 = 1_000;

/// The members a group should have, as replica ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) voters: BTreeSet<u64>,
    pub(super) learners: BTreeSet<u64>,
}

impl Shape {
    /// The meta group's: every node is in it, at most `most` of them voters, and those that vote
    /// now go on doing so.
    pub(super) fn meta(all: &[u64], now: &RaftMetrics<TypeConfig>, most: usize) -> Self {
        let voting: BTreeSet<u64> = now.membership_config.membership().voter_ids().collect();
        Self::choose(all, &voting, most)
    }

    fn choose(all: &[u64], voting: &BTreeSet<u64>, most: usize) -> Self {
        let mut order = all.to_vec();
        order.sort_by_key(|replica| (!voting.contains(replica), *replica));
        // An even number of voters tolerates no more failures than one less, but a pair of
        // machines should both hold the data.
        let voters = order.iter().copied().take(most).collect();
        let learners = order.iter().copied().skip(most).collect();
        Self { voters, learners }
    }
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

    #[test]
    fn the_meta_group_keeps_its_voters() {
        assert_eq!(Shape::choose(&[1, 2, 3], &set(&[1]), 5), shape(&[1, 2, 3], &[]));
        assert_eq!(Shape::choose(&[1, 2, 3, 4], &set(&[4, 2]), 3), shape(&[1, 2, 4], &[3]));
    }
}
