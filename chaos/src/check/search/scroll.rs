//! A scroll as the search sees it: its state, what each operation does to that, and which states
//! an answer allows.

use std::collections::HashMap;

use crate::check::swaps::CONDITION_FAILED;
use crate::history::{Action, Operation, Outcome};

/// The state of a scroll. Texts are compared by a hash of their tokens, which grows with each one
/// appended; 128 bits of it, so that no two of a history meet by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    text: u128,
    /// The write that came last, counted from 1; 0 when there is nothing.
    writer: u32,
}

/// An operation as far as the search goes.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its position among the operations of the scroll.
    pub at: usize,
    /// When it was asked.
    pub invoked_us: u64,
    /// By when it must have taken effect; absent when it need not.
    pub due_us: Option<u64>,
    /// Whether it carries a token that no answer shows.
    unseen: bool,
    effect: Effect,
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Shows this text.
    Show(u128),
    /// Adds a token.
    Append(u128),
    /// Leaves a token alone.
    Write(u128),
    /// As above, if this write was the last one; absent when it is not known which that is.
    Swap(u128, Option<u32>),
    /// Finds that another write was the last one.
    Mismatch(u32),
    /// Takes away what there is.
    Remove,
}

/// The operations on a scroll, by the instant they were asked.
#[derive(Clone, Debug, Default)]
pub struct Entries(pub Vec<Entry>);

impl Entries {
    /// What of the operations on a scroll says something about its states.
    pub fn of(operations: &[&Operation]) -> Self {
        let (writers, seen_us) = (writers(operations), seen_us(operations));
        let entry = |(at, operation): (usize, &&Operation)| {
            let effect = effect(operation, &writers)?;
            let unknown = matches!(operation.outcome, Outcome::Unknown { .. });
            let seen = operation.action.token().and_then(|token| seen_us.get(token).copied());
            let due_us = if unknown { seen } else { operation.returned_us };
            let unseen = unknown && operation.action.token().is_some() && seen.is_none();
            Some(Entry { at, invoked_us: operation.invoked_us, due_us, unseen, effect })
        };
        let mut entries: Vec<_> = operations.iter().enumerate().filter_map(entry).collect();
        entries.sort_by_key(|entry| entry.invoked_us);
        Self(entries)
    }

    /// Whether there are writes of which nothing shows that they took effect.
    pub fn has_unseen(&self) -> bool {
        self.0.iter().any(|entry| entry.unseen)
    }

    /// Without those writes.
    pub fn without_unseen(&self) -> Self {
        Self(self.0.iter().filter(|entry| !entry.unseen).cloned().collect())
    }
}

impl Entry {
    /// The state after the operation; `None` when its answer contradicts the state before.
    pub fn apply(&self, state: State) -> Option<State> {
        let writer = self.at as u32 + 1;
        match self.effect {
            Effect::Show(text) => (state.text == text).then_some(state),
            Effect::Append(token) => Some(State { text: extended(state.text, token), writer }),
            Effect::Write(token) => Some(State { text: extended(0, token), writer }),
            Effect::Swap(token, expected) => {
                let holds = expected.map_or(state.writer > 0, |expected| state.writer == expected);
                holds.then(|| State { text: extended(0, token), writer })
            }
            Effect::Mismatch(expected) => (state.writer != expected).then_some(state),
            Effect::Remove => (state.writer > 0).then(State::default),
        }
    }
}

/// For each revision the position of its write, counted from 1: who names a revision in a
/// condition means the write that a former answer showed under it.
fn writers(operations: &[&Operation]) -> HashMap<u64, u32> {
    let mut tokens = HashMap::new();
    let mut writers = HashMap::from([(0, 0)]);
    for (at, operation) in operations.iter().enumerate() {
        if !operation.action.is_write() {
            continue;
        }
        if let Some(token) = operation.action.token() {
            tokens.insert(token, at as u32 + 1);
        }
        if let Outcome::Acked { revision } = operation.outcome {
            writers.insert(revision, at as u32 + 1);
        }
    }
    for operation in operations {
        if let Outcome::Seen { revision: Some(revision), tokens: shown, .. } = &operation.outcome
            && let Some(writer) = shown.last().and_then(|last| tokens.get(last.as_str()))
        {
            writers.entry(*revision).or_insert(*writer);
        }
    }
    writers
}

/// For each token the earliest instant by which an answer showed it.
fn seen_us<'a>(operations: &[&'a Operation]) -> HashMap<&'a str, u64> {
    let mut seen = HashMap::new();
    for operation in operations {
        let us = operation.returned_us.unwrap_or(u64::MAX);
        match (&operation.action, &operation.outcome) {
            (_, Outcome::Seen { tokens, .. }) => {
                for token in tokens {
                    let earliest = seen.entry(token.as_str()).or_insert(us);
                    *earliest = us.min(*earliest);
                }
            }
            (Action::Again(token), Outcome::Acked { .. }) => {
                let earliest = seen.entry(token.as_str()).or_insert(us);
                *earliest = us.min(*earliest);
            }
            _ => {}
        }
    }
    seen
}

fn effect(operation: &Operation, writers: &HashMap<u64, u32>) -> Option<Effect> {
    let done = !matches!(operation.outcome, Outcome::Refused { .. });
    Some(match (&operation.action, &operation.outcome) {
        (Action::Read | Action::Glance | Action::Delete, Outcome::Seen { tokens, .. }) => {
            Effect::Show(tokens.iter().fold(0, |text, token| extended(text, hash(token))))
        }
        (Action::Append(token), _) if done => Effect::Append(hash(token)),
        (Action::Write(token), _) if done => Effect::Write(hash(token)),
        (Action::Swap { token, expected }, _) if done => {
            Effect::Swap(hash(token), writers.get(expected).copied())
        }
        (Action::Swap { expected, .. }, Outcome::Refused { status: CONDITION_FAILED }) => {
            Effect::Mismatch(*writers.get(expected)?)
        }
        (Action::Delete, _) if done => Effect::Remove,
        _ => return None,
    })
}

/// FNV-1a, 128 bits.
fn hash(token: &str) -> u128 {
    let step = |hash: u128, byte| (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME);
    token.bytes().fold(FNV_OFFSET, step)
}

/// The hash of a text with one more token. Never that of no text.
fn extended(text: u128, token: u128) -> u128 {
    (text.rotate_left(29) ^ token).wrapping_mul(FNV_PRIME) | 1
}

const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
const FNV_OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
