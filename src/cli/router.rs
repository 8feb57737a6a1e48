//! `ranch router`: the HTTP front as a process of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use ranch_proto::config::Config;
use ranch_proto::link::{LinkOptions, RemoteShards};
use ranch_proto::tls::Security;
use ranch_proto::{NodeId, Shards};
use ranch_router::{Options, tenants_file};
use tokio::net::TcpListener;

use super::error::CliError;
use super::local::Local;
use super::machine::MachineError;
use super::options::LocalArgs;
use super::secure::{self, Protection};
use super::shutdown::StopSignals;
use super::{logging, machine};

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
    let listener = machine::listen(&config.router.listen, key).await?;
    secure::warn_if_open(&config);
    let security = secure::router(&config)?;
    let protection = secure::front(&config, &security)?;
    let shards = Arc::new(RemoteShards::start(&addresses(&config), link_options(security)));
    let stopped = stop.or_parent_gone(args.follow_parent);
    serve((listener, shards), &config, protection, stopped).await?;
    tracing::info!("the router has stopped");
    Ok(())
}

/// Answers on `listener` until `stopped`, following the tenants file if there is one.
pub async fn serve<S: Shards>(
    (listener, shards): (TcpListener, Arc<S>),
    config: &Config,
    protection: Protection,
    stopped: impl Future<Output = ()>,
) -> Result<(), MachineError> {
    if let Some(path) = &config.router.tenants {
        check_tenants(path)?;
    }
    if let Ok(addr) = listener.local_addr() {
        let scheme = if protection.https.is_some() { "https" } else { "http" };
        tracing::info!(%addr, scheme, "the router is listening");
    }
    let Protection { https, certificates } = protection;
    let options = Options::from_config(&config.router, &config.limits);
    let options = Options { https, certificates, ..options };
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

fn link_options(security: Security) -> LinkOptions {
    LinkOptions {
        node: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: fastrand::u64(1..),
        cluster_id: Arc::default(),
        security,
    }
}
