//! The directory backups are in:
//!
//! ```text
//! ranch-backup            "ranch-backup 1": what this is
//! lock                    held by whoever changes anything here
//! chunks/ab/cdef…         chunks by the hex of their digest
//! backups/NAME/manifest   one backup, see [`super::manifest`]
//! ```
//!
//! Chunks are put in place whole, and a manifest only when all its chunks are on disk. What was cut
//! short has no manifest: its chunks are used by the next run, after a look at their bytes.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ranch_proto::backup::{Digest, digest};
use ranch_proto::hex;
use rustix::fs::{Advice, FlockOperation, fadvise, flock, syncfs};

use super::error::BackupError;
use super::manifest::{ChunkRef, Manifest};

const FORMAT: &str = "ranch-backup 1\n";
const FORMAT_FILE: &str = "ranch-backup";
const LOCK_FILE: &str = "lock";
const CHUNKS: &str = "chunks";
const BACKUPS: &str = "backups";
const MANIFEST: &str = "manifest";
/// Of what is not complete.
const PART: &str = ".part";

/// A directory of backups.
pub struct Dir {
    root: PathBuf,
    /// Chunks begun so far: two of one name may be under way at once.
    begun: AtomicU64,
    _lock: File,
}

/// A backup that can be read.
pub struct Stored {
    /// Its name.
    pub name: String,
    /// What it consists of.
    pub manifest: Manifest,
    /// The manifest's digest, by which the backup is told from others.
    pub digest: Digest,
}

impl Dir {
    /// Opens the directory to take a backup in, making it where there is none. Nobody else may use
    /// it meanwhile.
    pub fn open_or_make(root: &Path) -> Result<Self, BackupError> {
        make(root)?;
        let format = root.join(FORMAT_FILE);
        if !format.exists() {
            let mut entries = fs::read_dir(root).map_err(BackupError::file("read", root))?;
            if entries.any(|entry| !entry.is_ok_and(|entry| entry.file_name() == LOCK_FILE)) {
                return Err(BackupError::OtherDirectory { path: root.to_owned() });
            }
        }
        let lock = lock(root, FlockOperation::NonBlockingLockExclusive)?;
        if !format.exists() {
            put(&format, FORMAT.as_bytes()).map_err(BackupError::file("write", &format))?;
        }
        check_format(root)?;
        make(&root.join(CHUNKS))?;
        make(&root.join(BACKUPS))?;
        Ok(Self { root: root.to_owned(), begun: AtomicU64::new(0), _lock: lock })
    }

    /// Opens the directory to read from it. Others may do so, too, but none may change it.
    pub fn open(root: &Path) -> Result<Self, BackupError> {
        check_format(root)?;
        let lock = lock(root, FlockOperation::NonBlockingLockShared)?;
        Ok(Self { root: root.to_owned(), begun: AtomicU64::new(0), _lock: lock })
    }

