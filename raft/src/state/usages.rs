//! Pages over what all tenants of a shard store and how often they called, for metrics.

use std::collections::BTreeMap;

use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Bounds, KeyError, Kind};
use ranch_proto::schema::{ListUsages, TenantUsageRow, Usage, UsagesReply};

use crate::state::error::StateError;
use crate::state::shard::{CallsRow, UsageRow};
use crate::state::store::StateStore;

/// Most tenants of a page.
const PAGE_TENANTS: usize = 2_000;

/// One page. A tenant has a row of usage, of calls, or both, so two ranges are merged by tenant:
/// the first tenants of both together are among the first of each.
pub(crate) fn page(
    store: &StateStore,
    group: GroupId,
    list: &ListUsages,
) -> Result<UsagesReply, StateError> {
    let asked = list.limit as usize;
    let limit = if asked == 0 { PAGE_TENANTS } else { asked.min(PAGE_TENANTS) };
    let mut tenants: BTreeMap<String, Usage> = BTreeMap::new();
    let mut gather = |kind, read: fn(&[u8]) -> Result<&str, KeyError>, put: Put| {
        // One more than fits says whether there is more.
        let mut left = limit + 1;
        store.for_each(bounds(group, kind, &list.after), |key, row| {
            let tenant = read(key).map_err(|source| StateError::Key { what: "usage", source })?;
            put(row, tenants.entry(tenant.to_owned()).or_default())?;
            left -= 1;
            Ok(left > 0)
        })
    };
    gather(Kind::Usage, keys::read_usage, |row, usage| {
        UsageRow::decode(row).map(|row| row.describe(usage))
    })?;
    gather(Kind::Calls, keys::read_calls, |row, usage| {
        CallsRow::decode(row).map(|row| row.describe(usage))
    })?;
    let more = tenants.len() > limit;
    let rows = tenants.into_iter().take(limit);
    let rows = rows.map(|(tenant, usage)| TenantUsageRow { tenant, usage: Some(usage) });
    Ok(UsagesReply { tenants: rows.collect(), more })
}

type Put = fn(&[u8], &mut Usage) -> Result<(), StateError>;

/// The rows of one kind behind the tenant `after`.
fn bounds(group: GroupId, kind: Kind, after: &str) -> Bounds {
    let (low, high) = keys::kind_bounds(group, kind);
    if after.is_empty() {
        return (low, high);
    }
    (keys::tenant_bounds(kind, group, after).1, high)
}
