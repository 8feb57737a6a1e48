//! How much room a node's disk has, and what is kept back of it.
//!
//! A log that meets a full disk in the middle of a write ends the process, and a database that
//! cannot flush stops. So a node takes no more writes while there is still room, its reserve, for
//! what must go on: votes, flushes, and whatever makes room. A part of the reserve is held by a
//! file, against whoever else writes to the disk, and given up when the disk is full all the same.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tokio::sync::Notify;

use crate::error::NodeError;

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_millis(50);
/// The file that holds room.
const FILE: &str = "reserve";

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Everything.
    Room,
    /// What makes room, and what is needed for it: the reserve.
    Full,
    /// Votes and flushes alone.
    Exhausted,
}

/// The room on a node's disk, followed by a thread that ends with the last handle.
pub(crate) struct Disk {
    level: AtomicU8,
    free: AtomicU64,
    reserve: AtomicU64,
    changed: Notify,
}

impl Disk {
    /// Begins to follow the disk of `dir`, of which up to `reserve_max` bytes are kept back.
    pub(crate) fn watch(dir: &Path, reserve_max: u64) -> Result<Arc<Self>, NodeError> {
        let disk = Arc::new(Self {
            level: AtomicU8::new(Level::Room as u8),
            free: AtomicU64::new(0),
            reserve: AtomicU64::new(0),
            changed: Notify::new(),
        });
        let failed = |action| {
            let path = dir.to_owned();
            move |source| NodeError::File { action, path, source }
        };
        fs::create_dir_all(dir).map_err(failed("create"))?;
        let (dir_owned, file) = (dir.to_owned(), dir.join(FILE));
        let mut watcher = Watcher { dir: dir_owned, file, reserve_max, holds: true };
        watcher.look(&disk).map_err(failed("measure the disk of"))?;
        let weak = Arc::downgrade(&disk);
        let started = thread::Builder::new().name("disk".into()).spawn(move || watcher.run(&weak));
        started.map_err(failed("start to watch the disk of"))?;
        Ok(disk)
    }

    /// What there is room for.
    pub(crate) fn level(&self) -> Level {
        match self.level.load(Relaxed) {
            0 => Level::Room,
            1 => Level::Full,
            _ => Level::Exhausted,
        }
    }

    /// Whether there is room for no more than the reserve is for.
    pub(crate) fn is_full(&self) -> bool {
        self.level() != Level::Room
    }

