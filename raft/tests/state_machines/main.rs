//! State machines and their store, driven without Raft: what commands mean, that replicas agree
//! whatever happens between, and that snapshots and crashes leave one state or the other.

// A test's helpers may panic as its body may; clippy sees only the body.
#![allow(clippy::unwrap_used)]

mod calls;
mod crash;
mod feed;
mod garbage;
mod hash;
mod isolation;
mod large;
mod meta;
mod meta_support;
mod model;
mod moves;
mod purge;
mod repeats;
mod restore;
mod semantics;
mod snapshot;
mod staging;
mod support;
mod versions;
