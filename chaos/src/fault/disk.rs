//! Faults of a node's own disk while the node runs: full, stalled, slow, with an `fsync` or a
//! write that fails, or without power at one instant.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fastrand::Rng;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tokio::task::JoinHandle;

use super::{Blow, FaultKind};
use crate::error::HarnessError;
use crate::ranch::Ranch;
use crate::tool;

/// What fills a disk.
const FILLER: &str = "filler";
/// Written and not synced just before the power goes, to see that such bytes are really lost.
const UNSYNCED: &str = "unsynced";
/// A slow disk stands still for between these many milliseconds, …
const STILL_MS: [u64; 2] = [40, 200];
/// … and then works for so long.
const MOVING: Duration = Duration::from_millis(25);
/// Calls a process may make before one fails.
const CALLS_MAX: u32 = 60;

/// Disks with a fault.
#[derive(Debug)]
pub enum Faulty {
    /// So many took no more bytes.
    Full(Vec<PathBuf>),
    /// Nothing can be written, and who tries waits.
    Stalled(Vec<Frozen>),
    /// They stand still again and again.
    Slow(Vec<Stutter>),
    /// A call failed, or is to fail.
    Failing(Vec<Failing>),
    /// Off, with their machines: which, and on how many something not synced was lost.
    Off(Vec<u32>, u64),
}

impl Faulty {
    /// Strikes the disks of nodes.
    ///
    /// # Errors
    /// When a node has no disk of its own, or a tool refuses.
    pub fn begin(blow: Blow<'_>, ranch: &mut Ranch, rng: &mut Rng) -> Result<Self, HarnessError> {
        let Blow { spec, nodes, .. } = blow;
        let mounts = nodes.iter().map(|node| mount_of(ranch, *node)).collect::<Result<Vec<_>, _>>();
        let mounts = mounts?;
        match spec.kind {
            FaultKind::DiskFull => {
                mounts.iter().try_for_each(|mount| fill(mount))?;
                Ok(Self::Full(mounts))
            }
            FaultKind::DiskStall => {
                let frozen = mounts.into_iter().map(Frozen::begin);
                frozen.collect::<Result<_, _>>().map(Self::Stalled)
            }
            FaultKind::DiskSlow => {
                Ok(Self::Slow(mounts.into_iter().map(|m| Stutter::begin(m, rng)).collect()))
            }
            FaultKind::PowerCut => cut_power(nodes, &mounts, ranch),
            _ => {
                let failing = nodes.iter().map(|node| Failing::begin(*node, ranch, rng));
                failing.collect::<Result<_, _>>().map(Self::Failing)
            }
        }
    }

    /// Makes the disks well. Gives how often the fault bit.
    ///
    /// # Errors
    /// When a tool or a process does not do as it is told.
    pub fn heal(self, ranch: &mut Ranch) -> Result<u64, HarnessError> {
        match self {
            Self::Full(mounts) => {
                let full = mounts.iter().filter(|mount| is_nearly_full(mount)).count();
                for mount in mounts {
                    let emptied = std::fs::remove_file(mount.join(FILLER));
                    emptied.map_err(HarnessError::io("emptying a full disk"))?;
                }
                Ok(full as u64)
            }
            Self::Stalled(frozen) => {
                let count = frozen.len() as u64;
                frozen.into_iter().try_for_each(Frozen::end).map(|()| count)
            }
            Self::Slow(slow) => Ok(slow.iter().map(Stutter::times).sum()),
            Self::Failing(failing) => {
                let failed = failing.into_iter().map(|one| one.end(ranch));
                failed.sum::<Result<u64, _>>()
            }
            Self::Off(nodes, lost) => {
                for node in nodes {
                    if let Some(disk) = ranch.disk(node) {
                        disk.mount()?;
                    }
                    ranch.node(node)?.start()?;
                }
                Ok(lost)
            }
        }
    }
}

fn mount_of(ranch: &Ranch, node: u32) -> Result<PathBuf, HarnessError> {
    let reason = || format!("node {node} has no disk of its own; set disk_mib in [ranch]");
    let disk = ranch.disk(node).ok_or_else(|| HarnessError::NoWorld { reason: reason() })?;
    Ok(disk.mount.clone())
}

/// Takes all the room there is on a disk but for a few blocks.
fn fill(mount: &Path) -> Result<(), HarnessError> {
    let filling = "filling a disk";
    let stat = statvfs(mount).map_err(|error| HarnessError::io(filling)(error.into()))?;
    let filler = std::fs::File::create(mount.join(FILLER)).map_err(HarnessError::io(filling))?;
    let room = stat.f_bavail * stat.f_frsize;
    // Some of it goes into describing the file, and some to whoever was quicker.
    let mut less = (0..400).map(|steps| room.saturating_sub(steps << 16));
    let flags = FallocateFlags::empty();
    if less.any(|bytes| bytes > 0 && fallocate(&filler, flags, 0, bytes).is_ok()) {
        return Ok(());
    }
    Err(HarnessError::NoWorld { reason: "a disk could not be filled".to_owned() })
}

