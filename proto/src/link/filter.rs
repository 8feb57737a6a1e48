//! A process's ear and mouth towards each peer, which a test may stop up.
//!
//! [`Gate`] is what a link asks before it sends, listens or connects. Without the cargo feature
//! `faults` it is nothing at all ([`open`]); with it a test installs a filter that loses or
//! delays requests, deafens a process to a peer, or cuts the two apart.

#[cfg(feature = "faults")]
mod faults;
#[cfg(not(feature = "faults"))]
mod open;

#[cfg(feature = "faults")]
pub use faults::{Filter, Verdict};
#[cfg(feature = "faults")]
pub(super) use faults::{Gate, Outgoing, Slot};
#[cfg(not(feature = "faults"))]
pub(super) use open::{Gate, Outgoing, Slot};
