//! One component of a named coordinate or a pattern: a number or a name.

use std::fmt;

/// Most components one arm of a named coordinate may have.
pub const COMPONENTS_MAX: usize = 16;
/// Longest name, in bytes (names are ASCII).
pub const NAME_BYTES_MAX: usize = 64;

/// A component. Numbers sort before names, names by their bytes: the derived order relies on the
/// order of the variants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// At least 1.
    Number(u32),
    /// `[A-Za-z0-9_][A-Za-z0-9_-]{0,63}`, not all digits.
    Name(Box<str>),
}

impl Component {
    /// Reads a number or a name with blanks around it; `None` when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let word = trim_blanks(text);
        if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            return number(word).map(Self::Number);
        }
        is_name(word).then(|| Self::Name(word.into()))
    }

    /// Whether this is a name.
    #[must_use]
    pub fn is_name(&self) -> bool {
        matches!(self, Self::Name(_))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Reads a number from 1 to `u32::MAX`: digits only, with blanks around them.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = trim_blanks(text);
    // `u32::from_str` takes a plus sign, a coordinate does not.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&number| number != 0)
}

/// Whether `word` may be a name. A leading `-` would make it look like a sign.
pub(super) fn is_name(word: &str) -> bool {
    let bytes = word.as_bytes();
    (1..=NAME_BYTES_MAX).contains(&bytes.len())
        && bytes[0] != b'-'
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && !bytes.iter().all(u8::is_ascii_digit)
}

fn trim_blanks(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace())
}