    /// Names of all backups, the oldest first.
    pub fn names(&self) -> Result<Vec<String>, BackupError> {
        let path = self.root.join(BACKUPS);
        let entries = fs::read_dir(&path).map_err(BackupError::file("read", &path))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(BackupError::file("read", &path))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| !name.ends_with(PART));
        names.sort_unstable();
        Ok(names)
    }

    /// A backup by its name, or the newest.
    pub fn backup(&self, name: Option<&str>) -> Result<Stored, BackupError> {
        let names = self.names()?;
        let name = match name {
            Some(name) if !names.iter().any(|known| known == name) => {
                let (name, path) = (name.to_owned(), self.root.clone());
                return Err(BackupError::NoBackup { name, path });
            }
            Some(name) => name,
            None => names.last().ok_or_else(|| BackupError::Nothing { path: self.root.clone() })?,
        };
        self.read(name)
    }

    /// Reads a manifest.
    pub fn read(&self, name: &str) -> Result<Stored, BackupError> {
        let path = self.root.join(BACKUPS).join(name).join(MANIFEST);
        let stored = fs::read(&path).map_err(BackupError::file("read", &path))?;
        let decoded = Manifest::decode(&stored);
        let (manifest, digest) =
            decoded.map_err(|fault| BackupError::Manifest { name: name.to_owned(), fault })?;
        Ok(Stored { name: name.to_owned(), manifest, digest })
    }

    /// The chunks that backups say are here. They were on disk before their manifests were.
    pub fn known(&self) -> Result<HashSet<String>, BackupError> {
        let mut known = HashSet::new();
        for name in self.names()? {
            // A damaged manifest vouches for nothing.
            let Ok(stored) = self.read(&name) else { continue };
            known.extend(stored.manifest.chunks().map(|chunk| chunk.digest.clone()));
        }
        Ok(known)
    }

    /// Where a chunk is, or would be.
    pub fn path_of(&self, digest: &str) -> PathBuf {
        let (first, rest) = digest.split_at_checked(2).unwrap_or(("", digest));
        self.root.join(CHUNKS).join(first).join(rest)
    }

    /// Whether a chunk is here in its full length.
    pub fn has(&self, chunk: &ChunkRef) -> bool {
        fs::metadata(self.path_of(&chunk.digest)).is_ok_and(|about| about.len() == chunk.bytes)
    }

    /// A chunk's bytes, which are those its name says.
    pub fn chunk(&self, chunk: &ChunkRef) -> Result<Vec<u8>, BackupError> {
        let path = self.path_of(&chunk.digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(BackupError::MissingChunk { path });
            }
            Err(error) => return Err(BackupError::file("read", &path)(error)),
        };
        if hex::encode(&digest(&bytes)) != chunk.digest || bytes.len() as u64 != chunk.bytes {
            return Err(BackupError::DamagedChunk { path });
        }
        Ok(bytes)
    }

    /// Stores a chunk. It is on disk for good with the next manifest.
    pub fn store(&self, chunk: &ChunkRef, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.path_of(&chunk.digest);
        if let Some(parent) = path.parent() {
            make(parent)?;
        }
        let part = path.with_extension(format!("{}{PART}", self.begun.fetch_add(1, Relaxed)));
        let written = create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            // Has it written back now, and not all of a backup at its end. A hint: no harm without.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
            Ok(())
        });
        let stored = written.and_then(|()| fs::rename(&part, &path));
        stored.map_err(|error| {
            // The first error is the one that matters.
            let _ = fs::remove_file(&part);
            BackupError::file("write", &path)(error)
        })
    }

    /// Puts a backup in place, once everything it needs is on disk. Its name, which begins with
    /// `wanted`.
    pub fn finish(&self, wanted: &str, manifest: &Manifest) -> Result<String, BackupError> {
        let backups = self.root.join(BACKUPS);
        let here = File::open(&self.root).map_err(BackupError::file("open", &self.root))?;
        let synced = syncfs(&here).map_err(io::Error::from);
        synced.map_err(BackupError::file("sync", &self.root))?;
        let names = self.names()?;
        let mut name = wanted.to_owned();
        let mut again = 1;
        while names.contains(&name) {
            again += 1;
            name = format!("{wanted}-{again}");
        }
        let part = backups.join(format!("{name}{PART}"));
        make(&part)?;
        let stored = manifest.encode().map_err(io::Error::from);
        let written = stored.and_then(|stored| {
            put(&part.join(MANIFEST), &stored)?;
            File::open(&part)?.sync_all()?;
            fs::rename(&part, backups.join(&name))?;
            File::open(&backups)?.sync_all()
        });
        written.map_err(BackupError::file("write", &part.join(MANIFEST)))?;
        Ok(name)
    }

    /// Removes all backups but the newest `keep`, and the chunks that only they needed. How many of
    /// each.
    pub fn prune(&self, keep: usize) -> Result<(usize, usize), BackupError> {
        let names = self.names()?;
        let old = &names[..names.len().saturating_sub(keep)];
        // All that stay must be readable, or chunks they need would go.
        for name in &names[old.len()..] {
            self.read(name)?;
        }
        let backups = self.root.join(BACKUPS);
        for name in old {
            let path = backups.join(name);
            let gone = backups.join(format!("{name}{PART}"));
            fs::rename(&path, &gone).map_err(BackupError::file("remove", &path))?;
            fs::remove_dir_all(&gone).map_err(BackupError::file("remove", &gone))?;
        }
        let synced = File::open(&backups).and_then(|backups| backups.sync_all());
        synced.map_err(BackupError::file("sync", &backups))?;
        Ok((old.len(), self.remove_unknown()?))
    }

    /// Removes chunks that no backup needs.
    fn remove_unknown(&self) -> Result<usize, BackupError> {
        let known = self.known()?;
        let chunks = self.root.join(CHUNKS);
        let mut removed = 0;
        for first in entries(&chunks)? {
            for rest in entries(&chunks.join(&first))? {
                if !known.contains(&format!("{first}{rest}")) {
                    let path = chunks.join(&first).join(&rest);
                    fs::remove_file(&path).map_err(BackupError::file("remove", &path))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

fn entries(path: &Path) -> Result<Vec<String>, BackupError> {
    let entries = fs::read_dir(path).map_err(BackupError::file("read", path))?;
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect::<Result<_, _>>().map_err(BackupError::file("read", path))
}

fn check_format(root: &Path) -> Result<(), BackupError> {
    let path = root.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if text == FORMAT => Ok(()),
        Ok(text) => Err(BackupError::Format { path, found: text.trim().to_owned() }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(BackupError::NoDirectory { path: root.to_owned() })
        }
        Err(error) => Err(BackupError::file("read", &path)(error)),
    }
}

fn lock(root: &Path, how: FlockOperation) -> Result<File, BackupError> {
    let path = root.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    let opened = if path.exists() { options.read(true) } else { options.create(true).write(true) };
    let file = opened.mode(0o600).open(&path).map_err(BackupError::file("open", &path))?;
    match flock(&file, how) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BackupError::InUse { path: root.to_owned() }),
        Err(error) => Err(BackupError::file("lock", &path)(error.into())),
    }
}

/// Makes a directory that only its owner can read: what is in backups is for nobody else.
fn make(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(BackupError::file("make", path))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(chunks: &[&ChunkRef]) -> Manifest {
        let records = chunks[0].clone();
        let chunks = chunks.iter().map(|chunk| (*chunk).clone()).collect();
        let tenant = super::super::manifest::StoredTenant { chunks, ..Default::default() };
        Manifest {
            begun: String::new(),
            version: String::new(),
            cluster_id: String::new(),
            cluster_name: String::new(),
            records,
            shards: Vec::new(),
            tenants: vec![tenant],
        }
    }

    fn stored(dir: &Dir, text: &[u8]) -> ChunkRef {
        let chunk = ChunkRef::new(&digest(text), text.len() as u64);
        dir.store(&chunk, text).unwrap();
        chunk
    }

    #[test]
    fn what_only_old_backups_need_is_pruned() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open_or_make(&place.path().join("b")).unwrap();
        let [both, old, new] = [&b"both"[..], b"old", b"new"].map(|text| stored(&dir, text));
        assert_eq!(dir.finish("t", &manifest(&[&both, &old])).unwrap(), "t");
        assert_eq!(dir.finish("t", &manifest(&[&both, &new])).unwrap(), "t-2");
        stored(&dir, b"cut short");
        assert_eq!(dir.prune(2).unwrap(), (0, 1));
        assert_eq!(dir.prune(1).unwrap(), (1, 1));
        assert_eq!(dir.names().unwrap(), ["t-2"]);
        assert!(dir.has(&both) && dir.has(&new) && !dir.has(&old));
        assert_eq!(dir.chunk(&new).unwrap(), b"new");
        assert_eq!(dir.backup(None).unwrap().name, "t-2");
    }

    #[test]
    fn damage_is_named() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open_or_make(place.path()).unwrap();
        let chunk = stored(&dir, b"hay");
        let name = dir.finish("t", &manifest(&[&chunk])).unwrap();
        fs::write(dir.path_of(&chunk.digest), b"hey").unwrap();
        assert!(matches!(dir.chunk(&chunk), Err(BackupError::DamagedChunk { .. })));
        fs::remove_file(dir.path_of(&chunk.digest)).unwrap();
        assert!(matches!(dir.chunk(&chunk), Err(BackupError::MissingChunk { .. })));
        let file = place.path().join("backups").join(&name).join("manifest");
        let text = fs::read(&file).unwrap();
        fs::write(&file, &text[..text.len() / 2]).unwrap();
        assert!(matches!(dir.backup(None), Err(BackupError::Manifest { .. })));
        assert!(dir.prune(1).is_err(), "nothing goes while one that stays cannot be read");
        assert!(matches!(dir.backup(Some("x")), Err(BackupError::NoBackup { .. })));
    }

    #[test]
    fn a_directory_is_for_backups_only_and_for_one_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        assert!(matches!(Dir::open(place.path()), Err(BackupError::NoDirectory { .. })));
        fs::write(place.path().join("x"), "").unwrap();
        let other = Dir::open_or_make(place.path());
        assert!(matches!(other, Err(BackupError::OtherDirectory { .. })));
        let path = place.path().join("b");
        let first = Dir::open_or_make(&path).unwrap();
        assert!(matches!(Dir::open_or_make(&path), Err(BackupError::InUse { .. })));
        assert!(matches!(Dir::open(&path), Err(BackupError::InUse { .. })));
        drop(first);
        let readers = (Dir::open(&path).unwrap(), Dir::open(&path).unwrap());
        assert!(matches!(readers.0.backup(None), Err(BackupError::Nothing { .. })));
        drop(readers);
        fs::write(path.join("ranch-backup"), "ranch-backup 2\n").unwrap();
        assert!(matches!(Dir::open(&path), Err(BackupError::Format { .. })));
    }
}
