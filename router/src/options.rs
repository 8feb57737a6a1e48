//! What a router may do and how long it waits: the router's part of the configuration, as values
//! ready for use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ranch_proto::config::{LimitsConfig, RouterConfig};
use ranch_proto::tls::Certified;

use crate::http::https::HttpsFiles;

/// Limits, deadlines and origins of one router.
#[derive(Clone, Debug)]
pub struct Options {
    /// The certificate for HTTPS; plain HTTP without.
    pub https: Option<HttpsKey>,
    /// Certificates of this process that no node speaks of.
    pub certificates: Vec<Watched>,
    /// Origins browsers may call from; `*` is any.
    pub cors_origins: Vec<String>,
    /// A tenants file to follow.
    pub tenants_file: Option<PathBuf>,
    /// Whether each request is logged, without keys and texts.
    pub log_requests: bool,
    /// Largest scroll in UTF-8 bytes.
    pub scroll_max_bytes: u64,
    /// Most bytes of large texts held in memory at once.
    pub large_bytes_max: u64,
    /// Largest phext text answered as one, in bytes.
    pub export_max_bytes: u64,
    /// Longest a request is tried, elections included.
    pub request_deadline: Duration,
    /// Most connections served at once; more are told to come back later.
    pub max_connections: u32,
    /// Most tenants with metrics of their own.
    pub metrics_max_tenants: u32,
    /// Longest wait for the head of a request, from its first byte or from the connection's start.
    pub head_timeout: Duration,
    /// Longest wait for another byte of a body, and for a client to take one.
    pub body_timeout: Duration,
    /// Longest an unused connection stays open.
    pub idle_timeout: Duration,
    /// Longest wait for running requests when the router stops.
    pub drain_timeout: Duration,
}

/// A certificate for HTTPS.
#[derive(Clone)]
pub struct HttpsKey(pub Arc<HttpsFiles>);

/// Certificates whose state is shown.
#[derive(Clone)]
pub struct Watched(pub Arc<dyn Certified>);

impl fmt::Debug for HttpsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpsKey")
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Options {
    /// The options `ranch.toml` gives.
    #[must_use]
    pub fn from_config(router: &RouterConfig, limits: &LimitsConfig) -> Self {
        Self {
            https: None,
            certificates: Vec::new(),
            cors_origins: router.cors_origins.clone(),
            tenants_file: router.tenants.clone(),
            log_requests: router.log_requests,
            scroll_max_bytes: limits.scroll_max_bytes,
            // Four of the largest scrolls.
            large_bytes_max: 256 << 20,
            export_max_bytes: limits.export_max_bytes,
            request_deadline: Duration::from_millis(limits.request_deadline_ms),
            max_connections: limits.max_connections,
            metrics_max_tenants: limits.metrics_max_tenants,
            head_timeout: Duration::from_millis(limits.head_timeout_ms),
            body_timeout: Duration::from_millis(limits.body_timeout_ms),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::from_config(&RouterConfig::default(), &LimitsConfig::default())
    }
}
