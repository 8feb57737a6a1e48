//! The task that follows a tenants file: it wakes when the file is touched, when the directory
//! changes, when somebody asks, and now and then in case none of these was noticed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use ranch_proto::Shards;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::sync::{Sync, Why};
use super::{Summary, TenantsFileError};

/// An editor writes a file in several steps; this long after the last one it is looked at.
const QUIET: Duration = Duration::from_millis(150);
/// But not longer than this after the first.
const QUIET_MAX: Duration = Duration::from_secs(1);
/// A file that makes no sense is looked at again so much later before that is said: it may have
/// been read half-written.
const SECOND_LOOK: Duration = Duration::from_millis(700);
/// How often it is looked whether the file was touched without anybody noticing.
const POLL: Duration = Duration::from_secs(2);
/// After a failure that is not the file's.
const RETRY: Duration = Duration::from_secs(1);
/// Requests that may wait.
const REQUESTS: usize = 8;

type Answer = Result<Summary, TenantsFileError>;

/// Handle to the task that follows a tenants file, which ends with it.
#[derive(Debug)]
pub struct TenantsFile {
    requests: mpsc::Sender<oneshot::Sender<Answer>>,
    errors: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl TenantsFile {
    /// Follows the file at `path`, from a first look on.
    pub fn start<S: Shards>(shards: Arc<S>, path: PathBuf) -> Self {
        let (requests, waiting) = mpsc::channel(REQUESTS);
        let errors = Arc::<AtomicU64>::default();
        let follower = Follower {
            epochs: shards.epochs(),
            sync: Sync::new(shards, path.clone()),
            path,
            errors: Arc::clone(&errors),
            stamp: None,
            said: None,
            warned: Vec::new(),
        };
        Self { requests, errors, task: tokio::spawn(follower.run(waiting)) }
    }

    /// Looks at the file now, also at changes that wait to be asked for.
    ///
    /// # Errors
    /// See [`TenantsFileError`].
    pub async fn reload(&self) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| TenantsFileError::NoRanch)?;
        answer.await.unwrap_or(Err(TenantsFileError::NoRanch))
    }

    /// How often the file could not be brought into force so far.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

impl Drop for TenantsFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What tells one state of a file from another without reading it.
type Stamp = (u64, Option<SystemTime>, u64);

struct Follower<S> {
    sync: Sync<S>,
    path: PathBuf,
    epochs: watch::Receiver<u64>,
    errors: Arc<AtomicU64>,
    /// Of the file at the last look.
    stamp: Option<Stamp>,
    /// The failure last reported, which is not repeated.
    said: Option<String>,
    /// What was passed over at the last look.
    warned: Vec<String>,
}

impl<S: Shards> Follower<S> {
    async fn run(mut self, mut requests: mpsc::Receiver<oneshot::Sender<Answer>>) {
        let touched = Arc::new(Notify::new());
        // Kept while this runs: it reports only as long.
        let _watcher = watcher(&self.path, &touched);
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry = self.look(Why::Asked).await.is_err_and(|error| error.may_pass());
        loop {
            tokio::select! {
                () = touched.notified() => settle(&touched).await,
                Ok(()) = self.epochs.changed() => settle_epochs(&mut self.epochs).await,
                Some(reply) = requests.recv() => {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.look(Why::Asked).await);
                    continue;
                }
                _ = poll.tick() => {
                    if !retry && stamp(&self.path) == self.stamp {
                        continue;
                    }
                }
                () = tokio::time::sleep(RETRY), if retry => {}
            }
            retry = self.look_twice().await.is_err_and(|error| error.may_pass());
        }
    }

    /// Looks, and looks again before a file is called broken.
    async fn look_twice(&mut self) -> Answer {
        self.stamp = stamp(&self.path);
        match self.sync.look(Why::Noticed).await {
            Err(
                TenantsFileError::Contents { .. }
                | TenantsFileError::TooManyRemovals { .. }
                | TenantsFileError::Missing,
            ) if self.said.is_none() => {
                tokio::time::sleep(SECOND_LOOK).await;
                self.look(Why::Noticed).await
            }
            answer => self.report(answer),
        }
    }

    async fn look(&mut self, why: Why) -> Answer {
        self.stamp = stamp(&self.path);
        let answer = self.sync.look(why).await;
        self.report(answer)
    }

    /// Says what happened, once.
    fn report(&mut self, answer: Answer) -> Answer {
        let file = self.path.display();
        match &answer {
            Ok(summary) => {
                let Summary { made, added, changed, disabled, written_back, .. } = summary;
                let idle = !made && !written_back && added + changed + disabled == 0;
                if !idle || self.said.is_some() {
                    let what = "the tenants file is in force";
                    tracing::info!(%file, added, changed, disabled, written_back, "{what}");
                }
                let news = summary.warnings.iter().filter(|warning| !self.warned.contains(warning));
                for warning in news {
                    tracing::warn!(%file, "{warning}");
                }
                self.warned.clone_from(&summary.warnings);
                self.said = None;
            }
            Err(error) => {
                let sentence = error.to_string();
                if self.said.as_ref() != Some(&sentence) {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%file, "{sentence}");
                    self.said = Some(sentence);
                }
            }
        }
        answer
    }
}

/// Watches the directory of a file, since most editors put a new file in the old one's place.
fn watcher(path: &Path, touched: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let name = path.file_name()?.to_owned();
    let notify = Arc::clone(touched);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let ours = event.paths.iter().any(|path| path.file_name() == Some(&name));
        if ours && !matches!(event.kind, EventKind::Access(_)) {
            notify.notify_one();
        }
    });
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let running = watcher.and_then(|mut watcher| {
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    running
        .inspect_err(|error| {
            let file = path.display();
            tracing::warn!(%file, %error, "cannot watch the tenants file, so it is polled");
        })
        .ok()
}

/// Waits until a file has not been touched for a moment.
async fn settle(touched: &Notify) {
    let latest = Instant::now() + QUIET_MAX;
    while timeout_at(latest.min(Instant::now() + QUIET), touched.notified()).await.is_ok() {}
}

/// Waits until the directory has not changed for a moment.
async fn settle_epochs(epochs: &mut watch::Receiver<u64>) {
    let latest = Instant::now() + QUIET_MAX;
    while let Ok(Ok(())) = timeout_at(latest.min(Instant::now() + QUIET), epochs.changed()).await {}
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&about);
    #[cfg(not(unix))]
    let inode = 0;
    Some((about.len(), about.modified().ok(), inode))
}
