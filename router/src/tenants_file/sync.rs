//! One look at a tenants file: what changed in it goes to the directory, what changed in the
//! directory goes into it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ranch_proto::schema::TenantRecord;
use ranch_proto::schema::patch_tenant::Field;
use ranch_proto::{Directory, Shards, hex};
use serde_json::Value;

use super::apply::{apply, carry_out_all};
use super::note::{Locked, Note, beside, digest};
use super::plan::{Change, Kind, patch};
use super::render::{Lives, render};
use super::{FileContents, Summary, TenantsFileError, parse};
use crate::forward::Forward;
use crate::shown::until_shown;

/// Longest wait for the ranch to be there at all.
const RANCH_MAX: Duration = Duration::from_mins(1);
/// Longest wait for one change.
const CHANGE_MAX: Duration = Duration::from_secs(30);

/// Why a look is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The router starts, or was asked to.
    Asked,
    /// The file or the directory may have changed.
    Noticed,
}

/// A file being followed.
pub(super) struct Sync<S> {
    shards: Arc<S>,
    forward: Forward<S>,
    path: PathBuf,
    /// It has been there once, so that its absence now is an accident.
    seen: bool,
    /// It says that its changes wait until asked for.
    by_hand: bool,
    /// Tenants of the file when it last agreed with the directory.
    lives: Lives,
    /// The note, where none can be kept beside the file.
    kept: Note,
}

impl<S: Shards> Sync<S> {
    pub(super) fn new(shards: Arc<S>, path: PathBuf) -> Self {
        let forward = Forward::new(Arc::clone(&shards), CHANGE_MAX, Arc::default());
        let (lives, kept) = (Lives::new(), Note::default());
        Self { shards, forward, path, seen: false, by_hand: false, lives, kept }
    }

    /// Takes a look.
    ///
    /// # Errors
    /// See [`TenantsFileError`]. After [`TenantsFileError::Refused`] and the like some of the file
    /// may be in force; the next look does the rest.
    pub(super) async fn look(&mut self, why: Why) -> Result<Summary, TenantsFileError> {
        if !until_shown(&*self.shards, RANCH_MAX, |directory| directory.cluster.is_some()).await {
            return Err(TenantsFileError::NoRanch);
        }
        let cluster = cluster(&self.shards.directory().read());
        let mut locked = Locked::take(&self.path, &cluster, &self.kept).await?;
        let (text, made) = self.read()?.ok_or(TenantsFileError::Missing)?;
        let edited = locked.note.digest != digest(&text);
        if edited && self.by_hand && why == Why::Noticed {
            return Ok(Summary::default());
        }
        let contents = parse(&text).map_err(|source| TenantsFileError::Contents { source })?;
        let mut summary = if edited {
            apply(&self.shards, &self.forward, &contents).await?
        } else {
            Summary { unchanged: contents.tenants.len(), ..Summary::default() }
        };
        summary.made = made;
        self.by_hand = contents.by_hand;
        self.agree(&mut locked, &text, &contents, &mut summary).await?;
        summary.warnings.extend(contents.warnings);
        Ok(summary)
    }

