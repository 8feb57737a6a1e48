//! Rule 3: a read shows the replay of the writes up to its revision.
//!
//! Writes of unknown outcome may stand between them. One that replaces or removes the scroll also
//! takes away what came before it, so then the certain writes shown need only be the last ones of
//! the replay. One that was seen under its revision is certain from then on.

use std::collections::{HashMap, HashSet};

use super::index::{At, Index, Scroll};
use super::violation::Violation;
use crate::history::{Action, Operation, Outcome};

/// Checks all reads of a scroll.
pub fn scroll<'a>(index: &Index<'a>, scroll: &Scroll, violations: &mut Vec<Violation>) {
    let replay = Replay::of(index, scroll);
    // What stands before a line never changes while the line stands.
    let mut before: HashMap<&str, Option<&str>> = HashMap::new();
    for &at in &scroll.operations {
        let read: &'a Operation = &index.history[at];
        let Outcome::Seen { revision, tokens, .. } = &read.outcome else { continue };
        if revision.is_none() && tokens.is_empty() {
            continue;
        }
        let shown = Shown { scroll, read, revision: 0, tokens };
        let mut found = shown.tokens_are_its_own(index);
        // A glance that ends with a write of unknown revision can be placed no further.
        if let (Ok(()), Some(revision)) = (&found, index.shown(read)) {
            let shown = Shown { revision, ..shown };
            found = shown.ends_at_its_revision(index).and_then(|()| shown.equals(index, &replay));
        }
        let found = found.and_then(|()| shown.keeps_order(index, &mut before));
        violations.extend(found.err());
    }
}

/// Certain writes by revision, each with the position from which its replay begins.
struct Replay<'a> {
    writes: &'a [(u64, At)],
    begins: Vec<usize>,
}

impl<'a> Replay<'a> {
    fn of(index: &Index<'_>, scroll: &'a Scroll) -> Self {
        let mut begin = 0;
        let begins = scroll.writes.iter().enumerate().map(|(nth, &(_, at))| {
            match index.history[at].action {
                Action::Write(_) | Action::Swap { .. } => begin = nth,
                Action::Delete => begin = nth + 1,
                _ => {}
            }
            begin
        });
        let begins = begins.collect();
        Self { writes: &scroll.writes, begins }
    }

    /// The tokens a scroll holds at `revision` by certain writes alone.
    fn at<'h>(&self, index: &Index<'h>, revision: u64) -> Vec<&'h str> {
        let end = self.writes.partition_point(|&(written, _)| written <= revision);
        let begin = end.checked_sub(1).map_or(0, |last| self.begins[last]);
        let history = index.history;
        let writes = self.writes[begin..end].iter();
        writes.filter_map(|&(_, at)| history[at].action.token()).collect()
    }
}

/// One read and what it showed.
#[derive(Clone, Copy)]
struct Shown<'s, 'a> {
    scroll: &'s Scroll,
    read: &'a Operation,
    revision: u64,
    tokens: &'a [String],
}

impl<'a> Shown<'_, 'a> {
    fn name(&self) -> String {
        self.scroll.name.clone()
    }

    /// Each line was written to this scroll, was not refused, was sent before the answer, and
    /// appears once.
    fn tokens_are_its_own(&self, index: &Index<'a>) -> Result<(), Violation> {
        let mut seen = HashSet::with_capacity(self.tokens.len());
        for token in self.tokens {
            let (scroll, token) = (self.name(), token.clone());
            let Some(&at) = index.tokens.get(token.as_str()) else {
                return Err(Violation::Phantom { scroll, token });
            };
            let write = &index.history[at];
            if (&write.tenant, &write.scroll) != (&self.read.tenant, &self.read.scroll) {
                let owner = format!("{}.{}", write.tenant, write.scroll);
                return Err(Violation::Foreign { scroll, token, owner });
            }
            if matches!(write.outcome, Outcome::Refused { .. }) {
                return Err(Violation::RefusedYetApplied { scroll, token });
            }
            if self.read.returned_us.is_some_and(|returned_us| write.invoked_us > returned_us) {
                return Err(Violation::FromTheFuture { scroll, token });
            }
            if !seen.insert(at) {
                return Err(Violation::Doubled { scroll, token });
            }
        }
        Ok(())
    }

    /// The last line is the write whose revision the read names.
    fn ends_at_its_revision(&self, index: &Index<'a>) -> Result<(), Violation> {
        let (scroll, revision) = (self.name(), self.revision);
        let Some(token) = self.tokens.last() else {
            return Err(Violation::Emptied { scroll, revision });
        };
        let owner = index.revisions[index.tokens[token.as_str()]];
        match owner {
            Some(owner) if owner != revision => {
                let token = token.clone();
                Err(Violation::WrongRevision { scroll, revision, token, owner })
            }
            _ => Ok(()),
        }
    }

    /// The lines that are certain are those of the replay.
    fn equals(&self, index: &Index<'a>, replay: &Replay<'_>) -> Result<(), Violation> {
        let expected = replay.at(index, self.revision);
        let happened = |token: &&str| index.happened[index.tokens[*token]];
        let certain: Vec<&str> = self.tokens.iter().map(String::as_str).filter(happened).collect();
        if certain == expected || (self.may_be_cut_short(index) && expected.ends_with(&certain)) {
            return Ok(());
        }
        let lacks = |from: &[&str], token: &str| !from.contains(&token);
        let (scroll, revision) = (self.name(), self.revision);
        if let Some(gone) = certain.iter().find(|token| lacks(&expected, token)) {
            return Err(Violation::Resurrected { scroll, revision, token: (*gone).to_owned() });
        }
        if let Some(lost) = expected.iter().find(|token| lacks(&certain, token)) {
            return Err(Violation::Lost { scroll, revision, token: (*lost).to_owned() });
        }
        let misplaced = certain.iter().zip(&expected).find(|(shown, expected)| shown != expected);
        let token = misplaced.map_or("", |(shown, _)| *shown).to_owned();
        Err(Violation::Reordered { scroll, token })
    }

    /// Whether a write of unknown outcome may have taken away the first lines of the replay.
    fn may_be_cut_short(&self, index: &Index<'a>) -> bool {
        let returned_us = self.read.returned_us.unwrap_or(u64::MAX);
        let mut removals = self.scroll.unknown_deletes_us.iter();
        if removals.any(|&sent_us| sent_us <= returned_us) {
            return true;
        }
        self.tokens.first().is_some_and(|first| {
            let at = index.tokens[first.as_str()];
            index.history[at].action.replaces() && !index.happened[at]
        })
    }

    /// A replacing write comes first, and what stands before each line is what other reads show.
    fn keeps_order(
        &self,
        index: &Index<'a>,
        before: &mut HashMap<&'a str, Option<&'a str>>,
    ) -> Result<(), Violation> {
        let mut previous = None;
        for token in self.tokens {
            let write = &index.history[index.tokens[token.as_str()]];
            let misplaced = write.action.replaces() && previous.is_some();
            if misplaced || *before.entry(token).or_insert(previous) != previous {
                return Err(Violation::Reordered { scroll: self.name(), token: token.clone() });
            }
            previous = Some(token);
        }
        Ok(())
    }
}
