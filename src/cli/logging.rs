//! What a node or router says about itself: lines or JSON on standard error.
//!
//! Lines of requests are many and cheap to lose: a thread of its own writes them, several at a
//! time. All others are written before the program goes on, so that the last words of a process
//! that aborts are there.

use std::io::{BufWriter, stderr};

use ranch_proto::config::{LogConfig, LogFormat, LogLevel};
use ranch_router::REQUEST_LOG;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

/// Lines of requests that may wait to be written; whoever has one more waits with it.
const LINES: usize = 4_096;
/// Bytes of them written at a time.
const WRITE_BYTES: usize = 64 << 10;

/// Begins logging for the rest of the process's life, or a part of it: lines of requests are
/// written until what is returned is dropped. A second call changes nothing.
pub fn start(config: &LogConfig) -> WorkerGuard {
    let filter = EnvFilter::new(directives(config.level));
    let queue = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(LINES);
    let (requests, guard) = queue.finish(BufWriter::with_capacity(WRITE_BYTES, stderr()));
    let requests = requests.with_filter(|line| line.target() == REQUEST_LOG);
    let writer = requests.or_else(stderr);
    let builder = fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    // Fails only when logging has begun already.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    guard
}

/// Libraries speak of their insides at info; they are heard from `warn` on, or all at debug.
/// openraft warns at every heartbeat to a machine that is gone, which the links say once; and its
/// front calls it an error when leadership goes while members change, and every message that comes
/// while a group stops, which are told to the callers, who know what to do. What administrators
/// did is written down whatever the level.
fn directives(level: LogLevel) -> String {
    match level {
        LogLevel::Error | LogLevel::Debug => format!("{},audit=info", level.as_str()),
        LogLevel::Warn | LogLevel::Info => {
            let ours =
                ["ranch", "ranch_proto", "ranch_raft", "ranch_node", "ranch_router", REQUEST_LOG];
            let level = level.as_str();
            let libraries = "warn,openraft=error,openraft::raft=off,audit=info".to_owned();
            ours.iter().fold(libraries, |all, one| format!("{all},{one}={level}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_understood() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug] {
            assert!(EnvFilter::try_new(directives(level)).is_ok(), "{level:?}");
        }
        assert!(directives(LogLevel::Info).contains("request=info"));
        let info = "warn,openraft=error,openraft::raft=off,audit=info,ranch=info";
        assert!(directives(LogLevel::Info).starts_with(info));
    }
}
