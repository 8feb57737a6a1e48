//! The judge judged: honest histories pass, and for every way to break a promise there is a
//! history that shows it and must fail.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::history::Action;

/// A history of one scroll, written down operation by operation. Each lasts from its instant for
/// five microseconds; instants ten apart follow each other.
#[derive(Default)]
struct Story(Vec<Operation>);

impl Story {
    fn add(mut self, at_us: u64, action: Action, outcome: Outcome) -> Self {
        let answered = !matches!(outcome, Outcome::Unknown { status: None });
        self.0.push(Operation {
            client: 1,
            tenant: "t".to_owned(),
            scroll: "s".to_owned(),
            action,
            invoked_us: at_us,
            returned_us: answered.then_some(at_us + 5),
            outcome,
        });
        self
    }

    fn append(self, at_us: u64, token: &str, revision: u64) -> Self {
        self.add(at_us, Action::Append(token.to_owned()), Outcome::Acked { revision })
    }

    fn write(self, at_us: u64, token: &str, revision: u64) -> Self {
        self.add(at_us, Action::Write(token.to_owned()), Outcome::Acked { revision })
    }

    fn delete(self, at_us: u64, revision: u64) -> Self {
        self.add(at_us, Action::Delete, Outcome::Acked { revision })
    }

    fn unknown(self, at_us: u64, action: Action) -> Self {
        self.add(at_us, action, Outcome::Unknown { status: None })
    }

    fn read(self, at_us: u64, revision: u64, tokens: &[&str]) -> Self {
        let tokens = tokens.iter().map(|&token| token.to_owned()).collect();
        self.add(at_us, Action::Read, Outcome::Seen { revision: Some(revision), tokens })
    }

    fn absent(self, at_us: u64) -> Self {
        self.add(at_us, Action::Read, Outcome::Seen { revision: None, tokens: vec![] })
    }

    /// Moves the last operation to another scroll of another tenant.
    fn elsewhere(mut self) -> Self {
        let last = self.0.last_mut().unwrap();
        (last.tenant, last.scroll) = ("other".to_owned(), "else".to_owned());
        self
    }

    /// Lets the last operation last until this instant.
    fn until(mut self, returned_us: u64) -> Self {
        self.0.last_mut().unwrap().returned_us = Some(returned_us);
        self
    }

    fn passes(&self) -> Summary {
        check(&self.0).unwrap()
    }

    fn fails(&self) -> Vec<Violation> {
        check(&self.0).unwrap_err()
    }
}

fn append(token: &str) -> Action {
    Action::Append(token.to_owned())
}

fn write(token: &str) -> Action {
    Action::Write(token.to_owned())
}

macro_rules! assert_fails {
    ($story:expr, $violation:pat) => {
        let found = $story.fails();
        assert!(found.iter().any(|violation| matches!(violation, $violation)), "{found:?}");
    };
}

#[test]
fn an_honest_history_passes_and_is_summed_up() {
    let story = Story::default()
        .absent(0)
        .append(10, "a", 3)
        .append(20, "b", 4)
        .read(30, 4, &["a", "b"])
        .write(40, "c", 7)
        .append(50, "d", 9)
        .delete(60, 10)
        .absent(70)
        .append(80, "e", 12)
        .add(90, append("f"), Outcome::Refused { status: 503 })
        .read(100, 12, &["e"]);
    let summary = Summary { acked: 6, reads: 4, refused: 1, unknown: 0, scrolls: 1 };
    assert_eq!(story.passes(), summary);
}

#[test]
fn operations_side_by_side_may_go_either_way() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2).until(50);
    start().read(20, 1, &["a"]).until(30).read(60, 2, &["a", "b"]).passes();
    start().read(20, 2, &["a", "b"]).until(30).read(60, 2, &["a", "b"]).passes();
    let removal = || Story::default().append(0, "a", 1).delete(10, 2).until(50);
    removal().read(20, 1, &["a"]).absent(60).passes();
    removal().absent(20).absent(60).passes();
}

