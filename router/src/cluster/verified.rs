//! What the leaders' comparisons of copies say, as a problem in words.

use ranch_proto::schema::{GroupStatus, VerifiedReplica, verified::Verdict};
use ranch_proto::{GroupId, ReplicaId};

/// That copies of a group differ, as it was last seen by whoever led it, if it is still so.
pub(super) fn problem<'a>(
    name: &str,
    members: &[ReplicaId],
    accounts: impl Iterator<Item = &'a GroupStatus>,
) -> Option<String> {
    let last = accounts.filter_map(|account| account.verified.as_ref());
    let last = last.max_by_key(|verified| verified.at_ms)?;
    if last.verdict() != Verdict::Differ {
        return None;
    }
    let index = last.index;
    if last.majority.is_empty() {
        return Some(format!(
            "the copies of {name} differ at entry {index}, and no majority of them agrees: see \
             \"Copies that differ\" in docs/operations.md"
        ));
    }
    let odd = |one: &&VerifiedReplica| !one.hash.is_empty() && one.hash != last.majority;
    let odd = last.replicas.iter().filter(odd).map(|one| ReplicaId(one.replica));
    // Those replaced since are nobody's problem; without a leader nobody knows the members.
    let left = odd.filter(|one| members.is_empty() || members.contains(one));
    let left: Vec<_> = left.map(|one| format!("node {}'s", one.node())).collect();
    (!left.is_empty()).then(|| {
        format!(
            "the copies of {name} differ at entry {index}: {} is not like most others. Nothing is \
             served from it, and it is filled anew once the others do without it",
            left.join(" and ")
        )
    })
}

/// The group as a problem names it.
pub(super) fn name(id: GroupId) -> String {
    if id == GroupId::META { "the meta group".to_owned() } else { format!("shard {id}") }
}
