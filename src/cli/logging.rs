//! What a node or router says about itself: lines or JSON on standard error.

use ranch_proto::config::{LogConfig, LogFormat, LogLevel};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Begins logging for the rest of the process's life. A second call changes nothing.
pub fn start(config: &LogConfig) {
    let filter = EnvFilter::new(directives(config.level));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Fails only when logging has begun already.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Libraries speak of their insides at info; they are heard from `warn` on, or all at debug.
/// openraft warns at every heartbeat to a machine that is gone, which the links say once. What
/// administrators did is written down whatever the level.
fn directives(level: LogLevel) -> String {
    match level {
        LogLevel::Error | LogLevel::Debug => format!("{},audit=info", level.as_str()),
        LogLevel::Warn | LogLevel::Info => {
            let ours = ["ranch", "ranch_proto", "ranch_raft", "ranch_node", "ranch_router"];
            let level = level.as_str();
            ours.iter().fold("warn,openraft=error,audit=info".to_owned(), |all, one| {
                format!("{all},{one}={level}")
            })
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
        assert!(
            directives(LogLevel::Info).starts_with("warn,openraft=error,audit=info,ranch=info")
        );
    }
}
