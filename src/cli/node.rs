//! `ranch node`: one machine of the ranch as a process, with a router embedded if it has one.

use std::sync::Arc;

use clap::Args;
use ranch_node::{Node, NodeOptions};
use ranch_proto::config::{Config, NodeConfig};
use ranch_proto::tls::Security;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::CliError;
use super::lifecycle::{self, NodeAction};
use super::local::{self, ADMIN_KEY_FILE, Local};
use super::machine::MachineError;
use super::options::{AdminKeyArg, LocalArgs};
use super::shutdown::StopSignals;
use super::{join, key_file, logging, machine, router, secure};

/// Arguments of `ranch node`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  ranch node --name node1 --config /etc/ranch.toml\n  \
                        ranch node drain node1")]
pub struct NodeArgs {
    #[command(subcommand)]
    action: Option<NodeAction>,
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

impl NodeArgs {
    /// Whether a node is to run here; otherwise one is to be told something.
    pub fn runs(&self) -> bool {
        matches!(self.action, None | Some(NodeAction::Join(_)))
    }
}

/// Runs a node until it is asked to stop or must not go on, or tells one something.
pub async fn run(args: NodeArgs) -> Result<(), CliError> {
    if let Some(action) = args.action {
        return lifecycle::run(action).await;
    }
    serve(Local::load(&args.local)?, args.name, args.admin, args.follow_parent).await
}

/// Runs the node of this name until it is asked to stop or must not go on.
pub async fn serve(
    mut local: Local,
    mut name: Option<String>,
    admin: AdminKeyArg,
    follow_parent: bool,
) -> Result<(), CliError> {
    if let Some((config, joined)) = join::recall(&local, name.as_deref())? {
        (local.config, name) = (config, Some(joined));
    }
    let node = find(&local.config, name)?.clone();
    let _log = logging::start(&local.config.log);
    let stop = StopSignals::new().map_err(|source| MachineError::Signals { source })?;
    for dir in [&local.root, &node.data_dir] {
        local::make_private(dir).map_err(CliError::file("create", dir))?;
    }
    let admin_key = Some(match admin.admin_key {
        Some(key) => key,
        None => key_file::read_or_make(&local.root.join(ADMIN_KEY_FILE))?,
    });
    let config = Arc::new(local.config);
    secure::warn_if_open(&config);
    let options = NodeOptions {
        config: Arc::clone(&config),
        node: node.clone(),
        admin_key,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        security: secure::followed(&config, Some(&node))?,
    };
    let mut stopping = std::pin::pin!(stop.or_parent_gone(follow_parent));
    let mut running = tokio::select! {
        started = Node::start(options) => started.map_err(MachineError::from)?,
        // It may be waiting for room on its disk.
        () = &mut stopping => return Ok(()),
    };
    tracing::info!(node = node.id, name = %node.name, addr = %node.addr, "the node has started");
    let mut front = Front::start(&running, &node, &config).await?;
    let end = tokio::select! {
        () = stopping => Ok(()),
        fault = running.fault() => Err(MachineError::from(fault)),
        ended = front.ended() => ended,
    };
    front.stop().await;
    if let Err(error) = end {
        running.abandon().await;
        return Err(error.into());
    }
    running.stop().await;
    tracing::info!("the node has stopped");
    Ok(())
}

/// The node of this name or id, or of the host's name.
fn find(config: &Config, name: Option<String>) -> Result<&NodeConfig, MachineError> {
    let name = name.unwrap_or_else(local::host_name);
    if let Some(node) = config.node(&name) {
        return Ok(node);
    }
    let known: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
    Err(MachineError::UnknownNode { name, known: known.join(", ") })
}

/// The router embedded in a node, if it has one.
struct Front {
    task: Option<JoinHandle<Result<(), MachineError>>>,
    stop: oneshot::Sender<()>,
}

impl Front {
    async fn start(
        running: &Node,
        node: &NodeConfig,
        config: &Arc<Config>,
    ) -> Result<Self, MachineError> {
        let (stop, stopped) = oneshot::channel();
        let Some(addr) = &node.listen else { return Ok(Self { task: None, stop }) };
        let key = format!("[[node]] {} listen", node.name);
        let listener = machine::listen(addr, &key).await?;
        let (shards, config) = (running.shards(), Arc::clone(config));
        let protection = secure::front(&config, &Security::Plain)?;
        let task = tokio::spawn(async move {
            // Dropping the sender says the same as sending.
            let stopped = async { drop(stopped.await) };
            router::serve((listener, shards), &config, protection, stopped).await
        });
        Ok(Self { task: Some(task), stop })
    }

    /// Waits until it ends by itself, which it does only for a reason.
    async fn ended(&mut self) -> Result<(), MachineError> {
        match &mut self.task {
            None => std::future::pending().await,
            Some(task) => {
                let ended = task.await;
                self.task = None;
                ended.unwrap_or_else(|error| Err(MachineError::Task { reason: error.to_string() }))
            }
        }
    }

    async fn stop(self) {
        drop(self.stop);
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the embedded router failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_found_by_name_or_id_and_others_named() {
        let config = Config::default();
        for name in ["node2", "2"] {
            assert_eq!(find(&config, Some(name.to_owned())).unwrap().id, 2);
        }
        let error = find(&config, Some("nod2".to_owned())).unwrap_err().to_string();
        assert!(error.contains("nod2") && error.contains("node1, node2, node3"), "{error}");
    }
}
