//! The HTTP API of a real ranch: three nodes and a router, asked as any client would. Texts and
//! statuses are those of the API reference, written out here.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod admin;
mod bad_input;
mod clients;
mod docs;
mod isolation;
mod large;
mod limits;
mod metrics;
mod openapi;
mod rest;
mod sq;
mod tenants;
mod wire;

#[path = "../support/mod.rs"]
mod support;
