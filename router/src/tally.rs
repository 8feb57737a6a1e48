//! Calls that were answered without asking a leader, gathered for a second and then sent, one
//! message a shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ranch_proto::calls::METHODS;
use ranch_proto::schema::{CallMethod, MethodCalls, TenantCalls};
use ranch_proto::{GroupId, Shards};

use crate::app::App;
use crate::forward::ForwardError;

/// Between two messages to a shard.
const EVERY: Duration = Duration::from_secs(1);
/// Most tenants counts are kept of while their shards cannot be reached.
const TENANTS_MAX: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Tallies {
    tenants: Mutex<HashMap<String, Tally>>,
}

#[derive(Debug)]
struct Tally {
    shard: GroupId,
    counts: [u64; METHODS],
}

impl Tallies {
    /// Counts one call.
    pub fn add(&self, shard: GroupId, tenant: &str, method: CallMethod) {
        self.put(shard, tenant, method, 1);
    }

    fn put(&self, shard: GroupId, tenant: &str, method: CallMethod, count: u64) {
        let mut tenants = self.tenants.lock();
        if let Some(tally) = tenants.get_mut(tenant) {
            tally.counts[method.index()] += count;
        } else if tenants.len() < TENANTS_MAX {
            let mut tally = Tally { shard, counts: [0; METHODS] };
            tally.counts[method.index()] = count;
            tenants.insert(tenant.to_owned(), tally);
        }
    }

    /// Takes out everything, by shard.
    fn take(&self) -> HashMap<GroupId, Vec<TenantCalls>> {
        let mut shards: HashMap<GroupId, Vec<TenantCalls>> = HashMap::new();
        for (tenant, tally) in std::mem::take(&mut *self.tenants.lock()) {
            let counts = CallMethod::all().map(|method| (method, tally.counts[method.index()]));
            let calls = counts.filter(|(_, count)| *count > 0);
            let calls = calls.map(|(method, count)| MethodCalls { method: method.into(), count });
            let calls = TenantCalls { tenant, calls: calls.collect(), ..TenantCalls::default() };
            shards.entry(tally.shard).or_default().push(calls);
        }
        shards
    }

    fn put_back(&self, shard: GroupId, tenants: &[TenantCalls]) {
        for TenantCalls { tenant, calls, .. } in tenants {
            for calls in calls {
                self.put(shard, tenant, calls.method(), calls.count);
            }
        }
    }
}

/// Sends what has been gathered, once a second, until it is dropped.
pub async fn run<S: Shards>(app: Arc<App<S>>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        send(&app).await;
    }
}

/// Sends what has been gathered. What a shard cannot have got is kept for the next time.
pub async fn send<S: Shards>(app: &App<S>) {
    let sending = app.tallies.take().into_iter().map(|(shard, tenants)| async move {
        match app.forward.tally(shard, tenants.clone()).await {
            Ok(()) | Err(ForwardError::OutcomeUnknown) => {}
            Err(_) => app.tallies.put_back(shard, &tenants),
        }
    });
    futures_util::future::join_all(sending).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_gathered_by_shard_and_survive_being_put_back() {
        let tallies = Tallies::default();
        let (one, two) = (GroupId(1), GroupId(2));
        tallies.add(one, "will", CallMethod::Load);
        tallies.add(one, "will", CallMethod::Load);
        tallies.add(two, "ann", CallMethod::Version);
        let taken = tallies.take();
        let calls = |count, method: CallMethod| MethodCalls { method: method.into(), count };
        assert_eq!(taken[&one][0].calls, [calls(2, CallMethod::Load)]);
        assert_eq!(taken[&two][0].tenant, "ann");
        assert!(tallies.take().is_empty());
        tallies.put_back(one, &taken[&one]);
        tallies.add(one, "will", CallMethod::Select);
        let again = tallies.take();
        assert_eq!(
            again[&one][0].calls,
            [calls(2, CallMethod::Load), calls(1, CallMethod::Select)]
        );
    }
}
