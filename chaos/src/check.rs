//! The judge: decides from a history alone whether a ranch kept its promises.
//!
//! **Tier A**, [`check`], looks at all operations in linear time (a sort aside). It relies on what
//! every answer carries: a write its revision in the tenant's one order, a read the revision of the
//! scroll it shows, and each write a token of its own. So nothing has to be searched for. It holds,
//! for every history:
//!
//! 1. one revision belongs to one write, and one token to one revision ([`index`]);
//! 2. the order of revisions agrees with real time: what was answered before something else was
//!    asked has the lower revision, and no read shows less than was already known ([`order`]);
//! 3. a read shows the replay of all writes up to its revision: none missing, none twice, none out
//!    of order, none of another scroll or tenant; a stale one, too ([`replay`]);
//! 4. every scroll was read after all else was answered, so with 2 and 3 nothing acknowledged is
//!    missing in the end;
//! 5. conditional writes took effect where their condition held, and only there ([`swaps`]);
//! 6. atomic batches are all or nothing, and of one moment ([`batches`]);
//! 7. quotas hold, and refuse nothing that fits ([`quota`]);
//! 8. repetitions are answered as the first time, nonsense is refused, stale reads say that they
//!    are ([`answers`]).
//!
//! Writes of unknown outcome may show up or not. When one shows up, the read that shows it last in
//! its scroll tells its revision, and from then on it is held to the same rules. What is left open
//! by that is left open in the ranch's favour; **tier B**, [`search`], closes it for samples.

mod answers;
mod batches;
mod index;
mod order;
mod quota;
mod replay;
pub mod search;
mod swaps;
mod sweep;
mod violation;

use std::fmt;

use crate::history::{Action, Operation, Outcome};
pub use quota::QUOTA_EXCEEDED;
pub use swaps::CONDITION_FAILED;
pub use violation::Violation;

/// What a history without violations held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Writes acknowledged.
    pub acked: u64,
    /// Reads answered.
    pub reads: u64,
    /// Requests of which the ranch said that it did nothing.
    pub refused: u64,
    /// Requests whose outcome is unknown.
    pub unknown: u64,
    /// Scrolls touched.
    pub scrolls: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, reads, refused, unknown, scrolls } = self;
        write!(
            f,
            "{acked} writes acknowledged, {reads} reads, {refused} refused, {unknown} unknown, \
             on {scrolls} scrolls"
        )
    }
}

/// Checks a history.
///
/// # Errors
/// Every violation found; a history that ends without a last read of each scroll counts as one.
pub fn check(history: &[Operation]) -> Result<Summary, Vec<Violation>> {
    let mut violations = Vec::new();
    let index = index::Index::build(history, &mut violations);
    order::tenants(&index, &mut violations);
    for scroll in index.scrolls.values() {
        order::scroll(&index, scroll, &mut violations);
        replay::scroll(&index, scroll, &mut violations);
        swaps::scroll(&index, scroll, &mut violations);
        violations.extend(unread_in_the_end(&index, scroll));
    }
    batches::check(&index, &mut violations);
    quota::check(&index, &mut violations);
    answers::check(&index, &mut violations);
    if violations.is_empty() { Ok(summary(&index)) } else { Err(violations) }
}

/// Rule 4: the last read was asked after everything else had been answered.
fn unread_in_the_end(index: &index::Index<'_>, scroll: &index::Scroll) -> Option<Violation> {
    let operations = || scroll.operations.iter().map(|&at| &index.history[at]);
    let touched = operations().any(|operation| {
        operation.action.is_write() && !matches!(operation.outcome, Outcome::Refused { .. })
    });
    let last_read = operations()
        .filter(|operation| {
            operation.action == Action::Read && matches!(operation.outcome, Outcome::Seen { .. })
        })
        .map(|operation| operation.invoked_us)
        .max();
    let last_write = operations()
        .filter(|operation| operation.action.is_write())
        .map(|operation| operation.returned_us.unwrap_or(operation.invoked_us))
        .max();
    (touched && last_read < last_write)
        .then(|| Violation::NotReadInTheEnd { scroll: scroll.name.clone() })
}

fn summary(index: &index::Index<'_>) -> Summary {
    let mut summary = Summary { scrolls: index.scrolls.len() as u64, ..Summary::default() };
    for operation in index.history {
        match operation.outcome {
            Outcome::Acked { .. } => summary.acked += 1,
            Outcome::Seen { .. } => summary.reads += 1,
            Outcome::Measured { .. } => {}
            Outcome::Refused { .. } => summary.refused += 1,
            Outcome::Unknown { .. } => summary.unknown += 1,
        }
    }
    summary
}

#[cfg(test)]
mod tests;
