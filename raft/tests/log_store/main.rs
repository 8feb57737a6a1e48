//! The log store as openraft and a node see it, on a real disk. Defends R1 (nothing acknowledged
//! is lost) and R9 (damage is found, never served).

// A test's helpers may panic as its body may; clippy sees only the body.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod behaviour;
mod cache;
mod crash;
mod damage;
mod promise;
mod refusal;
mod space;
mod support;
mod throughput;
