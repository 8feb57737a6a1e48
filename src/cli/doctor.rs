//! `ranch doctor`: is this machine fit for its part in a ranch, and what is to be done if not?
//!
//! Each subject has a file: it looks at the machine, or asks other nodes, and gets facts; a pure
//! function judges them. Nothing is changed, but for a file that is written to measure the disk
//! and removed again. Transparent huge pages are not looked at: nothing here is known to suffer
//! from them.

mod addresses;
mod certificates;
mod clock;
mod data_dir;
mod finding;
mod fsync;
mod keys;
mod limits;
mod memory;
mod nodes;
mod peers;
mod ranch;

use clap::Args;
use ranch_proto::config::NodeConfig;

use super::error::CliError;
use super::local::{self, Local};
use super::options::AdminArgs;
use super::output;
use finding::{Finding, Report};
use peers::{Acquaintance, Peers};

/// Arguments of `ranch doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ranch doctor\n  ranch doctor --name node1 --config \
                        /etc/ranch/ranch.toml\n  ranch doctor --json | jq '.findings[] | \
                        select(.level != \"ok\")'\n\nIt ends with 0 unless there is a problem; \
                        warnings are none. Run it as root or as the user that the node runs as.")]
pub struct DoctorArgs {
    /// Which [[node]] this is, by name or id [default: the host's name, else all that have an
    /// address of this machine].
    #[arg(long)]
    name: Option<String>,
    /// Print JSON: `findings`, each with `check`, `level`, `says` and, unless ok, `remedy`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Examines this machine and prints what was found.
pub async fn run(args: DoctorArgs) -> Result<(), CliError> {
    let report = Report { findings: examine(&args).await };
    if args.json {
        output::json(&report)?;
    } else {
        output::line(&report.text())?;
    }
    match report.problems() {
        0 => Ok(()),
        problems => Err(CliError::Unwell { problems }),
    }
}

async fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let local = match Local::load(&args.admin.local) {
        Ok(local) => local,
        Err(error) => return vec![nodes::bad_configuration(&error)],
    };
    let mut findings = vec![nodes::configuration(&local)];
    let here = nodes::Here {
        asked: args.name.clone(),
        host: local::host_name(),
        by_addr: local.nodes().into_iter().cloned().collect(),
    };
    let (mine, found) = nodes::mine(&local.config, &here);
    findings.push(found);
    let peers = Peers::ask(&local.config, mine.first()).await;
    findings.push(clock::judge(&peers.clocks(&mine), clock::synchronized().await));
    let mut disks = fsync::Disks::default();
    for node in &mine {
        findings.extend(of_node(&local, node, &peers, &mut disks).await);
    }
    findings.extend(addresses::left(&mine, peers.say_gone()));
    for (node, met) in peers.others(&mine) {
        findings.push(peers::judge(node, &local.config, met));
    }
    findings.push(peers::versions(&peers));
    findings.push(memory::judge(&memory::look(&peers.pids(&mine)), &local.config, mine.len()));
    findings.extend(keys::judge(&keys::look(&local.root)));
    findings.extend(certificates::judge(&local.config));
    findings.extend(addresses::fronts(&local.config, &mine).await);
    findings.extend(ranch::ask(&args.admin, &local).await);
    findings
}

/// What one node of this machine needs.
async fn of_node(
    local: &Local,
    node: &NodeConfig,
    peers: &Peers,
    disks: &mut fsync::Disks,
) -> Vec<Finding> {
    let config = &local.config;
    let met = peers.of(node.id);
    let mut findings = vec![addresses::own(node, config, met)];
    let seen = data_dir::look(&node.data_dir);
    findings.extend(data_dir::judge(&seen, config.storage.disk_reserve_mb));
    // Once a disk, and only where a file can be made.
    if let Some(dir) = seen.place_to_write()
        && disks.is_new(dir)
    {
        findings.push(fsync::judge(dir, &fsync::measure(dir).await, &config.cluster));
    }
    let pid = met.and_then(Acquaintance::pid);
    findings.extend(limits::judge(&limits::look(node, pid), limits::files_needed(config, node)));
    findings
}
