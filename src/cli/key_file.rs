//! Keys in files that only their owner can read.
//!
//! A key is on disk under its final name before anyone relies on it: it is written to a file
//! beside, synced, and renamed.

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

/// The key in `path`, made when there is none yet.
pub fn read_or_make(path: &Path) -> Result<Secret, CliError> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let key = generate()?;
    write(path, &key)?;
    Ok(key)
}

/// A new key.
pub fn generate() -> Result<Secret, CliError> {
    api_key::generate().map_err(|error| CliError::NoRandomness { reason: error.to_string() })
}

/// Puts `key` into `path`, replacing what is there, readable by its owner alone.
pub fn write(path: &Path, key: &Secret) -> Result<(), CliError> {
    let beside = beside(path);
    write_beside(&beside, key).map_err(CliError::file("write", &beside))?;
    fs::rename(&beside, path).map_err(CliError::file("write", path))?;
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = parent.unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(CliError::file("sync", dir))
}

fn write_beside(beside: &Path, key: &Secret) -> std::io::Result<()> {
    match fs::remove_file(beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
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
