//! Names of phexts.

use std::fmt;

/// The phext meant when a request names none.
pub const DEFAULT_PHEXT: &str = "index";
/// Longest name of a phext, in bytes of UTF-8.
pub const PHEXT_NAME_BYTES_MAX: usize = 200;

/// A valid name of a phext: UTF-8 of 1 to 200 bytes without `/`, `\`, `..` and control characters
/// (NUL among them, on which keys rely).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhextName(String);

/// Why a text cannot name a phext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhextNameError {
    /// It looks like a path out of the tenant's place: forbidden rather than malformed.
    #[error("Forbidden: Invalid phext path")]
    Traversal,
    /// It is malformed.
    #[error("malformed phext name: {fault}")]
    Invalid {
        /// What is wrong with it.
        fault: PhextNameFault,
    },
}

/// What is wrong with a malformed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhextNameFault {
    /// There is nothing in it.
    Empty,
    /// It is longer than [`PHEXT_NAME_BYTES_MAX`].
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It holds a control character.
    Control,
}

impl PhextName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`PhextNameError::Traversal`] for `/`, `\` and `..`, whatever else is wrong; otherwise
    /// [`PhextNameError::Invalid`] for the empty name, one too long, and control characters.
    pub fn parse(text: &str) -> Result<Self, PhextNameError> {
        if text.contains(['/', '\\']) || text.contains("..") {
            return Err(PhextNameError::Traversal);
        }
        let fault = if text.is_empty() {
            PhextNameFault::Empty
        } else if text.len() > PHEXT_NAME_BYTES_MAX {
            PhextNameFault::TooLong { bytes: text.len() }
        } else if text.contains(char::is_control) {
            PhextNameFault::Control
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(PhextNameError::Invalid { fault })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as text, without a copy.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Default for PhextName {
    fn default() -> Self {
        Self(DEFAULT_PHEXT.to_owned())
    }
}

impl AsRef<str> for PhextName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PhextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PhextNameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong { bytes } => {
                write!(f, "it has {bytes} bytes, more than {PHEXT_NAME_BYTES_MAX}")
            }
            Self::Control => f.write_str("it holds a control character"),
        }
    }
}
