//! Ranges of state keys, half-open and exact: what lies in one is what its name says, no more.

use super::{KIND_AT, Kind, Owner, TEXT_END, built, dedup, ended_text, meta_dedup, start, text};
use crate::ids::GroupId;

/// Where a half-open range of state keys begins and ends.
pub type Bounds = (Vec<u8>, Vec<u8>);

/// The byte after [`TEXT_END`], so past all keys with the text before it.
const TEXT_PAST: u8 = TEXT_END + 1;

/// Everything a group has in the state database.
#[must_use]
pub fn shard_bounds(group: GroupId) -> Bounds {
    // No kind is 0xFF, so five of them lie past the last group's keys.
    let past = group.0.checked_add(1).map_or_else(|| vec![0xFF; 5], |g| g.to_be_bytes().to_vec());
    (group.0.to_be_bytes().to_vec(), past)
}

/// Everything of one kind in a group.
#[must_use]
pub fn kind_bounds(group: GroupId, kind: Kind) -> Bounds {
    let low = built(|key| start(key, group, kind));
    let mut high = low.clone();
    high[KIND_AT] += 1;
    (low, high)
}

/// All keys of one kind and phext; for [`Kind::Header`], [`Kind::Body`] and [`Kind::BodyPart`].
#[must_use]
pub fn phext_bounds(kind: Kind, group: GroupId, tenant: &str, phext: &str) -> Bounds {
    debug_assert!(
        matches!(kind, Kind::Header | Kind::Body | Kind::BodyPart),
        "{kind:?} has no phext to end"
    );
    let low = built(|key| {
        start(key, group, kind);
        ended_text(key, tenant);
        ended_text(key, phext);
    });
    let high = past_text(&low);
    (low, high)
}

/// All keys of one kind and tenant, for the kinds whose rest begins with the tenant.
#[must_use]
pub fn tenant_bounds(kind: Kind, group: GroupId, tenant: &str) -> Bounds {
    // These end with the tenant.
    if matches!(kind, Kind::Usage | Kind::Calls) {
        let low = built(|key| {
            start(key, group, kind);
            text(key, tenant);
        });
        let high = [low.as_slice(), &[TEXT_END]].concat();
        return (low, high);
    }
    debug_assert!(kind.owner() == Owner::Tenant, "{kind:?} does not begin with a tenant");
    let low = built(|key| {
        start(key, group, kind);
        ended_text(key, tenant);
    });
    let high = past_text(&low);
    (low, high)
}

/// Everything a tenant has in a group, kind by kind.
pub fn tenant_rows(group: GroupId, tenant: &str) -> impl Iterator<Item = Bounds> {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.owner() == Owner::Tenant);
    kinds.map(move |kind| tenant_bounds(kind, group, tenant))
}

/// Past all keys that begin with `prefix`, which ends with a text's end.
fn past_text(prefix: &[u8]) -> Vec<u8> {
    let mut high = prefix.to_vec();
    if let Some(last) = high.last_mut() {
        *last = TEXT_PAST;
    }
    high
}

/// The dedup rows of log entries before `index`.
#[must_use]
pub fn dedup_bounds(group: GroupId, index: u64) -> Bounds {
    (dedup(group, 0), dedup(group, index))
}

/// The expiry rows of idempotency keys stamped before `stamp_ms`.
#[must_use]
pub fn idempotent_expiry_bounds(group: GroupId, stamp_ms: u64) -> Bounds {
    let at = |stamp_ms: u64| {
        built(|key| {
            start(key, group, Kind::IdempotentExpiry);
            key.extend_from_slice(&stamp_ms.to_be_bytes());
        })
    };
    (at(0), at(stamp_ms))
}

/// The meta group's dedup rows before `index`.
#[must_use]
pub fn meta_dedup_bounds(index: u64) -> Bounds {
    (meta_dedup(0), meta_dedup(index))
}
