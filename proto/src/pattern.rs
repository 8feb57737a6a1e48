//! Patterns: which coordinates a list, search or watch covers.
//!
//! `1.5.*/3.7.3/*` gives arms, `notes/todo` words of a path; whatever is left out at the end of an
//! arm or of the whole covers everything. A pattern is a filter ([`Pattern::matches`]) with a
//! range of keys to look in ([`Pattern::key_range`]); every match lies in the range, not
//! everything in the range matches.

use std::fmt;
use std::str::FromStr;

use crate::coordinate::{
    self, BoundedText, CLASS_NAMED, CLASS_NUMERIC, COMPONENTS_MAX, Component, Coordinate,
    is_arm_break, unescape,
};

/// Half-open range of encoded coordinates; no upper end means all that follow.
pub type KeyRange = (Vec<u8>, Option<Vec<u8>>);

/// A set of coordinates, given by the components they begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// Up to three arms, each the beginning of one of the coordinate's.
    Arms(Vec<Vec<Part>>),
    /// Words of a path, the first a name: they begin the second arm, and the first arm is `1.1`.
    Path(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// `*`: any one component.
    Any,
    One(Component),
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed pattern {given}: expected the beginning of a coordinate, with * for any \
     component, like 1.5.*/3.7.3/* or 2.1 or notes/todo"
)]
pub struct PatternError {
    given: BoundedText,
}

impl Pattern {
    /// Covers every coordinate; printed `*`.
    pub const ALL: Self = Self { form: Form::Arms(Vec::new()) };

    /// Reads a pattern. Without any dot and with a name in front, words are those of a path;
    /// otherwise `/` or `;` part arms. The empty text and `*` cover everything, and one trailing
    /// `/` says nothing.
    ///
    /// # Errors
    /// A component that is no number, name or `*`; more than three arms; more than 16 components
    /// in an arm.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse(&unescape(text)).ok_or_else(|| PatternError { given: BoundedText::of(text) })
    }

    /// Whether `coordinate` is covered.
    #[must_use]
    pub fn matches(&self, coordinate: &Coordinate) -> bool {
        match (&self.form, coordinate) {
            (Form::Arms(arms), Coordinate::Numeric(components)) => {
                let given = components.chunks_exact(3);
                arms.iter()
                    .zip(given)
                    .all(|(parts, arm)| begin(parts, arm, |part, &n| part.is_number(n)))
            }
            (Form::Arms(arms), Coordinate::Named(named)) => {
                let given = named.arms();
                arms.iter().zip(given).all(|(parts, arm)| begin(parts, arm, Part::is))
            }
            (Form::Path(_), Coordinate::Numeric(_)) => false,
            (Form::Path(parts), Coordinate::Named(named)) => {
                let [root, path, _] = named.arms();
                *root == PATH_ROOT && begin(parts, path, Part::is)
            }
        }
    }

    /// The smallest single range with all matches in it: inclusive low, exclusive high.
    ///
    /// A pattern that covers numeric and named coordinates has everything between them in it;
    /// [`Pattern::key_ranges`] does not.
    #[must_use]
    pub fn key_range(&self) -> KeyRange {
        if *self == Self::ALL {
            return (Vec::new(), None);
        }
        let mut ranges = self.key_ranges();
        let last = ranges.pop();
        match (ranges.pop(), last) {
            (Some((low, _)), Some((_, high))) => (low, high),
            (None, Some(only)) => only,
            // Unreachable, as any pattern may match a named coordinate; empty would be right.
            (_, None) => (Vec::new(), Some(Vec::new())),
        }
    }

    /// The ranges that hold all matches, in key order: one of numeric coordinates where any can
    /// match, and one of named ones.
    #[must_use]
    pub fn key_ranges(&self) -> Vec<KeyRange> {
        let prefixes = self.numeric_prefix().into_iter().chain([self.named_prefix()]);
        prefixes.map(|prefix| (prefix.clone(), successor(prefix))).collect()
    }

    /// What all numeric matches begin with; `None` when there can be none.
    fn numeric_prefix(&self) -> Option<Vec<u8>> {
        let Form::Arms(arms) = &self.form else { return None };
        if arms.iter().any(|arm| arm.len() > 3) {
            return None;
        }
        let mut prefix = vec![CLASS_NUMERIC];
        let mut literal = true;
        for arm in arms {
            for part in arm {
                match part {
                    Part::One(Component::Name(_)) => return None,
                    Part::One(Component::Number(number)) if literal => {
                        coordinate::encode_number(*number, &mut prefix);
                    }
                    Part::One(Component::Number(_)) => {}
                    Part::Any => literal = false,
                }
            }
            literal &= arm.len() == 3;
        }
        Some(prefix)
    }

    /// What all named matches begin with. An arm may always go on after the given components, so
    /// only the first given arm counts.
    fn named_prefix(&self) -> Vec<u8> {
        let mut prefix = vec![CLASS_NAMED];
        let parts: &[Part] = match &self.form {
            Form::Arms(arms) => arms.first().map_or(&[], Vec::as_slice),
            Form::Path(parts) => {
                for component in &PATH_ROOT {
                    coordinate::encode_component(component, &mut prefix);
                }
                coordinate::encode_arm_end(&mut prefix);
                parts
            }
        };
        for part in parts {
            let Part::One(component) = part else { break };
            coordinate::encode_component(component, &mut prefix);
        }
        prefix
    }
}

/// The first arm of every path.
const PATH_ROOT: [Component; 2] = [Component::Number(1), Component::Number(1)];

impl Part {
    fn parse(text: &str) -> Option<Self> {
        if text.trim_ascii() == "*" {
            return Some(Self::Any);
        }
        Component::parse(text).map(Self::One)
    }

    fn is(&self, component: &Component) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one == component,
        }
    }

    fn is_number(&self, number: u32) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => *one == Component::Number(number),
        }
    }
}

/// Whether `arm` begins with what `parts` ask for, component by component.
fn begin<C>(parts: &[Part], arm: &[C], is: impl Fn(&Part, &C) -> bool) -> bool {
    parts.len() <= arm.len() && parts.iter().zip(arm).all(|(part, component)| is(part, component))
}

fn parse(text: &str) -> Option<Pattern> {
    let text = text.trim_ascii();
    if text.is_empty() || text == "*" {
        return Some(Pattern::ALL);
    }
    let text = text.strip_suffix(is_arm_break).unwrap_or(text);
    let path = !text.contains('.')
        && Part::parse(text.split(is_arm_break).next()?)
            .is_some_and(|first| matches!(first, Part::One(Component::Name(_))));
    if path {
        return Some(Pattern { form: Form::Path(parts(text.split(is_arm_break))?) });
    }
    let arms = text.split(is_arm_break).take(4).map(|arm| parts(arm.split('.')));
    let arms: Vec<_> = arms.collect::<Option<_>>()?;
    if matches!(arms.as_slice(), [only] if *only == [Part::Any]) {
        return Some(Pattern::ALL);
    }
    (arms.len() <= 3).then_some(Pattern { form: Form::Arms(arms) })
}

fn parts<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Vec<Part>> {
    let parts: Vec<_> = texts.take(COMPONENTS_MAX + 1).map(Part::parse).collect::<Option<_>>()?;
    (parts.len() <= COMPONENTS_MAX).then_some(parts)
}

/// The least key greater than every key that begins with `prefix`.
fn successor(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Arms(arms) if arms.is_empty() => f.write_str("*"),
            Form::Path(parts) => write_joined(f, parts, "/", fmt::Display::fmt),
            Form::Arms(arms) => {
                write_joined(f, arms, "/", |arm, f| write_joined(f, arm, ".", fmt::Display::fmt))
            }
        }
    }
}

fn write_joined<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
    write: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { separator })?;
        write(item, f)?;
    }
    Ok(())
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(component) => component.fmt(f),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}
