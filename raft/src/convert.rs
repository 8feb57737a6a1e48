//! Between openraft's types and our own encodings of them, for disk and wire alike.
//!
//! Decoding checks what it needs: bytes may come from a damaged disk or a foreign process.

// openraft asks for a map of nodes; ours carry nothing, since the directory knows their addresses.
#![allow(clippy::zero_sized_map_values)]

use std::collections::{BTreeMap, BTreeSet};

use openraft::EmptyNode;
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use ranch_proto::schema as wire;

use crate::types::{Entry, LogId, Membership, Proposal, SnapshotMeta, StoredMembership, Vote};

/// A message that lacks a part it cannot do without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {what} without its {part}")]
pub struct Incomplete {
    /// The message.
    pub what: &'static str,
    /// The missing part.
    pub part: &'static str,
}

type LeaderId = openraft::alias::LeaderIdOf<crate::types::TypeConfig>;

/// Encodes a log id.
pub fn log_id_to_wire(id: &LogId) -> wire::LogId {
    wire::LogId { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

/// Decodes a log id.
pub fn log_id_from_wire(id: &wire::LogId) -> LogId {
    LogId { leader_id: LeaderId::new(id.term, id.leader), index: id.index }
}

/// Encodes a vote.
pub fn vote_to_wire(vote: &Vote) -> wire::Vote {
    wire::Vote {
        term: vote.leader_id.term,
        replica: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

/// Decodes a vote.
pub fn vote_from_wire(vote: &wire::Vote) -> Vote {
    Vote { leader_id: LeaderId::new(vote.term, vote.replica), committed: vote.committed }
}

/// Encodes a membership.
pub fn membership_to_wire(membership: &Membership) -> wire::Membership {
    let sets = membership.get_joint_config().iter();
    let voters =
        sets.map(|set| wire::ReplicaSet { replicas: set.iter().copied().collect() }).collect();
    wire::Membership { voters, learners: membership.learner_ids().collect() }
}

/// Decodes a membership.
///
/// # Errors
/// When it has no voters, more than two sets of them, or an empty set.
pub fn membership_from_wire(membership: &wire::Membership) -> Result<Membership, Incomplete> {
    let missing = Incomplete { what: "membership", part: "voters" };
    let sets: Vec<BTreeSet<u64>> =
        membership.voters.iter().map(|set| set.replicas.iter().copied().collect()).collect();
    let learners = membership.learners.iter().copied();
    let nodes: BTreeMap<u64, EmptyNode> =
        sets.iter().flatten().copied().chain(learners).map(|id| (id, EmptyNode {})).collect();
    if sets.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(sets, nodes).map_err(|_| missing)
}

/// Encodes a membership with the entry that decided it.
pub fn stored_membership_to_wire(stored: &StoredMembership) -> wire::StoredMembership {
    wire::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_wire),
        membership: Some(membership_to_wire(stored.membership())),
    }
}

/// Decodes a membership with the entry that decided it.
///
/// # Errors
/// As [`membership_from_wire`].
pub fn stored_membership_from_wire(
    stored: &wire::StoredMembership,
) -> Result<StoredMembership, Incomplete> {
    let part = Incomplete { what: "stored membership", part: "membership" };
    let membership = membership_from_wire(stored.membership.as_ref().ok_or(part)?)?;
    Ok(StoredMembership::new(stored.log_id.as_ref().map(log_id_from_wire), membership))
}

/// Encodes where a snapshot stands.
pub fn snapshot_meta_to_wire(meta: &SnapshotMeta) -> wire::SnapshotMeta {
    wire::SnapshotMeta {
        last: meta.last_log_id.as_ref().map(log_id_to_wire),
        membership: Some(stored_membership_to_wire(&meta.last_membership)),
    }
}

/// Decodes where a snapshot stands.
///
/// # Errors
/// When it has no membership.
pub fn snapshot_meta_from_wire(meta: &wire::SnapshotMeta) -> Result<SnapshotMeta, Incomplete> {
    let part = Incomplete { what: "snapshot", part: "membership" };
    Ok(SnapshotMeta {
        last_log_id: meta.last.as_ref().map(log_id_from_wire),
        last_membership: stored_membership_from_wire(meta.membership.as_ref().ok_or(part)?)?,
    })
}

/// Encodes an entry; the payload's bytes are shared, not copied.
pub fn entry_to_wire(entry: &Entry) -> wire::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => wire::entry::Payload::Blank(true),
        EntryPayload::Normal(proposal) => wire::entry::Payload::Normal(proposal.0.clone()),
        EntryPayload::Membership(m) => wire::entry::Payload::Membership(membership_to_wire(m)),
    };
    wire::Entry { log_id: Some(log_id_to_wire(&entry.log_id)), payload: Some(payload) }
}

/// Decodes an entry.
///
/// # Errors
/// When it lacks its log id or payload, or its membership is no membership.
pub fn entry_from_wire(entry: wire::Entry) -> Result<Entry, Incomplete> {
    let id = entry.log_id.ok_or(Incomplete { what: "log entry", part: "log id" })?;
    let payload = match entry.payload {
        Some(wire::entry::Payload::Blank(_)) => EntryPayload::Blank,
        Some(wire::entry::Payload::Normal(bytes)) => EntryPayload::Normal(Proposal(bytes)),
        Some(wire::entry::Payload::Membership(membership)) => {
            EntryPayload::Membership(membership_from_wire(&membership)?)
        }
        None => return Err(Incomplete { what: "log entry", part: "payload" }),
    };
    Ok(Entry { log_id: log_id_from_wire(&id), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { leader_id: LeaderId::new(term, 1 << 32 | 1), index }
    }

    #[test]
    fn entries_survive() {
        let joint = Membership::new(
            vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])],
            (1..=5).map(|id| (id, EmptyNode {})).collect::<BTreeMap<_, _>>(),
        );
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal(bytes::Bytes::from_static(b"x"))),
            EntryPayload::Membership(joint.unwrap()),
        ] {
            let entry = Entry { log_id: id(2, 9), payload };
            assert_eq!(entry_from_wire(entry_to_wire(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn votes_and_snapshots_survive() {
        let vote = Vote::new_committed(3, 7);
        assert_eq!(vote_from_wire(&vote_to_wire(&vote)), vote);
        let members = Membership::new_with_defaults(vec![BTreeSet::from([1])], [2]);
        let meta = SnapshotMeta {
            last_log_id: Some(id(1, 4)),
            last_membership: StoredMembership::new(Some(id(1, 1)), members),
        };
        assert_eq!(snapshot_meta_from_wire(&snapshot_meta_to_wire(&meta)).unwrap(), meta);
    }

    #[test]
    fn parts_missing_are_named() {
        let error = entry_from_wire(wire::Entry::default()).unwrap_err();
        assert_eq!(error.to_string(), "a log entry without its log id");
        assert!(snapshot_meta_from_wire(&wire::SnapshotMeta::default()).is_err());
    }
}