    /// Bytes that may still be written.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free.load(Relaxed)
    }

    /// Free bytes below which the disk counts as full.
    pub(crate) fn reserve_bytes(&self) -> u64 {
        self.reserve.load(Relaxed)
    }

    /// Waits until the level is another one; may also return when it is not.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// As [`Self::changed`], but at most a second.
    pub(crate) async fn changed_or_a_second(&self) {
        // Either way it is time to look again.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.changed()).await;
    }

    /// Waits until databases can be opened, which writes.
    pub(crate) async fn wait_to_open(&self) {
        let mut said = false;
        while self.level() == Level::Exhausted {
            if !said {
                tracing::error!(
                    free_mb = self.free_bytes() >> 20,
                    "the disk is full: this node waits for room before it opens its data"
                );
                said = true;
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// The thread that looks.
struct Watcher {
    dir: PathBuf,
    file: PathBuf,
    reserve_max: u64,
    /// Whether the file system can hold room.
    holds: bool,
}

impl Watcher {
    fn run(mut self, disk: &Weak<Disk>) {
        let mut failing = false;
        while let Some(disk) = disk.upgrade() {
            let looked = self.look(&disk);
            if let (Err(error), false) = (&looked, failing) {
                tracing::warn!(%error, "cannot measure the room on the disk");
            }
            failing = looked.is_err();
            drop(disk);
            // Nobody wakes it: a sleep that needs no runtime.
            thread::park_timeout(EVERY);
        }
    }

    fn look(&mut self, disk: &Disk) -> io::Result<()> {
        let before = disk.level();
        let held = fs::metadata(&self.file).map_or(0, |file| file.blocks() * 512);
        let seen = self.measure(held)?;
        let (level, step) = seen.judge(before);
        disk.free.store(seen.free + seen.held, Relaxed);
        disk.reserve.store(seen.reserve, Relaxed);
        match step {
            Step::None => {}
            Step::GiveUp => fs::remove_file(&self.file)?,
            Step::Hold => {
                if self.holds && hold(&self.file, seen.reserve / HELD_PART).is_err() {
                    tracing::info!("this file system holds no room for files before they need it");
                    self.holds = false;
                }
            }
        }
        if level != before {
            disk.level.store(level as u8, Relaxed);
            say(level, &seen);
            disk.changed.notify_waiters();
        }
        Ok(())
    }

    /// The fuller one where log and state are on disks of their own.
    fn measure(&self, held: u64) -> io::Result<Seen> {
        let mut seen: Option<Seen> = None;
        for dir in [self.dir.clone(), self.dir.join("log"), self.dir.join("state")] {
            let Ok(disk) = statvfs(&dir).map_err(io::Error::from) else { continue };
            let reserve = self.reserve_max.min(disk.f_blocks * disk.f_frsize / 10);
            let now = Seen { free: disk.f_bavail * disk.f_frsize, held, reserve };
            if seen.as_ref().is_none_or(|seen| now.free < seen.free) {
                seen = Some(now);
            }
        }
        seen.ok_or_else(|| io::Error::other("the file system does not say"))
    }
}

fn say(level: Level, seen: &Seen) {
    let (free_mb, reserve_mb) = ((seen.free + seen.held) >> 20, seen.reserve >> 20);
    match level {
        Level::Room => tracing::info!(free_mb, "the disk has room again: writes are taken"),
        Level::Full => tracing::warn!(
            free_mb,
            reserve_mb,
            "the disk is full but for what is kept back: no writes are taken here, reads go on"
        ),
        Level::Exhausted => tracing::error!(
            free_mb,
            "the disk is full, and what was kept back is used up: no entries are taken here"
        ),
    }
}

/// Makes the file that holds room, whole or not at all.
fn hold(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path)?;
    let held = fallocate(&file, FallocateFlags::empty(), 0, bytes);
    held.map_err(|error| {
        // What is left of it goes with the next look.
        let _ = fs::remove_file(path);
        error.into()
    })
}

/// One part in so many of the reserve is held by the file.
const HELD_PART: u64 = 2;
/// With less free than one part in so many of the reserve, the file is given up.
const GIVE_UP_PART: u64 = 4;
/// With less than one part in so many, entries are no longer taken.
const LAST_PART: u64 = 8;

/// A disk as seen at one moment, in bytes.
struct Seen {
    free: u64,
    /// Held by the file, beside what is free.
    held: u64,
    reserve: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    None,
    /// Make the file.
    Hold,
    /// Remove it.
    GiveUp,
}

impl Seen {
    /// What there is room for, and what to do about the file. A disk that was full counts as such
    /// until there is a quarter more than needed, so that it does not change with every write.
    fn judge(&self, before: Level) -> (Level, Step) {
        let Self { free, held, reserve } = *self;
        let all = free + held;
        let plenty = all >= reserve + reserve / 4;
        let step = match held {
            0 if plenty => Step::Hold,
            1.. if free < reserve / GIVE_UP_PART => Step::GiveUp,
            _ => Step::None,
        };
        let level = if all < reserve / LAST_PART {
            Level::Exhausted
        } else if all < reserve || (before != Level::Room && !plenty) {
            Level::Full
        } else {
            Level::Room
        };
        (level, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(free: u64, held: u64, before: Level) -> (Level, Step) {
        Seen { free, held, reserve: 800 }.judge(before)
    }

    #[test]
    fn a_disk_fills_and_empties_by_steps() {
        use Level::{Exhausted, Full, Room};
        assert_eq!(judged(2_000, 0, Room), (Room, Step::Hold));
        assert_eq!(judged(1_600, 400, Room), (Room, Step::None));
        assert_eq!(judged(399, 400, Room), (Full, Step::None));
        assert_eq!(judged(199, 400, Full), (Full, Step::GiveUp));
        assert_eq!(judged(599, 0, Full), (Full, Step::None));
        assert_eq!(judged(99, 0, Full), (Exhausted, Step::None));
        assert_eq!(judged(100, 0, Exhausted), (Full, Step::None));
        assert_eq!(judged(999, 0, Full), (Full, Step::None), "not yet enough to change back");
        assert_eq!(judged(1_000, 0, Full), (Room, Step::Hold));
    }

    #[test]
    fn room_taken_by_others_at_a_stroke_leaves_what_the_file_held() {
        assert_eq!(judged(0, 400, Level::Room), (Level::Full, Step::GiveUp));
        assert_eq!(judged(400, 0, Level::Full), (Level::Full, Step::None));
    }

    #[test]
    fn the_file_takes_the_room_it_holds() {
        let dir = std::env::temp_dir().join(format!("ranch-disk-{}", std::process::id()));
        let disk = Disk::watch(&dir, 8 << 20).unwrap();
        assert_eq!(disk.level(), Level::Room);
        assert!(disk.free_bytes() > disk.reserve_bytes());
        let held = fs::metadata(dir.join(FILE)).unwrap();
        assert_eq!((held.len(), held.blocks() * 512 >= 4 << 20), (4 << 20, true));
        drop(disk);
        fs::remove_dir_all(dir).unwrap();
    }
}
