//! `ranch node token` and `ranch node join`: machines that come without an entry in `ranch.toml`.
//!
//! What such a machine must know to start again is in `joined.toml` of its data directory. Where
//! machines talk by TLS it has a certificate before it joins, and its id from there.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;
use ranch_node::{JOINED_FILE, Joiner};
use ranch_proto::api_key::Secret;
use ranch_proto::config::{Config, NodeConfig};
use ranch_proto::tls::Security;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::CliError;
use super::http::Call;
use super::local::{Local, host_name};
use super::machine::MachineError;
use super::options::{AdminArgs, AdminKeyArg, LocalArgs, secret};
use super::{node, output, secure};

/// Arguments of `ranch node token`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch node token --uses 3 --lifetime-s 86400")]
pub struct TokenArgs {
    /// How many machines it lets in.
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// For how long it does, in seconds.
    #[arg(long, default_value_t = 3600)]
    lifetime_s: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Arguments of `ranch node join`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ranch node join 10.0.0.1:7101 --token ranch-join-… \\\n    \
                        --addr 10.0.0.9:7101 --data-dir /var/lib/ranch\n\nFrom then on \
                        `ranch node --data-dir /var/lib/ranch` starts it.\n\nWhere the ranch talks \
                        by TLS, have a certificate issued first (`ranch certs issue node4 --id \
                        4`), copy ca.crt, node4.crt and node4.key to it, and\n  ranch node join \
                        10.0.0.1:7101 --token ranch-join-… --name node4 \\\n    --addr \
                        10.0.0.9:7101 --data-dir /var/lib/ranch --tls-dir /etc/ranch/certs")]
pub struct JoinArgs {
    /// Address of any node of the ranch.
    #[arg(value_name = "HOST:PORT")]
    at: String,
    /// What `ranch node token` printed.
    #[arg(long, env = "RANCH_JOIN_TOKEN", hide_env_values = true, value_parser = secret)]
    token: Secret,
    /// Name of this machine in the ranch [default: the host's name].
    #[arg(long)]
    name: Option<String>,
    /// Address at which the other machines reach this one.
    #[arg(long, value_name = "HOST:PORT")]
    addr: String,
    /// Directory with ca.crt and this machine's certificate and key, NAME.crt and NAME.key, which
    /// say its id: for a ranch that talks by TLS [default: [tls] dir of a ranch.toml here].
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Failure zone; copies are spread over zones first.
    #[arg(long, default_value = "")]
    zone: String,
    /// Only join; start the node later, as with a service manager.
    #[arg(long)]
    no_start: bool,
    #[command(flatten)]
    key: AdminKeyArg,
    #[command(flatten)]
    local: LocalArgs,
}

#[derive(Deserialize)]
struct Made {
    token: String,
    expires_at: String,
    uses: u32,
    nodes: Vec<String>,
}

/// Makes a token and says what to do with it.
pub async fn token(args: TokenArgs) -> Result<(), CliError> {
    let (http, _) = args.admin.http()?;
    let path = "/api/v2/admin/cluster/tokens".to_owned();
    let mut call = Call::new(Method::POST, path, "making a join token".to_owned());
    call.headers.push(("accept", "application/json".to_owned()));
    call.body = json!({"uses": args.uses, "lifetime_s": args.lifetime_s}).to_string().into();
    let answer: Value = http.ask_json(&call).await?;
    if args.json {
        return output::json(&answer);
    }
    let made: Made = http.understood(&call.what, answer)?;
    let at = made.nodes.first().map_or("HOST:PORT", String::as_str);
    let machines =
        if made.uses == 1 { "one machine".into() } else { format!("{} machines", made.uses) };
    output::line(&format!(
        "{}\n\nIt lets {machines} in until {} and is shown only now. On a machine that is to \
         join:\n\n\
         \x20 RANCH_JOIN_TOKEN={} ranch node join {at} --addr ITS-HOST:PORT --data-dir DIR\n\n\
         Where machines talk by TLS it needs a certificate first, and --tls-dir: see `ranch node \
         join --help`.\n",
        made.token, made.expires_at, made.token
    ))
}

/// Joins, and runs the node unless that is left for later.
pub async fn join(args: JoinArgs) -> Result<(), CliError> {
    let mut local = Local::load(&args.local)?;
    let name = args.name.unwrap_or_else(host_name);
    let tls_dir = absolute(args.tls_dir.or_else(|| local.config.tls.dir.clone()))?;
    let mut own = NodeConfig {
        id: 0,
        data_dir: local.root.join(&name),
        name,
        addr: args.addr,
        zone: args.zone,
        listen: None,
    };
    check(&own, tls_dir.as_ref())?;
    let mut security = Security::Plain;
    if let Some(dir) = &tls_dir {
        let (by_certificate, id) = secure::as_named(dir, &own.name)?;
        (security, own.id) = (by_certificate, id.0);
    }
    let asking = Joiner {
        at: args.at,
        token: args.token,
        node: own.clone(),
        security,
        tls_dir: tls_dir.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let joined = ranch_node::join(&asking).await.map_err(MachineError::from)?;
    let (id, name) = (joined.id, own.name);
    output::line(&format!(
        "{name} is node {id} of {}; to start it again: ranch node --data-dir {} --name {name}",
        joined.settings.name,
        local.root.display()
    ))?;
    if args.no_start {
        return Ok(());
    }
    // A ranch.toml that is here goes before what was joined, but not before what was just said.
    local.config.tls.dir = tls_dir;
    node::serve(local, Some(name), args.key, false).await
}

/// A later start may be in another directory.
fn absolute(dir: Option<PathBuf>) -> Result<Option<PathBuf>, CliError> {
    let Some(dir) = dir else { return Ok(None) };
    std::path::absolute(&dir).map(Some).map_err(CliError::file("find", &dir))
}

/// The rules of a `[[node]]`, before anybody is asked.
fn check(own: &NodeConfig, tls_dir: Option<&PathBuf>) -> Result<(), CliError> {
    let mut config =
        Config { nodes: vec![NodeConfig { id: 1, ..own.clone() }], ..Config::default() };
    // Whether connections may be plain is the ranch's to say.
    config.tls.allow_plaintext = true;
    config.tls.dir = tls_dir.cloned();
    Ok(config.validate()?)
}

/// The configuration of a machine that joined by token and is to start, if it is one: by name, or
/// the only one in the data directory.
pub fn recall(local: &Local, name: Option<&str>) -> Result<Option<(Config, String)>, CliError> {
    let Some(name) = name.map(str::to_owned).or_else(|| only_one(&local.root)) else {
        return Ok(None);
    };
    let file = local.root.join(&name).join(JOINED_FILE);
    if !file.exists() {
        return Ok(None);
    }
    let mut joined = Config::load(Some(&file))?;
    let Some(own) = joined.nodes.iter_mut().find(|node| node.name == name) else {
        return Ok(None);
    };
    own.data_dir = local.root.join(&name);
    let own = own.clone();
    if local.config_file.is_none() {
        return Ok(Some((joined, name)));
    }
    let mut config = local.config.clone();
    if config.nodes.iter().any(|node| node.id == own.id) {
        return Ok(None);
    }
    config.nodes.retain(|node| node.name != own.name);
    config.tls.dir = config.tls.dir.or(joined.tls.dir);
    let known: Vec<u32> = config.nodes.iter().map(|node| node.id).collect();
    config.nodes.extend(joined.nodes.into_iter().filter(|node| !known.contains(&node.id)));
    config.validate()?;
    Ok(Some((config, name)))
}

fn only_one(root: &Path) -> Option<String> {
    let dirs = fs::read_dir(root).ok()?.flatten().map(|entry| entry.path());
    let mut joined: Vec<PathBuf> = dirs.filter(|dir| dir.join(JOINED_FILE).exists()).collect();
    let only = joined.pop().filter(|_| joined.is_empty())?;
    Some(only.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use ranch_node::Joined;
    use ranch_proto::schema::{NodeRecord, RanchSettings};

    use super::*;

    fn joined(root: &Path) -> NodeConfig {
        let own = NodeConfig {
            id: 0,
            name: "late".into(),
            addr: "127.0.0.1:7999".into(),
            data_dir: root.join("late"),
            zone: "z\"1".into(),
            listen: None,
        };
        let settings = RanchSettings {
            name: "farm".into(),
            shards: 4,
            replicas: 3,
            heartbeat_ms: 50,
            election_min_ms: 150,
            election_max_ms: 300,
            allow_plaintext: false,
        };
        let peer = NodeRecord {
            id: 1,
            name: "first".into(),
            addr: "127.0.0.1:7998".into(),
            ..NodeRecord::default()
        };
        let text = Joined { id: 7, settings, peers: vec![peer] }.to_toml(&own, None);
        fs::create_dir_all(&own.data_dir).unwrap();
        fs::write(own.data_dir.join(JOINED_FILE), text).unwrap();
        own
    }

    fn local(root: &Path, config: Option<&str>) -> Local {
        let config_file = config.map(|text| {
            let file = root.join("ranch.toml");
            fs::write(&file, text).unwrap();
            file
        });
        let config = Config::load(config_file.as_deref()).unwrap();
        Local { config, config_file, root: root.to_owned() }
    }

    #[test]
    fn what_was_joined_is_recalled_without_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        assert!(recall(&local(dir.path(), None), None).unwrap().is_none());
        let own = joined(dir.path());
        for name in [None, Some("late")] {
            let (config, name) = recall(&local(dir.path(), None), name).unwrap().unwrap();
            assert_eq!((name.as_str(), config.cluster.heartbeat_ms), ("late", 50));
            assert_eq!(config.node("late"), Some(&NodeConfig { id: 7, ..own.clone() }));
            assert_eq!(config.nodes.len(), 2);
        }
        assert!(recall(&local(dir.path(), None), Some("other")).unwrap().is_none());
    }

    #[test]
    fn a_configuration_goes_before_it() {
        let dir = tempfile::tempdir().unwrap();
        joined(dir.path());
        let others = "[cluster]\nheartbeat_ms = 80\n\n[[node]]\nid = 1\nname = \"first\"\n\
                      addr = \"127.0.0.1:7000\"\ndata_dir = \"d\"\n";
        let (config, _) = recall(&local(dir.path(), Some(others)), None).unwrap().unwrap();
        assert_eq!((config.cluster.heartbeat_ms, config.nodes.len()), (80, 2));
        assert_eq!(config.node("first").unwrap().addr, "127.0.0.1:7000");
        let all = format!(
            "{others}\n[[node]]\nid = 7\nname = \"late\"\naddr = \"127.0.0.1:7001\"\n\
                           data_dir = \"e\"\n"
        );
        assert!(recall(&local(dir.path(), Some(&all)), None).unwrap().is_none(), "it lists all");
    }
}
