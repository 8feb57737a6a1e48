//! The router over real sockets, against shards kept in memory: texts, statuses and headers as the
//! specification has them, and what happens when shards, clients and keys misbehave.

// Support is part of the tests, but clippy's leave for tests ends at functions marked so.
#![allow(clippy::unwrap_used)]

mod support;

mod admin;
mod batch;
mod delta;
mod edges;
mod failover;
mod fuzz;
mod fuzz_batch;
mod keys;
mod large;
mod lifecycle;
mod limits;
mod metrics;
mod refusals;
mod rest;
mod sq;
mod tenants;
mod tenants_file;
mod whole;
