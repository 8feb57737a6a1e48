//! Faults of what a stopped node finds when it starts again: bytes that rotted, or a backup from
//! some time ago in place of what it had.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::{Blow, FaultKind};
use crate::error::HarnessError;
use crate::ranch::Ranch;
use crate::tool;

/// What is damaged at a stroke, as in a bad sector or a write that went astray.
const BLOCK: u64 = 4096;
/// Where a backup is kept, beside the data.
const BACKUP: &str = "backup";

/// Nodes that will start from bad data.
#[derive(Debug)]
pub struct Rotten {
    kind: FaultKind,
    nodes: Vec<u32>,
    /// Bytes that are not what they were.
    changed: u64,
}

impl Rotten {
    /// Stops nodes and damages what they have; for a stale backup, copies it and lets them go on.
    ///
    /// # Errors
    /// When one is not running, or its files cannot be changed.
    pub fn begin(blow: Blow<'_>, ranch: &mut Ranch, rng: &mut Rng) -> Result<Self, HarnessError> {
        let Blow { spec, nodes, .. } = blow;
        let mut changed = 0;
        ranch.revive()?;
        for &node in nodes {
            ranch.node(node)?.kill()?;
            let dir = ranch.node_place(node)?.data_dir.clone();
            if spec.kind == FaultKind::StaleBackup {
                copy(&dir, &backup_of(&dir))?;
                ranch.node(node)?.start()?;
            } else {
                changed += damage(&dir, rng).map_err(HarnessError::io("damaging files"))?;
            }
        }
        Ok(Self { kind: spec.kind, nodes: nodes.to_vec(), changed })
    }

    /// Has them run on what is there now. Gives how much of it is not what it was.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn heal(mut self, ranch: &mut Ranch) -> Result<u64, HarnessError> {
        for &node in &self.nodes {
            if self.kind == FaultKind::StaleBackup {
                if ranch.node(node)?.is_running() {
                    ranch.node(node)?.kill()?;
                }
                let dir = ranch.node_place(node)?.data_dir.clone();
                let backup = backup_of(&dir);
                self.changed += u64::from(newest(&dir) > newest(&backup));
                fs::remove_dir_all(&dir).map_err(HarnessError::io("restoring a backup"))?;
                fs::rename(&backup, &dir).map_err(HarnessError::io("restoring a backup"))?;
            }
            ranch.node(node)?.start()?;
        }
        Ok(self.changed)
    }
}

fn backup_of(dir: &Path) -> PathBuf {
    dir.with_file_name(BACKUP)
}

fn copy(from: &Path, to: &Path) -> Result<(), HarnessError> {
    let _ = fs::remove_dir_all(to);
    let paths = [from.to_string_lossy(), to.to_string_lossy()];
    tool::run("cp", &["-a", "--sparse=always", &paths[0], &paths[1]]).map(drop)
}

/// When anything in a log was last written.
fn newest(dir: &Path) -> Option<std::time::SystemTime> {
    let entries = fs::read_dir(dir.join("log/db")).ok()?.flatten();
    entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
}

/// Changes a few bytes of one file of a node. Returns how many.
fn damage(dir: &Path, rng: &mut Rng) -> std::io::Result<u64> {
    let mut files = Vec::new();
    for part in ["log", "log/db", "state/db"] {
        for entry in fs::read_dir(dir.join(part))?.flatten() {
            let path = entry.path();
            // Files of RocksDB's own log say what happened, and nothing reads them.
            let read =
                !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("LOG"));
            if read && entry.metadata()?.is_file() && entry.metadata()?.len() > 0 {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut changed = 0;
    // A file may hold nothing but zeros where it is hit: then another one.
    while changed == 0 && !files.is_empty() {
        let path = files.swap_remove(rng.usize(..files.len()));
        changed = damage_file(&path, rng)?;
    }
    Ok(changed)
}

fn damage_file(path: &Path, rng: &mut Rng) -> std::io::Result<u64> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let blocks = length.div_ceil(BLOCK);
    let at = rng.u64(..blocks) * BLOCK;
    let mut block = vec![0; BLOCK.min(length - at) as usize];
    file.read_exact_at(&mut block, at)?;
    let before = block.clone();
    match rng.u8(..4) {
        // A bit.
        0 => {
            let bit = rng.usize(..block.len() * 8);
            block[bit / 8] ^= 1 << (bit % 8);
        }
        // A sector that reads as zeros.
        1 => block.fill(0),
        // What belongs elsewhere.
        2 if blocks > 1 => {
            let other = rng.u64(..blocks) * BLOCK;
            let mut strange = vec![0; block.len().min((length - other) as usize)];
            file.read_exact_at(&mut strange, other)?;
            block[..strange.len()].copy_from_slice(&strange);
        }
        // The end is missing.
        _ => {
            let keep = length - rng.u64(1..=length.min(BLOCK));
            file.set_len(keep)?;
            file.sync_all()?;
            return Ok(length - keep);
        }
    }
    file.write_all_at(&block, at)?;
    file.sync_all()?;
    Ok(before.iter().zip(&block).filter(|(a, b)| a != b).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_changes_a_file_and_counts_what_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        for part in ["log/db", "state/db"] {
            fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        let bytes: Vec<u8> = (0..20_000_u32).map(|at| (at * 7 % 251) as u8).collect();
        let path = dir.path().join("state/db/1.sst");
        fs::write(dir.path().join("log/db/LOG"), "not this one").unwrap();
        for seed in 0..40 {
            fs::write(&path, &bytes).unwrap();
            let changed = damage(dir.path(), &mut Rng::with_seed(seed)).unwrap();
            let found = fs::read(&path).unwrap();
            let cut = (bytes.len() - found.len()) as u64;
            let differ = bytes.iter().zip(&found).filter(|(a, b)| a != b).count() as u64;
            assert_eq!(changed, cut + differ);
            assert!(changed > 0 || differ == 0, "seed {seed}");
        }
        assert_eq!(fs::read(dir.path().join("log/db/LOG")).unwrap(), b"not this one");
    }
}
