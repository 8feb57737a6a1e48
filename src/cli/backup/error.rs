//! What can go wrong with backups, as one sentence that names the thing and the remedy.

use std::io;
use std::path::{Path, PathBuf};

use ranch_proto::backup;

use super::super::http::ClientError;

/// Why a backup could not be taken, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file of the directory could not be used.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy(source))]
    File {
        /// Such as "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory is something else.
    #[error(
        "{} holds other things than backups: name a directory that is empty or does not exist yet",
        path.display()
    )]
    OtherDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// There is no backup directory.
    #[error("{} is no directory of backups: name the one given to `ranch backup`", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Another version of the format.
    #[error(
        "{} has format {found:?}, this version knows format 1: use the version that wrote it",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: String,
    },
    /// Somebody else is at it.
    #[error("{} is in use by another `ranch backup`: wait until that has ended", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There is no backup.
    #[error("there is no whole backup in {}: take one with `ranch backup`", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// There is no such backup.
    #[error("there is no backup {name} in {}: `ranch backup --list` shows them", path.display())]
    NoBackup {
        /// The name asked for.
        name: String,
        /// The directory.
        path: PathBuf,
    },
    /// A manifest is not what was written.
    #[error(
        "the manifest of backup {name} is damaged ({fault}): use another backup, or get the \
         directory back from where it was copied to"
    )]
    Manifest {
        /// Its backup.
        name: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A chunk is not there.
    #[error("{} is missing: {CHUNK_REMEDY}", path.display())]
    MissingChunk {
        /// Where it would be.
        path: PathBuf,
    },
    /// A chunk is not what was written.
    #[error(
        "{} is damaged: its bytes have another digest than its name says: {CHUNK_REMEDY}",
        path.display()
    )]
    DamagedChunk {
        /// Where it is.
        path: PathBuf,
    },
    /// A chunk does not hold what it should.
    #[error("{}: {source}", path.display())]
    Contents {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: backup::BackupError,
    },
    /// The ranch sent other bytes than it announced.
    #[error("the ranch sent other bytes than it announced: try again")]
    Transfer,
    /// Damage was found.
    #[error("{found} of the {looked_at} backups looked at are damaged, see above")]
    Damaged {
        /// How many.
        found: usize,
        /// Of how many.
        looked_at: usize,
    },
    /// A shard gives no copy.
    #[error(
        "shard {shard} gave no copy in {seconds} s: see `ranch status` for what is wrong with it, \
         then run this again: what is stored is kept ({source})"
    )]
    NoCopy {
        /// The shard.
        shard: u32,
        /// How long it was tried.
        seconds: u64,
        /// What was said last.
        source: Box<ClientError>,
    },
    /// The ranch to restore into has tenants.
    #[error(
        "this ranch has tenants ({tenants}): restore everything into an empty ranch, or one tenant \
         at a time with --tenant ID, under another name with --as NEW"
    )]
    NotEmpty {
        /// Some of them.
        tenants: String,
    },
    /// The tenant to be restored is there.
    #[error(
        "there is a tenant {tenant} already: restore it under another name with --as NEW, or purge \
         that one first with `ranch tenant purge {tenant}`"
    )]
    TenantExists {
        /// Its id.
        tenant: String,
    },
    /// The backup has no such tenant.
    #[error("backup {name} has no tenant {tenant}")]
    NoTenant {
        /// The backup.
        name: String,
        /// The id asked for.
        tenant: String,
    },
    /// The demo tenant does not go.
    #[error("tenant {tenant} is still being deleted: run this again in a moment")]
    StillThere {
        /// Its id.
        tenant: String,
    },
    /// The backup's own totals do not agree.
    #[error("tenant {tenant} of the backup {fault}: use another backup")]
    Tenant {
        /// Its id.
        tenant: String,
        /// What is wrong.
        fault: String,
    },
}

const CHUNK_REMEDY: &str = "use another backup; the next `ranch backup` stores it anew if the \
                            data is still the same and the file is gone";

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": make room there and run this again: what is stored is kept and not sent twice"
        }
        _ => "",
    }
}

impl BackupError {
    /// For `map_err` on what is done with a file.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
