//! Keys in files that only their owner can read.
//!
//! A key is on disk under its final name before anyone relies on it: it is written to a file
//! beside, synced, and moved into place.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ranch_proto::api_key::{self, Secret};

use super::error::CliError;

/// The key in `path`; `None` when there is no such file.
pub fn read(path: &Path) -> Result<Option<Secret>, CliError> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(CliError::EmptyKeyFile { path: path.to_owned() }),
        Ok(text) => Ok(Some(Secret::new(text.trim()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::file("read", path)(error)),
    }
}

/// The key in `path`, made when there is none yet. Of several processes that make it at the same
/// time, one wins and all get its key.
pub fn read_or_make(path: &Path) -> Result<Secret, CliError> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let key = api_key::generate();
    let key = key.map_err(|error| CliError::NoRandomness { reason: error.to_string() })?;
    let beside = beside(path);
    write(&beside, &key).map_err(CliError::file("write", &beside))?;
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside).map_err(CliError::file("remove", &beside))?;
    match linked {
        Ok(()) => {
            sync_dir_of(path)?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| CliError::EmptyKeyFile { path: path.to_owned() })
        }
        Err(error) => Err(CliError::file("write", path)(error)),
    }
}

/// Gives a key file its final name.
pub fn rename(from: &Path, to: &Path) -> Result<(), CliError> {
    fs::rename(from, to).map_err(CliError::file("write", to))?;
    sync_dir_of(to)
}

fn sync_dir_of(path: &Path) -> Result<(), CliError> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = parent.unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(CliError::file("sync", dir))
}

fn write(path: &Path, key: &Secret) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", key.expose())?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.key");
        assert!(read(&path).unwrap().is_none());
        let key = read_or_make(&path).unwrap();
        assert_eq!(read_or_make(&path).unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn an_empty_key_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.key");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(read_or_make(&path), Err(CliError::EmptyKeyFile { .. })));
    }
}
