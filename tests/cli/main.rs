//! The command line as an operator uses it: `ranch up`, phexts in and out, and what is said when
//! something is wrong.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod doctor;
mod migration;
mod open;
mod phexts;
mod readme;
mod refusals;
mod scrolls;
mod tenants;
mod up;

#[path = "../support/mod.rs"]
mod support;