    /// The text of the file, and whether it had to be made. A file that was there and is gone is
    /// left alone: whoever removed it may be about to put another one in its place.
    fn read(&mut self) -> Result<Option<(Vec<u8>, bool)>, TenantsFileError> {
        match fs::read(&self.path) {
            Ok(text) => {
                self.seen = true;
                Ok(Some((text, false)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && self.seen => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = make(&self.path).map_err(TenantsFileError::io("make"))?;
                self.seen = true;
                Ok(Some((text, true)))
            }
            Err(error) => Err(TenantsFileError::io("read")(error)),
        }
    }

    /// Writes back what the file lacks, and notes that both agree.
    async fn agree(
        &mut self,
        locked: &mut Locked,
        text: &[u8],
        contents: &FileContents,
        summary: &mut Summary,
    ) -> Result<(), TenantsFileError> {
        let edited = locked.note.digest != digest(text);
        let (new_text, ids, note) = {
            let directory = self.shards.directory().read();
            if directory.epoch < locked.note.epoch {
                // Another router, which knows more, has been here; soon this one knows it, too.
                return Ok(());
            }
            // Before the ranch knew the file, its tenants had no lives.
            let lives = if edited { Lives::new() } else { std::mem::take(&mut self.lives) };
            let new_text = rendered(text, &directory, &lives).filter(|_| locked.is_kept());
            let cluster = cluster(&directory);
            let digest = digest(new_text.as_deref().unwrap_or(text));
            let note = Note { cluster, digest, epoch: directory.epoch };
            let ids = match &new_text {
                Some(new_text) => {
                    ids(&parse(new_text).map_err(|source| TenantsFileError::Contents { source })?)
                }
                None => ids(contents),
            };
            let known = |id: &String| directory.tenants.get(id).map(|known| known.life);
            self.lives = ids.iter().filter_map(|id| Some((id.clone(), known(id)?))).collect();
            (new_text, ids, note)
        };
        if let Some(new_text) = new_text {
            if !replace(&self.path, text, &new_text).map_err(TenantsFileError::io("write"))? {
                // Somebody else has just saved it: that goes first.
                return Ok(());
            }
            summary.written_back = true;
        }
        self.mark(&ids).await?;
        if note.digest != locked.note.digest {
            self.kept = note.clone();
            locked.store(note)?;
        }
        Ok(())
    }

    /// Has the directory know which tenants are in the file, so that leaving one out disables it.
    async fn mark(&self, ids: &[String]) -> Result<(), TenantsFileError> {
        let changes: Vec<Change> = {
            let directory = self.shards.directory().read();
            let listed = ids.iter().filter_map(|id| directory.tenants.get(id));
            let unmarked = listed.filter(|known| !known.from_file && !known.purging);
            let mark = |known: &TenantRecord| {
                let values = TenantRecord { from_file: true, ..TenantRecord::default() };
                let commands = vec![patch(&known.id, &[Field::FromFile], values)];
                Change { tenant: known.id.clone(), commands, kind: Kind::Other }
            };
            unmarked.map(mark).collect()
        };
        carry_out_all(&self.shards, &self.forward, changes).await.map(drop)
    }
}

fn cluster(directory: &Directory) -> String {
    directory.cluster.as_ref().map(|c| hex::encode(&c.cluster_id)).unwrap_or_default()
}

fn ids(contents: &FileContents) -> Vec<String> {
    contents.tenants.iter().map(|tenant| tenant.id.clone()).collect()
}

/// The text as the directory would have it, when that differs.
fn rendered(text: &[u8], directory: &Directory, lives: &Lives) -> Option<Vec<u8>> {
    let mut file: Value = serde_json::from_slice(text).ok()?;
    if !render(&mut file, directory, lives) {
        return None;
    }
    let mut text = serde_json::to_vec_pretty(&file).ok()?;
    text.push(b'\n');
    Some(text)
}

/// Makes a file without tenants, for its owner's eyes only: it will hold keys.
fn make(path: &Path) -> io::Result<Vec<u8>> {
    let text = b"{\n  \"tenants\": [],\n  \"reload_on_change\": true\n}\n";
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(text.to_vec())
}

/// Puts `new` in place of `old` at one stroke, with the same mode and, where allowed, owner. False
/// when the file is not `old` any more.
fn replace(path: &Path, old: &[u8], new: &[u8]) -> io::Result<bool> {
    // A link stays one.
    let path = fs::canonicalize(path)?;
    let about = fs::metadata(&path)?;
    let aside = beside(&path, ".ranch-new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside)?;
    file.write_all(new)?;
    file.set_permissions(about.permissions())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // Only a privileged process may; others write files of their own anyway.
        let _ = std::os::unix::fs::fchown(&file, Some(about.uid()), Some(about.gid()));
    }
    file.sync_all()?;
    if fs::read(&path)? != old {
        fs::remove_file(&aside)?;
        return Ok(false);
    }
    fs::rename(&aside, &path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(true)
}
