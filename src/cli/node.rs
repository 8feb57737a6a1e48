//! `ranch node`: one machine of the ranch as a process, with a router embedded if it has one.

use clap::Args;
use ranch_proto::config::{Config, NodeConfig};

use super::error::CliError;
use super::local::{self, Local};
use super::machine::MachineError;
use super::options::{AdminKeyArg, LocalArgs};
use super::{key_file, logging};

/// Arguments of `ranch node`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch node --name node1 --config /etc/ranch.toml")]
pub struct NodeArgs {
    /// Which [[node]] this is, by name or id [default: the host's name].
    #[arg(long)]
    name: Option<String>,
    /// Stop when standard input ends, as it does when `ranch up` is gone.
    #[arg(long, hide = true)]
    follow_parent: bool,
    #[command(flatten)]
    admin: AdminKeyArg,
    #[command(flatten)]
    local: LocalArgs,
}
