//! The log store of a node: opened once, shared by all its groups.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::Mutex;
use ranch_proto::GroupId;
use ranch_proto::schema::MetricFamily;
use tokio::sync::oneshot;

use super::engine::{EngineWriter, LogEngine};
use super::error::LogError;
use super::group_log::GroupLog;
use super::group_state::GroupState;
use super::options::LogOptions;
use super::queue::{QueueClosed, Write, WriteQueue};
use super::recovery::{FORMAT, FORMAT_KEY, Recovery, engine_failed};
use super::rocks::RocksEngine;
use super::stats::{Counters, LogStats};
use super::tail::Recovered;
use super::watermark::Watermark;
use super::writer::Writer;
use crate::damage::DamageNote;

/// The database, inside the log directory.
const DATABASE: &str = "db";
/// The watermark file, beside it.
const WATERMARK: &str = "watermark";

/// The Raft logs and votes of all groups of a node. Cheap to clone; the last handle closes it.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<RunningWriter>>,
}

struct RunningWriter {
    thread: thread::JoinHandle<()>,
    finished: oneshot::Receiver<()>,
}

/// What the handles, the readers and the log writer share.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: LogOptions,
    pub(super) engine: Arc<dyn LogEngine>,
    pub(super) queue: WriteQueue,
    pub(super) groups: Mutex<HashMap<GroupId, Arc<GroupState>>>,
    pub(super) cache: CacheSize,
    pub(super) counters: Counters,
    /// Sequence number up to which the log is on disk.
    pub(super) durable: AtomicU64,
    pub(super) damage: OnceLock<DamageNote>,
}

/// Bytes of all groups' tail caches.
#[derive(Debug, Default)]
pub(super) struct CacheSize(AtomicUsize);

impl CacheSize {
    pub(super) fn grow(&self, bytes: usize) {
        self.0.fetch_add(bytes, Relaxed);
    }

    pub(super) fn shrink(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Shared {
    /// Notes for the next start what cannot be read here, if it is lost.
    pub(super) fn note_damage(&self, error: &LogError) {
        if let (Some(loss), Some(note)) = (error.loss(), self.damage.get()) {
            tracing::error!(%error, "the log is damaged");
            note.note(loss);
        }
    }

    /// Brings the tail caches back below their limit, the fullest group first, with some slack so
    /// that this is not done for every batch.
    pub(super) fn evict(&self) {
        let limit = self.options.cache_bytes_max;
        if self.cache.get() <= limit {
            return;
        }
        let goal = limit - limit / 8;
        let mut groups: Vec<(usize, Arc<GroupState>)> = {
            let groups = self.groups.lock();
            let sized =
                |group: &Arc<GroupState>| (group.tail.lock().cached_bytes(), Arc::clone(group));
            groups.values().map(sized).collect()
        };
        groups.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, group) in groups {
            let Some(excess) = self.cache.get().checked_sub(goal).filter(|&bytes| bytes > 0) else {
                return;
            };
            let durable = group.durable_append();
            self.cache.shrink(group.tail.lock().evict(excess, durable));
        }
    }
}

impl LogStore {
    /// Opens the log in the directory `path`, making it if there is none. Blocks on the disk.
    ///
    /// # Errors
    /// When the directory is in use, was written by another version, has lost acknowledged
    /// entries, or cannot be read.
    pub fn open(path: &Path, options: LogOptions) -> Result<Self, LogError> {
        std::fs::create_dir_all(path).map_err(|source| LogError::Io {
            path: path.to_owned(),
            action: "creating",
            source,
        })?;
        let (engine, writer) = RocksEngine::open(&path.join(DATABASE), &options)
            .map_err(|source| engine_failed(path, "opening", source))?;
        Self::start(path, options, Arc::new(engine), Box::new(writer))
    }

