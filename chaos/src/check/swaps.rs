//! Rule 5: a write on condition of a revision takes effect where the scroll has that revision, and
//! nowhere else; and where it must have had it, the write is not refused.

use super::index::{At, Index, Scroll};
use super::sweep::{Ceilings, sweep};
use super::violation::Violation;
use crate::history::{Action, Operation, Outcome};

/// The status of a condition that does not hold.
pub const CONDITION_FAILED: u16 = 412;

/// Checks the conditional writes of a scroll.
pub fn scroll(index: &Index<'_>, scroll: &Scroll, violations: &mut Vec<Violation>) {
    for (nth, &(_, at)) in scroll.writes.iter().enumerate() {
        let Action::Swap { expected, .. } = index.history[at].action else { continue };
        let before = nth.checked_sub(1).map(|before| scroll.writes[before]);
        let found = revision_after(index, before);
        let explained = found == expected
            || (expected == 0 && !scroll.unknown_deletes_us.is_empty())
            || may_be_hidden(index, scroll, expected);
        if !explained {
            let write = index.describe(at);
            violations.push(Violation::SwappedAtAnother { write, found });
        }
    }
    refusals(index, scroll, violations);
}

/// The revision a scroll has after its last write; 0 when there is nothing.
fn revision_after(index: &Index<'_>, last: Option<(u64, At)>) -> u64 {
    match last {
        Some((revision, at)) if index.history[at].action != Action::Delete => revision,
        _ => 0,
    }
}

/// Whether the revision may be that of a write whose outcome and revision nothing tells.
fn may_be_hidden(index: &Index<'_>, scroll: &Scroll, expected: u64) -> bool {
    let known = scroll.writes.binary_search_by_key(&expected, |&(revision, _)| revision).is_ok();
    expected != 0 && !known && scroll.operations.iter().any(|&at| is_open(index, at))
}

/// Whether it is unknown if, or where, a write took effect.
fn is_open(index: &Index<'_>, at: At) -> bool {
    let operation = &index.history[at];
    operation.action.is_write()
        && index.revisions[at].is_none()
        && matches!(operation.outcome, Outcome::Unknown { .. })
}

/// A condition that was refused must have been wrong at some moment from question to answer.
fn refusals(index: &Index<'_>, scroll: &Scroll, violations: &mut Vec<Violation>) {
    let first_open_us = scroll
        .operations
        .iter()
        .filter(|&&at| is_open(index, at))
        .map(|&at| index.history[at].invoked_us)
        .min();
    let ceilings = Ceilings::of(index, &scroll.writes);
    sweep(index.history, &scroll.operations, |at, floor| {
        let operation = &index.history[at];
        if let (Action::Swap { expected, .. }, Outcome::Refused { status: CONDITION_FAILED }) =
            (&operation.action, &operation.outcome)
        {
            let returned_us = operation.returned_us.unwrap_or(u64::MAX);
            let settled = first_open_us.is_none_or(|open_us| open_us > returned_us);
            if settled && held(index, scroll, operation, (*expected, floor, &ceilings)) {
                let write = index.describe(at);
                violations.push(Violation::SwapRefused { write });
            }
        }
        index.shown(operation).unwrap_or_else(|| index.told(at))
    });
}

/// Whether the scroll had the expected revision all the time from question to answer.
fn held(
    index: &Index<'_>,
    scroll: &Scroll,
    swap: &Operation,
    (expected, floor, ceilings): (u64, u64, &Ceilings),
) -> bool {
    let ceiling = ceilings.after(swap.returned_us.unwrap_or(u64::MAX));
    let end = scroll.writes.partition_point(|&(revision, _)| revision < ceiling);
    // The last one known before the question, and all that may have come until the answer.
    let begin = scroll.writes.partition_point(|&(revision, _)| revision <= floor);
    let candidates = begin.checked_sub(1).into_iter().chain(begin..end);
    let mut revisions = candidates.map(|nth| revision_after(index, Some(scroll.writes[nth])));
    let unwritten = begin == 0 && expected != 0;
    !unwritten && revisions.all(|revision| revision == expected)
}
