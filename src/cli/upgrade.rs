//! `ranch upgrade`: through all nodes with a new binary, one after the other and never on from one
//! that is not well; and the end of an upgrade, where the ranch is told to wait for it.

mod account;
mod binary;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use http::Method;
use ranch_proto::versions::Span;
use serde::Deserialize;

use super::error::CliError;
use super::http::{Call, Http, escaped};
use super::options::AdminArgs;
use super::output;
use super::up::orders::{Foreman, Order, ROUTER, Told};
use account::{Account, Node};
use binary::{Binary, Said};

/// Between looks whether a node is back.
const LOOK: Duration = Duration::from_millis(300);

const EXAMPLES: &str = "\
Examples:
  ranch upgrade --binary /opt/ranch-2/ranch
  ranch upgrade --binary /opt/ranch-2/ranch --restart 'ssh {} systemctl restart ranch-node'
  ranch upgrade --finish

It may be run again at any time; with the old binary it goes back, as long as the ranch is at its
old cluster version.";

/// Arguments of `ranch upgrade`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UpgradeArgs {
    /// The `ranch` to go on with.
    #[arg(long, value_name = "PATH", required_unless_present = "finish")]
    binary: Option<PathBuf>,
    /// How a node is restarted where no `ranch up` runs it: a command in which {} is the node's
    /// name, after which it runs the new binary.
    #[arg(long, value_name = "COMMAND", requires = "binary")]
    restart: Option<String>,
    /// Longest a node may take to be back and well, in seconds.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    wait_s: u64,
    /// Raise the cluster version where `hold_version` keeps it: there is no way back.
    #[arg(long, conflicts_with = "binary")]
    finish: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Why an upgrade does not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The binary is none.
    #[error("{} cannot be used: {reason}; nothing was changed", path.display())]
    Unusable {
        /// As given.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The ranch writes what the binary cannot.
    #[error(
        "the ranch is at cluster version {at}, and version {version} can do {formats}: choose a \
         binary that can do {at}, too; nothing was changed"
    )]
    ClusterVersion {
        /// Of the binary.
        version: String,
        /// What it can write.
        formats: Span,
        /// What is written.
        at: u32,
    },
    /// The binary could not speak with a node.
    #[error(
        "version {version} speaks protocol {ours} and {name} {theirs}: go through a version \
         between them; nothing was changed"
    )]
    Protocol {
        /// Of the binary.
        version: String,
        /// What it speaks.
        ours: Span,
        /// The node.
        name: String,
        /// What that speaks.
        theirs: Span,
    },
    /// Nobody can restart the nodes.
    #[error(
        "no `ranch up` runs in {}: name its directory with --data-dir, or say with --restart how a \
         node is restarted", looked_at.display()
    )]
    NoSupervisor {
        /// Where it was looked for.
        looked_at: PathBuf,
    },
    /// The ranch is not well enough to lose a node for a while.
    #[error("the ranch is not well ({trouble}), so no node is stopped: mend that first")]
    Trouble {
        /// What is wrong.
        trouble: String,
    },
    /// A node did not come back.
    #[error(
        "{name} is not back and well after {seconds} s ({last}), so the upgrade stops here: {done} \
         of {all} nodes run the new binary. Its log says why. When it is well, `ranch node undrain \
         {name}` and the same command go on; with the old binary it goes back"
    )]
    NotBack {
        /// The node.
        name: String,
        /// How long it was waited for.
        seconds: u64,
        /// What was last seen.
        last: String,
        /// Nodes that were upgraded before it.
        done: usize,
        /// Nodes to be upgraded.
        all: usize,
    },
    /// It could not be restarted.
    #[error("{name} was not restarted: {reason}. Mend that and run the same command again")]
    NotRestarted {
        /// The process.
        name: String,
        /// Why not.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Finished {
    cluster_version: u32,
    before: u32,
}

#[derive(Deserialize)]
struct Drained {
    leads: u64,
}

/// Goes through the nodes, or finishes.
pub async fn run(args: UpgradeArgs) -> Result<(), CliError> {
    let (http, local) = args.admin.http()?;
    let Some(path) = &args.binary else { return finish(&http).await };
    let binary = Binary::inspect(path).await?;
    let account = Account::ask(&http).await?;
    binary.check(&account)?;
    let down = account.nodes.iter().filter(|node| node.state == "down").count();
    // One that did not come back is where an upgrade goes on, or back.
    if let Some(trouble) = account.trouble().filter(|_| down != 1) {
        return Err(UpgradeError::Trouble { trouble }.into());
    }
    let mut hands = match args.restart {
        Some(command) => Hands::Command(command),
        None => match Foreman::find(&local.root).await {
            Some(foreman) => Hands::Foreman(foreman),
            None => return Err(UpgradeError::NoSupervisor { looked_at: local.root }.into()),
        },
    };
    let names = hands.names().await?;
    let ours = |node: &&Node| names.as_ref().is_none_or(|names| names.contains(&node.name));
    let mut nodes: Vec<Node> = account.nodes.iter().filter(ours).cloned().collect();
    nodes.sort_by_key(|node| node.state != "down");
    let version = &binary.said.version;
    output::line(&format!("to version {version} ({})", binary.path.display()))?;
    for node in account.nodes.iter().filter(|node| !ours(node)) {
        output::line(&format!("{}: runs on another machine; run this there as well", node.name))?;
    }
    let mut round = Round { http: &http, binary: &binary, hands, wait_s: args.wait_s, done: 0 };
    for node in &nodes {
        round.take(node, nodes.len()).await?;
    }
    if names.is_some_and(|names| names.iter().any(|name| name == ROUTER)) {
        round.restart(ROUTER).await?;
        output::line("router: another one has taken over")?;
    }
    let count = nodes.len();
    output::line(&format!("{count} nodes run version {version}; `ranch status` shows the rest"))
}

