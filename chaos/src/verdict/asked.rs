//! When tenants asked for writes: whoever did not ask was not refused service.

use std::collections::BTreeMap;

use crate::history::Operation;

/// The writes one tenant asked for.
#[derive(Default)]
pub(super) struct Asked {
    /// When each ended, or never, and when the earliest of it and all that ended later began; by
    /// when it ended.
    ends: Vec<(u64, u64)>,
}

impl Asked {
    /// Of all tenants.
    pub(super) fn by_tenant(history: &[Operation]) -> BTreeMap<&str, Self> {
        let mut asked = BTreeMap::<&str, Self>::new();
        for one in history.iter().filter(|one| one.action.is_write()) {
            let ended = one.returned_us.unwrap_or(u64::MAX);
            asked.entry(&one.tenant).or_default().ends.push((ended, one.invoked_us));
        }
        for Self { ends } in asked.values_mut() {
            ends.sort_unstable();
            let mut earliest = u64::MAX;
            for (_, began) in ends.iter_mut().rev() {
                earliest = earliest.min(*began);
                *began = earliest;
            }
        }
        asked
    }

    /// From when on the tenant waited for a write, at that time or after it; `None` when it asked
    /// for none any more.
    pub(super) fn since(&self, from_us: u64) -> Option<u64> {
        let after = self.ends.partition_point(|(ended, _)| *ended < from_us);
        self.ends.get(after).map(|(_, began)| (*began).max(from_us))
    }
}
