//! The HTTP front of a ranch: who may ask, what was asked, which shard's leader answers.
//!
//! Only this crate knows HTTP and JSON. It reaches replicas through [`ranch_proto::Shards`] alone,
//! so the same router runs inside a node and on its own. What must hold:
//!
//! - the tenant of a request comes from its key and from nothing else;
//! - a write is answered with success only when its shard said so, and is retried under one
//!   request id, so that it applies once;
//! - nothing unbounded is held in memory: bodies, whole phexts and waiting requests have limits;
//! - every status and sentence of an error comes from one table, [`error`].

pub mod error;
pub mod forward;
pub mod options;
pub mod tenants_file;

mod api;
mod app;
mod auth;
mod charge;
mod cluster;
mod dispatch;
mod http;
mod large;
mod metrics;
mod request_log;
mod shown;
mod tally;

pub use http::https::{Https, HttpsFiles};
pub use http::server::{RouterError, serve};
pub use options::{HttpsKey, Options, Watched};
pub use request_log::TARGET as REQUEST_LOG;
pub use tenants_file::{Summary, TenantsFile, TenantsFileError};