#[test]
fn writes_of_unknown_outcome_may_show_or_not() {
    let start = || Story::default().append(0, "a", 1).unknown(10, append("u"));
    start().read(20, 1, &["a"]).passes();
    start().read(20, 2, &["a", "u"]).append(30, "b", 3).read(40, 3, &["a", "u", "b"]).passes();
    // It may even take effect long after.
    start().append(20, "b", 2).read(30, 2, &["a", "b"]).read(40, 3, &["a", "b", "u"]).passes();

    let start = || Story::default().append(0, "a", 1).unknown(10, write("u"));
    start().read(20, 2, &["u"]).passes();
    start().append(20, "b", 3).read(30, 3, &["u", "b"]).passes();
    start().append(20, "b", 3).read(30, 3, &["a", "b"]).passes();

    let start = || Story::default().append(0, "a", 1).unknown(10, Action::Delete);
    start().absent(20).passes();
    start().append(20, "b", 3).read(30, 3, &["b"]).passes();
}

#[test]
fn a_lost_write_is_seen() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2).append(20, "c", 3);
    assert_fails!(start().read(30, 3, &["a", "c"]), Violation::Lost { .. });
    assert_fails!(start().read(30, 3, &["c"]), Violation::Lost { .. });
    assert_fails!(start().read(30, 2, &["a", "b"]), Violation::StaleRead { .. });
    assert_fails!(start().absent(30), Violation::Vanished { floor: 3, .. });
    assert_fails!(start().read(30, 3, &[]), Violation::Emptied { .. });
    assert_fails!(start(), Violation::NotReadInTheEnd { .. });
    // An unknown append takes nothing away.
    let unknown = start().unknown(25, append("u"));
    assert_fails!(unknown.read(30, 4, &["b", "c", "u"]), Violation::Lost { .. });
}

#[test]
fn a_write_applied_twice_is_seen() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2);
    assert_fails!(start().read(20, 2, &["a", "b", "b"]), Violation::Doubled { .. });
    // Applied again under a new revision.
    assert_fails!(start().read(20, 3, &["a", "b"]), Violation::WrongRevision { .. });
    let refused = start().add(15, append("r"), Outcome::Refused { status: 503 });
    assert_fails!(refused.read(20, 3, &["a", "b", "r"]), Violation::RefusedYetApplied { .. });
}

#[test]
fn shared_revisions_are_seen() {
    let story = Story::default().append(0, "a", 1).append(3, "b", 1).read(20, 1, &["a", "b"]);
    assert_fails!(story, Violation::RevisionShared { revision: 1, .. });
    // Also when one of them is only known from a read.
    let story = Story::default().append(0, "a", 5).unknown(10, append("u"));
    assert_fails!(story.read(20, 5, &["a", "u"]), Violation::RevisionShared { .. });
    let story = Story::default().append(0, "a", 5).append(3, "a", 6).read(20, 6, &["a"]);
    assert_fails!(story, Violation::TokenReused { .. });
}

#[test]
fn revisions_against_real_time_are_seen() {
    let story = Story::default().append(0, "a", 2).append(10, "b", 1).read(20, 2, &["b", "a"]);
    assert_fails!(story, Violation::OutOfOrder { revision: 1, floor: 2, .. });
    // A write asked for after a read that showed a higher revision.
    let story = Story::default().append(0, "a", 5).until(100).read(10, 5, &["a"]);
    let story = story.append(20, "b", 4).read(110, 5, &["b", "a"]);
    assert_fails!(story, Violation::OutOfOrder { revision: 4, floor: 5, .. });
}

