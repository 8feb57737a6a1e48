//! Damage that is found while a node runs: noted on disk before anything else happens, so that
//! the next start knows of it even where it would not look.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rocksdb::ErrorKind;

/// Where a node notes that its data is damaged. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DamageNote {
    path: Arc<PathBuf>,
    noted: Arc<OnceLock<&'static str>>,
}

impl DamageNote {
    /// The note in the file `path`, which is there only once something is damaged.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path: Arc::new(path), noted: Arc::default() }
    }

    /// What an earlier run noted.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(&self) -> io::Result<Option<String>> {
        match fs::read(&*self.path) {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What this run noted.
    #[must_use]
    pub fn noted(&self) -> Option<&'static str> {
        self.noted.get().copied()
    }

    /// Notes what happened, as "its log was …"; the first note stands. Blocks on the disk, once.
    pub fn note(&self, what: &'static str) {
        if self.noted.set(what).is_err() {
            return;
        }
        if let Err(error) = write(&self.path, what) {
            tracing::error!(%error, "cannot note that this node's data is damaged ({what})");
        }
    }

    /// Writes a note for whoever starts next.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(&self, what: &str) -> io::Result<()> {
        write(&self.path, what)
    }

    /// Removes the note, durably.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&*self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_parent(&self.path),
        }
    }
}

/// Whether a database could not read what it had written: it is not as it was, not there, or the
/// disk does not give it out. A failed write, a full disk or a lack of file handles is none.
pub(crate) fn is_read_failure(error: &rocksdb::Error) -> bool {
    is_read_failure_text(&error.kind(), error.as_ref())
}

fn is_read_failure_text(kind: &ErrorKind, text: &str) -> bool {
    // As RocksDB's `io_posix.cc` and `fs_posix.cc` say what was being done, before the file's name.
    const READING: [&str; 5] = [
        "for random read",
        "sequentially reading",
        "reading file sequentially",
        "While pread",
        "io_uring read failed",
    ];
    let reading = || READING.iter().any(|doing| text.contains(doing));
    let gone = || text.contains("No such file") || text.contains("Input/output error");
    match kind {
        ErrorKind::Corruption => true,
        ErrorKind::IOError => reading() && gone(),
        _ => false,
    }
}

fn write(path: &Path, what: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{what}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_to_read_what_was_written_are_damage() {
        let io = |text| is_read_failure_text(&ErrorKind::IOError, text);
        for text in [
            "IO error: While pread offset 4096 len 4101: d/000012.sst: Input/output error",
            "IO error: While reading file sequentially: d/MANIFEST-000004: Input/output error",
            "IO error: No such file or directory: While open a file for random read: d/000007.sst: \
             No such file or directory",
        ] {
            assert!(io(text), "{text}");
        }
        for text in [
            "IO error: While appending to file: d/000012.sst: Input/output error",
            "IO error: While fdatasync: d/000012.log: Input/output error",
            "IO error: No space left on device: While appending to file: d/1.sst: No space left",
            "IO error: While open a file for random read: d/000012.sst: Too many open files",
            "IO error: While lock file: d/LOCK: Resource temporarily unavailable",
        ] {
            assert!(!io(text), "{text}");
        }
        assert!(is_read_failure_text(
            &ErrorKind::Corruption,
            "Corruption: block checksum mismatch"
        ));
        assert!(!is_read_failure_text(
            &ErrorKind::Busy,
            "Resource busy: While pread: No such file"
        ));
    }

    #[test]
    fn the_first_note_stands_and_is_found_by_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let at = || DamageNote::at(dir.path().join("damaged"));
        let note = at();
        assert_eq!((note.read().unwrap(), note.noted()), (None, None));
        note.note("its log was damaged");
        note.note("its state was damaged");
        assert_eq!(note.noted(), Some("its log was damaged"));
        assert_eq!(at().read().unwrap().as_deref(), Some("its log was damaged"));
        note.remove().unwrap();
        assert_eq!(at().read().unwrap(), None);
    }
}
