//! The command line: what can be said, and who carries it out.

mod api;
mod backup;
mod bench;
mod certs;
mod doctor;
mod download;
mod error;
mod export;
mod http;
mod import;
mod inherit;
mod join;
mod key_file;
mod lifecycle;
mod local;
mod logging;
mod machine;
mod node;
mod options;
mod output;
mod router;
mod scroll;
mod secure;
mod shutdown;
mod status;
mod tenant;
mod trust;
mod up;
mod upgrade;
mod verify_state;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::CliError;

const EXAMPLES: &str = "\
Examples:
  ranch up                              start everything on this machine
  ranch status                          see nodes, shards and what is wrong
  ranch doctor                          is this machine fit for it? and the remedy if not
  ranch write notes/todo 'feed horses'  store a scroll (RANCH_KEY holds the key)
  ranch read notes/todo                 read it back
  ranch list notes                      coordinates below a pattern
  ranch import library.phext            store every scroll of a phext file
  ranch export copy.phext               and get the same bytes back
  ranch tenant add will                 a new tenant with a key of its own
  ranch backup /mnt/backups             a copy of everything; `ranch restore` puts it back
  ranch bench --clients 64              how fast is it?

A coordinate is nine numbers (1.1.1/1.1.1/1.1.1), a named form (agent.1.1/notes.x.1/1.1.1) or a
path (notes/todo). Configuration is ./ranch.toml when it exists, else /etc/ranch/ranch.toml, else
built-in defaults; every key can be overridden by RANCH_<SECTION>_<KEY>.";

/// A replicated mesh storage cluster for scrolls at phext coordinates.
#[derive(Debug, Parser)]
#[command(name = "ranch", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start this machine's whole ranch: its nodes and a router.
    Up(up::UpArgs),
    /// Run one node of the ranch, as a service manager would, or drain one.
    Node(node::NodeArgs),
    /// Run a router: the HTTP front, without a node.
    Router(router::RouterArgs),
    /// Go through all nodes with a new binary, or finish an upgrade.
    Upgrade(upgrade::UpgradeArgs),
    /// Print the versions this binary can do, for `ranch upgrade`.
    #[command(hide = true)]
    Versions,
    /// Show nodes, shards, and what is wrong.
    Status(status::StatusArgs),
    /// Certificates of the ranch's machines: make, renew, show.
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Compare the copies of every shard, row by row: all must be alike.
    VerifyState(verify_state::VerifyStateArgs),
    /// Examine this machine: clock, disk, addresses, limits; and name remedies.
    Doctor(doctor::DoctorArgs),
    /// Tenants: their keys, limits, state and data.
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Print the scroll at a coordinate.
    Read(scroll::ReadArgs),
    /// Replace the scroll at a coordinate.
    Write(scroll::WriteArgs),
    /// Add to the end of the scroll at a coordinate.
    Append(scroll::AppendArgs),
    /// Remove the scroll at a coordinate.
    Delete(scroll::DeleteArgs),
    /// List coordinates below a pattern.
    List(scroll::ListArgs),
    /// Store every scroll of phext files.
    Import(import::ImportArgs),
    /// Write a phext to a file or to standard output.
    Export(export::ExportArgs),
    /// Store a copy of everything in a directory, while the ranch serves.
    Backup(backup::BackupArgs),
    /// Look whether backups are what was written.
    Verify(backup::VerifyArgs),
    /// Put a backup into an empty ranch, or one tenant of it into any.
    Restore(backup::RestoreArgs),
    /// Put load on a ranch and print how long requests take.
    Bench(bench::BenchArgs),
}

/// Parses the arguments, carries the command out and says how it went.
pub fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough, as `head` has.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::notice(&format!("ranch: {error}"));
            error.exit_code()
        }
    }
}

/// Longest wait for a node's databases to close, which takes long when large files go.
const CLOSE_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

impl Command {
    fn run(self) -> Result<(), CliError> {
        // A client does one thing at a time; a node and a router use every core.
        let opens_databases = matches!(&self, Self::Node(args) if args.runs());
        let runtime = if opens_databases || matches!(self, Self::Router(_)) {
            tokio::runtime::Builder::new_multi_thread()
        } else {
            tokio::runtime::Builder::new_current_thread()
        }
        .enable_all()
        .build()
        .map_err(|source| CliError::Runtime { source })?;
        let result = runtime.block_on(self.carry_out());
        if opens_databases {
            // They must be closed before the process goes, or their own threads abort it.
            runtime.shutdown_timeout(CLOSE_LIMIT);
        } else {
            // A blocked read of standard input must not keep the process.
            runtime.shutdown_background();
        }
        result
    }

    async fn carry_out(self) -> Result<(), CliError> {
        match self {
            Self::Up(args) => up::run(args).await,
            Self::Node(args) => node::run(args).await,
            Self::Router(args) => router::run(args).await,
            Self::Upgrade(args) => upgrade::run(args).await,
            Self::Versions => upgrade::say_versions(),
            Self::Status(args) => status::run(args).await,
            Self::Certs(command) => certs::run(&command),
            Self::VerifyState(args) => verify_state::run(args).await,
            Self::Doctor(args) => doctor::run(args).await,
            Self::Tenant(command) => tenant::run(command).await,
            Self::Read(args) => scroll::read(args).await,
            Self::Write(args) => scroll::write(args).await,
            Self::Append(args) => scroll::append(args).await,
            Self::Delete(args) => scroll::delete(args).await,
            Self::List(args) => scroll::list(args).await,
            Self::Import(args) => import::run(args).await,
            Self::Export(args) => export::run(args).await,
            Self::Backup(args) => backup::backup(args).await,
            Self::Verify(args) => backup::verify(args),
            Self::Restore(args) => backup::restore(args).await,
            Self::Bench(args) => bench::run(args).await,
        }
    }
}

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
