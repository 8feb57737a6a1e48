//! Once a second: what was called is noted in the shard's log, and tenants near their quota are
//! warned of.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use ranch_proto::calls::day_of;
use ranch_proto::schema::{Command, Request, Tally, TenantCalls, Usage, request};
use ranch_proto::versions::Feature;
use ranch_proto::{GroupId, NodeId, ShardError};
use tokio::time::{MissedTickBehavior, interval};

use super::Books;
use crate::replicas::Replicas;

/// Between two notes.
const EVERY: Duration = Duration::from_secs(1);
/// Most tenants noted with one command, so that it fits a log entry.
const TENANTS_MAX: usize = 1_000;
/// Longest a note may take; one that takes longer may be lost.
const NOTE_MAX: Duration = Duration::from_secs(2);
/// Share of its quota at which a tenant is warned of, and at which that is forgotten.
const WARN_AT: f64 = 0.9;
const FORGET_AT: f64 = 0.85;

/// Notes what was called, until it is dropped.
pub(crate) async fn flushes(replicas: Arc<Replicas>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        flush(&replicas).await;
    }
}

/// Notes what was called on all shards.
pub(crate) async fn flush(replicas: &Replicas) {
    let books = replicas.accounts.all();
    join_all(books.iter().map(|(group, books)| note(replicas, *group, books))).await;
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Notes what was called on one shard.
async fn note(replicas: &Replicas, group: GroupId, books: &Books) {
    if !replicas.shared.feed.version().allows(Feature::CallsInLog)
        || replicas.room.admit(group, || false).is_err()
    {
        // They are noted when every machine understands that, and there is room.
        return;
    }
    let gate = books.gate.lock().await;
    let calls = books.take(now_ms());
    if calls.is_empty() {
        return;
    }
    let tenants: Vec<String> = calls.iter().map(|calls| calls.tenant.clone()).collect();
    let noting = tokio::time::timeout(NOTE_MAX, propose(replicas, group, calls.clone()));
    match noting.await {
        Ok(Ok(())) => {
            drop(gate);
            for tenant in &tenants {
                look_after(replicas, group, books, tenant);
            }
        }
        Ok(Err(ShardError::NotLeader { leader: Some(leader), .. }))
            if leader != replicas.shared.node =>
        {
            hand_over(replicas, group, books, (leader, calls)).await;
        }
        Ok(Err(ShardError::Unknown { .. })) | Err(_) => {
            // Noting them again might count them twice.
            tracing::debug!(%group, "it is not known whether calls were noted");
        }
        Ok(Err(_)) => books.tally_all(&calls),
    }
}

async fn propose(
    replicas: &Replicas,
    group: GroupId,
    mut calls: Vec<TenantCalls>,
) -> Result<(), ShardError> {
    let shard = replicas.shard(group).ok_or(ShardError::NoReplica)?;
    {
        // Those of tenants that are gone count for nobody.
        let directory = replicas.shared.feed.directory().read();
        calls.retain_mut(|calls| {
            let known = directory.tenants.get(&calls.tenant).filter(|known| !known.purging);
            calls.life = known.map_or(0, |known| known.life);
            known.is_some()
        });
    }
    let mut noted = false;
    for some in calls.chunks(TENANTS_MAX) {
        let command = Command { calls: some.to_vec(), ..Command::default() };
        shard.propose(command).await.map_err(|error| match error {
            // Some of them were noted, and noting those again would count them twice.
            error if noted => ShardError::Unknown { detail: error.to_string() },
            error => error,
        })?;
        noted = true;
    }
    Ok(())
}

/// Gives calls counted by a leader that is none any more to its successor.
async fn hand_over(
    replicas: &Replicas,
    group: GroupId,
    books: &Books,
    (leader, calls): (NodeId, Vec<TenantCalls>),
) {
    let tally = Tally { tenants: calls.clone() };
    let request = Request {
        group: group.0,
        body: Some(request::Body::Tally(tally)),
        deadline_ms: NOTE_MAX.as_millis() as u32,
        ..Request::default()
    };
    let deadline = Instant::now() + NOTE_MAX;
    let sent = replicas.shared.links.call(leader, request, deadline).await;
    if matches!(
        sent,
        Err(ShardError::Unavailable { .. } | ShardError::NotLeader { .. } | ShardError::NoReplica)
    ) {
        books.tally_all(&calls);
    }
}

/// Puts a tenant's day right by what is noted now, and warns of a tenant that came near its quota.
fn look_after(replicas: &Replicas, group: GroupId, books: &Books, tenant: &str) {
    let Some(shard) = replicas.shard(group) else { return };
    let Ok(usage) = shard.reader().usage(tenant) else { return };
    if usage.calls_day == day_of(now_ms()) {
        books.correct(tenant, usage.calls_today);
    }
    let directory = replicas.shared.feed.directory().read();
    let quota = directory.tenants.get(tenant).and_then(|record| record.quota_bytes);
    drop(directory);
    watch_quota(books, tenant, &usage, quota);
}

fn watch_quota(books: &Books, tenant: &str, usage: &Usage, quota: Option<u64>) {
    let ratio = quota.map_or(0.0, |quota| usage.storage_bytes as f64 / quota.max(1) as f64);
    let mut warned = books.warned.lock();
    if ratio < FORGET_AT {
        warned.remove(tenant);
    } else if ratio >= WARN_AT && warned.insert(tenant.to_owned()) {
        let (used_bytes, quota_bytes) = (usage.storage_bytes, quota.unwrap_or(0));
        tracing::warn!(
            tenant,
            used_bytes,
            quota_bytes,
            "the tenant uses {:.0} % of its storage quota; at 100 % its writes are refused",
            (ratio * 100.0).floor()
        );
    }
}