#[test]
fn stale_reads_are_seen() {
    let start = || Story::default().append(0, "a", 1).append(10, "b", 2).until(100);
    // Nothing is acknowledged yet, but one read has shown it.
    let story = start().read(20, 2, &["a", "b"]).read(30, 1, &["a"]).read(110, 2, &["a", "b"]);
    assert_fails!(story, Violation::StaleRead { revision: 1, floor: 2, .. });
    // A removal one read has shown, and the next one takes back.
    let story = Story::default().append(0, "a", 1).delete(10, 2).until(100);
    let story = story.absent(20).read(30, 1, &["a"]).absent(110);
    assert_fails!(story, Violation::StaleRead { revision: 1, floor: 2, .. });
    // Nothing there, though the only removal came before the last write and after nothing else.
    let story = Story::default().append(0, "a", 1).delete(10, 2).append(20, "b", 3);
    assert_fails!(story.absent(30), Violation::Vanished { floor: 3, .. });
}

#[test]
fn a_removal_asked_for_later_explains_no_absence() {
    let story = Story::default().append(0, "a", 1).absent(10).delete(20, 2).absent(30);
    assert_fails!(story, Violation::Vanished { floor: 1, .. });
}

#[test]
fn texts_from_nowhere_and_elsewhere_are_seen() {
    let start = || Story::default().append(0, "a", 1);
    assert_fails!(start().read(10, 2, &["a", "zzz"]), Violation::Phantom { .. });
    let other = Story::default().append(0, "x", 1).elsewhere().append(0, "a", 1);
    assert_fails!(other.read(10, 1, &["x", "a"]), Violation::Foreign { .. });
    let early = start().read(10, 2, &["a", "b"]).append(20, "b", 2).read(30, 2, &["a", "b"]);
    assert_fails!(early, Violation::FromTheFuture { .. });
}

#[test]
fn writes_that_come_back_or_change_places_are_seen() {
    let replaced = Story::default().append(0, "a", 1).write(10, "b", 2).append(20, "c", 3);
    assert_fails!(replaced.read(30, 3, &["a", "b", "c"]), Violation::Resurrected { .. });
    let removed = Story::default().append(0, "a", 1).delete(10, 2).append(20, "c", 3);
    assert_fails!(removed.read(30, 3, &["a", "c"]), Violation::Resurrected { .. });

    let three = Story::default().append(0, "a", 1).append(10, "b", 2).append(20, "c", 3);
    assert_fails!(three.read(30, 3, &["b", "a", "c"]), Violation::Reordered { .. });
    // An unknown write that wanders between two reads.
    let two = Story::default().append(0, "a", 1).unknown(5, append("u")).append(10, "b", 3);
    let wandering = two.read(20, 3, &["a", "u", "b"]).read(30, 3, &["u", "a", "b"]);
    assert_fails!(wandering, Violation::Reordered { .. });
    // A replacing write that left something before it.
    let story = Story::default().append(0, "a", 1).unknown(5, write("u")).append(10, "b", 3);
    assert_fails!(story.read(20, 3, &["a", "u", "b"]), Violation::Reordered { .. });
}

#[test]
fn a_history_must_end_with_reads() {
    let early = Story::default().append(0, "a", 1).read(2, 1, &["a"]);
    assert_fails!(early, Violation::NotReadInTheEnd { .. });
    // Where everything was refused there is nothing to look for.
    Story::default().add(0, append("a"), Outcome::Refused { status: 503 }).passes();
}