/// Whether so little is free that a node must have noticed: a tenth. It has given up its own
/// reserve by then.
fn is_nearly_full(mount: &Path) -> bool {
    statvfs(mount).is_ok_and(|stat| stat.f_bavail < stat.f_blocks / 10)
}

/// A file system that is frozen, until this is dropped.
#[derive(Debug)]
pub struct Frozen {
    mount: Option<PathBuf>,
}

impl Frozen {
    fn begin(mount: PathBuf) -> Result<Self, HarnessError> {
        tool::run("fsfreeze", &["--freeze", &mount.to_string_lossy()])?;
        Ok(Self { mount: Some(mount) })
    }

    fn end(mut self) -> Result<(), HarnessError> {
        self.mount.take().map_or(Ok(()), |mount| thaw(&mount))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(mount) = self.mount.take() {
            // What cannot be thawed cannot be unmounted either, and then that is complained about.
            let _ = thaw(&mount);
        }
    }
}

fn thaw(mount: &Path) -> Result<(), HarnessError> {
    tool::run("fsfreeze", &["--unfreeze", &mount.to_string_lossy()]).map(drop)
}

/// A disk that stands still again and again, until this is dropped: every `fsync` takes long.
#[derive(Debug)]
pub struct Stutter {
    times: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

impl Stutter {
    fn begin(mount: PathBuf, rng: &mut Rng) -> Self {
        let (times, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stop, mut rng) = (Arc::clone(&times), Arc::clone(&ended), rng.fork());
        let task = tokio::task::spawn_blocking(move || {
            while !stop.load(Relaxed) {
                let still = Duration::from_millis(rng.u64(STILL_MS[0]..=STILL_MS[1]));
                let Ok(frozen) = Frozen::begin(mount.clone()) else { return };
                std::thread::park_timeout(still);
                drop(frozen);
                counter.fetch_add(1, Relaxed);
                std::thread::park_timeout(MOVING);
            }
        });
        Self { times, ended, task: Some(task) }
    }

    fn times(&self) -> u64 {
        self.times.load(Relaxed)
    }
}

impl Drop for Stutter {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        // It thaws the disk within a moment, and the runtime waits for it at its end.
        drop(self.task.take());
    }
}

/// A process that is told of a failure of its disk by one of its next calls.
#[derive(Debug)]
pub struct Failing {
    node: u32,
    lives: u64,
    tracer: Child,
}

impl Failing {
    fn begin(node: u32, ranch: &mut Ranch, rng: &mut Rng) -> Result<Self, HarnessError> {
        let process = ranch.node(node)?;
        let lives = process.lives();
        let not_running = || HarnessError::NotRunning { name: format!("node {node}") };
        let pid = process.pid().ok_or_else(not_running)?.to_string();
        let (calls, error) = *rng
            .choice(&[
                ("fsync,fdatasync,sync_file_range", "EIO"),
                ("fdatasync", "EIO"),
                ("write,pwrite64", "ENOSPC"),
                ("write,pwrite64", "EIO"),
            ])
            .unwrap_or(&("fdatasync", "EIO"));
        let when = rng.u32(1..=CALLS_MAX);
        // Writes to sockets go by other calls, and the log of the process is no harm.
        let inject = format!("inject={calls}:error={error}:when={when}+");
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid, "-e"])
            .arg(format!("trace={calls}"))
            .args(["-e", &inject])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(HarnessError::io("starting strace; `scripts/deps chaos` installs it"))?;
        Ok(Self { node, lives, tracer })
    }

    /// Ends it. Gives the number of times the process ended over it.
    fn end(mut self, ranch: &mut Ranch) -> Result<u64, HarnessError> {
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
        ranch.revive()?;
        Ok(ranch.node(self.node)?.lives() - self.lives)
    }
}

/// Takes the power from nodes at one instant: whatever is not synced by then is gone.
fn cut_power(nodes: &[u32], mounts: &[PathBuf], ranch: &mut Ranch) -> Result<Faulty, HarnessError> {
    // A node under way back from another fault has nothing to lose.
    ranch.revive()?;
    nodes.iter().try_for_each(|node| ranch.node(*node)?.pause())?;
    for mount in mounts {
        // Right before, since the kernel writes by itself what is not synced when much is.
        let written = std::fs::write(mount.join(UNSYNCED), [7; 4096]);
        written.map_err(HarnessError::io("writing what is to be lost"))?;
        tool::run("xfs_io", &["-x", "-c", "shutdown", &mount.to_string_lossy()])?;
    }
    for node in nodes {
        ranch.node(*node)?.kill()?;
    }
    let mut lost = 0;
    for (node, mount) in nodes.iter().zip(mounts) {
        let Some(disk) = ranch.disk(*node) else { continue };
        disk.unmount()?;
        disk.mount()?;
        let kept = std::fs::read(mount.join(UNSYNCED)).unwrap_or_default();
        lost += u64::from(kept != [7; 4096]);
        if !kept.is_empty() {
            // One that reached the disk all the same must not be taken for the next one.
            let removed = std::fs::remove_file(mount.join(UNSYNCED));
            removed.map_err(HarnessError::io("removing what was not lost"))?;
        }
        disk.unmount()?;
    }
    Ok(Faulty::Off(nodes.to_vec(), lost))
}
