//! Answers to idempotency keys, remembered far longer than request ids, on disk only.
//!
//! Each has a row under its tenant and key and another that orders it by expiry. Whether a row
//! still counts is decided by the shard's age when it is looked up; the sweep only frees the
//! space. It runs at entries that begin a batch on every replica, so it finds the same rows
//! everywhere.

use std::collections::HashMap;
use std::sync::Arc;

use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Bounds};

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::shard::codec::UsageRow;
use crate::state::shard::outcome::Outcome;
use crate::state::store::StateStore;

/// How long an idempotency key is remembered; SPEC promises ten minutes, clocks may differ.
pub const IDEMPOTENCY_MS: u64 = 20 * 60 * 1000;
/// Most keys forgotten in one sweep, which bounds its time; more than can come in between two.
const SWEEP_MAX: usize = 16_384;

const VERSION: u8 = 1;

/// What is remembered under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdempotentRow {
    /// Hash of the operations.
    pub(super) content: [u8; 16],
    /// The row counts while the shard's age is not past this.
    pub(super) expires_ms: u64,
    pub(super) outcome: Outcome,
}

/// What a look-up finds.
pub(super) enum Found {
    Nothing,
    Expired { expires_ms: u64 },
    Live(IdempotentRow),
}

/// The idempotency keys of a shard.
pub(super) struct Idempotent {
    store: Arc<StateStore>,
    group: GroupId,
    /// Rows of the batch under way, which the database does not have yet.
    pending: HashMap<Vec<u8>, IdempotentRow>,
    /// Nothing is left to sweep before this key; spares walking over what was removed.
    swept_to: Vec<u8>,
}

impl Idempotent {
    pub(super) fn new(store: Arc<StateStore>, group: GroupId) -> Self {
        Self { store, group, pending: HashMap::new(), swept_to: Vec::new() }
    }

    pub(super) fn find(
        &self,
        tenant: &str,
        key: &[u8; 16],
        age_ms: u64,
    ) -> Result<Found, StateError> {
        let row_key = keys::idempotent(self.group, tenant, key);
        let row = match self.pending.get(&row_key) {
            Some(row) => Some(row.clone()),
            None => self.store.get(&row_key)?.map(|row| decode(&row)).transpose()?,
        };
        Ok(match row {
            None => Found::Nothing,
            Some(IdempotentRow { expires_ms, .. }) if expires_ms < age_ms => {
                Found::Expired { expires_ms }
            }
            Some(row) => Found::Live(row),
        })
    }

    pub(super) fn remember(
        &mut self,
        (tenant, life): (&str, u64),
        key: [u8; 16],
        (content, outcome): ([u8; 16], Outcome),
        age_ms: u64,
        batch: &mut ApplyBatch,
    ) {
        let expires_ms = age_ms.saturating_add(IDEMPOTENCY_MS);
        let row = IdempotentRow { content, expires_ms, outcome };
        let row_key = keys::idempotent(self.group, tenant, &key);
        let expiry_key = keys::idempotent_expiry(self.group, expires_ms, tenant, &key);
        batch.put(&row_key, encode(&row));
        batch.put(&expiry_key, encode_life(life));
        if expiry_key < self.swept_to {
            self.swept_to = expiry_key;
        }
        self.pending.insert(row_key, row);
    }

    /// Removes an expired key before it is remembered anew; its old expiry must not hit the new
    /// row.
    pub(super) fn forget(
        &mut self,
        tenant: &str,
        key: &[u8; 16],
        expires_ms: u64,
        batch: &mut ApplyBatch,
    ) {
        batch.delete(keys::idempotent_expiry(self.group, expires_ms, tenant, key));
        batch.delete(keys::idempotent(self.group, tenant, key));
    }

    /// Takes note that the rows of `bounds` are removed by the batch under way. Their expiry stays
    /// and is swept in its time.
    pub(super) fn purge(&mut self, (low, high): &Bounds) {
        self.pending.retain(|key, _| !(low..high).contains(&key));
    }

    /// Removes what has expired. Only to be called before anything else of a batch.
    pub(super) fn sweep(&mut self, age_ms: u64, batch: &mut ApplyBatch) -> Result<(), StateError> {
        let (low, high) = keys::idempotent_expiry_bounds(self.group, age_ms);
        let low = low.max(std::mem::take(&mut self.swept_to));
        if low >= high {
            self.swept_to = low;
            return Ok(());
        }
        let mut swept = 0;
        let mut swept_to = high.clone();
        let mut lives = Lives { store: &self.store, group: self.group, known: HashMap::new() };
        self.store.for_each((low, high), |expiry_key, life| {
            if swept == SWEEP_MAX {
                swept_to = expiry_key.to_vec();
                return Ok(false);
            }
            let (_, tenant, key) = keys::read_expiry(expiry_key)
                .map_err(|source| StateError::Key { what: "expiry", source })?;
            // Of a purged tenant the row is gone, and its successor may have one by that name.
            if lives.is_current(tenant, decode_life(life)?)? {
                batch.delete(keys::idempotent(self.group, tenant, &key));
            }
            batch.delete(expiry_key);
            swept += 1;
            Ok(true)
        })?;
        self.swept_to = swept_to;
        Ok(())
    }

    /// The batch is about to be written: the database will have what was pending.
    pub(super) fn finish(&mut self) {
        self.pending.clear();
    }
}

/// The lives of the tenants met in a sweep.
struct Lives<'a> {
    store: &'a StateStore,
    group: GroupId,
    known: HashMap<String, u64>,
}

impl Lives<'_> {
    /// Whether rows of this life of a tenant are still there.
    fn is_current(&mut self, tenant: &str, life: u64) -> Result<bool, StateError> {
        if let Some(&now) = self.known.get(tenant) {
            return Ok(life >= now);
        }
        let row = self.store.get(&keys::usage(self.group, tenant))?;
        let now = row.map_or(Ok(0), |row| UsageRow::decode(&row).map(|usage| usage.life))?;
        self.known.insert(tenant.to_owned(), now);
        Ok(life >= now)
    }
}

/// What an expiry row holds: nothing for life 0, as in its first version.
fn encode_life(life: u64) -> Vec<u8> {
    if life == 0 { Vec::new() } else { life.to_be_bytes().to_vec() }
}

fn decode_life(row: &[u8]) -> Result<u64, StateError> {
    if row.is_empty() {
        return Ok(0);
    }
    let life = row.try_into().map_err(|_| StateError::Row { what: "expiry" })?;
    Ok(u64::from_be_bytes(life))
}

fn encode(row: &IdempotentRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    out.push(VERSION);
    out.extend_from_slice(&row.content);
    out.extend_from_slice(&row.expires_ms.to_be_bytes());
    row.outcome.encode(&mut out);
    out
}

fn decode(row: &[u8]) -> Result<IdempotentRow, StateError> {
    let parts = || {
        let (&VERSION, row) = row.split_first()? else { return None };
        let (content, row) = row.split_first_chunk()?;
        let (expires, mut row) = row.split_first_chunk()?;
        let outcome = Outcome::decode(&mut row)?;
        let expires_ms = u64::from_be_bytes(*expires);
        row.is_empty().then_some(IdempotentRow { content: *content, expires_ms, outcome })
    };
    parts().ok_or(StateError::Row { what: "idempotency key" })
}
