//! The directory as this process shares it, and its latest changes for those who follow.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use ranch_proto::directory::{Directory, SharedDirectory};
use ranch_proto::schema::{Record, WatchEvent};
use ranch_proto::versions::ClusterVersion;
use tokio::sync::watch;

/// Changes kept; a follower further behind gets the whole directory.
const RECENT_MAX: usize = 1_024;

/// The directory and its changes. The meta machine of this node writes it; until there is one,
/// and on nodes that are never to have one, it is empty.
#[derive(Debug)]
pub struct MetaFeed {
    directory: SharedDirectory,
    version: ClusterVersion,
    epoch: watch::Sender<u64>,
    recent: Mutex<VecDeque<WatchEvent>>,
}

impl MetaFeed {
    /// A feed of `directory`, which from now on nobody else may change.
    pub fn new(directory: SharedDirectory) -> Arc<Self> {
        let epoch = watch::Sender::new(directory.read().epoch);
        let version = ClusterVersion::default();
        version.learn(directory.read().version());
        Arc::new(Self { directory, version, epoch, recent: Mutex::default() })
    }

    /// The directory as of the last command applied. Never hold its lock across an await.
    pub fn directory(&self) -> &SharedDirectory {
        &self.directory
    }

    /// What the ranch has agreed to write.
    pub fn version(&self) -> &ClusterVersion {
        &self.version
    }

    /// Changes whenever the directory does; the value is its epoch.
    pub fn epochs(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// What a follower lacks that has everything up to `epoch` (0: nothing). Either changes, each
    /// with its epoch, or one event with the whole directory when it is too far behind.
    pub fn since(&self, epoch: u64) -> Vec<WatchEvent> {
        let recent = self.recent.lock();
        let directory = self.directory.read();
        if epoch >= directory.epoch {
            return Vec::new();
        }
        let follows = recent.front().is_some_and(|first| first.epoch <= epoch + 1);
        if epoch > 0 && follows {
            return recent.iter().filter(|event| event.epoch > epoch).cloned().collect();
        }
        let records = directory.records().collect();
        vec![WatchEvent { epoch: directory.epoch, full: true, records, routes: Vec::new() }]
    }

    /// Replaces the directory: at the start, and when a snapshot was installed.
    pub(super) fn reset(&self, directory: Directory) {
        self.recent.lock().clear();
        self.version.learn(directory.version());
        *self.directory.write() = directory;
    }

    /// Makes one change and returns its epoch. [`MetaFeed::announce`] tells the others.
    pub(super) fn change(&self, records: Vec<Record>) -> u64 {
        let mut recent = self.recent.lock();
        let mut directory = self.directory.write();
        directory.epoch += 1;
        let epoch = directory.epoch;
        records.iter().cloned().for_each(|record| directory.apply(record));
        self.version.learn(directory.version());
        recent.push_back(WatchEvent { epoch, full: false, records, routes: Vec::new() });
        if recent.len() > RECENT_MAX {
            recent.pop_front();
        }
        epoch
    }

    pub(super) fn announce(&self) {
        let epoch = self.directory.read().epoch;
        self.epoch.send_if_modified(|known| std::mem::replace(known, epoch) != epoch);
    }
}
