//! Arguments that several commands share.

use std::path::PathBuf;

use clap::Args;
use ranch_proto::api_key::Secret;

use super::error::CliError;
use super::http::Http;
use super::local::Local;
use super::{key_file, local};

/// Where the ranch is.
#[derive(Clone, Debug, Args)]
pub struct UrlArgs {
    /// Address of a router.
    #[arg(long, env = "RANCH_URL", default_value = "http://127.0.0.1:1337", value_name = "URL")]
    pub url: String,
}

/// How a tenant's scrolls are reached.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    #[command(flatten)]
    pub url: UrlArgs,
    /// The tenant's API key.
    #[arg(long, env = "RANCH_KEY", hide_env_values = true, value_parser = secret)]
    pub key: Option<Secret>,
    /// Phext to use; the tenant's default when not given.
    #[arg(long, value_name = "NAME")]
    pub phext: Option<String>,
}

/// Where this machine's configuration and data are.
#[derive(Clone, Debug, Args)]
pub struct LocalArgs {
    /// Configuration file [default: ./ranch.toml or /etc/ranch/ranch.toml, whichever exists first,
    /// else built-in defaults].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory for all data of this machine: each node's is below it, named like the node
    /// [default: as configured].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// How an administrator reaches the ranch.
#[derive(Clone, Debug, Args)]
pub struct AdminArgs {
    #[command(flatten)]
    pub url: UrlArgs,
    #[command(flatten)]
    pub key: AdminKeyArg,
    #[command(flatten)]
    pub local: LocalArgs,
}

/// An administrator's key, where it may be left to `admin.key`.
#[derive(Clone, Debug, Args)]
pub struct AdminKeyArg {
    /// The administrator's key [default: the one in admin.key in the data directory].
    #[arg(
        long,
        env = "RANCH_ADMIN_KEY",
        hide_env_values = true,
        value_name = "KEY",
        value_parser = secret
    )]
    pub admin_key: Option<Secret>,
}

impl ClientArgs {
    /// A client for this ranch with the tenant's key.
    pub fn http(&self) -> Result<Http, CliError> {
        Ok(Http::new(&self.url.url, self.key.as_ref())?)
    }
}

impl AdminArgs {
    /// A client with the administrator's key, and what is known of this machine.
    pub fn http(&self) -> Result<(Http, Local), CliError> {
        let local = Local::load(&self.local)?;
        let key = match &self.key.admin_key {
            Some(key) => key.clone(),
            None => key_file::read(&local.root.join(local::ADMIN_KEY_FILE))?
                .ok_or_else(|| CliError::NoAdminKey { looked_at: local.root.clone() })?,
        };
        Ok((Http::new(&self.url.url, Some(&key))?, local))
    }
}

/// Reads a key from the command line or the environment.
pub fn secret(text: &str) -> Result<Secret, &'static str> {
    let text = text.trim();
    let sendable = text.bytes().all(|b| b.is_ascii_graphic());
    match (text.is_empty(), sendable) {
        (true, _) => Err("the key is empty"),
        (_, false) => Err("a key has no blanks and only ASCII characters"),
        _ => Ok(Secret::new(text)),
    }
}
