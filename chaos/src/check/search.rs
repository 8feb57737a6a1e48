//! Tier B: looks for an order of the operations on a scroll that explains every answer, as
//! linearizability asks for (Herlihy and Wing 1990), without a word about revisions.
//!
//! The search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", Journal of
//! Parallel and Distributed Computing 17, 1993), with Lowe's two improvements ("Testing for
//! Linearizability", Concurrency and Computation 29(4), 2017): an operation is put in its place no
//! sooner than an answer demands it, and a configuration met before is not looked at again. That a
//! scroll can be judged by itself is the locality of linearizability. Time is then linear in the
//! operations and exponential only in those that overlap, so scrolls of few clients are judged.
//!
//! A write of unknown outcome whose token was read took effect before that answer. The others are
//! first taken not to have happened; only if that explains nothing, every choice is tried.

mod order;
mod scroll;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fastrand::Rng;

use super::violation::Violation;
use crate::history::{Action, Operation, Outcome};
use order::Searched;
use scroll::Entries;

/// What is searched, and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Decides which scrolls are taken where there are more.
    pub seed: u64,
    /// Most scrolls.
    pub scrolls_max: usize,
    /// Scrolls of more clients are left out.
    pub clients_max: usize,
    /// Most configurations looked at for one scroll.
    pub budget: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { seed: 1, scrolls_max: 200, clients_max: 5, budget: 5_000_000 }
    }
}

/// What was searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Scrolls for which an order was found.
    pub scrolls: u64,
    /// Operations in those orders.
    pub operations: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scrolls, operations } = self;
        write!(f, "an order found for {operations} operations on {scrolls} scrolls")
    }
}

/// Searches a sample of a history's scrolls.
///
/// # Errors
/// A violation for each scroll whose answers no order explains, or whose search grew too large.
pub fn search(history: &[Operation], sampling: Sampling) -> Result<Sample, Vec<Violation>> {
    let mut sample = Sample::default();
    let mut violations = Vec::new();
    for ((tenant, scroll), operations) in chosen(history, sampling) {
        let name = format!("{tenant}.{scroll}");
        match judge(&operations, sampling.budget) {
            Searched::Found => {
                sample.scrolls += 1;
                sample.operations += operations.len() as u64;
            }
            Searched::GaveUp => violations.push(Violation::Undecided { scroll: name }),
            Searched::Stuck { at } => {
                let what = describe(operations[at]);
                let at_us = operations[at].returned_us.unwrap_or(operations[at].invoked_us);
                violations.push(Violation::NotLinearizable { scroll: name, at_us, what });
            }
        }
    }
    if violations.is_empty() { Ok(sample) } else { Err(violations) }
}

type Key<'a> = (&'a str, &'a str);

/// The scrolls to be searched, each with its operations.
fn chosen(history: &[Operation], sampling: Sampling) -> Vec<(Key<'_>, Vec<&Operation>)> {
    let mut scrolls: BTreeMap<Key<'_>, (BTreeSet<u32>, Vec<&Operation>)> = BTreeMap::new();
    let about_scrolls = history.iter().filter(|operation| operation.action.is_about_a_scroll());
    for operation in about_scrolls {
        let key = (operation.tenant.as_str(), operation.scroll.as_str());
        let (clients, operations) = scrolls.entry(key).or_default();
        clients.insert(operation.client);
        operations.push(operation);
    }
    scrolls.retain(|_, (clients, _)| clients.len() <= sampling.clients_max);
    let mut chosen: Vec<_> =
        scrolls.into_iter().map(|(key, (_, operations))| (key, operations)).collect();
    Rng::with_seed(sampling.seed).shuffle(&mut chosen);
    chosen.truncate(sampling.scrolls_max);
    chosen
}

fn judge(operations: &[&Operation], budget: u64) -> Searched {
    let entries = Entries::of(operations);
    match order::search(&entries.without_unseen(), budget) {
        Searched::Found => Searched::Found,
        stuck if !entries.has_unseen() => stuck,
        _ => order::search(&entries, budget),
    }
}

fn describe(operation: &Operation) -> String {
    let Operation { client, action, .. } = operation;
    let what = match action {
        Action::Read | Action::Glance | Action::StaleRead => "read",
        Action::Write(_) => "write",
        Action::Append(_) => "append",
        Action::Delete => "removal",
        Action::Swap { .. } => "conditional write",
        Action::Again(_) => "repetition",
        Action::Malformed(_) | Action::Measure => "request",
    };
    let token = action.token().map(|token| format!(" of {token}")).unwrap_or_default();
    let answer = match &operation.outcome {
        Outcome::Seen { tokens, .. } => format!(", answered with {} lines", tokens.len()),
        Outcome::Refused { status } => format!(", refused with {status}"),
        _ => String::new(),
    };
    format!("client {client}'s {what}{token}{answer}")
}

#[cfg(test)]
mod tests;
