//! What can go wrong with the harness itself, as opposed to the ranch it tests.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::ClientError;

/// A failure to set up, drive or observe a ranch.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A call to the operating system failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being attempted, with its object.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Data would not reach a disk there, so the test would prove nothing.
    #[error("{path} is in memory (tmpfs): set TMPDIR to a directory on a disk")]
    InMemory {
        /// The directory meant for the nodes' data.
        path: PathBuf,
    },
    /// No port of the range the harness uses is free.
    #[error("no free port found between {low} and {high}")]
    NoPort {
        /// First port tried.
        low: u16,
        /// Last port tried.
        high: u16,
    },
    /// The ranch has no process of that name, or it is not running.
    #[error("{name} is not running")]
    NotRunning {
        /// The process asked for.
        name: String,
    },
    /// A condition did not come true in time.
    #[error("after {limit:?} still waiting for {what}")]
    TimedOut {
        /// The condition.
        what: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A tool the harness uses is missing or refused.
    #[error("{tool}: {reason}")]
    Tool {
        /// Its name.
        tool: String,
        /// What it said, or the remedy.
        reason: String,
    },
    /// This machine grants no namespaces.
    #[error(
        "the scenario needs namespaces of its own ({reason}): run it as root, or allow user \
         namespaces"
    )]
    NoWorld {
        /// What was refused.
        reason: String,
    },
    /// Ctrl-C.
    #[error("interrupted; nothing can be said of this run")]
    Interrupted,
    /// A scenario cannot be run.
    #[error("scenario {name}: {reason}")]
    Scenario {
        /// Its name or file.
        name: String,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// A request the harness itself needs had no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An answer the harness itself needs was not the one documented.
    #[error("{asked} was answered {status}: {body}")]
    Answer {
        /// The request.
        asked: String,
        /// The HTTP status.
        status: u16,
        /// The body, or why it could not be read.
        body: String,
    },
}

impl HarnessError {
    /// Wraps an input/output error with what was being done.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
