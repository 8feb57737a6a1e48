//! Histories of one scroll, written down by hand.

use super::super::*;
use crate::history::Batch;

/// A history of one scroll, written down operation by operation. Each lasts from its instant for
/// five microseconds; instants ten apart follow each other.
#[derive(Default)]
pub struct Story(Vec<Operation>);

impl Story {
    pub fn add(mut self, at_us: u64, action: Action, outcome: Outcome) -> Self {
        let answered = !matches!(outcome, Outcome::Unknown { status: None });
        self.0.push(Operation {
            client: 1,
            tenant: "t".to_owned(),
            scroll: "s".to_owned(),
            action,
            invoked_us: at_us,
            returned_us: answered.then_some(at_us + 5),
            outcome,
            batch: None,
        });
        self
    }

    pub fn refused(self, at_us: u64, action: Action, status: u16) -> Self {
        self.add(at_us, action, Outcome::Refused { status })
    }

    pub fn swap(self, at_us: u64, token: &str, expected: u64, revision: u64) -> Self {
        self.add(at_us, swap(token, expected), Outcome::Acked { revision })
    }

    pub fn measured(self, at_us: u64, used_bytes: u64, quota_bytes: u64) -> Self {
        let quota_bytes = Some(quota_bytes);
        self.add(at_us, Action::Measure, Outcome::Measured { used_bytes, quota_bytes })
    }

    /// Makes the last operation part of an atomic batch, on a scroll of its own.
    pub fn part(mut self, id: u64, scroll: &str) -> Self {
        let last = self.0.last_mut().unwrap();
        last.batch = Some(Batch { id, atomic: true });
        scroll.clone_into(&mut last.scroll);
        self
    }

    /// Moves the last operation to another scroll of the tenant.
    pub fn of(mut self, scroll: &str) -> Self {
        scroll.clone_into(&mut self.0.last_mut().unwrap().scroll);
        self
    }

    pub fn append(self, at_us: u64, token: &str, revision: u64) -> Self {
        self.add(at_us, Action::Append(token.to_owned()), Outcome::Acked { revision })
    }

    pub fn write(self, at_us: u64, token: &str, revision: u64) -> Self {
        self.add(at_us, Action::Write(token.to_owned()), Outcome::Acked { revision })
    }

    pub fn delete(self, at_us: u64, revision: u64) -> Self {
        self.add(at_us, Action::Delete, Outcome::Acked { revision })
    }

    pub fn unknown(self, at_us: u64, action: Action) -> Self {
        self.add(at_us, action, Outcome::Unknown { status: None })
    }

    pub fn read(self, at_us: u64, revision: u64, tokens: &[&str]) -> Self {
        let tokens = tokens.iter().map(|&token| token.to_owned()).collect();
        let revision = Some(revision);
        self.add(at_us, Action::Read, Outcome::Seen { revision, tokens, applied: None })
    }

    pub fn absent(self, at_us: u64) -> Self {
        self.add(at_us, Action::Read, nothing())
    }

    /// Makes the last read one from any replica.
    pub fn stale(mut self, says: Option<u64>) -> Self {
        let last = self.0.last_mut().unwrap();
        last.action = Action::StaleRead;
        if let Outcome::Seen { applied, .. } = &mut last.outcome {
            *applied = says;
        }
        self
    }

    /// Makes the last read one of a whole phext, which shows no revision.
    pub fn glance(mut self) -> Self {
        let last = self.0.last_mut().unwrap();
        last.action = Action::Glance;
        if let Outcome::Seen { revision, .. } = &mut last.outcome {
            *revision = None;
        }
        self
    }

    /// Moves the last operation to another scroll of another tenant.
    pub fn elsewhere(mut self) -> Self {
        let last = self.0.last_mut().unwrap();
        (last.tenant, last.scroll) = ("other".to_owned(), "else".to_owned());
        self
    }

    /// Lets the last operation last until this instant.
    pub fn until(mut self, returned_us: u64) -> Self {
        self.0.last_mut().unwrap().returned_us = Some(returned_us);
        self
    }

    pub fn passes(&self) -> Summary {
        check(&self.0).unwrap()
    }

    pub fn fails(&self) -> Vec<Violation> {
        check(&self.0).unwrap_err()
    }
}

pub fn append(token: &str) -> Action {
    Action::Append(token.to_owned())
}

pub fn write(token: &str) -> Action {
    Action::Write(token.to_owned())
}

pub fn swap(token: &str, expected: u64) -> Action {
    Action::Swap { token: token.to_owned(), expected }
}

pub fn nothing() -> Outcome {
    Outcome::Seen { revision: None, tokens: vec![], applied: None }
}
