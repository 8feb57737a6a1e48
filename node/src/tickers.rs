//! What a node does by the clock: heartbeats of all groups it leads, together; the flush that makes
//! applied state durable, the purge of the log up to there; and whether garbage is collected.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ranch_proto::GroupId;
use ranch_proto::config::StorageConfig;
use tokio::time::{MissedTickBehavior, interval};

use crate::error::NodeError;
use crate::open::mib;
use crate::replicas::Replicas;

/// Sends the heartbeats of every group this node leads, all at one moment, so that they share
/// messages on the links.
pub(crate) async fn heartbeats(replicas: Arc<Replicas>, every: Duration) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for core in replicas.cores() {
            if core.is_leader() {
                // A replica that has stopped is reported by its own watcher.
                let _ = core.raft().trigger().heartbeat().await;
            }
        }
    }
}

/// Ends the node once damage is noted: nothing of it may be served.
pub(crate) async fn damage(replicas: Arc<Replicas>, dir: PathBuf) {
    /// How soon it is noticed.
    const LOOK: Duration = Duration::from_millis(100);

    let mut tick = interval(LOOK);
    loop {
        tick.tick().await;
        if let Some(what) = replicas.shared.damage.noted() {
            let fault = NodeError::Damaged { dir, what: what.to_owned() };
            // A full queue has faults enough.
            let _ = replicas.shared.faults.try_send(fault);
            return std::future::pending().await;
        }
    }
}

/// When to flush.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushOptions {
    /// Longest time between flushes.
    pub(crate) every: Duration,
    /// Log bytes written since the last flush that bring on the next.
    pub(crate) log_bytes: u64,
}

impl FlushOptions {
    pub(crate) fn of(storage: &StorageConfig) -> Self {
        let every = Duration::from_millis(storage.flush_interval_ms);
        Self { every, log_bytes: mib(storage.flush_log_mb) }
    }
}

/// Flushes the state store, then tells each group how far it is durable, up to where the log may
/// be purged.
pub(crate) async fn flushes(replicas: Arc<Replicas>, options: FlushOptions) {
    /// How often the amount of log is looked at.
    const LOOK: Duration = Duration::from_millis(500);

    let mut told: HashMap<GroupId, u64> = HashMap::new();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = tokio::time::Instant::now();
    let mut log_bytes = replicas.shared.log.stats().batch_bytes_sum;
    loop {
        tick.tick().await;
        look_after_databases(&replicas).await;
        let written = replicas.shared.log.stats().batch_bytes_sum;
        let due = last.elapsed() >= options.every;
        if written == log_bytes || !(due || written - log_bytes >= options.log_bytes) {
            continue;
        }
        (last, log_bytes) = (tokio::time::Instant::now(), written);
        let store = Arc::clone(&replicas.shared.store);
        let flushed = tokio::task::spawn_blocking(move || store.flush_and_publish()).await;
        match flushed {
            Ok(Ok(())) => tell(&replicas, &mut told).await,
            Ok(Err(error)) => tracing::warn!("cannot flush the state: {error}"),
            Err(error) => tracing::warn!("the flush did not end: {error}"),
        }
    }
}

/// How much of a group's log is kept although the state is on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepOptions {
    /// For members that are away.
    pub(crate) entries: u64,
    /// Of what all members have.
    pub(crate) bytes: u64,
}

impl KeepOptions {
    pub(crate) fn of(storage: &StorageConfig) -> Self {
        Self { entries: storage.log_keep_entries, bytes: mib(storage.log_keep_mb) }
    }
}

/// Purges the logs of what need not be kept.
pub(crate) async fn purges(replicas: Arc<Replicas>, keep: KeepOptions) {
    /// How often there may be something.
    const LOOK: Duration = Duration::from_millis(500);

    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for core in replicas.cores() {
            let surplus = replicas.shared.log.surplus(core.group(), keep.bytes);
            core.purge(keep.entries, surplus).await;
        }
    }
}

/// Has both databases collect garbage while there is enough of it. What is relocated beyond that is
/// written for nothing, so it is looked at often.
pub(crate) async fn garbage(replicas: Arc<Replicas>) {
    const LOOK: Duration = Duration::from_secs(1);

    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (store, log) = (Arc::clone(&replicas.shared.store), replicas.shared.log.clone());
        let regulating = tokio::task::spawn_blocking(move || {
            if let Err(error) = store.regulate_collection() {
                tracing::warn!("{error}");
            }
            if let Err(error) = log.regulate_collection() {
                tracing::warn!("{error}");
            }
        });
        // Fails only where the process ends.
        let _ = regulating.await;
    }
}

/// After a flush or merge that failed, a database may do neither until it is opened anew. With room
/// on the disk again the node ends for that; if files are damaged, with a note of it.
async fn look_after_databases(replicas: &Replicas) {
    let shared = &replicas.shared;
    let state_failed = shared.store.background_errors() > 0;
    if !state_failed && shared.log.background_errors() == 0 {
        return;
    }
    if state_failed && shared.damage.noted().is_none() {
        let store = Arc::clone(&shared.store);
        // What it finds, it notes.
        let _ = tokio::task::spawn_blocking(move || store.verify()).await;
    }
    if !replicas.room.disk().is_full() {
        // A full queue has faults enough.
        let _ = shared.faults.try_send(NodeError::Stuck);
    }
}

/// Triggers a snapshot (a note of where the durable state stands) of each group that has moved.
async fn tell(replicas: &Replicas, told: &mut HashMap<GroupId, u64>) {
    for core in replicas.cores() {
        let durable = replicas.durable(core.group());
        let known = told.entry(core.group()).or_default();
        if durable > *known && core.raft().trigger().snapshot().await.is_ok() {
            *known = durable;
        }
    }
}
