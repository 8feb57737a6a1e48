//! `ranch.toml`: one file, the same on every machine.
//!
//! A struct for each section ([`sections`]), every default beside its key, unknown keys fatal
//! with the nearest known one named ([`unknown`]), the environment over the file
//! ([`environment`]), and rules checked before anything is opened ([`validate`]). There is no
//! global configuration: whoever starts a role hands it the parts it needs.

mod environment;
mod error;
mod sections;
mod unknown;
mod validate;

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use sections::{
    ClusterConfig, LimitsConfig, LogConfig, LogFormat, LogLevel, NodeConfig, PlacementConfig,
    ReadMode, RouterConfig, StorageConfig, TlsConfig,
};

/// The whole of `ranch.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[cluster]`: what all machines agree on.
    pub cluster: ClusterConfig,
    /// `[storage]`: disks and caches of a node.
    pub storage: StorageConfig,
    /// `[placement]`: moving copies of shards between machines.
    pub placement: PlacementConfig,
    /// `[router]`: the HTTP front.
    pub router: RouterConfig,
    /// `[limits]`: bounds on what clients may ask for.
    pub limits: LimitsConfig,
    /// `[tls]`: protection of the links.
    pub tls: TlsConfig,
    /// `[log]`: what a process says about itself.
    pub log: LogConfig,
    /// `[[node]]`: every machine of the ranch. Without any, three on this machine.
    #[serde(rename = "node")]
    pub nodes: Vec<NodeConfig>,
}

/// Sections and their keys, in the order of `ranch.toml`.
pub const SECTIONS: [(&str, &[&str]); 8] = [
    ("cluster", ClusterConfig::KEYS),
    ("storage", StorageConfig::KEYS),
    ("placement", PlacementConfig::KEYS),
    ("router", RouterConfig::KEYS),
    ("limits", LimitsConfig::KEYS),
    ("tls", TlsConfig::KEYS),
    ("log", LogConfig::KEYS),
    ("node", NodeConfig::KEYS),
];

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: ClusterConfig::default(),
            storage: StorageConfig::default(),
            placement: PlacementConfig::default(),
            router: RouterConfig::default(),
            limits: LimitsConfig::default(),
            tls: TlsConfig::default(),
            log: LogConfig::default(),
            nodes: (1..=3).map(NodeConfig::local).collect(),
        }
    }
}

impl Config {
    /// Reads `path` (the defaults when `None`), lays the process's environment over it and
    /// validates the result.
    ///
    /// # Errors
    /// A file that cannot be read or understood, a variable that cannot be understood, or a
    /// value against the rules of [`Config::validate`].
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let config = match path {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
                Self::parse_unchecked(&text).map_err(|error| error.in_file(path))?
            }
        };
        let config = config.overridden_by(&|variable| std::env::var(variable).ok())?;
        config.validate()?;
        Ok(config)
    }

    /// Reads a configuration from the text of a file, without looking at the environment, and
    /// validates it.
    ///
    /// # Errors
    /// As [`Config::load`], but for the file and the environment.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config = Self::parse_unchecked(text)?;
        config.validate()?;
        Ok(config)
    }

    fn parse_unchecked(text: &str) -> Result<Self, ConfigError> {
        unknown::check(text)?;
        toml::from_str(text).map_err(|error| ConfigError::from_toml(text, &error))
    }

    /// The `[[node]]` with this name, or with this id in decimal.
    #[must_use]
    pub fn node(&self, name_or_id: &str) -> Option<&NodeConfig> {
        let by_name = self.nodes.iter().find(|node| node.name == name_or_id);
        by_name.or_else(|| {
            let id = name_or_id.parse().ok()?;
            self.nodes.iter().find(|node| node.id == id)
        })
    }
}

/// Splits `host:port`, `[v6]:port` included; `None` when either part is missing or malformed.
#[must_use]
pub fn host_and_port(addr: &str) -> Option<(&str, u16)> {
    let (host, port) = addr.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match v6 {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok().map(|_| inner)?,
        None => host,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (v6.is_some() || (!host.is_empty() && host.bytes().all(plain))).then_some((host, port))
}

/// Whether an address `host:port` stays on this machine: a loopback address or `localhost`.
#[must_use]
pub fn is_loopback(addr: &str) -> bool {
    host_and_port(addr).is_some_and(|(host, _)| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests;
