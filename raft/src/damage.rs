//! Damage that is found while a node runs: noted on disk before anything else happens, so that
//! the next start knows of it even where it would not look.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

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
