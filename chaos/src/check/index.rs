//! A history sorted for the rules: by token, by revision, by scroll.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::violation::Violation;
use crate::history::{Action, Operation, Outcome};

/// A position in the history.
pub type At = usize;

/// The history and where to find what in it.
#[derive(Debug)]
pub struct Index<'a> {
    /// All operations, in no particular order.
    pub history: &'a [Operation],
    /// The write that carries a token.
    pub tokens: HashMap<&'a str, At>,
    /// The revision of a write: acknowledged, or shown by a read. By position.
    pub revisions: Vec<Option<u64>>,
    /// The operations of each scroll, by tenant and scroll.
    pub scrolls: BTreeMap<(&'a str, &'a str), Scroll>,
}

/// The operations on one scroll.
#[derive(Debug, Default)]
pub struct Scroll {
    /// `tenant.coordinate`.
    pub name: String,
    /// Everything asked of it.
    pub operations: Vec<At>,
    /// Acknowledged writes, by revision.
    pub acked: Vec<(u64, At)>,
    /// When removals of unknown outcome were sent.
    pub unknown_deletes_us: Vec<u64>,
}

impl<'a> Index<'a> {
    /// Sorts a history, reporting tokens and revisions that belong to more than one write.
    pub fn build(history: &'a [Operation], violations: &mut Vec<Violation>) -> Self {
        let mut index = Self {
            history,
            tokens: HashMap::new(),
            revisions: vec![None; history.len()],
            scrolls: BTreeMap::new(),
        };
        for (at, operation) in history.iter().enumerate() {
            index.enter(at, operation, violations);
        }
        for scroll in index.scrolls.values_mut() {
            scroll.acked.sort_unstable();
        }
        index.infer_revisions();
        index.find_shared_revisions(violations);
        index
    }

    fn enter(&mut self, at: At, operation: &'a Operation, violations: &mut Vec<Violation>) {
        let key = (operation.tenant.as_str(), operation.scroll.as_str());
        let scroll = self.scrolls.entry(key).or_insert_with(|| Scroll {
            name: format!("{}.{}", key.0, key.1),
            ..Scroll::default()
        });
        scroll.operations.push(at);
        match &operation.outcome {
            Outcome::Acked { revision } => {
                scroll.acked.push((*revision, at));
                self.revisions[at] = Some(*revision);
            }
            Outcome::Unknown { .. } if operation.action == Action::Delete => {
                scroll.unknown_deletes_us.push(operation.invoked_us);
            }
            _ => {}
        }
        if let Some(token) = operation.action.token()
            && self.tokens.insert(token, at).is_some()
        {
            violations.push(Violation::TokenReused { token: token.to_owned() });
        }
    }

    /// A scroll's revision is that of the last write to it, so a read that ends with a write of
    /// unknown outcome tells its revision.
    fn infer_revisions(&mut self) {
        for operation in self.history {
            let Outcome::Seen { revision: Some(revision), tokens } = &operation.outcome else {
                continue;
            };
            let Some(&at) = tokens.last().and_then(|token| self.tokens.get(token.as_str())) else {
                continue;
            };
            let unknown = matches!(self.history[at].outcome, Outcome::Unknown { .. });
            if unknown && self.revisions[at].is_none() {
                self.revisions[at] = Some(*revision);
            }
        }
    }

    fn find_shared_revisions(&self, violations: &mut Vec<Violation>) {
        let mut owners: HashMap<(&str, u64), At> = HashMap::new();
        for (at, operation) in self.history.iter().enumerate() {
            let Some(revision) = self.revisions[at] else { continue };
            match owners.entry((&operation.tenant, revision)) {
                Entry::Vacant(free) => {
                    free.insert(at);
                }
                Entry::Occupied(owner) => violations.push(Violation::RevisionShared {
                    tenant: operation.tenant.clone(),
                    revision,
                    first: self.describe(*owner.get()),
                    second: self.describe(at),
                }),
            }
        }
    }

    /// A write in words.
    pub fn describe(&self, at: At) -> String {
        let Operation { client, action, scroll, tenant, .. } = &self.history[at];
        match action {
            Action::Read => format!("client {client}'s read of {tenant}.{scroll}"),
            Action::Write(token) => format!("the write of {token} to {tenant}.{scroll}"),
            Action::Append(token) => format!("the append of {token} to {tenant}.{scroll}"),
            Action::Delete => format!("client {client}'s removal of {tenant}.{scroll}"),
        }
    }
}
