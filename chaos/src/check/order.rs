//! Rule 2: revisions agree with real time.
//!
//! Both passes sweep over operations by the instant they were asked, with everything answered
//! before that instant folded into a floor: the highest revision any client could already know.

use std::collections::BTreeMap;

use super::index::{At, Index, Scroll};
use super::violation::Violation;
use crate::history::{Action, Operation, Outcome};

/// The writes of a tenant: each has a higher revision than anything answered before it was asked.
pub fn tenants(index: &Index<'_>, violations: &mut Vec<Violation>) {
    let mut by_tenant: BTreeMap<&str, Vec<At>> = BTreeMap::new();
    for (at, operation) in index.history.iter().enumerate() {
        by_tenant.entry(&operation.tenant).or_default().push(at);
    }
    for operations in by_tenant.values() {
        sweep(index.history, operations, |at, floor| {
            let operation = &index.history[at];
            let revision = match &operation.outcome {
                Outcome::Seen { revision, .. } => return revision.unwrap_or(0),
                _ => index.revisions[at],
            };
            let Some(revision) = revision else { return 0 };
            if revision <= floor {
                let write = index.describe(at);
                violations.push(Violation::OutOfOrder { write, revision, floor });
            }
            revision
        });
    }
}

/// The reads of a scroll: none shows less than was answered before it was asked.
pub fn scroll(index: &Index<'_>, scroll: &Scroll, violations: &mut Vec<Violation>) {
    let ceilings = Ceilings::of(index, scroll);
    sweep(index.history, &scroll.operations, |at, floor| {
        let operation = &index.history[at];
        match &operation.outcome {
            Outcome::Seen { revision: Some(revision), .. } => {
                if *revision < floor {
                    let scroll = scroll.name.clone();
                    violations.push(Violation::StaleRead { scroll, revision: *revision, floor });
                }
                *revision
            }
            Outcome::Seen { revision: None, .. } => {
                let absence = absent_since(index, scroll, operation, (floor, &ceilings));
                absence.unwrap_or_else(|| {
                    violations.push(Violation::Vanished { scroll: scroll.name.clone(), floor });
                    floor
                })
            }
            _ => index.revisions[at].unwrap_or(0),
        }
    });
}

/// The lowest revision at which a read that found nothing can have looked; `None` when, from what
/// was known before it to what was asked after it, there always was something.
fn absent_since(
    index: &Index<'_>,
    scroll: &Scroll,
    read: &Operation,
    (floor, ceilings): (u64, &Ceilings),
) -> Option<u64> {
    let returned_us = read.returned_us.unwrap_or(u64::MAX);
    if floor == 0 || scroll.unknown_deletes_us.iter().any(|&sent_us| sent_us <= returned_us) {
        return Some(floor);
    }
    let ceiling = ceilings.after(returned_us);
    let from = scroll.acked.partition_point(|&(revision, _)| revision < floor);
    let candidates = scroll.acked[from..].iter().take_while(|&&(revision, _)| revision < ceiling);
    let mut removals = candidates.filter(|&&(_, at)| index.history[at].action == Action::Delete);
    removals.next().map(|&(revision, _)| revision)
}

/// For an instant, the lowest revision among the acknowledged writes asked for after it: whatever
/// was answered by then came before that revision.
struct Ceilings(Vec<(u64, u64)>);

impl Ceilings {
    fn of(index: &Index<'_>, scroll: &Scroll) -> Self {
        let asked = scroll.acked.iter().map(|&(revision, at)| {
            let invoked_us = index.history[at].invoked_us;
            (invoked_us, revision)
        });
        let mut asked: Vec<_> = asked.collect();
        asked.sort_unstable();
        let mut lowest = u64::MAX;
        for (_, revision) in asked.iter_mut().rev() {
            lowest = lowest.min(*revision);
            *revision = lowest;
        }
        Self(asked)
    }

    fn after(&self, instant_us: u64) -> u64 {
        let next = self.0.partition_point(|&(invoked_us, _)| invoked_us <= instant_us);
        self.0.get(next).map_or(u64::MAX, |&(_, lowest)| lowest)
    }
}

/// Calls `visit` for each operation by the instant it was asked, with the floor at that instant.
/// What it returns raises the floor once the operation has been answered.
fn sweep(history: &[Operation], operations: &[At], mut visit: impl FnMut(At, u64) -> u64) {
    let mut by_invocation = operations.to_vec();
    by_invocation.sort_by_key(|&at| history[at].invoked_us);
    let mut by_return: Vec<(u64, usize)> = by_invocation
        .iter()
        .enumerate()
        .filter_map(|(nth, &at)| history[at].returned_us.map(|returned_us| (returned_us, nth)))
        .collect();
    by_return.sort_unstable();
    let mut raises = Vec::with_capacity(by_invocation.len());
    let mut returned = by_return.into_iter().peekable();
    let mut floor = 0;
    for &at in &by_invocation {
        // Answered strictly before: equal instants of a coarse clock count as side by side.
        while let Some((_, nth)) = returned.next_if(|&(us, _)| us < history[at].invoked_us) {
            floor = floor.max(raises[nth]);
        }
        raises.push(visit(at, floor));
    }
}
