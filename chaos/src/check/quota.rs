//! Rule 7: what a tenant stores never exceeds its quota, a write that fits is not refused for it,
//! and what an administrator is told of it in the end is what the last reads add up to.
//!
//! A scroll counts its text and [`SCROLL_COST`]. What is certain is replayed by revision, which
//! gives the least that was stored at each; writes of unknown outcome may come on top.

use std::collections::{BTreeMap, HashMap};

use super::index::{At, Index};
use super::sweep::{Ceilings, sweep};
use super::violation::Violation;
use crate::history::{Action, Outcome};
use crate::token;

/// What a scroll counts beside its text, in bytes.
pub const SCROLL_COST: u64 = 64;
/// The status of a write that does not fit.
pub const QUOTA_EXCEEDED: u16 = 507;
/// By so long after it was sent a write of unknown outcome has taken effect, or never will.
const SETTLED_US: u64 = 60_000_000;

/// Checks all tenants of which it is known what they may store.
pub fn check(index: &Index<'_>, violations: &mut Vec<Violation>) {
    let mut by_tenant: BTreeMap<&str, Vec<At>> = BTreeMap::new();
    for (at, operation) in index.history.iter().enumerate() {
        by_tenant.entry(&operation.tenant).or_default().push(at);
    }
    for (tenant, operations) in by_tenant {
        let measured = operations.iter().filter_map(|&at| match index.history[at].outcome {
            Outcome::Measured { used_bytes, quota_bytes } => Some((at, used_bytes, quota_bytes?)),
            _ => None,
        });
        let measured: Vec<_> = measured.collect();
        let Some(&(_, _, quota)) = measured.last() else { continue };
        // Only where it stayed the same can it be told what fitted.
        if measured.iter().any(|&(_, _, other)| other != quota) {
            continue;
        }
        let excess = |used| Violation::QuotaExceeded { tenant: tenant.to_owned(), used, quota };
        let over = measured.iter().find(|&&(_, used, _)| used > quota);
        violations.extend(over.map(|&(_, used, _)| excess(used)));
        let account = Account::of(index, &operations);
        let over = account.least.iter().find(|&&(_, used)| used > quota);
        violations.extend(over.map(|&(_, used)| excess(used)));
        account.refusals(index, &operations, (tenant, quota), violations);
        violations.extend(drift(index, &operations, tenant));
    }
}

/// A tenant's storage over its revisions.
struct Account {
    /// Its writes.
    writes: Vec<(u64, At)>,
    /// The least stored after each write, leaving out scrolls that may have been emptied, and
    /// steps within a batch, which is judged as a whole.
    least: Vec<(u64, u64)>,
    /// Stored after each write if only the certain ones took effect.
    certain: Vec<(u64, u64)>,
    /// Writes of unknown outcome: when they were sent, and what they may have added.
    open: Vec<(u64, u64)>,
}

impl Account {
    fn of(index: &Index<'_>, operations: &[At]) -> Self {
        let mut writes: Vec<(u64, At)> = Vec::new();
        let (mut doubtful, mut open) = (HashMap::<&str, bool>::new(), Vec::new());
        for &at in operations {
            let operation = &index.history[at];
            if let Some(revision) = index.revisions[at] {
                writes.push((revision, at));
            } else if operation.action.is_write()
                && matches!(operation.outcome, Outcome::Unknown { .. })
            {
                *doubtful.entry(&operation.scroll).or_default() |= operation.action.replaces();
                let added = operation.action.token().map_or(0, token::bytes) + SCROLL_COST;
                open.push((operation.invoked_us, added));
            }
        }
        writes.sort_unstable();
        open.sort_unstable();
        let mut scrolls = HashMap::<&str, u64>::new();
        let (mut all, mut sure) = (0, 0);
        let (mut least, mut certain) = (Vec::new(), Vec::new());
        for (nth, &(revision, at)) in writes.iter().enumerate() {
            let operation = &index.history[at];
            let size = scrolls.entry(&operation.scroll).or_default();
            let before = *size;
            let given = operation.action.token().map_or(0, token::bytes);
            *size = match operation.action {
                Action::Delete => 0,
                Action::Append(_) if before > 0 => before + given,
                _ => given + SCROLL_COST,
            };
            all = all + *size - before;
            if !doubtful.get(operation.scroll.as_str()).is_some_and(|doubtful| *doubtful) {
                sure = sure + *size - before;
            }
            certain.push((revision, all));
            let next = writes.get(nth + 1).and_then(|&(_, next)| index.history[next].batch);
            let within = operation.batch.is_some_and(|batch| batch.atomic && Some(batch) == next);
            if !within {
                least.push((revision, sure));
            }
        }
        Self { writes, least, certain, open }
    }

