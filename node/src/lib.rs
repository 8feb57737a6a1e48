//! A machine of a ranch: it runs replicas of groups, carries their messages, and keeps the groups
//! it leads in the shape the meta group has decided.
//!
//! The only crate that turns wire messages into openraft's types. It knows nothing of HTTP; a
//! router embedded in a node reaches it through [`LocalShards`].

mod accounts;
mod announce;
mod bootstrap;
mod charges;
mod copies;
mod disk;
mod error;
mod hand_over;
mod handler;
mod identity;
mod incoming;
mod join;
mod joined;
mod joining;
mod link_server;
mod lives;
mod local;
mod metrics;
mod network;
mod node;
mod open;
mod outcast;
mod pace;
mod placement;
mod proposals;
mod replicas;
mod rescue;
mod room;
mod roster;
mod routes;
mod service;
mod snapshot;
mod standing;
mod suspicion;
mod tickers;
mod tidings;
mod upgrade;
mod verify;

pub use error::NodeError;
pub use join::{Joiner, join};
pub use joined::{JOINED_FILE, Joined};
pub use local::LocalShards;
pub use node::{Node, NodeOptions};
