//! Coordinates: the addresses of scrolls, numeric ones and named ones.
//!
//! A coordinate is valid by construction when it comes from [`Coordinate::parse`] or
//! [`Coordinate::from_key`]: nothing is wrapped, clamped or filled in with a default. Three orders
//! must be one: that of the type (`Ord`), that of the encoded keys, and the one users see (numeric
//! coordinates in numeric order, then named ones, component by component, numbers before names).

mod component;
mod key;
mod named;
mod parse;

use std::fmt;
use std::str::FromStr;

pub use component::{COMPONENTS_MAX, Component, NAME_BYTES_MAX};
pub use key::FIRST_NAMED_KEY;
pub(crate) use key::{CLASS_NAMED, CLASS_NUMERIC, encode_arm_end, encode_component, encode_number};
pub use named::NamedCoordinate;
pub(crate) use parse::{BoundedText, is_arm_break, unescape};

use crate::keys::KeyError;

/// Where a scroll is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coordinate {
    /// Nine components, each at least 1, from library to scroll.
    Numeric([u32; 9]),
    /// Three arms with at least one name in them; sorts after every numeric coordinate.
    Named(NamedCoordinate),
}

/// A text that is no coordinate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed coordinate {given}: expected nine numbers like 1.1.1/1.1.1/1.1.1, \
     a named form like agent.1.1/notes.x.1/1.1.1, or a path like notes/todo"
)]
pub struct CoordinateError {
    given: BoundedText,
}

impl Coordinate {
    /// The first coordinate of every phext, `1.1.1/1.1.1/1.1.1`.
    pub const ORIGIN: Self = Self::Numeric([1; 9]);

    /// Reads a coordinate in any of its spellings. Arms may be parted by `/` or `;`, also when
    /// these are percent-encoded; blanks around components and leading zeros are dropped.
    ///
    /// # Errors
    /// Anything else, quoting the text (cut when long) and naming the expected forms.
    pub fn parse(text: &str) -> Result<Self, CoordinateError> {
        parse::coordinate(&unescape(text))
            .ok_or_else(|| CoordinateError { given: BoundedText::of(text) })
    }

    /// Whether this coordinate has a place in phext text.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        matches!(self, Self::Numeric(_))
    }

    /// The nine components of a numeric coordinate.
    #[must_use]
    pub fn numeric(&self) -> Option<[u32; 9]> {
        match self {
            Self::Numeric(components) => Some(*components),
            Self::Named(_) => None,
        }
    }

    /// The order-preserving encoding used in keys and commands.
    #[must_use]
    pub fn to_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(16);
        self.encode_key(&mut key);
        key
    }

    /// Appends what [`Coordinate::to_key`] returns.
    pub fn encode_key(&self, key: &mut Vec<u8>) {
        key::encode(self, key);
    }

    /// Reads back [`Coordinate::to_key`].
    ///
    /// # Errors
    /// Bytes that no coordinate encodes to, among them longer spellings of a valid one: a
    /// coordinate has exactly one key.
    pub fn from_key(key: &[u8]) -> Result<Self, KeyError> {
        key::decode(key)
    }

    /// The coordinate as it is known outside its tenant: the tenant's id leads the first arm, as
    /// in `will.1.1.1/1.1.1/1.1.1`.
    #[must_use]
    pub fn namespaced(&self, tenant: &str) -> String {
        format!("{tenant}.{self}")
    }
}

impl fmt::Display for Coordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numeric(components) => {
                let separators = ["", ".", ".", "/", ".", ".", "/", ".", "."];
                separators
                    .iter()
                    .zip(components)
                    .try_for_each(|(s, number)| write!(f, "{s}{number}"))
            }
            Self::Named(named) => named.fmt(f),
        }
    }
}

impl FromStr for Coordinate {
    type Err = CoordinateError;

    fn from_str(text: &str) -> Result<Self, CoordinateError> {
        Self::parse(text)
    }
}
