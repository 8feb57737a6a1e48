//! Metrics of tenants: storage, calls, nearness to quotas. Only so many tenants have lines of their
//! own, those that store most; the others are summed up as `_other`, which no tenant's id can be.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use futures_util::future::join_all;
use ranch_proto::schema::{
    CallMethod, ListUsages, MetricFamily, ReadRequest, Usage, read_reply, read_request,
};
use ranch_proto::{GroupId, Shards};

use crate::app::App;
use crate::forward::{ForwardError, Home};

const OTHER: &str = "_other";
/// Longest wait for the tenants of a shard; then its tenants are left out, which is said.
const SHARD_MAX: Duration = Duration::from_secs(3);
/// Share of its quota from which on a tenant is listed as near it.
const NEAR: f64 = 0.8;

/// The largest tenants, and the sum of all others.
#[derive(Debug)]
struct Largest {
    most: usize,
    kept: BinaryHeap<Reverse<(u64, String)>>,
    calls: BTreeMap<String, BTreeMap<i32, u64>>,
    others: usize,
    other_bytes: u64,
    other_calls: BTreeMap<i32, u64>,
    near: Vec<(f64, String)>,
}

impl Largest {
    fn new(most: usize) -> Self {
        Self {
            most,
            kept: BinaryHeap::new(),
            calls: BTreeMap::new(),
            others: 0,
            other_bytes: 0,
            other_calls: BTreeMap::new(),
            near: Vec::new(),
        }
    }

    fn take(&mut self, tenant: String, usage: &Usage, quota_bytes: Option<u64>) {
        if let Some(quota) = quota_bytes.filter(|quota| *quota > 0) {
            let ratio = usage.storage_bytes as f64 / quota as f64;
            if ratio >= NEAR {
                self.near.push((ratio, tenant.clone()));
            }
        }
        let calls = usage.calls.iter().map(|calls| (calls.method, calls.count));
        self.calls.insert(tenant.clone(), calls.collect());
        self.kept.push(Reverse((usage.storage_bytes, tenant)));
        if self.kept.len() > self.most
            && let Some(Reverse((bytes, least))) = self.kept.pop()
        {
            self.others += 1;
            self.other_bytes += bytes;
            for (method, count) in self.calls.remove(&least).unwrap_or_default() {
                *self.other_calls.entry(method).or_default() += count;
            }
        }
    }

    fn families(mut self) -> [MetricFamily; 3] {
        let help = "Bytes a tenant stores: those of its scrolls and 64 more for each.";
        let mut storage = MetricFamily::gauge("sq_storage_bytes", help);
        let help = "Calls of a tenant that were answered, by the verb of the endpoint.";
        let mut calls = MetricFamily::counter("sq_api_calls_total", help);
        for Reverse((bytes, tenant)) in self.kept.into_sorted_vec() {
            storage.push(&[("tenant", &tenant)], bytes as f64);
            push_calls(&mut calls, &tenant, self.calls.get(&tenant).into_iter().flatten());
        }
        if self.others > 0 {
            storage.push(&[("tenant", OTHER)], self.other_bytes as f64);
            push_calls(&mut calls, OTHER, &self.other_calls);
        }
        let help = "Share of its quota a tenant uses, for tenants at 0.8 of it or more.";
        let mut near = MetricFamily::gauge("ranch_tenant_quota_ratio", help);
        self.near.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (ratio, tenant) in self.near.iter().take(self.most) {
            near.push(&[("tenant", tenant)], *ratio);
        }
        [storage, calls, near]
    }
}

fn push_calls<'a>(
    family: &mut MetricFamily,
    tenant: &str,
    calls: impl IntoIterator<Item = (&'a i32, &'a u64)>,
) {
    for (method, count) in calls {
        let method = CallMethod::of_number(*method).verb();
        family.push(&[("tenant", tenant), ("method", method)], *count as f64);
    }
}

/// Everything about tenants.
pub async fn families<S: Shards>(app: &App<S>) -> Vec<MetricFamily> {
    let (active, shards) = {
        let directory = app.shards.directory().read();
        let active = directory.tenants.values().filter(|tenant| tenant.enabled).count();
        (active, directory.shards.keys().copied().collect::<Vec<_>>())
    };
    let gathering = join_all(shards.into_iter().map(|shard| async move {
        let usages = tokio::time::timeout(SHARD_MAX, usages(app, shard)).await;
        usages.ok().and_then(Result::ok)
    }));
    let gathered = gathering.await;
    let missing = gathered.iter().filter(|usages| usages.is_none()).count();
    let mut usages: BTreeMap<String, Usage> = gathered.into_iter().flatten().flatten().collect();
    let mut largest = Largest::new(app.options.metrics_max_tenants as usize);
    for tenant in app.shards.directory().read().tenants.values() {
        let usage = usages.remove(&tenant.id).unwrap_or_default();
        largest.take(tenant.id.clone(), &usage, tenant.quota_bytes);
    }
    let mut all = Vec::from(largest.families());
    let gauge = MetricFamily::gauge("sq_tenants_active", "Tenants that are not disabled.");
    all.insert(2, gauge.with(&[], active as f64));
    let help = "Shards whose tenants are missing here, because their leader did not answer.";
    let gauge = MetricFamily::gauge("ranch_metrics_shards_missing", help);
    all.push(gauge.with(&[], missing as f64));
    all
}

/// The usage of all tenants of a shard, page by page.
async fn usages<S: Shards>(
    app: &App<S>,
    shard: GroupId,
) -> Result<Vec<(String, Usage)>, ForwardError> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let what = Some(read_request::What::Usages(ListUsages { after, limit: 0 }));
        let read = ReadRequest { tenant: String::new(), stale: false, what };
        let reply = app.forward.read(Home { shard, life: 0 }, read).await?;
        let Some(read_reply::What::Usages(page)) = reply.what else {
            return Err(ForwardError::Garbled);
        };
        after = page.tenants.last().map(|row| row.tenant.clone()).unwrap_or_default();
        let rows = page.tenants.into_iter();
        all.extend(rows.map(|row| (row.tenant, row.usage.unwrap_or_default())));
        if !page.more || after.is_empty() {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use ranch_proto::schema::MethodCalls;

    use super::*;

    fn usage(storage_bytes: u64, inserts: u64) -> Usage {
        let calls = vec![MethodCalls { method: CallMethod::Insert.into(), count: inserts }];
        Usage { storage_bytes, calls, ..Usage::default() }
    }

    #[test]
    fn the_largest_have_lines_of_their_own_and_the_others_one() {
        let mut largest = Largest::new(2);
        for (tenant, bytes, inserts) in [("a", 5, 1), ("b", 50, 2), ("c", 7, 4), ("d", 40, 8)] {
            largest.take(tenant.to_owned(), &usage(bytes, inserts), Some(50));
        }
        let [storage, calls, near] = largest.families();
        let lines = |family: &MetricFamily| {
            let metrics = family.metrics.iter();
            metrics.map(|m| format!("{} {}", m.labels.join(" "), m.value)).collect::<Vec<_>>()
        };
        assert_eq!(lines(&storage), ["tenant b 50", "tenant d 40", "tenant _other 12"]);
        assert_eq!(
            lines(&calls),
            [
                "tenant b method insert 2",
                "tenant d method insert 8",
                "tenant _other method insert 5"
            ]
        );
        assert_eq!(lines(&near), ["tenant b 1", "tenant d 0.8"]);
    }
}
