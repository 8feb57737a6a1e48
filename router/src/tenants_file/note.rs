//! The note beside a tenants file: its digest as a router last left it, and how far that router's
//! directory was. The note is locked while a router is at work on the file, so that routers which
//! share the file take turns. It holds no key.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ranch_proto::hex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::TenantsFileError;

/// Longest wait for another router.
const LOCK_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether it has finished.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What the note says.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub(super) struct Note {
    /// Which ranch it is about.
    pub(super) cluster: String,
    /// Of the file as it was left.
    pub(super) digest: String,
    /// Epoch of the directory the file then agreed with.
    pub(super) epoch: u64,
}

/// The note, locked until it is dropped.
pub(super) struct Locked {
    /// `None` where none can be kept beside the file, so that nothing can be written there either.
    file: Option<File>,
    pub(super) note: Note,
}

/// The digest of a file's text.
pub(super) fn digest(text: &[u8]) -> String {
    hex::encode(&xxh3_128(text).to_be_bytes())
}

/// `.tenants.json.ranch` for `tenants.json`.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(end);
    path.with_file_name(name)
}

impl Locked {
    /// Waits for its turn. A ranch other than `cluster` finds an empty note; where none can be
    /// kept, it is what this router `kept` in mind.
    pub(super) async fn take(
        path: &Path,
        cluster: &str,
        kept: &Note,
    ) -> Result<Self, TenantsFileError> {
        let path = beside(path, ".ranch");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let Ok(mut file) = options.open(&path) else {
            return Ok(Self { file: None, note: kept.clone() });
        };
        let give_up = Instant::now() + LOCK_MAX;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => return Err(TenantsFileError::Busy),
                Err(TryLockError::Error(error)) => {
                    return Err(TenantsFileError::io("lock the note beside")(error));
                }
            }
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(TenantsFileError::io("read the note beside"))?;
        let note: Note = serde_json::from_slice(&text).unwrap_or_default();
        let note = if note.cluster == cluster { note } else { Note::default() };
        Ok(Self { file: Some(file), note })
    }

    /// Whether the file may be written to, as far as this directory goes.
    pub(super) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Replaces what the note says. A torn one is taken for none at all, which makes the next
    /// look at the file a thorough one.
    pub(super) fn store(&mut self, note: Note) -> Result<(), TenantsFileError> {
        let text = serde_json::to_vec(&note).unwrap_or_default();
        self.note = note;
        let Some(file) = &mut self.file else { return Ok(()) };
        rewrite(file, &text).map_err(TenantsFileError::io("write the note beside"))
    }
}

fn rewrite(file: &mut File, text: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(text)?;
    file.sync_all()
}
