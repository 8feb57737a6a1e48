//! The one error of reading a configuration. Every variant names the thing and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or a value has the wrong type.
    #[error("{place}: {detail}")]
    Malformed {
        /// Where it is.
        place: Place,
        /// What the parser said.
        detail: String,
    },
    /// A section or key that does not exist.
    #[error("{place}: {kind} `{name}` is unknown; {remedy}")]
    Unknown {
        /// Where it is.
        place: Place,
        /// "section", or "key … of".
        kind: String,
        /// What was found.
        name: String,
        /// The nearest known one, as a suggestion.
        remedy: String,
    },
    /// An environment variable whose value does not fit its key.
    #[error("the environment variable {variable} (`{value}`) does not fit: {detail}")]
    Environment {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A value against the rules.
    #[error("{key} is {value}, but {rule}")]
    Invalid {
        /// Section and key, as in `[cluster] shards`.
        key: String,
        /// What it is set to.
        value: String,
        /// The rule it breaks and how to keep it.
        rule: String,
    },
}

/// A line of a configuration file, which may have no name yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file; `None` when only its text was parsed.
    pub file: Option<PathBuf>,
    /// Line from 1; `None` when the parser did not say.
    pub line: Option<usize>,
}

impl Place {
    /// The line that holds byte `offset` of `text`.
    pub(super) fn at(text: &str, offset: Option<usize>) -> Self {
        let before = |offset: usize| text.as_bytes().iter().take(offset);
        let line = offset.map(|offset| 1 + before(offset).filter(|&&b| b == b'\n').count());
        Self { file: None, line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}", file.display())?,
            None => f.write_str("configuration")?,
        }
        self.line.map_or(Ok(()), |line| write!(f, " line {line}"))
    }
}

impl ConfigError {
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let place = Place::at(text, error.span().map(|span| span.start));
        Self::Malformed { place, detail: error.message().trim().to_owned() }
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        if let Self::Malformed { place, .. } | Self::Unknown { place, .. } = &mut self {
            place.file = Some(path.to_owned());
        }
        self
    }

    pub(super) fn invalid(
        key: impl Into<String>,
        value: impl fmt::Display,
        rule: impl Into<String>,
    ) -> Self {
        Self::Invalid { key: key.into(), value: format!("`{value}`"), rule: rule.into() }
    }
}
