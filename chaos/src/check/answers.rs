//! Rule 8: single answers that are wrong whatever else was answered.

use super::index::Index;
use super::violation::Violation;
use crate::history::{Action, Operation, Outcome};

/// Checks each answer by itself.
pub fn check(index: &Index<'_>, violations: &mut Vec<Violation>) {
    for (at, operation) in index.history.iter().enumerate() {
        violations.extend(wrong(index, at, operation));
    }
}

fn wrong(index: &Index<'_>, at: usize, operation: &Operation) -> Option<Violation> {
    match (&operation.action, &operation.outcome) {
        // Repeating under the same key tells what the first request was told.
        (Action::Again(token), Outcome::Acked { revision }) => {
            let write = *index.tokens.get(token.as_str())?;
            let first = index.revisions[write].filter(|first| first != revision)?;
            let write = index.describe(write);
            Some(Violation::RepeatedDifferently { write, first, second: *revision })
        }
        // "Try again" is no acceptance, and an answer that got lost is none either.
        (Action::Malformed(_), Outcome::Refused { .. } | Outcome::Unknown { .. }) => None,
        (Action::Malformed(_), _) => {
            Some(Violation::MalformedAccepted { request: index.describe(at) })
        }
        (Action::StaleRead, Outcome::Seen { applied: None, .. }) => {
            let scroll = format!("{}.{}", operation.tenant, operation.scroll);
            Some(Violation::StaleUnsaid { scroll })
        }
        _ => None,
    }
}
