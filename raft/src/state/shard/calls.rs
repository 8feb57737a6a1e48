//! Rows of calls: how many a tenant made today and in all, by method.
//!
//! ```text
//! calls = 0x01 day u64 today u64 last_active_ms u64 (method u16 total u64)*
//! ```
//! Numbers are big-endian, methods ascend; the first byte is the version. The leader notes calls
//! about once a second, a whole shard's in one entry, whose stamp decides the day they count for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ranch_proto::calls::day_of;
use ranch_proto::ids::GroupId;
use ranch_proto::keys;
use ranch_proto::schema::{CallMethod, MethodCalls, TenantCalls, Usage};

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::store::StateStore;

const VERSION: u8 = 1;

/// What is known of a tenant's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallsRow {
    /// The day `today` is about, in days since the Unix epoch.
    pub(crate) day: u64,
    pub(crate) today: u64,
    pub(crate) last_active_ms: u64,
    /// All calls ever, by number of their method, also those this version does not know.
    pub(crate) totals: BTreeMap<u16, u64>,
}

impl CallsRow {
    /// Adds calls noted at `stamp_ms`. A stamp of the day before the row's, as a new leader's
    /// clock may give it around midnight, counts for the row's day; one from further back means
    /// that the row's day came from a clock that had jumped.
    fn add(&mut self, calls: &[MethodCalls], stamp_ms: u64) {
        let day = day_of(stamp_ms);
        if day > self.day || day + 1 < self.day {
            self.day = day;
            self.today = 0;
        }
        self.last_active_ms = stamp_ms;
        for MethodCalls { method, count } in calls {
            self.today = self.today.saturating_add(*count);
            let total = self.totals.entry(u16::try_from(*method).unwrap_or(0)).or_default();
            *total = total.saturating_add(*count);
        }
    }

    /// Puts what the row says into an account of the tenant's usage.
    pub(crate) fn describe(&self, usage: &mut Usage) {
        usage.calls_day = self.day;
        usage.calls_today = self.today;
        usage.last_active_ms = self.last_active_ms;
        let calls = self.totals.iter().map(|(&method, &count)| MethodCalls {
            method: CallMethod::of_number(method.into()).into(),
            count,
        });
        usage.calls = calls.collect();
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(25 + self.totals.len() * 10);
        row.push(VERSION);
        for number in [self.day, self.today, self.last_active_ms] {
            row.extend_from_slice(&number.to_be_bytes());
        }
        for (method, total) in &self.totals {
            row.extend_from_slice(&method.to_be_bytes());
            row.extend_from_slice(&total.to_be_bytes());
        }
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, StateError> {
        Self::read(row).ok_or(StateError::Row { what: "calls" })
    }

    fn read(row: &[u8]) -> Option<Self> {
        let (&VERSION, row) = row.split_first()? else { return None };
        let (day, row) = row.split_first_chunk()?;
        let (today, row) = row.split_first_chunk()?;
        let (last_active, row) = row.split_first_chunk()?;
        let (pairs, rest) = row.as_chunks::<10>();
        if !rest.is_empty() {
            return None;
        }
        let mut totals = BTreeMap::new();
        for [high, low, total @ ..] in pairs {
            totals.insert(u16::from_be_bytes([*high, *low]), u64::from_be_bytes(*total));
        }
        Some(Self {
            day: u64::from_be_bytes(*day),
            today: u64::from_be_bytes(*today),
            last_active_ms: u64::from_be_bytes(*last_active),
            totals,
        })
    }
}

/// Rows of calls changed by the batch under way.
pub(super) struct Calls {
    store: Arc<StateStore>,
    group: GroupId,
    changed: HashMap<Vec<u8>, CallsRow>,
}

impl Calls {
    pub(super) fn new(store: Arc<StateStore>, group: GroupId) -> Self {
        Self { store, group, changed: HashMap::new() }
    }

    /// Adds what a leader noted of a tenant.
    pub(super) fn note(&mut self, noted: &TenantCalls, stamp_ms: u64) -> Result<(), StateError> {
        let key = keys::calls(self.group, &noted.tenant);
        let mut row = match self.changed.remove(&key) {
            Some(row) => row,
            None => match self.store.get(&key)? {
                Some(row) => CallsRow::decode(&row)?,
                None => CallsRow::default(),
            },
        };
        row.add(&noted.calls, stamp_ms);
        self.changed.insert(key, row);
        Ok(())
    }

    /// Takes note that a tenant's row is removed by the batch under way.
    pub(super) fn purge(&mut self, tenant: &str) {
        self.changed.remove(&keys::calls(self.group, tenant));
    }

    /// Adds everything that changed to the batch.
    pub(super) fn finish(&mut self, batch: &mut ApplyBatch) {
        for (key, row) in self.changed.drain() {
            batch.put(key, row.encode());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(pairs: &[(CallMethod, u64)]) -> Vec<MethodCalls> {
        let pairs = pairs.iter().copied();
        pairs.map(|(method, count)| MethodCalls { method: method.into(), count }).collect()
    }

    #[test]
    fn rows_have_their_golden_bytes() {
        let row = CallsRow {
            day: 20_000,
            today: 3,
            last_active_ms: 0x0102,
            totals: [(3, 5), (16, 7)].into(),
        };
        let bytes = [
            &[1_u8][..],
            &[0, 0, 0, 0, 0, 0, 0x4E, 0x20],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[0, 3, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 16, 0, 0, 0, 0, 0, 0, 0, 7],
        ]
        .concat();
        assert_eq!(row.encode(), bytes);
        assert_eq!(CallsRow::decode(&bytes).unwrap(), row);
        for bad in [&[][..], &bytes[..24], &bytes[..30], &[&[2], &bytes[1..]].concat()] {
            assert!(CallsRow::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_stamp_decides_the_day_and_midnight_comes_once() {
        const DAY: u64 = ranch_proto::calls::DAY_MS;
        let mut row = CallsRow::default();
        row.add(&calls(&[(CallMethod::Select, 2), (CallMethod::Insert, 1)]), 10 * DAY + 5);
        assert_eq!((row.day, row.today, row.last_active_ms), (10, 3, 10 * DAY + 5));
        row.add(&calls(&[(CallMethod::Select, 1)]), 11 * DAY);
        assert_eq!((row.day, row.today), (11, 1));
        row.add(&calls(&[(CallMethod::Select, 1)]), 11 * DAY - 1);
        assert_eq!((row.day, row.today), (11, 2));
        row.add(&calls(&[]), 400 * DAY);
        row.add(&calls(&[(CallMethod::Insert, 1)]), 11 * DAY + 9);
        assert_eq!((row.day, row.today), (11, 1), "a clock had jumped ahead");
        assert_eq!(row.totals, [(3, 4), (4, 2)].into());
    }
}
