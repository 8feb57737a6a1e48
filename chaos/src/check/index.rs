//! A history sorted for the rules: by token, by revision, by scroll, by batch.

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
    /// The revision of a write: acknowledged, or shown by an answer. By position.
    pub revisions: Vec<Option<u64>>,
    /// Whether it is certain that a write took effect. By position.
    pub happened: Vec<bool>,
    /// The operations of each scroll, by tenant and scroll.
    pub scrolls: BTreeMap<(&'a str, &'a str), Scroll>,
    /// The operations of each batch, by its id.
    pub batches: BTreeMap<u64, Vec<At>>,
}

/// The operations on one scroll.
#[derive(Debug, Default)]
pub struct Scroll {
    /// `tenant.coordinate`.
    pub name: String,
    /// Everything asked of it.
    pub operations: Vec<At>,
    /// The writes that certainly took effect, by revision.
    pub writes: Vec<(u64, At)>,
    /// When removals of unknown outcome were sent.
    pub unknown_deletes_us: Vec<u64>,
}

impl<'a> Index<'a> {
    /// Sorts a history, reporting tokens and revisions that belong to more than one write.
    pub fn build(history: &'a [Operation], violations: &mut Vec<Violation>) -> Self {
        let mut index = Self {
            history,
            tokens: HashMap::with_capacity(history.len()),
            revisions: vec![None; history.len()],
            happened: vec![false; history.len()],
            scrolls: BTreeMap::new(),
            batches: BTreeMap::new(),
        };
        for (at, operation) in history.iter().enumerate() {
            index.enter(at, operation, violations);
        }
        index.infer_revisions();
        index.find_shared_revisions(violations);
        let wholes = index.infer_wholes();
        for (at, operation) in history.iter().enumerate() {
            let revision = index.revisions[at].or_else(|| wholes.get(&at).copied());
            let Some(revision) = revision.filter(|_| operation.action.is_write()) else { continue };
            index.happened[at] = true;
            if let Some(scroll) = index.scrolls.get_mut(&key(operation)) {
                scroll.writes.push((revision, at));
            }
        }
        for scroll in index.scrolls.values_mut() {
            scroll.writes.sort_unstable();
        }
        index
    }

    fn enter(&mut self, at: At, operation: &'a Operation, violations: &mut Vec<Violation>) {
        if let Some(token) = operation.action.token()
            && self.tokens.insert(token, at).is_some()
        {
            violations.push(Violation::TokenReused { token: token.to_owned() });
        }
        if !operation.action.is_about_a_scroll() {
            return;
        }
        if let Some(batch) = operation.batch {
            self.batches.entry(batch.id).or_default().push(at);
        }
        let key = key(operation);
        let scroll = self.scrolls.entry(key).or_insert_with(|| Scroll {
            name: format!("{}.{}", key.0, key.1),
            ..Scroll::default()
        });
        scroll.operations.push(at);
        match &operation.outcome {
            Outcome::Acked { revision } if operation.action.is_write() => {
                self.revisions[at] = Some(*revision);
            }
            Outcome::Unknown { .. } if operation.action == Action::Delete => {
                scroll.unknown_deletes_us.push(operation.invoked_us);
            }
            _ => {}
        }
    }

    /// A scroll's revision is that of the last write to it, so a read that ends with a write of
    /// unknown outcome tells its revision. So does the answer to asking for it again.
    fn infer_revisions(&mut self) {
        for operation in self.history {
            let (token, revision) = match (&operation.action, &operation.outcome) {
                (Action::Again(token), Outcome::Acked { revision }) => (token, *revision),
                (_, Outcome::Seen { revision: Some(revision), tokens, .. }) => {
                    let Some(last) = tokens.last() else { continue };
                    (last, *revision)
                }
                _ => continue,
            };
            let Some(&at) = self.tokens.get(token.as_str()) else { continue };
            let unknown = matches!(self.history[at].outcome, Outcome::Unknown { .. });
            if unknown && self.revisions[at].is_none() {
                self.revisions[at] = Some(revision);
            }
        }
    }

    /// Where one write of an atomic batch took effect, all did, and nothing came between them. So
    /// among the writes of its scroll each stands where the known one does.
    fn infer_wholes(&self) -> HashMap<At, u64> {
        let mut wholes = HashMap::new();
        for parts in self.batches.values() {
            let atomic = parts.iter().all(|&at| self.history[at].batch.is_some_and(|b| b.atomic));
            let known = parts.iter().find_map(|&at| self.revisions[at]);
            if let (true, Some(known)) = (atomic, known) {
                let open = parts.iter().filter(|&&at| {
                    self.revisions[at].is_none()
                        && matches!(self.history[at].outcome, Outcome::Unknown { .. })
                });
                wholes.extend(open.map(|&at| (at, known)));
            }
        }
        wholes
    }

    fn find_shared_revisions(&self, violations: &mut Vec<Violation>) {
        let mut owners: HashMap<(&str, u64), At> = HashMap::with_capacity(self.history.len());
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

    /// The revision an answer shows, where that can be told; of a glance it is that of the last
    /// write shown. `Some(0)` when it shows that there was nothing.
    pub fn shown(&self, operation: &Operation) -> Option<u64> {
        let Outcome::Seen { revision, tokens, .. } = &operation.outcome else { return None };
        match (revision, tokens.last()) {
            (Some(revision), _) => Some(*revision),
            (None, None) => Some(0),
            (None, Some(last)) => self.revisions[*self.tokens.get(last.as_str())?],
        }
    }

    /// The revision a write was told; 0 for none. One of unknown outcome may take effect after its
    /// answer, so that tells nothing.
    pub fn told(&self, at: At) -> u64 {
        match self.history[at].outcome {
            Outcome::Unknown { .. } => 0,
            _ => self.revisions[at].unwrap_or(0),
        }
    }

    /// An operation in words.
    pub fn describe(&self, at: At) -> String {
        let Operation { client, action, scroll, tenant, .. } = &self.history[at];
        match action {
            Action::Read | Action::StaleRead | Action::Glance => {
                format!("client {client}'s read of {tenant}.{scroll}")
            }
            Action::Write(token) => format!("the write of {token} to {tenant}.{scroll}"),
            Action::Append(token) => format!("the append of {token} to {tenant}.{scroll}"),
            Action::Swap { token, expected } => {
                format!("the write of {token} to {tenant}.{scroll} at revision {expected}")
            }
            Action::Delete => format!("client {client}'s removal of {tenant}.{scroll}"),
            Action::Again(token) => format!("the repetition of {token} to {tenant}.{scroll}"),
            Action::Malformed(token) => format!("the malformed request with {token} of {tenant}"),
            Action::Measure => format!("the measuring of {tenant}"),
        }
    }
}

/// Tenant and scroll of an operation.
fn key(operation: &Operation) -> (&str, &str) {
    (&operation.tenant, &operation.scroll)
}
