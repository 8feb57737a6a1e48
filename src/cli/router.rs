//! `ranch router`: the HTTP front as a process of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ranch_proto::config::Config;
use ranch_proto::link::{LinkOptions, RemoteShards};
use ranch_proto::{GroupId, NodeId, Shards};
use ranch_router::{Options, tenants_file};
use tokio::net::TcpListener;

use super::error::CliError;
use super::local::Local;
use super::machine::MachineError;
use super::options::LocalArgs;
use super::shutdown::StopSignals;
use super::{inherit, logging, machine};

/// Between looks at what is known of the ranch.
const LOOK: Duration = Duration::from_millis(20);

/// Arguments of `ranch router`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch router --config /etc/ranch.toml --listen 127.0.0.1:8080")]
pub struct RouterArgs {
    /// Address to listen on [default: [router] listen].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Tenants file (JSON) to follow [default: [router] tenants].
    #[arg(long, value_name = "FILE")]
    tenants: Option<PathBuf>,
    /// Stop when standard input ends, as it does when `ranch up` is gone.
    #[arg(long, hide = true)]
    follow_parent: bool,
    /// Listen on the socket that `ranch up` hands over on standard input.
    #[arg(long, hide = true)]
    inherit: bool,
    /// Begin to serve when there is something to serve from: another router does until then.
    #[arg(long, hide = true)]
    relieve: bool,
    #[command(flatten)]
    local: LocalArgs,
}

/// Runs a router until it is asked to stop.
pub async fn run(args: RouterArgs) -> Result<(), CliError> {
    let mut config = Local::load(&args.local)?.config;
    let key = if args.listen.is_some() { "--listen" } else { "[router] listen" };
    override_with(&mut config, args.listen, args.tenants)?;
    let _log = logging::start(&config.log);
    let stop = StopSignals::new().map_err(|source| MachineError::Signals { source })?;
    let listener = if args.inherit {
        let inherited = inherit::take().and_then(TcpListener::from_std);
        inherited.map_err(|source| machine::refusal(&config.router.listen, key, source))?
    } else {
        machine::listen(&config.router.listen, key).await?
    };
    let shards = Arc::new(RemoteShards::start(&addresses(&config), link_options()));
    let stopped = stop.or_parent_gone(args.follow_parent);
    let mut stopped = std::pin::pin!(stopped);
    if args.relieve {
        tokio::select! {
            () = leaders_known(&shards) => {}
            () = &mut stopped => return Ok(()),
        }
    }
    if args.inherit {
        inherit::say_serving();
    }
    serve(listener, shards, &config, stopped).await?;
    tracing::info!("the router has stopped");
    Ok(())
}

/// Waits until the directory and the leader of every shard are known.
async fn leaders_known(shards: &RemoteShards) {
    loop {
        let known = {
            let directory = shards.directory().read();
            let led = |shard: &GroupId| shards.routes().leader(*shard).is_some();
            !directory.shards.is_empty() && directory.shards.keys().all(led)
        };
        if known {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Answers on `listener` until `stopped`, following the tenants file if there is one.
pub async fn serve<S: Shards>(
    listener: TcpListener,
    shards: Arc<S>,
    config: &Config,
    stopped: impl Future<Output = ()>,
) -> Result<(), MachineError> {
    if let Some(path) = &config.router.tenants {
        check_tenants(path)?;
    }
    if let Ok(addr) = listener.local_addr() {
        tracing::info!(%addr, "the router is listening");
    }
    let options = Options::from_config(&config.router, &config.limits);
    Ok(ranch_router::serve(listener, shards, options, stopped).await?)
}

/// Refuses a tenants file that cannot be understood before anything is started with it. A missing
/// one will be made.
pub fn check_tenants(path: &Path) -> Result<(), MachineError> {
    let fault = |reason: String| MachineError::Tenants { path: path.to_owned(), reason };
    match std::fs::read(path) {
        Ok(text) => tenants_file::parse(&text).map(drop).map_err(|error| fault(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fault(error.to_string())),
    }
}

/// Lays flags over the configuration and checks the result.
pub fn override_with(
    config: &mut Config,
    listen: Option<String>,
    tenants: Option<PathBuf>,
) -> Result<(), CliError> {
    if let Some(listen) = listen {
        config.router.listen = listen;
    }
    if tenants.is_some() {
        config.router.tenants = tenants;
    }
    Ok(config.validate()?)
}

fn addresses(config: &Config) -> Vec<(NodeId, String)> {
    config.nodes.iter().map(|node| (NodeId(node.id), node.addr.clone())).collect()
}

fn link_options() -> LinkOptions {
    LinkOptions {
        node: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: fastrand::u64(1..),
        cluster_id: Arc::default(),
    }
}
