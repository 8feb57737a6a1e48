//! Rule 2: revisions agree with real time. What a client knew itself is part of what any client
//! could know, so this holds for the sessions of clients, too.
//!
//! A read that may be stale is held to nothing here, but what it showed is known from then on.

use std::collections::BTreeMap;

use super::index::{At, Index, Scroll};
use super::sweep::{Ceilings, sweep};
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
            if let Some(shown) = index.shown(operation) {
                return shown;
            }
            let Some(revision) = index.revisions[at] else { return 0 };
            if revision <= floor {
                let write = index.describe(at);
                violations.push(Violation::OutOfOrder { write, revision, floor });
            }
            index.told(at)
        });
    }
}

/// The reads of a scroll: none shows less than was answered before it was asked.
pub fn scroll(index: &Index<'_>, scroll: &Scroll, violations: &mut Vec<Violation>) {
    let ceilings = Ceilings::of(index, &scroll.writes);
    sweep(index.history, &scroll.operations, |at, floor| {
        let operation = &index.history[at];
        let Outcome::Seen { tokens, .. } = &operation.outcome else {
            return index.told(at);
        };
        if operation.action == Action::StaleRead {
            return index.shown(operation).unwrap_or(0);
        }
        let name = || scroll.name.clone();
        if tokens.is_empty() && index.shown(operation) == Some(0) {
            let absence = absent_since(index, scroll, operation, (floor, &ceilings));
            return absence.unwrap_or_else(|| {
                violations.push(Violation::Vanished { scroll: name(), floor });
                floor
            });
        }
        let Some(revision) = index.shown(operation) else { return 0 };
        if revision < floor {
            violations.push(Violation::StaleRead { scroll: name(), revision, floor });
        }
        revision
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
    let from = scroll.writes.partition_point(|&(revision, _)| revision < floor);
    let candidates = scroll.writes[from..].iter().take_while(|&&(revision, _)| revision < ceiling);
    let mut removals = candidates.filter(|&&(_, at)| index.history[at].action == Action::Delete);
    removals.next().map(|&(revision, _)| revision)
}
