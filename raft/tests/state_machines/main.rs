//! State machines and their store, driven without Raft: what commands mean, that replicas agree
//! whatever happens between, and that snapshots and crashes leave one state or the other.

mod crash;
mod isolation;
mod meta;
mod model;
mod semantics;
mod snapshot;
mod support;