/// Prints what this binary can, as [`Binary::inspect`] reads it.
pub fn say_versions() -> Result<(), CliError> {
    output::json(&Said::ours())
}

async fn finish(http: &Http) -> Result<(), CliError> {
    let path = "/api/v2/admin/cluster/upgrade/finish".to_owned();
    let call = with_json(Call::new(Method::POST, path, "finishing the upgrade".to_owned()));
    let Finished { cluster_version, before } = http.ask_json(&call).await?;
    output::line(&if cluster_version == before {
        format!("the ranch is at cluster version {before} already, which all its machines can do")
    } else {
        format!("the ranch is at cluster version {cluster_version} now and was at {before}")
    })
}

fn with_json(mut call: Call) -> Call {
    call.headers.push(("accept", "application/json".to_owned()));
    call
}

/// Who restarts processes.
enum Hands {
    /// The `ranch up` that runs them.
    Foreman(Foreman),
    /// A command of the operator's.
    Command(String),
}

impl Hands {
    /// The processes that can be restarted; `None` for whichever there are.
    async fn names(&mut self) -> Result<Option<Vec<String>>, UpgradeError> {
        let Self::Foreman(foreman) = self else { return Ok(None) };
        let failed = |reason| UpgradeError::NotRestarted { name: "`ranch up`".to_owned(), reason };
        match foreman.tell(&Order::List).await {
            Ok(Told::Names(names)) => Ok(Some(names)),
            Ok(other) => Err(failed(format!("it answered {other:?}"))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    async fn restart(&mut self, name: &str, binary: &Binary) -> Result<(), String> {
        match self {
            Self::Foreman(foreman) => {
                let program = binary.path.clone();
                let order = Order::Restart { name: name.to_owned(), program };
                match foreman.tell(&order).await.map_err(|error| error.to_string())? {
                    Told::Done => Ok(()),
                    Told::Refused(reason) => Err(reason),
                    Told::Names(_) => Err("`ranch up` misunderstood".to_owned()),
                }
            }
            Self::Command(command) => {
                let line = command.replace("{}", name);
                let mut shell = tokio::process::Command::new("sh");
                shell.args(["-c", &line]).env("RANCH_NODE", name).stdin(Stdio::null());
                let status = shell.status().await.map_err(|error| error.to_string())?;
                if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
            }
        }
    }
}

/// An upgrade under way.
struct Round<'a> {
    http: &'a Http,
    binary: &'a Binary,
    hands: Hands,
    wait_s: u64,
    done: usize,
}

impl Round<'_> {
    /// Takes one node through it.
    async fn take(&mut self, node: &Node, all: usize) -> Result<(), CliError> {
        let name = &node.name;
        output::line(&format!("{name}: moving its leaderships away"))?;
        let leads = self.tell(name, "drain").await?;
        if leads > 0 {
            return Err(CliError::StillLeads { name: name.clone(), leads });
        }
        output::line(&format!("{name}: restarting"))?;
        if let Err(error) = self.restart(name).await {
            if node.duty != "draining" {
                // It runs as it did, or says so in `ranch status`.
                let _ = self.tell(name, "undrain").await;
            }
            return Err(error);
        }
        let back = self.wait(node, all).await?;
        // One that was drained by somebody else stays so.
        if node.duty != "draining" || node.state == "down" {
            self.tell(name, "undrain").await?;
        }
        self.done += 1;
        output::line(&format!("{name}: runs version {} ({} of {all})", back.version, self.done))
    }

    async fn tell(&self, name: &str, verb: &str) -> Result<u64, CliError> {
        let path = format!("/api/v2/admin/cluster/nodes/{}/{verb}", escaped(name));
        let call = with_json(Call::new(Method::POST, path, format!("{verb}ing node {name}")));
        let Drained { leads } = self.http.ask_json(&call).await?;
        Ok(leads)
    }

    async fn restart(&mut self, name: &str) -> Result<(), CliError> {
        let restarted = self.hands.restart(name, self.binary).await;
        let failed = |reason| UpgradeError::NotRestarted { name: name.to_owned(), reason };
        Ok(restarted.map_err(failed)?)
    }

    /// Waits until a node is another process, and nothing is wrong in the ranch.
    async fn wait(&self, before: &Node, all: usize) -> Result<Node, CliError> {
        let spinner = output::spinner(format!("waiting for {} to be well", before.name));
        let began = Instant::now();
        loop {
            let last = match Account::ask(self.http).await {
                Ok(account) => match account.node(&before.name) {
                    Some(node) if node.state == "up" && node.pid != before.pid => {
                        match account.trouble() {
                            None => {
                                spinner.finish_and_clear();
                                return Ok(node.clone());
                            }
                            Some(trouble) => trouble,
                        }
                    }
                    Some(node) if node.state == "starting" => "it is starting".to_owned(),
                    Some(_) => "it does not answer, or is the process it was".to_owned(),
                    None => "the ranch does not know it any more".to_owned(),
                },
                Err(error) => error.to_string(),
            };
            if began.elapsed() >= Duration::from_secs(self.wait_s) {
                spinner.finish_and_clear();
                let (name, seconds) = (before.name.clone(), self.wait_s);
                return Err(
                    UpgradeError::NotBack { name, seconds, last, done: self.done, all }.into()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
