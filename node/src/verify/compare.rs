//! What the hashes of a group's replicas say. Pure.

use std::collections::BTreeMap;

use ranch_proto::ReplicaId;
use ranch_proto::schema::{RowsHash, Verified, VerifiedReplica, verified::Verdict};
use ranch_raft::state::KindHash;

/// What a replica answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// Its rows, in short.
    Hash(RowsHash),
    /// It has applied more than was asked about.
    Past,
    /// It did not come so far in time.
    Behind,
    /// It cannot be asked, or gave up.
    Missing(String),
}

/// Compares the rows of replicas as of one index.
pub(crate) fn compare(
    (index, at_ms): (u64, u64),
    voters: &[u64],
    answers: &[(ReplicaId, Said)],
) -> Verified {
    let mut tally = BTreeMap::<&[u8], usize>::new();
    let hashes: Vec<_> = answers.iter().filter_map(|(of, said)| Some((of, hash(said)?))).collect();
    for (replica, hash) in &hashes {
        *tally.entry(&hash.hash).or_default() += usize::from(voters.contains(&replica.0));
    }
    let majority = tally.iter().find(|(_, count)| **count * 2 > voters.len());
    let verdict = match (tally.len(), hashes.len()) {
        (0, _) => Verdict::Unknown,
        // Nothing to compare with, where there should be.
        (1, 1) if answers.len() > 1 => Verdict::Unknown,
        (1, all) if all == answers.len() => Verdict::Alike,
        (1, _) => Verdict::Partly,
        _ => Verdict::Differ,
    };
    Verified {
        verdict: verdict.into(),
        index,
        at_ms,
        replicas: answers.iter().map(described).collect(),
        kinds: differing_kinds(hashes.iter().map(|(_, hash)| *hash)),
        majority: majority.map(|(hash, _)| hash.to_vec().into()).unwrap_or_default(),
    }
}

/// The replicas that differ from the majority, if there is one.
pub(crate) fn odd(verified: &Verified) -> Vec<ReplicaId> {
    let Verified { majority, replicas, .. } = verified;
    let odd = |one: &&VerifiedReplica| !one.hash.is_empty() && one.hash != *majority;
    let odd = replicas.iter().filter(odd).map(|one| ReplicaId(one.replica));
    if majority.is_empty() { Vec::new() } else { odd.collect() }
}

/// Whether all rows were made by one version of the binary. If not, the newer one may be what is
/// wrong, and filling replicas again would not help.
pub(crate) fn is_of_one_version(verified: &Verified) -> bool {
    let made = verified.replicas.iter().filter(|one| !one.hash.is_empty());
    let mut versions = made.map(|one| &one.version);
    let first = versions.next();
    versions.all(|version| Some(version) == first)
}