/// A correct store asked by many clients at once: each operation takes effect at one instant
/// between question and answer, some answers get lost, and some of those took effect.
fn simulate(seed: u64) -> Vec<Operation> {
    let mut rng = Rng::with_seed(seed);
    let mut asked: Vec<(u64, u64, u64, u32)> = Vec::new();
    for client in 0..6 {
        let mut now_us = 0;
        for _ in 0..40 {
            let invoked = now_us + rng.u64(1..10);
            let effect = invoked + rng.u64(1..20);
            now_us = effect + rng.u64(1..20);
            asked.push((effect, invoked, now_us, client));
        }
    }
    let end = asked.iter().map(|ask| ask.2).max().unwrap_or(0) + 100;
    asked.sort_unstable();
    let (mut scrolls, mut revision) = (BTreeMap::<u32, (u64, Vec<String>)>::new(), 0);
    let mut history = Vec::new();
    for (nth, (_, invoked_us, returned_us, client)) in asked.into_iter().enumerate() {
        let scroll = rng.u32(0..3);
        let action = match rng.u32(0..10) {
            0..4 => Action::Read,
            4..8 => Action::Append(format!("k{nth}")),
            8 => Action::Write(format!("k{nth}")),
            _ => Action::Delete,
        };
        let (answered, applied) = (rng.u32(0..8) > 0, rng.bool());
        let mut outcome = Outcome::Unknown { status: None };
        if answered || applied {
            let told = apply(&mut scrolls, &mut revision, scroll, &action);
            if answered {
                outcome = told;
            }
        }
        let returned_us = answered.then_some(returned_us);
        history.push(operation(client, scroll, action, (invoked_us, returned_us), outcome));
    }
    for scroll in 0..3 {
        let outcome = apply(&mut scrolls, &mut revision, scroll, &Action::Read);
        history.push(operation(0, scroll, Action::Read, (end, Some(end + 1)), outcome));
    }
    history
}

fn operation(
    client: u32,
    scroll: u32,
    action: Action,
    (invoked_us, returned_us): (u64, Option<u64>),
    outcome: Outcome,
) -> Operation {
    let (tenant, scroll) = ("t".to_owned(), scroll.to_string());
    Operation { client, tenant, scroll, action, invoked_us, returned_us, outcome }
}

fn apply(
    scrolls: &mut BTreeMap<u32, (u64, Vec<String>)>,
    revision: &mut u64,
    scroll: u32,
    action: &Action,
) -> Outcome {
    if *action == Action::Read {
        let found = scrolls.get(&scroll);
        let tokens = found.map(|(_, tokens)| tokens.clone()).unwrap_or_default();
        return Outcome::Seen { revision: found.map(|(revision, _)| *revision), tokens };
    }
    *revision += 1;
    let entry = scrolls.entry(scroll).or_default();
    match action {
        Action::Write(token) => entry.1 = vec![token.clone()],
        Action::Append(token) => entry.1.push(token.clone()),
        Action::Delete | Action::Read => entry.1.clear(),
    }
    entry.0 = *revision;
    if entry.1.is_empty() {
        scrolls.remove(&scroll);
    }
    Outcome::Acked { revision: *revision }
}

#[test]
fn no_correct_store_is_accused() {
    for seed in 0..300 {
        let verdict = check(&simulate(seed));
        assert!(verdict.is_ok(), "seed {seed}: {:?}", verdict.unwrap_err());
    }
}

#[test]
fn a_store_that_forgets_one_acknowledged_append_is_caught() {
    for seed in 0..100 {
        let mut history = simulate(seed);
        let end = history.len() - 3;
        // The last line of a scroll, taken from the read at the end.
        let victim = history[end..].iter_mut().find_map(|read| match &mut read.outcome {
            Outcome::Seen { tokens, .. } if tokens.len() > 1 => Some(tokens),
            _ => None,
        });
        let Some(tokens) = victim else { continue };
        let gone = tokens.pop().unwrap();
        let acked = history.iter().any(|operation| {
            operation.action.token() == Some(&gone)
                && matches!(operation.outcome, Outcome::Acked { .. })
        });
        if acked {
            assert!(check(&history).is_err(), "seed {seed}: {gone} went unnoticed");
        }
    }
}

#[test]
fn a_store_that_swaps_two_answers_is_caught() {
    let mut caught = 0;
    for seed in 0..100 {
        let mut history = simulate(seed);
        let mut acked: Vec<_> = history
            .iter_mut()
            .filter(|operation| matches!(operation.outcome, Outcome::Acked { .. }))
            .collect();
        let (first, last) = (0, acked.len() - 1);
        let swapped = acked[last].outcome.clone();
        acked[last].outcome = std::mem::replace(&mut acked[first].outcome, swapped);
        caught += u32::from(check(&history).is_err());
    }
    assert_eq!(caught, 100);
}
