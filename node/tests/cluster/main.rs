//! Three nodes of a ranch in one process, over real sockets and a real disk, with a network that
//! loses, delays and parts what the tests tell it to.
//!
//! Each test names the promises of `RELIABILITY.md` it defends. Nodes run on runtimes of their
//! own, so that one can be killed alone; tests run one after another, because their deadlines
//! are meant for a machine that is not starved.

#![allow(clippy::expect_used, reason = "tests fail by panicking, helpers of theirs as well")]

mod client;
mod ledger;
mod limits;
mod notices;
mod partitions;
mod ranch;
mod reads;
mod restarts;
mod silence;
mod weather;
mod wires;