/// The replicas and what they have, for people.
pub(crate) fn in_words(verified: &Verified) -> String {
    let one = |one: &VerifiedReplica| {
        let replica = ReplicaId(one.replica);
        if one.hash.is_empty() {
            format!("{replica} {}", one.missing)
        } else {
            format!("{replica} has {}", ranch_proto::hex::encode(&one.hash))
        }
    };
    verified.replicas.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn hash(said: &Said) -> Option<&RowsHash> {
    match said {
        Said::Hash(hash) => Some(hash),
        _ => None,
    }
}

fn described((replica, said): &(ReplicaId, Said)) -> VerifiedReplica {
    let mut one = VerifiedReplica { replica: replica.0, ..VerifiedReplica::default() };
    match said {
        Said::Hash(hash) => {
            one.hash = hash.hash.clone();
            one.version.clone_from(&hash.version);
        }
        Said::Past => "has applied more already".clone_into(&mut one.missing),
        Said::Behind => "is behind".clone_into(&mut one.missing),
        Said::Missing(why) => one.missing.clone_from(why),
    }
    one
}

/// The kinds of rows that not all have alike, by name.
fn differing_kinds<'a>(hashes: impl Iterator<Item = &'a RowsHash>) -> Vec<String> {
    let mut all = 0;
    let mut seen = BTreeMap::<u32, Vec<(u64, &[u8])>>::new();
    for hash in hashes {
        all += 1;
        for kind in &hash.kinds {
            seen.entry(kind.kind).or_default().push((kind.rows, &kind.hash));
        }
    }
    let alike = |found: &[(u64, &[u8])]| {
        found.len() == all && found.iter().all(|one| Some(one) == found.first())
    };
    let differing = seen.into_iter().filter(|(_, found)| !alike(found));
    differing.map(|(kind, _)| KindHash::name(u8::try_from(kind).unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use ranch_proto::NodeId;
    use ranch_proto::schema::KindHash;

    use super::*;

    fn replica(node: u32) -> ReplicaId {
        ReplicaId::new(NodeId(node), 1)
    }

    fn has(node: u32, byte: u8) -> (ReplicaId, Said) {
        let kinds = [(0x10, 9), (0x21, byte)];
        let kinds =
            kinds.map(|(kind, byte)| KindHash { kind, rows: 1, hash: vec![byte; 16].into() });
        let hash = RowsHash {
            hash: vec![byte; 16].into(),
            kinds: kinds.to_vec(),
            version: "1".into(),
            ..RowsHash::default()
        };
        (replica(node), Said::Hash(hash))
    }

    fn missing(node: u32) -> (ReplicaId, Said) {
        (replica(node), Said::Missing("cannot be reached".into()))
    }

    fn judged(answers: &[(ReplicaId, Said)]) -> Verified {
        let voters: Vec<_> = (1..=3).map(|node| replica(node).0).collect();
        compare((7, 0), &voters, answers)
    }

    #[test]
    fn all_alike_is_told_from_some_alike_and_from_nothing_known() {
        for (answers, verdict) in [
            (vec![has(1, 5), has(2, 5), has(3, 5)], Verdict::Alike),
            (vec![has(1, 5), has(2, 5), missing(3)], Verdict::Partly),
            (vec![has(1, 5), missing(2), missing(3)], Verdict::Unknown),
            (vec![missing(1), missing(2), missing(3)], Verdict::Unknown),
            (vec![has(1, 5)], Verdict::Alike),
        ] {
            let verified = judged(&answers);
            assert_eq!(verified.verdict(), verdict, "{answers:?}");
            assert!(odd(&verified).is_empty() && verified.kinds.is_empty(), "{answers:?}");
        }
    }

    #[test]
    fn who_differs_from_a_majority_of_voters_is_odd() {
        let verified = judged(&[has(1, 5), has(2, 6), has(3, 5)]);
        assert_eq!((verified.verdict(), odd(&verified)), (Verdict::Differ, vec![replica(2)]));
        assert_eq!(verified.kinds, ["Body"]);
        let words = in_words(&verified);
        assert!(words.contains("2.1 has 06060606"), "{words}");
        // A learner has no voice, but may be odd.
        let verified = judged(&[has(1, 5), has(2, 5), missing(3), has(4, 6)]);
        assert_eq!((verified.verdict(), odd(&verified)), (Verdict::Differ, vec![replica(4)]));
    }

    #[test]
    fn without_a_majority_nobody_is_odd() {
        for answers in [
            vec![has(1, 5), has(2, 6), has(3, 7)],
            vec![has(1, 5), has(2, 6), missing(3)],
            vec![has(1, 5), has(2, 6), missing(3), has(4, 5)],
        ] {
            let verified = judged(&answers);
            assert_eq!((verified.verdict(), odd(&verified)), (Verdict::Differ, vec![]));
            assert!(verified.majority.is_empty());
        }
    }

    #[test]
    fn versions_are_told_apart() {
        let mut verified = judged(&[has(1, 5), has(2, 5), has(3, 6)]);
        assert!(is_of_one_version(&verified));
        verified.replicas[2].version = "2".into();
        assert!(!is_of_one_version(&verified));
        verified.replicas[2].hash.clear();
        assert!(is_of_one_version(&verified));
    }
}