    /// The most that can have been stored at some moment from one revision to before another, by
    /// what was sent until an instant.
    fn most(&self, floor: u64, ceiling: u64, until_us: u64) -> u64 {
        let from = self.certain.partition_point(|&(revision, _)| revision <= floor);
        let to = self.certain.partition_point(|&(revision, _)| revision < ceiling);
        let within = self.certain[from.saturating_sub(1)..to.max(from)].iter();
        let open = self.open.iter().take_while(|&&(sent_us, _)| sent_us <= until_us);
        within.map(|&(_, used)| used).max().unwrap_or(0)
            + open.map(|&(_, added)| added).sum::<u64>()
    }

    /// What was refused for the quota cannot have fitted all the time from question to answer.
    fn refusals(
        &self,
        index: &Index<'_>,
        operations: &[At],
        (tenant, quota): (&str, u64),
        violations: &mut Vec<Violation>,
    ) {
        let ceilings = Ceilings::of(index, &self.writes);
        let needs = needs(index, operations);
        sweep(index.history, operations, |at, floor| {
            let operation = &index.history[at];
            if operation.outcome == (Outcome::Refused { status: QUOTA_EXCEEDED }) {
                let returned_us = operation.returned_us.unwrap_or(u64::MAX);
                let used = self.most(floor, ceilings.after(returned_us), returned_us);
                let needed = needs[&at];
                if used + needed <= quota {
                    let (tenant, write) = (tenant.to_owned(), index.describe(at));
                    let refused = Violation::QuotaRefused { tenant, write, used, needed, quota };
                    violations.push(refused);
                }
            }
            index.shown(operation).unwrap_or_else(|| index.told(at))
        });
    }
}

/// The most that what was refused can have added: an atomic batch all of its writes together.
fn needs(index: &Index<'_>, operations: &[At]) -> HashMap<At, u64> {
    let need = |at: At| index.history[at].action.token().map_or(0, token::bytes) + SCROLL_COST;
    let refused = operations
        .iter()
        .filter(|&&at| index.history[at].outcome == Outcome::Refused { status: QUOTA_EXCEEDED });
    let needs = refused.map(|&at| {
        let batch = index.history[at].batch.filter(|batch| batch.atomic);
        let parts = batch.and_then(|batch| index.batches.get(&batch.id));
        (at, parts.map_or_else(|| need(at), |parts| parts.iter().map(|&at| need(at)).sum()))
    });
    needs.collect()
}

/// The last measuring of a tenant, asked after all else was answered, against its last reads.
fn drift(index: &Index<'_>, operations: &[At], tenant: &str) -> Option<Violation> {
    let (mut reads, mut last_write_us) = (BTreeMap::<&str, (u64, u64)>::new(), 0);
    let mut measured = None;
    for &at in operations {
        let operation = &index.history[at];
        let asked_us = operation.invoked_us;
        match (&operation.action, &operation.outcome) {
            (Action::Read, Outcome::Seen { tokens, .. }) => {
                let text: u64 = tokens.iter().map(|token| token::bytes(token)).sum();
                let bytes = if tokens.is_empty() { 0 } else { text + SCROLL_COST };
                let read = reads.entry(&operation.scroll).or_default();
                *read = (*read).max((asked_us, bytes));
            }
            (Action::Measure, Outcome::Measured { used_bytes, .. }) => {
                measured = measured.max(Some((asked_us, *used_bytes)));
            }
            (action, Outcome::Unknown { .. }) if action.is_write() => {
                let settled_us = if index.happened[at] { asked_us } else { asked_us + SETTLED_US };
                last_write_us = last_write_us.max(settled_us);
            }
            (action, _) if action.is_write() => {
                last_write_us = last_write_us.max(operation.returned_us.unwrap_or(asked_us));
            }
            _ => {}
        }
    }
    let (measured_us, told) = measured?;
    let quiet = measured_us > last_write_us && reads.values().all(|read| read.0 > last_write_us);
    let used = reads.values().map(|read| read.1).sum();
    let tenant = tenant.to_owned();
    (quiet && told != used).then_some(Violation::UsageDrift { tenant, told, used })
}
