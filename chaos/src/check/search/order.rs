//! The search for an order, answer by answer.

use std::collections::HashMap;

use super::scroll::{Entries, Entry, State};

/// Operations that may be under way at one moment, those that need never take effect included.
const PLACES: usize = 64;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searched {
    /// There is an order.
    Found,
    /// There is none: nothing explains the answer of the operation at this position.
    Stuck {
        /// The position.
        at: usize,
    },
    /// Too many configurations.
    GaveUp,
}

/// A way things may have gone so far: which of those under way have taken effect, and the state.
type Configuration = (u64, State);

/// Configurations worth going on from. Of two that differ only in operations that need never take
/// effect, the one in which fewer did can go wherever the other can, so the other is left out.
#[derive(Default)]
struct Frontier(HashMap<Configuration, Vec<u64>>);

impl Frontier {
    /// Adds one unless another is as good; `optional` are the operations that need not happen.
    fn add(&mut self, (done, state): Configuration, optional: u64) -> bool {
        let used = done & optional;
        let others = self.0.entry((done & !optional, state)).or_default();
        if others.iter().any(|other| other & used == *other) {
            return false;
        }
        others.retain(|other| other & used != used);
        others.push(used);
        true
    }

    fn all(&self) -> impl Iterator<Item = Configuration> {
        self.0
            .iter()
            .flat_map(|((done, state), used)| used.iter().map(move |used| (done | used, *state)))
    }
}

/// The operations under way.
struct UnderWay<'a> {
    places: [Option<&'a Entry>; PLACES],
    /// Those of them that need never take effect.
    optional: u64,
    left: u64,
}

/// Looks for an order.
pub fn search(entries: &Entries, budget: u64) -> Searched {
    let due = entries.0.iter().enumerate().filter_map(|(nth, entry)| Some((entry.due_us?, nth)));
    let mut due: Vec<(u64, usize)> = due.collect();
    due.sort_unstable();
    let mut asked = entries.0.iter().peekable();
    let mut under_way = UnderWay { places: [None; PLACES], optional: 0, left: budget };
    let mut frontier = Frontier::default();
    frontier.add((0, State::default()), 0);
    for (due_us, nth) in due {
        // Asked at the instant of an answer counts as side by side with it.
        while let Some(entry) = asked.next_if(|entry| entry.invoked_us <= due_us) {
            if !under_way.enter(entry) {
                return Searched::GaveUp;
            }
        }
        let at = entries.0[nth].at;
        let Some(next) = under_way.answer(at, &frontier) else { return Searched::GaveUp };
        if next.0.is_empty() {
            return Searched::Stuck { at };
        }
        frontier = next;
    }
    Searched::Found
}

impl<'a> UnderWay<'a> {
    fn enter(&mut self, entry: &'a Entry) -> bool {
        let Some(free) = self.places.iter().position(Option::is_none) else { return false };
        self.places[free] = Some(entry);
        if entry.due_us.is_none() {
            self.optional |= 1 << free;
        }
        true
    }

    /// The configurations in which the operation at `at` has taken effect, which is then over;
    /// `None` when there are too many.
    fn answer(&mut self, at: usize, frontier: &Frontier) -> Option<Frontier> {
        let is_it = |place: Option<&Entry>| place.is_some_and(|entry| entry.at == at);
        let Some(place) = self.places.iter().copied().position(is_it) else {
            return Some(Frontier::default());
        };
        let bit = 1 << place;
        let (mut next, mut met) = (Frontier::default(), Frontier::default());
        let mut open: Vec<Configuration> = frontier.all().collect();
        while let Some((done, state)) = open.pop() {
            if done & bit != 0 {
                next.add((done & !bit, state), self.optional);
                continue;
            }
            self.left = self.left.checked_sub(1)?;
            for (other, entry) in self.places.iter().enumerate() {
                let Some(entry) = entry.filter(|_| done & (1 << other) == 0) else { continue };
                let Some(state) = entry.apply(state) else { continue };
                let after = (done | 1 << other, state);
                if met.add(after, self.optional) {
                    open.push(after);
                }
            }
        }
        self.places[place] = None;
        Some(next)
    }
}
