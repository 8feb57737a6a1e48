//! Rule 6: an atomic batch is carried out as a whole or not at all, nothing comes between its
//! writes, and its reads are as of one moment.

use std::collections::{BTreeMap, HashMap};

use super::index::{At, Index, Scroll};
use super::violation::Violation;
use crate::history::{Action, Outcome};

/// Checks all atomic batches.
pub fn check(index: &Index<'_>, violations: &mut Vec<Violation>) {
    let revisions = Revisions::of(index);
    for (&id, parts) in &index.batches {
        if !parts.iter().all(|&at| index.history[at].batch.is_some_and(|batch| batch.atomic)) {
            continue;
        }
        let found = whole(index, id, parts)
            .or_else(|| revisions.interrupted(index, id, parts))
            .or_else(|| revisions.torn(index, id, parts));
        violations.extend(found);
    }
}

/// All of it was carried out, or none.
fn whole(index: &Index<'_>, id: u64, parts: &[At]) -> Option<Violation> {
    let writes = || parts.iter().copied().filter(|&at| index.history[at].action.is_write());
    let done = writes().find(|&at| index.happened[at])?;
    let refused = |at: &At| matches!(index.history[*at].outcome, Outcome::Refused { .. });
    let undone = writes().find(refused)?;
    let (done, undone) = (index.describe(done), index.describe(undone));
    Some(Violation::HalfABatch { id, done, undone })
}

/// The revisions of each tenant's writes, and of the batches they were part of.
struct Revisions<'a> {
    by_tenant: HashMap<&'a str, Vec<u64>>,
    /// For the revision of a write in an atomic batch, the highest one of that batch.
    last_of_batch: HashMap<(&'a str, u64), u64>,
}

impl<'a> Revisions<'a> {
    fn of(index: &Index<'a>) -> Self {
        let mut by_tenant: HashMap<&str, Vec<u64>> = HashMap::new();
        for (operation, revision) in index.history.iter().zip(&index.revisions) {
            if let Some(revision) = revision {
                by_tenant.entry(&operation.tenant).or_default().push(*revision);
            }
        }
        for revisions in by_tenant.values_mut() {
            revisions.sort_unstable();
        }
        let mut last_of_batch = HashMap::new();
        for parts in index.batches.values() {
            let known: Vec<_> = parts.iter().filter_map(|&at| index.revisions[at]).collect();
            let (Some(&first), Some(last)) = (parts.first(), known.iter().max()) else { continue };
            let Operation { tenant, atomic } = Operation::of(index, first);
            if atomic {
                last_of_batch.extend(known.iter().map(|known| ((tenant, *known), *last)));
            }
        }
        Self { by_tenant, last_of_batch }
    }

    /// A write of somebody else has a revision between those of the batch.
    fn interrupted(&self, index: &Index<'a>, id: u64, parts: &[At]) -> Option<Violation> {
        let mut own: Vec<_> = parts.iter().filter_map(|&at| index.revisions[at]).collect();
        own.sort_unstable();
        let (first, last) = (*own.first()?, *own.last()?);
        let all = self.by_tenant.get(index.history[parts[0]].tenant.as_str())?;
        let from = all.partition_point(|&revision| revision < first);
        let within = all[from..].iter().take_while(|&&revision| revision <= last);
        let revision = *within.into_iter().find(|revision| own.binary_search(revision).is_err())?;
        Some(Violation::Interrupted { id, first, last, revision })
    }

    /// The reads of the batch cannot all be of one moment: by the time one of them shows, another
    /// scroll had moved on.
    fn torn(&self, index: &Index<'a>, id: u64, parts: &[At]) -> Option<Violation> {
        let reads: BTreeMap<&str, u64> = parts
            .iter()
            .filter(|&&at| index.history[at].action == Action::Read)
            .filter_map(|&at| {
                let operation = &index.history[at];
                Some((operation.scroll.as_str(), index.shown(operation)?))
            })
            .collect();
        let tenant = index.history[*parts.first()?].tenant.as_str();
        // Who shows a part of a batch looked after all of it.
        let moment = reads.values().map(|&revision| {
            self.last_of_batch.get(&(tenant, revision)).copied().unwrap_or(revision)
        });
        let moment = moment.max()?;
        let next = |name: &str, shown: u64| {
            let writes = &index.scrolls.get(&(tenant, name))?.writes;
            Some(writes.get(writes.partition_point(|&(revision, _)| revision <= shown))?.0)
        };
        // By when each scroll shown had moved on.
        let until = reads.iter().filter(|(_, shown)| **shown > 0);
        let until = until.filter_map(|(name, shown)| next(name, *shown)).min();
        let until = until.unwrap_or(u64::MAX);
        reads.iter().find_map(|(name, &shown)| {
            let scroll = index.scrolls.get(&(tenant, *name))?;
            let torn = if shown > 0 {
                next(name, shown).is_some_and(|next| next <= moment)
            } else {
                !absent_within(index, scroll, moment, until)
            };
            torn.then(|| Violation::TornRead { id, scroll: scroll.name.clone(), shown, moment })
        })
    }
}

/// Whether there can have been nothing at some moment from one revision to before another.
fn absent_within(index: &Index<'_>, scroll: &Scroll, from: u64, until: u64) -> bool {
    if !scroll.unknown_deletes_us.is_empty() {
        return true;
    }
    let is_removal = |&(_, at): &(u64, At)| index.history[at].action == Action::Delete;
    let begin = scroll.writes.partition_point(|&(revision, _)| revision <= from);
    let before = begin.checked_sub(1).map(|last| &scroll.writes[last]);
    let after = scroll.writes[begin..].iter().take_while(|&&(revision, _)| revision < until);
    before.is_none_or(is_removal) || after.into_iter().any(is_removal)
}

/// What of an operation matters here.
struct Operation<'a> {
    tenant: &'a str,
    atomic: bool,
}

impl<'a> Operation<'a> {
    fn of(index: &Index<'a>, at: At) -> Self {
        let operation = &index.history[at];
        let atomic = operation.batch.is_some_and(|batch| batch.atomic);
        Self { tenant: &operation.tenant, atomic }
    }
}
