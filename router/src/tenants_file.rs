//! The tenants file: tenants and their keys as an operator keeps them, followed both ways.
//!
//! What an operator changes in the file is brought into force ([`apply`]) through the meta group,
//! which only ever sees hashes of keys; what administrators change by the API is written back in
//! the file's own shape ([`render`]). Which of the two happened is told by a note beside the file
//! ([`note`]): the digest of the file as a router last left it. Routers that share the file share
//! the note and take turns, so they agree about who changed what, also after a restart.
//!
//! A file that cannot be understood changes nothing, and is never written to.

mod apply;
mod note;
mod plan;
mod render;
mod service;
mod shapes;
mod sync;

use ranch_proto::api_key::{KeyHash, Secret};
use ranch_proto::{Directory, hex};
use serde::Serialize;

pub use service::TenantsFile;
pub use shapes::{Fault, FileError, parse};

use crate::forward::ForwardError;

/// What the hash of a key begins with where a key could stand; 64 hex digits follow.
pub const HASH_PREFIX: &str = "blake3:";

/// A key as a file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKey {
    /// The key itself.
    Plain(Secret),
    /// Its hash, which is worth nothing outside this ranch.
    Hash(KeyHash),
}

/// A tenant as a file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTenant {
    /// Its id, valid.
    pub id: String,
    /// Its keys.
    pub keys: Vec<FileKey>,
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
    pub admin_key: Option<FileKey>,
    /// Changes take effect at a start and when asked for, not by themselves.
    pub by_hand: bool,
    /// However many tenants it disables, that is meant.
    pub confirmed: bool,
    /// What looks like a mistake but changes nothing.
    pub warnings: Vec<String>,
}

/// What a look at the file brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The file was missing and has been made.
    pub made: bool,
    /// Tenants added.
    pub added: usize,
    /// Tenants with a quota, access or key changed.
    pub changed: usize,
    /// Tenants disabled because the file has them no more.
    pub disabled: usize,
    /// Tenants that were as the file has them.
    pub unchanged: usize,
    /// Changes made by the API were written into the file.
    pub written_back: bool,
    /// What was passed over, and why.
    pub warnings: Vec<String>,
}

/// Why a tenants file did not take effect. The sentences name no path, so that they may be shown
/// to whoever asks for a reload; the log names it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TenantsFileError {
    /// It cannot be read, or made where it is missing.
    #[error("cannot {action} the tenants file: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why not.
        reason: String,
    },
    /// It is not one of the shapes understood, or contradicts itself.
    #[error("the tenants file changes nothing: {source}")]
    Contents {
        /// What is wrong where.
        source: FileError,
    },
    /// A key of the file belongs to another tenant of the ranch.
    #[error(
        "the tenants file changes nothing: the key given for tenant {tenant:?} is in use for \
         another tenant; give it another"
    )]
    KeyTaken {
        /// The tenant in the file.
        tenant: String,
    },
    /// It would disable most tenants, as a file does that was cut off or mixed up.
    #[error(
        "the tenants file changes nothing: it would disable {disabled} of {tenants} tenants; if \
         that is meant, add \"confirm_removals\": true beside \"tenants\""
    )]
    TooManyRemovals {
        /// How many it would disable.
        disabled: usize,
        /// Of how many that have access.
        tenants: usize,
    },
    /// The meta group refused a change.
    #[error("tenant {tenant:?} of the tenants file was refused: {reason}")]
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
    /// It was there and is gone.
    #[error("the tenants file is gone, which changes nothing; put it back")]
    Missing,
    /// Another router has been at it for long.
    #[error("another router is busy with the tenants file; it will be looked at again soon")]
    Busy,
}

impl TenantsFileError {
    /// Whether trying again without a change of the file may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Forward { .. } | Self::NoRanch | Self::Busy | Self::Io { .. })
    }

    fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io { action, reason: error.to_string() }
    }
}

impl FileKey {
    /// The key itself, if it is given.
    #[must_use]
    pub fn into_plain(self) -> Option<Secret> {
        match self {
            Self::Plain(secret) => Some(secret),
            Self::Hash(_) => None,
        }
    }

    /// The hash this ranch knows the key by; `None` before it is bootstrapped.
    fn hash(&self, directory: &Directory) -> Option<KeyHash> {
        match self {
            Self::Plain(secret) => directory.hash_key(secret.expose()),
            Self::Hash(hash) => Some(*hash),
        }
    }

    /// As it stands in the file.
    fn as_written(&self) -> String {
        match self {
            Self::Plain(secret) => secret.expose().to_owned(),
            Self::Hash(hash) => written(hash),
        }
    }
}

/// The hash of a key as a file has it.
fn written(hash: &KeyHash) -> String {
    format!("{HASH_PREFIX}{}", hex::encode(&hash.0))
}
