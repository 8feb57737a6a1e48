//! Calls of tenants, counted where their shard is led, and held to the tenants' limits there.
//!
//! What is counted waits in memory, in the books of its shard, and is noted in the shard's log
//! about once a second ([`flush`]): a crash loses a second's worth at most, and a shard without
//! calls costs nothing. What a leader has not noted when it is deposed goes to its successor.
//! Limits are judged here and nowhere else, so they hold over all routers.

mod account;
mod flush;
mod window;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use ranch_proto::schema::{CallMethod, MethodCalls, TenantCalls, TenantRecord, Usage};
use ranch_proto::{GroupId, ShardError};

use account::Account;
pub(crate) use flush::{flush, flushes, now_ms};

/// How often and how fast a tenant may call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CallLimits {
    pub(crate) rate_per_s: Option<f64>,
    pub(crate) calls_per_day: Option<u64>,
}

impl CallLimits {
    pub(crate) fn of(tenant: &TenantRecord) -> Self {
        Self { rate_per_s: tenant.rate_per_s, calls_per_day: tenant.calls_per_day }
    }
}

/// The books of all shards this node has led.
#[derive(Default)]
pub(crate) struct Accounts {
    shards: RwLock<BTreeMap<GroupId, Arc<Books>>>,
}

/// What has been called on one shard and not been noted.
#[derive(Default)]
pub(crate) struct Books {
    /// Held while calls are on their way from memory to rows. Who adds both up holds it too, so
    /// that no call is seen twice or not at all.
    pub(crate) gate: tokio::sync::Mutex<()>,
    accounts: Mutex<HashMap<Box<str>, Account>>,
    /// Tenants that have been warned of, until they are well below their quota again.
    warned: Mutex<std::collections::HashSet<String>>,
}

impl Accounts {
    /// The books of a shard.
    pub(crate) fn books(&self, group: GroupId) -> Arc<Books> {
        if let Some(books) = self.shards.read().get(&group) {
            return Arc::clone(books);
        }
        Arc::clone(self.shards.write().entry(group).or_default())
    }

    fn all(&self) -> Vec<(GroupId, Arc<Books>)> {
        let shards = self.shards.read();
        shards.iter().map(|(group, books)| (*group, Arc::clone(books))).collect()
    }

    /// Counts one call of a tenant, unless that is over its limits. `noted_today` reads how many
    /// calls of today are in the tenant's row; it is asked only where that matters.
    pub(crate) fn charge(
        &self,
        (group, tenant, method): (GroupId, &str, CallMethod),
        limits: CallLimits,
        now_ms: u64,
        noted_today: impl FnOnce() -> u64,
    ) -> Result<(), ShardError> {
        let charge = |account: &mut Account| account.charge(method, limits, now_ms, noted_today);
        self.books(group).with(tenant, charge)
    }
}

impl Books {
    fn with<T>(&self, tenant: &str, act: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get_mut(tenant) {
            return act(account);
        }
        act(accounts.entry(tenant.into()).or_default())
    }

    /// Takes back a call that was charged and then not carried out here.
    pub(crate) fn refund(&self, tenant: &str, method: CallMethod) {
        self.with(tenant, |account| account.take_back(method));
    }

    /// Forgets a tenant that is deleted for good.
    pub(crate) fn forget(&self, tenant: &str) {
        self.accounts.lock().remove(tenant);
        self.warned.lock().remove(tenant);
    }

    /// Counts calls that were answered without asking this shard.
    pub(crate) fn tally(&self, calls: &TenantCalls) {
        self.with(&calls.tenant, |account| {
            for MethodCalls { method, count } in &calls.calls {
                account.count(CallMethod::of_number(*method), *count);
            }
        });
    }

    /// [`Books::tally`] for several tenants.
    fn tally_all(&self, tenants: &[TenantCalls]) {
        for calls in tenants {
            self.tally(calls);
        }
    }

    /// Adds what is not noted yet to a tenant's usage as its rows have it, and brings `calls_today`
    /// to this day. The gate must be held since before the rows were read.
    pub(crate) fn add_pending(&self, tenant: &str, now_ms: u64, usage: &mut Usage) {
        let today = ranch_proto::calls::day_of(now_ms);
        if usage.calls_day != today {
            usage.calls_today = 0;
            usage.calls_day = today;
        }
        if let Some(account) = self.accounts.lock().get(tenant) {
            account.add_pending(now_ms, usage);
        }
    }

    /// Takes out what is to be noted now. Accounts that nothing more has to be known of go.
    fn take(&self, now_ms: u64) -> Vec<TenantCalls> {
        let mut taken = Vec::new();
        self.accounts.lock().retain(|tenant, account| {
            let calls = account.take();
            if !calls.is_empty() {
                taken.push(TenantCalls {
                    tenant: tenant.to_string(),
                    calls,
                    ..TenantCalls::default()
                });
            }
            account.is_needed(now_ms)
        });
        taken
    }

    /// Puts a day's count right by what the tenant's row says after it was written.
    fn correct(&self, tenant: &str, noted_today: u64) {
        if let Some(account) = self.accounts.lock().get_mut(tenant) {
            account.correct(noted_today);
        }
    }
}
