//! What clients ask, in which proportions.

use fastrand::Rng;
use serde::Deserialize;

/// How often each kind of request is made, compared with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// Reads that must show everything acknowledged.
    pub read: u32,
    /// Reads that any replica may answer.
    pub stale: u32,
    /// Reads without revisions: of a scroll in SQ's words, and of the whole phext.
    pub glance: u32,
    /// Lines added.
    pub append: u32,
    /// Scrolls replaced.
    pub write: u32,
    /// Scrolls replaced on condition of a revision.
    pub swap: u32,
    /// Scrolls removed.
    pub delete: u32,
    /// Several writes in one request, most of them all or nothing.
    pub batch: u32,
    /// Several reads in one request.
    pub batch_read: u32,
    /// Several scrolls replaced by large texts, as importing a phext does.
    pub import: u32,
    /// Acknowledged requests repeated under the key they had.
    pub again: u32,
    /// Requests that are wrong in themselves.
    pub malformed: u32,
    /// Questions of an administrator how much is stored.
    pub measure: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // as the fields of `Mix`
pub enum Kind {
    Read,
    Stale,
    Glance,
    Append,
    Write,
    Swap,
    Delete,
    Batch,
    BatchRead,
    Import,
    Again,
    Malformed,
    Measure,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            read: 26,
            stale: 4,
            glance: 2,
            append: 40,
            write: 4,
            swap: 6,
            delete: 3,
            batch: 4,
            batch_read: 3,
            import: 1,
            again: 3,
            malformed: 3,
            measure: 1,
        }
    }
}

impl Mix {
    /// Reads and writes of single scrolls, each request for itself.
    pub const PLAIN: Self = Self {
        read: 33,
        stale: 0,
        glance: 0,
        append: 60,
        write: 5,
        swap: 0,
        delete: 2,
        batch: 0,
        batch_read: 0,
        import: 0,
        again: 0,
        malformed: 0,
        measure: 0,
    };

    fn weights(&self) -> [(Kind, u32); 13] {
        [
            (Kind::Read, self.read),
            (Kind::Stale, self.stale),
            (Kind::Glance, self.glance),
            (Kind::Append, self.append),
            (Kind::Write, self.write),
            (Kind::Swap, self.swap),
            (Kind::Delete, self.delete),
            (Kind::Batch, self.batch),
            (Kind::BatchRead, self.batch_read),
            (Kind::Import, self.import),
            (Kind::Again, self.again),
            (Kind::Malformed, self.malformed),
            (Kind::Measure, self.measure),
        ]
    }

    /// The sum of all weights.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.weights().iter().map(|(_, weight)| weight).sum()
    }

    /// One kind, by weight.
    pub fn choose(&self, rng: &mut Rng) -> Kind {
        let mut left = rng.u32(0..self.total().max(1));
        for (kind, weight) in self.weights() {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        // Only where all weights are 0.
        Kind::Read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn every_kind_is_chosen_by_its_weight() {
        let (mix, mut rng) = (Mix::default(), Rng::with_seed(1));
        let mut chosen = HashMap::<Kind, u32>::new();
        for _ in 0..mix.total() * 200 {
            *chosen.entry(mix.choose(&mut rng)).or_default() += 1;
        }
        for (kind, weight) in mix.weights() {
            let (found, due) = (chosen[&kind], weight * 200);
            assert!(found > due / 2 && found < due * 2, "{kind:?}: {found} for {due}");
        }
        let only = Mix { append: 0, read: 0, write: 1, delete: 0, ..Mix::PLAIN };
        assert!((0..100).all(|_| only.choose(&mut rng) == Kind::Write));
    }
}
