//! From text to coordinate. The numeric form is tried first and without allocating, since nearly
//! every request carries one.

use std::borrow::Cow;
use std::fmt;

use super::component::{COMPONENTS_MAX, Component, number};
use super::{Coordinate, NamedCoordinate};

/// What a percent-encoding may stand for here; no other character of a coordinate needs one.
const ESCAPES: [(&str, char); 5] =
    [("2F", '/'), ("3B", ';'), ("2E", '.'), ("2A", '*'), ("20", ' ')];

/// How much of a malformed text an error repeats, in characters.
const QUOTED_MAX: usize = 80;

/// A user's text as an error quotes it: escaped, and cut when it is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundedText(String);

impl BoundedText {
    pub(crate) fn of(text: &str) -> Self {
        let mut kept: String = text.chars().take(QUOTED_MAX).collect();
        if kept.len() < text.len() {
            kept.push('…');
        }
        Self(kept)
    }
}

impl fmt::Display for BoundedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Whether `c` parts two arms.
pub(crate) fn is_arm_break(c: char) -> bool {
    matches!(c, '/' | ';')
}

/// Resolves the percent-encodings that occur in coordinates; others stay, and are malformed.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let code = rest.get(..2).unwrap_or_default();
        if let Some((_, meant)) = ESCAPES.iter().find(|(hex, _)| hex.eq_ignore_ascii_case(code)) {
            plain.push(*meant);
            rest = &rest[2..];
        } else {
            plain.push('%');
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Reads an unescaped coordinate.
pub(super) fn coordinate(text: &str) -> Option<Coordinate> {
    if let Some(components) = numeric(text) {
        return Some(Coordinate::Numeric(components));
    }
    let named = if text.contains('.') { three_arms(text) } else { path(text) };
    named.map(Coordinate::Named)
}

fn numeric(text: &str) -> Option<[u32; 9]> {
    let mut components = [0; 9];
    let mut arms = text.split(is_arm_break);
    for arm in components.chunks_exact_mut(3) {
        let mut words = arms.next()?.split('.');
        for component in arm {
            *component = number(words.next()?)?;
        }
        if words.next().is_some() {
            return None;
        }
    }
    arms.next().is_none().then_some(components)
}

fn three_arms(text: &str) -> Option<NamedCoordinate> {
    let mut arms = text.split(is_arm_break);
    let mut next = || words(arms.next()?.split('.'));
    let three = [next()?, next()?, next()?];
    arms.next().is_none().then(|| NamedCoordinate::new(three)).flatten()
}

fn path(text: &str) -> Option<NamedCoordinate> {
    NamedCoordinate::path(words(text.split(is_arm_break))?)
}

/// Components of one arm; one more than an arm may hold is enough to see that it is too long.
fn words<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Vec<Component>> {
    texts.take(COMPONENTS_MAX + 1).map(Component::parse).collect()
}
