//! The command line as an operator uses it: `ranch up`, phexts in and out, and what is said when
//! something is wrong.

mod phexts;
mod refusals;
mod scrolls;
mod up;

#[path = "../support/mod.rs"]
mod support;
