//! Real time against revisions: for any instant, the highest revision that was known before it,
//! and the lowest that can only have come after it.

use super::index::{At, Index};
use crate::history::Operation;

/// Calls `visit` for each operation by the instant it was asked, with the floor at that instant:
/// the highest revision any client could already know. What `visit` returns raises the floor once
/// the operation has been answered.
pub fn sweep(history: &[Operation], operations: &[At], mut visit: impl FnMut(At, u64) -> u64) {
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

/// For an instant, the lowest revision among the writes asked for after it: whatever was answered
/// by then came before that revision.
pub struct Ceilings(Vec<(u64, u64)>);

impl Ceilings {
    /// Of these writes with their revisions.
    pub fn of(index: &Index<'_>, writes: &[(u64, At)]) -> Self {
        let asked = writes.iter().map(|&(revision, at)| {
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

    /// The lowest revision asked for after this instant; the highest number when none was.
    pub fn after(&self, instant_us: u64) -> u64 {
        let next = self.0.partition_point(|&(invoked_us, _)| invoked_us <= instant_us);
        self.0.get(next).map_or(u64::MAX, |&(_, lowest)| lowest)
    }
}
