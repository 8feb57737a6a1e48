//! The tenants file: a list of tenants and their keys kept by an operator, brought into force at
//! start. Three shapes of JSON are understood ([`shapes`]); what differs from the directory is
//! changed through the meta group ([`apply`]), which only ever sees hashes of keys.

mod apply;
mod shapes;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ranch_proto::Shards;
use ranch_proto::api_key::Secret;

pub use apply::Summary;
pub use shapes::{Fault, FileError, parse};

use crate::forward::ForwardError;

/// A tenant as a file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTenant {
    /// Its id, valid.
    pub id: String,
    /// Its keys.
    pub keys: Vec<Secret>,
    /// Its quota, where the file gives one.
    pub quota: Option<Quota>,
    /// Whether it has access, where the file says so.
    pub enabled: Option<bool>,
    /// Where SQ kept its phexts; a ranch only needs it to move them.
    pub data_dir: Option<String>,
}

/// How much a tenant may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// As much as there is room for.
    Unlimited,
    /// So many bytes.
    Bytes(u64),
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileContents {
    /// Tenants in the order of the file, or of their ids where the file has none.
    pub tenants: Vec<FileTenant>,
    /// An admin key.
    pub admin_key: Option<Secret>,
    /// What looks like a mistake but changes nothing.
    pub warnings: Vec<String>,
}

/// Why a tenants file did not take effect.
#[derive(Debug, thiserror::Error)]
pub enum TenantsFileError {
    /// It cannot be read, or made where it is missing.
    #[error("cannot {action} the tenants file {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not one of the shapes understood, or contradicts itself.
    #[error("the tenants file {} changes nothing: {source}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        source: FileError,
    },
    /// A key of the file belongs to another tenant of the ranch.
    #[error("the key given for tenant {tenant:?} is in use for another tenant; give it another")]
    KeyTaken {
        /// The tenant in the file.
        tenant: String,
    },
    /// The meta group refused a change.
    #[error("tenant {tenant:?} was refused: {reason}")]
    Refused {
        /// The tenant.
        tenant: String,
        /// In the meta group's words.
        reason: String,
    },
    /// The meta group could not be reached.
    #[error("the tenants file could not be brought into force: {source}")]
    Forward {
        /// Why not.
        source: ForwardError,
    },
    /// The ranch has not been bootstrapped in time.
    #[error("the ranch did not come up in time to bring the tenants file into force")]
    NoRanch,
}

/// Brings a tenants file into force: adds tenants and keys that are missing, and sets quota and
/// access where the file gives them. A missing file is made, without tenants. Nothing is changed
/// when the file as a whole cannot be understood.
///
/// # Errors
/// See [`TenantsFileError`]. After [`TenantsFileError::Refused`] and the like some of the file may
/// be in force; calling again does the rest.
pub async fn load_tenants<S: Shards>(
    shards: &Arc<S>,
    path: &Path,
) -> Result<Summary, TenantsFileError> {
    let io = |action| move |source| TenantsFileError::Io { action, path: path.to_owned(), source };
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make(path).map_err(io("make"))?;
            return Ok(Summary { made: true, ..Summary::default() });
        }
        other => other.map_err(io("read"))?,
    };
    let contents = parse(&text)
        .map_err(|source| TenantsFileError::Contents { path: path.to_owned(), source })?;
    for warning in &contents.warnings {
        tracing::warn!(file = %path.display(), "{warning}");
    }
    apply::apply(shards, contents).await
}

/// Makes a file without tenants, for its owner's eyes only: it will hold keys.
fn make(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(b"{\n  \"tenants\": [],\n  \"reload_on_change\": true\n}\n")?;
    file.sync_all()
}
