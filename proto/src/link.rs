//! Links: long-lived, multiplexed connections between the processes of a ranch.
//!
//! A [`Link`] carries requests to one peer over one bidirectional stream, many at a time, matched
//! to their replies by id; frames that wait together leave as one message. It reconnects by
//! itself, answers nothing twice, and says [`ShardError::Unknown`](crate::ShardError) for every
//! request that was under way when it broke. [`Links`] holds the links of a process by peer and
//! lane; [`RemoteShards`] is the [`Shards`](crate::Shards) of a router outside any node. Whether
//! bytes go plain or by TLS is decided where a connection is made, on either side ([`Wire`]).

mod batch;
mod connection;
mod dial;
mod filter;
mod heard;
mod pending;
mod pool;
mod remote;
mod visit;
mod wire;

use std::time::Duration;

pub use batch::Batched;
pub use connection::{Link, LinkOptions, Sent};
#[cfg(feature = "faults")]
pub use filter::{Filter, Verdict};
pub use heard::Peer;
pub use pool::{Lane, Links};
pub use remote::RemoteShards;
pub use visit::{VisitError, ask_to_join};
pub use wire::{Caller, Wire};

/// Largest message on a link, in bytes: a batch of frames and one frame more.
pub const MESSAGE_MAX: usize = 8 << 20;
/// Between the questions of each end of a connection whether the other is still there. Without
/// them, who waits for an answer would never learn of a machine that went without a word.
pub const ASK_AFTER: Duration = Duration::from_secs(5);
/// How long an end may take to say that it is.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
