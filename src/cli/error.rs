//! Whatever can end a command, as one sentence that names the thing and the remedy.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ranch_proto::Coordinate;
use ranch_proto::config::ConfigError;

use super::backup::BackupError;
use super::bench::BenchError;
use super::http::ClientError;
use super::import::ImportError;
use super::machine::MachineError;
use super::up::UpError;
use super::upgrade::UpgradeError;

/// `EX_CONFIG` of `sysexits.h`. The units in `deploy/` name it, too.
const MUST_NOT_RUN: u8 = 78;
/// What a node ends with that has left its ranch: nothing makes it run again.
pub const HAS_LEFT: u8 = 79;

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
    /// An upgrade could not begin or go on.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
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
    /// Copies differ, or could not all be compared.
    #[error(
        "not all copies are known to be alike ({verdict}); see `ranch status` and \
         docs/operations.md, \"Copies that differ\""
    )]
    NotAlike {
        /// The worst verdict of all shards.
        verdict: String,
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
    /// This machine has problems, all of which were told.
    #[error(
        "{problems} problem{} found", if *problems == 1 { "" } else { "s" }
    )]
    Unwell {
        /// How many.
        problems: usize,
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

    /// What the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Machine(MachineError::Node(ranch_node::NodeError::Gone { .. })) => {
                ExitCode::from(HAS_LEFT)
            }
            _ if self.is_final() => ExitCode::from(MUST_NOT_RUN),
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether the same command would end the same way until somebody has changed something, so
    /// that a service manager must not try again and again.
    fn is_final(&self) -> bool {
        match self {
            Self::Config(_) | Self::EmptyKeyFile { .. } => true,
            Self::Machine(error) => error.is_final(),
            _ => false,
        }
    }

    /// Whether the reader of our output has gone.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(error: impl Into<CliError>) -> String {
        format!("{:?}", error.into().exit_code())
    }

    #[test]
    fn only_what_nobody_but_an_operator_can_mend_stops_the_service_manager() {
        let must_not = format!("{:?}", ExitCode::from(MUST_NOT_RUN));
        let gone = ranch_node::NodeError::Gone { id: ranch_proto::NodeId(4) };
        assert_eq!(code(MachineError::from(gone)), format!("{:?}", ExitCode::from(HAS_LEFT)));
        let unknown = ConfigError::Environment {
            variable: "RANCH_X".to_owned(),
            value: String::new(),
            detail: String::new(),
        };
        assert_eq!(code(unknown), must_not);
        let may_pass = format!("{:?}", ExitCode::FAILURE);
        assert_eq!(code(MachineError::from(ranch_node::NodeError::RolledBack)), may_pass);
        let in_use = io::Error::from(io::ErrorKind::AddrInUse);
        assert_eq!(code(super::super::machine::refusal("a:1", "addr", in_use)), may_pass);
    }
}
