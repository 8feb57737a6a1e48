//! Whatever can end a command, as one sentence that names the thing and the remedy.

use std::io;
use std::path::{Path, PathBuf};

use ranch_proto::Coordinate;
use ranch_proto::config::ConfigError;

use super::backup::BackupError;
use super::bench::BenchError;
use super::http::ClientError;
use super::import::ImportError;
use super::machine::MachineError;
use super::up::UpError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The ranch did not answer, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A phext could not be stored.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A node or router could not start, or had to stop.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The ranch on this machine could not start.
    #[error(transparent)]
    Up(#[from] UpError),
    /// A backup could not be taken, read or restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Load could not be put on.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// There is nothing to read.
    #[error("there is no scroll at {at} in {phext}")]
    NoScroll {
        /// Where it was looked for.
        at: Coordinate,
        /// And in what.
        phext: String,
    },
    /// A file could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// Such as "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer could not be printed.
    #[error("cannot write to standard output: {source}")]
    Output {
        /// What the system said.
        source: io::Error,
    },
    /// The text could not be read.
    #[error("cannot read the text from standard input: {source}")]
    Input {
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no threads or timers.
    #[error("cannot start: {source}")]
    Runtime {
        /// What the system said.
        source: io::Error,
    },
    /// No administrator's key was given or found.
    #[error(
        "no admin key: give it with --admin-key or RANCH_ADMIN_KEY, or name the data directory \
         that holds admin.key with --data-dir (there is none at {})",
        looked_at.display()
    )]
    NoAdminKey {
        /// Where it was looked for.
        looked_at: PathBuf,
    },
    /// A key file holds no key.
    #[error(
        "{} holds no key: delete it if this is the ranch's first start, else restore it",
        path.display()
    )]
    EmptyKeyFile {
        /// The file.
        path: PathBuf,
    },
    /// A node being drained goes on leading, since nobody can take over.
    #[error(
        "{name} still leads {leads} groups: the other nodes cannot take them over yet; see `ranch \
         status` for what is wrong, then drain it again"
    )]
    StillLeads {
        /// The node.
        name: String,
        /// How many groups it leads.
        leads: u64,
    },
    /// What cannot be undone was not confirmed.
    #[error(
        "this deletes everything tenant {tenant} has, for good: get it first with `ranch tenant \
         archive {tenant}`, then say --yes (to only switch it off, `ranch tenant disable {tenant}`)"
    )]
    NotConfirmed {
        /// The tenant.
        tenant: String,
    },
    /// The system's randomness failed.
    #[error("the system has no randomness for a key: {reason}")]
    NoRandomness {
        /// What the system said.
        reason: String,
    },
}

impl CliError {
    /// For `map_err` on what is done with a file.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// Whether the reader of our output has gone.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}
