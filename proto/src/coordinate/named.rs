//! Named coordinates: three arms of numbers and names, at least one of them a name.

use std::fmt;

use super::component::{COMPONENTS_MAX, Component};

/// Components the second and third arm have at least; shorter ones are filled up with `1`.
const ARM_FULL: usize = 3;

/// A coordinate with a name in it. Arms hold 1 to 16 components; the second and third hold at
/// least three, because spellings that leave out a trailing `1` there mean the same scroll.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedCoordinate {
    arms: [Vec<Component>; 3],
}

impl NamedCoordinate {
    /// Pads the second and third arm; `None` when an arm's length is out of range or no
    /// component is a name. The components themselves must be valid.
    pub(super) fn new(mut arms: [Vec<Component>; 3]) -> Option<Self> {
        if arms.iter().any(|arm| arm.is_empty() || arm.len() > COMPONENTS_MAX) {
            return None;
        }
        for arm in &mut arms[1..] {
            if arm.len() < ARM_FULL {
                arm.resize(ARM_FULL, Component::Number(1));
            }
        }
        arms.iter().flatten().any(Component::is_name).then_some(Self { arms })
    }

    /// As [`NamedCoordinate::new`], for arms that must not need padding.
    pub(super) fn exact(arms: [Vec<Component>; 3]) -> Option<Self> {
        let full = arms[1..].iter().all(|arm| arm.len() >= ARM_FULL);
        full.then(|| Self::new(arms)).flatten()
    }

    /// The path `words` stands for: its words are the second arm.
    pub(super) fn path(words: Vec<Component>) -> Option<Self> {
        let path = words.len() >= 2 && words[0].is_name();
        let (root, end) = (vec![Component::Number(1); 2], vec![Component::Number(1); ARM_FULL]);
        path.then(|| Self::new([root, words, end])).flatten()
    }

    /// The three arms.
    #[must_use]
    pub fn arms(&self) -> &[Vec<Component>; 3] {
        &self.arms
    }
}

impl fmt::Display for NamedCoordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arm) in self.arms.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "/" })?;
            for (index, component) in arm.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { "." })?;
                component.fmt(f)?;
            }
        }
        Ok(())
    }
}