    /// Checks what an opened engine holds and starts the log writer.
    fn start(
        path: &Path,
        options: LogOptions,
        engine: Arc<dyn LogEngine>,
        mut writer: Box<dyn EngineWriter>,
    ) -> Result<Self, LogError> {
        let recovery = Recovery { path, engine: &*engine };
        let watermark_path = path.join(WATERMARK);
        let watermark = if let Some(watermark) = recovery.check(&watermark_path)? {
            watermark
        } else {
            sync_parent(path)?;
            Watermark::create(&watermark_path)?
        };
        let groups = recovery.groups()?;
        let (watermark, sequence) = settle(path, writer.as_mut(), watermark)?;
        let state = |(id, found): (GroupId, Recovered)| (id, Arc::new(GroupState::new(id, &found)));
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            queue: WriteQueue::new(options.queue_bytes_max),
            options,
            engine,
            groups: Mutex::new(groups.into_iter().map(state).collect()),
            cache: CacheSize::default(),
            counters: Counters::default(),
            durable: AtomicU64::new(sequence),
            damage: OnceLock::new(),
        });
        let writer = spawn(Writer::new(Arc::clone(&shared), writer, watermark), path)?;
        Ok(Self { inner: Arc::new(Inner { shared, writer: Mutex::new(Some(writer)) }) })
    }

    /// The log of a group, empty if the store has none of it. One handle at a time may write.
    ///
    /// # Errors
    /// When the store has been closed.
    pub fn group(&self, group: GroupId) -> Result<GroupLog, LogError> {
        if self.inner.writer.lock().is_none() {
            return Err(LogError::Closed { group });
        }
        let mut groups = self.shared().groups.lock();
        let new = || Arc::new(GroupState::new(group, &Recovered::default()));
        let state = Arc::clone(groups.entry(group).or_insert_with(new));
        Ok(GroupLog::new(self.clone(), state))
    }

    /// The groups of which there is a vote or a log, in order.
    #[must_use]
    pub fn groups_with_data(&self) -> Vec<GroupId> {
        let groups = self.shared().groups.lock();
        let with_data = groups.values().filter(|group| group.tail.lock().has_data());
        let mut ids: Vec<GroupId> = with_data.map(|group| group.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Removes everything of a group, vote included, and returns when that is on disk. Handles of
    /// the group are of no use afterwards. Only for a replica whose id will never vote again.
    ///
    /// # Errors
    /// When the store has been closed.
    pub async fn remove_group(&self, group: GroupId) -> Result<(), LogError> {
        let Some(state) = self.shared().groups.lock().remove(&group) else { return Ok(()) };
        let (done, removed) = oneshot::channel();
        {
            let mut tail = state.tail.lock();
            self.shared().cache.shrink(tail.remove());
            let write = Write::Remove { group: Arc::clone(&state), done };
            let queued = self.shared().queue.push(write);
            queued.map_err(|QueueClosed| LogError::Closed { group })?;
        }
        removed.await.map_err(|_| LogError::Closed { group })
    }

    /// The store's counters now.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let shared = self.shared();
        shared.counters.snapshot(shared.queue.bytes(), shared.cache.get())
    }

    /// How far the log is on disk, as a number that grows with every write and never goes back in
    /// the life of a log.
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.shared().durable.load(Relaxed)
    }

    /// Up to which index each group has been purged, of those that have been.
    #[must_use]
    pub fn purged(&self) -> Vec<(GroupId, u64)> {
        let groups = self.shared().groups.lock();
        let purged = groups.values().map(|group| (group.id, group.tail.lock().purged()));
        purged.filter_map(|(group, purged)| Some((group, purged?.index))).collect()
    }

    /// The last of a group's entries that must go for the rest to have at most `bytes`, about;
    /// `None` when there are no more. What the log had when it was opened is not counted.
    #[must_use]
    pub fn surplus(&self, group: GroupId, bytes: u64) -> Option<u64> {
        let state = self.shared().groups.lock().get(&group).cloned()?;
        state.tail.lock().surplus(bytes)
    }

    /// From now on, notes damage there.
    pub fn note_damage_in(&self, note: DamageNote) {
        // Called once, by the node's start.
        let _ = self.shared().damage.set(note);
    }

    /// Begins to give back the space of purged entries, or ends it, by how much there is. To be
    /// called every few seconds. Blocks on the disk when it begins or ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn regulate_collection(&self) -> Result<(), LogError> {
        let path = &self.shared().path;
        let regulated = self.shared().engine.regulate_collection();
        regulated.map_err(|source| engine_failed(path, "collecting the garbage of", source))
    }

    /// Failures of the database's flushes and merges since it was opened.
    #[must_use]
    pub fn background_errors(&self) -> u64 {
        self.shared().engine.background_errors()
    }

    /// What the database says of itself.
    #[must_use]
    pub fn metrics(&self) -> Vec<MetricFamily> {
        self.shared().engine.metrics()
    }

    /// Writes what is queued and the newest commit marks, then stops the log writer. Writes that
    /// come later are refused. The directory is free once all handles are gone.
    pub async fn close(&self) {
        self.shared().queue.close();
        let writer = self.inner.writer.lock().take();
        if let Some(writer) = writer {
            // Fails only if the thread panicked, and then the process has been aborted.
            let _ = writer.finished.await;
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.get_mut().take() {
            // A panic there aborts the process, so there is no result to look at.
            let _ = writer.thread.join();
        }
    }
}

/// Makes what was recovered durable, and the watermark say so: entries found behind the old
/// watermark may be answered for from now on.
fn settle(
    path: &Path,
    writer: &mut dyn EngineWriter,
    mut watermark: Watermark,
) -> Result<(Watermark, u64), LogError> {
    writer.put(FORMAT_KEY, &FORMAT.to_be_bytes());
    let sequence = writer.commit().map_err(|source| engine_failed(path, "writing", source))?;
    let published = watermark.publish(sequence).and_then(|()| watermark.sync());
    published.map_err(|source| LogError::Io {
        path: watermark.path().to_owned(),
        action: "writing",
        source,
    })?;
    Ok((watermark, sequence))
}

/// Makes the log directory's own name durable; what lies in it is synced as it is made.
fn sync_parent(path: &Path) -> Result<(), LogError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let synced = std::fs::File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(|source| LogError::Io { path: parent.to_owned(), action: "syncing", source })
}

fn spawn(writer: Writer, path: &Path) -> Result<RunningWriter, LogError> {
    let (tell, finished) = oneshot::channel();
    let thread = thread::Builder::new().name("log-writer".into()).spawn(move || writer.run(tell));
    let thread = thread.map_err(|source| LogError::Io {
        path: path.to_owned(),
        action: "starting the log writer of",
        source,
    })?;
    Ok(RunningWriter { thread, finished })
}
