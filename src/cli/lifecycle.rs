//! `ranch node drain` and its kin: machines of a running ranch, by its admin endpoints.

use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::error::CliError;
use super::http::{Call, escaped};
use super::join::{self, JoinArgs, TokenArgs};
use super::options::AdminArgs;
use super::output;

mod moves;

/// What can be done with a node.
#[derive(Debug, Subcommand)]
pub enum NodeAction {
    /// Move leadership away from a node, and keep it away: before it is stopped or upgraded.
    Drain(NamedArgs),
    /// Let a node lead again; calls off its removal, too.
    Undrain(NamedArgs),
    /// Move everything off a node, and then forget it.
    Remove(RemoveArgs),
    /// Make a token by which machines join that are not in ranch.toml.
    Token(TokenArgs),
    /// Have this machine join a ranch by token, and run its node.
    Join(JoinArgs),
}

/// Arguments of `ranch node remove`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch node remove node4 --wait\n\nIt may be dead already. \
                        `ranch node undrain` calls it off; `ranch status` shows how far it is.")]
pub struct RemoveArgs {
    /// Wait until it is done.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    named: NamedArgs,
}

/// Arguments of what is done with one node.
#[derive(Debug, Args)]
pub struct NamedArgs {
    /// The node's name or number, as `ranch status` shows it.
    name: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// A node as the endpoints answer it.
#[derive(Deserialize)]
struct Node {
    name: String,
    #[serde(default)]
    leads: u64,
}

/// Carries one of them out.
pub async fn run(action: NodeAction) -> Result<(), CliError> {
    match action {
        NodeAction::Drain(args) => drain(args).await,
        NodeAction::Remove(args) => remove(args).await,
        NodeAction::Token(args) => join::token(args).await,
        // It goes on to run the node, which is large.
        NodeAction::Join(args) => Box::pin(join::join(args)).await,
        NodeAction::Undrain(args) => {
            let (answer, node) = tell(&args, "undrain", "letting node {} lead again").await?;
            if args.json {
                return output::json(&answer);
            }
            output::line(&format!("{} may lead again", node.name))
        }
    }
}

async fn drain(args: NamedArgs) -> Result<(), CliError> {
    let (answer, node) = tell(&args, "drain", "draining node {}").await?;
    if args.json {
        output::json(&answer)?;
    }
    if node.leads > 0 {
        let (name, leads) = (node.name, node.leads);
        return Err(CliError::StillLeads { name, leads });
    }
    if args.json { Ok(()) } else { output::line(&format!("{} leads nothing", node.name)) }
}

/// Posts to one of a node's endpoints; `doing` has `{}` where the node's name belongs.
async fn tell(args: &NamedArgs, verb: &str, doing: &str) -> Result<(Value, Node), CliError> {
    let (http, _) = args.admin.http()?;
    let path = format!("/api/v2/admin/cluster/nodes/{}/{verb}", escaped(&args.name));
    let what = doing.replace("{}", &args.name);
    let mut call = Call::new(Method::POST, path, what);
    call.headers.push(("accept", "application/json".to_owned()));
    let answer: Value = http.ask_json(&call).await?;
    let node = http.understood(&call.what, answer.clone())?;
    Ok((answer, node))
}

async fn remove(args: RemoveArgs) -> Result<(), CliError> {
    let RemoveArgs { wait, named } = args;
    let (answer, node) = tell(&named, "remove", "removing node {}").await?;
    if wait {
        moves::until_gone(&named.admin, &node.name).await?;
    }
    if named.json {
        return output::json(&answer);
    }
    let name = node.name;
    output::line(&if wait {
        format!("{name} has left the ranch: its process stops by itself, its data may be deleted")
    } else {
        format!("{name} is leaving: `ranch status` shows how far it is")
    })
}
