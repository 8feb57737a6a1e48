//! Testing a ranch from outside: real processes, real requests, and a judge of what was answered.
//!
//! The harness starts the `ranch` binary as an operator would, one process a node and one for the
//! router, and ends, pauses or restarts them. A workload records every operation with the instants
//! it was asked and answered; the checker then decides from that history alone whether the ranch
//! kept its promises. Nothing here looks inside a node, so nothing here can be fooled by one.

pub mod bugs;
pub mod check;
pub mod client;
pub mod cluster;
pub mod error;
pub mod fault;
pub mod footprint;
pub mod fury;
pub mod history;
pub mod layout;
pub mod plot;
pub mod process;
pub mod ranch;
pub mod reaper;
pub mod report;
pub mod run;
pub mod scenario;
pub mod states;
pub mod token;
pub mod tool;
pub mod verdict;
pub mod wait;
pub mod workload;
pub mod world;

pub use check::check;
pub use client::{Answer, Client, ClientError};
pub use cluster::Cluster;
pub use error::HarnessError;
pub use layout::Layout;
pub use ranch::Ranch;
pub use scenario::Scenario;
pub use states::{Comparison, States};
pub use workload::Workload;
pub use world::World;
