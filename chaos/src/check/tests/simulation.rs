//! Histories of a correct store, asked by many clients at once, and what becomes of them when the
//! store, or its answers, are not quite correct.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::check::search::{Sampling, search};
use crate::check::{Violation, check};
use crate::history::{Action, Batch, Operation, Outcome};
use crate::token;

const SCROLLS: u32 = 4;
const QUOTA: u64 = 1_200;

/// A scroll with its revision.
type Version = (Option<u64>, Vec<String>);

/// The store: each scroll with all it ever was, the last one valid.
#[derive(Default)]
struct Store {
    scrolls: BTreeMap<u32, Vec<Version>>,
    revision: u64,
}

impl Store {
    fn now(&self, scroll: u32) -> Version {
        self.scrolls.get(&scroll).and_then(|past| past.last().cloned()).unwrap_or_default()
    }

    fn used(&self) -> u64 {
        let scrolls = self.scrolls.values().filter_map(|past| past.last());
        let tokens = scrolls.map(|(_, tokens)| tokens).filter(|tokens| !tokens.is_empty());
        tokens.map(|tokens| 64 + tokens.iter().map(|t| token::bytes(t)).sum::<u64>()).sum()
    }

    fn apply(&mut self, scroll: u32, action: &Action, rng: &mut Rng) -> Outcome {
        let (found, mut tokens) = self.now(scroll);
        let seen =
            |(revision, tokens): Version, applied| Outcome::Seen { revision, tokens, applied };
        match action {
            Action::Read => return seen((found, tokens), None),
            Action::Glance => return seen((None, tokens), None),
            Action::StaleRead => {
                let past = self.scrolls.get(&scroll).filter(|past| !past.is_empty());
                let version = past.map(|past| past[rng.usize(..past.len())].clone());
                return seen(version.unwrap_or_default(), Some(1));
            }
            Action::Swap { expected, .. } if *expected != found.unwrap_or(0) => {
                return Outcome::Refused { status: 412 };
            }
            Action::Delete if tokens.is_empty() => return seen((None, tokens), None),
            Action::Delete => tokens.clear(),
            Action::Append(token) => tokens.push(token.clone()),
            Action::Write(token) | Action::Swap { token, .. } => tokens = vec![token.clone()],
            Action::Again(_) | Action::Malformed(_) | Action::Measure => {
                return Outcome::Refused { status: 400 };
            }
        }
        let grown = !tokens.is_empty();
        let past = self.scrolls.entry(scroll).or_default();
        past.push((grown.then_some(self.revision + 1), tokens));
        if grown && self.used() > QUOTA {
            self.scrolls.entry(scroll).or_default().pop();
            return Outcome::Refused { status: 507 };
        }
        self.revision += 1;
        Outcome::Acked { revision: self.revision }
    }
}

/// One request to come: when it takes effect, is asked, and is answered; by whom; and whether the
/// answer says what became of it.
type Asked = (u64, u64, Option<u64>, u32, bool);

fn requests(rng: &mut Rng, clients: u32) -> Vec<Asked> {
    let mut asked = Vec::new();
    for client in 0..clients {
        let mut now_us = 0;
        for _ in 0..40 {
            let invoked_us = now_us + rng.u64(1..10);
            let mut effect_us = invoked_us + rng.u64(1..20);
            let returned_us = effect_us + rng.u64(1..20);
            now_us = returned_us;
            let answered = rng.u32(0..10) > 0;
            if !answered {
                // The client has given up, the request is still on its way.
                effect_us += rng.u64(0..60);
            }
            // Half of the time the answer says that much.
            let returned_us = (answered || rng.bool()).then_some(returned_us);
            asked.push((effect_us, invoked_us, returned_us, client, answered));
        }
    }
    asked.sort_unstable();
    asked
}

fn choose(rng: &mut Rng, store: &Store, scroll: u32, name: &str) -> Action {
    let token = if rng.bool() { name.to_owned() } else { format!("{name}+{}", rng.u32(20..300)) };
    match rng.u32(0..16) {
        0..4 => Action::Read,
        4 => Action::Glance,
        5 => Action::StaleRead,
        6..11 => Action::Append(token),
        11 => Action::Write(token),
        12..14 => Action::Delete,
        _ => {
            let found = store.now(scroll).0.unwrap_or(0);
            Action::Swap { token, expected: if rng.bool() { found } else { found / 2 } }
        }
    }
}

/// A history of so many clients.
fn simulate(seed: u64, clients: u32) -> Vec<Operation> {
    let mut rng = Rng::with_seed(seed);
    let mut store = Store::default();
    let mut history = Vec::new();
    let asked = requests(&mut rng, clients);
    let end_us = asked.iter().map(|ask| ask.0.max(ask.2.unwrap_or(0))).max().unwrap_or(0) + 100;
    for (nth, (_, invoked_us, returned_us, client, told)) in asked.into_iter().enumerate() {
        let happens = told || rng.bool();
        let add = |scroll: u32, action, outcome, batch| {
            let (tenant, scroll) = ("t".to_owned(), scroll.to_string());
            let unknown = Outcome::Unknown { status: None };
            let outcome = if told { outcome } else { unknown };
            Operation { client, tenant, scroll, action, invoked_us, returned_us, outcome, batch }
        };
        if rng.u32(0..6) > 0 {
            let scroll = rng.u32(0..SCROLLS);
            let action = choose(&mut rng, &store, scroll, &format!("{client}-{nth}"));
            let outcome = happens.then(|| store.apply(scroll, &action, &mut rng));
            let outcome = outcome.unwrap_or(Outcome::Unknown { status: None });
            history.push(add(scroll, action, outcome, None));
            continue;
        }
        // An atomic batch of appends or of reads, on all scrolls but one.
        let reads = rng.bool();
        let actions = (1..SCROLLS).map(|scroll| {
            let append = Action::Append(format!("{client}-{nth}b{scroll}"));
            (scroll, if reads { Action::Read } else { append })
        });
        let needed = actions.clone().map(|(scroll, action)| {
            let new = if store.now(scroll).1.is_empty() { 64 } else { 0 };
            new + action.token().map_or(0, token::bytes)
        });
        let room = store.used() + needed.sum::<u64>() <= QUOTA;
        for (scroll, action) in actions {
            let refused = Outcome::Refused { status: 507 };
            let outcome = match (happens, reads || room) {
                (true, true) => store.apply(scroll, &action, &mut rng),
                (true, false) => refused,
                (false, _) => Outcome::Unknown { status: None },
            };
            let batch = Some(Batch { id: nth as u64, atomic: true });
            history.push(add(scroll, action, outcome, batch));
        }
    }
    finish(&mut history, &mut store, end_us, &mut rng);
    history
}

fn finish(history: &mut Vec<Operation>, store: &mut Store, end_us: u64, rng: &mut Rng) {
    // So late that whatever was unknown is settled.
    let end_us = end_us + 100_000_000;
    let mut add = |scroll: &str, action, outcome| {
        let (tenant, scroll) = ("t".to_owned(), scroll.to_owned());
        let (invoked_us, returned_us, batch) = (end_us, Some(end_us + 1), None);
        let client = 0;
        history.push(Operation {
            client,
            tenant,
            scroll,
            action,
            invoked_us,
            returned_us,
            outcome,
            batch,
        });
    };
    for scroll in 0..SCROLLS {
        let outcome = store.apply(scroll, &Action::Read, rng);
        add(&scroll.to_string(), Action::Read, outcome);
    }
    let (used_bytes, quota_bytes) = (store.used(), Some(QUOTA));
    add("", Action::Measure, Outcome::Measured { used_bytes, quota_bytes });
}

#[test]
fn no_correct_store_is_accused() {
    let mut seen = [0_u32; 4];
    for seed in 0..400 {
        let history = simulate(seed, 5);
        let verdict = check(&history);
        assert!(verdict.is_ok(), "seed {seed}: {:?}", verdict.unwrap_err());
        let found = search(&history, Sampling::default());
        assert!(found.is_ok(), "seed {seed}: {:?}", found.unwrap_err());
        assert_eq!(found.unwrap().scrolls, u64::from(SCROLLS));
        for operation in &history {
            match operation.outcome {
                Outcome::Refused { status: 412 } => seen[0] += 1,
                Outcome::Refused { status: 507 } => seen[1] += 1,
                Outcome::Unknown { .. } => seen[2] += 1,
                _ if operation.batch.is_some() => seen[3] += 1,
                _ => {}
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 500), "all of it is put to the test: {seen:?}");
}

/// Spoils a history; says whether there was something to spoil.
type Mutation = fn(&mut [Operation], &mut Rng) -> bool;

fn tokens_of(operation: &mut Operation) -> Option<&mut Vec<String>> {
    match &mut operation.outcome {
        Outcome::Seen { tokens, .. } => Some(tokens),
        _ => None,
    }
}

fn is_acked(history: &[Operation], token: &str) -> bool {
    history.iter().any(|operation| {
        operation.action.token() == Some(token)
            && matches!(operation.outcome, Outcome::Acked { .. })
    })
}

/// The last read of a scroll with at least so many lines, and its position.
fn last_read(history: &[Operation], lines: usize) -> Option<usize> {
    history.iter().rposition(|operation| {
        matches!(&operation.outcome, Outcome::Seen { tokens, .. } if tokens.len() >= lines)
            && operation.action == Action::Read
    })
}

fn forget_a_line(history: &mut [Operation], rng: &mut Rng) -> bool {
    let Some(at) = last_read(history, 2) else { return false };
    let tokens = tokens_of(&mut history[at]).unwrap();
    let gone = tokens.remove(rng.usize(..tokens.len()));
    is_acked(history, &gone)
}

fn show_a_line_twice(history: &mut [Operation], rng: &mut Rng) -> bool {
    let Some(at) = last_read(history, 1) else { return false };
    let tokens = tokens_of(&mut history[at]).unwrap();
    tokens.push(tokens[rng.usize(..tokens.len())].clone());
    true
}

fn change_two_lines(history: &mut [Operation], rng: &mut Rng) -> bool {
    let Some(at) = last_read(history, 2) else { return false };
    let tokens = tokens_of(&mut history[at]).unwrap();
    let first = rng.usize(..tokens.len() - 1);
    tokens.swap(first, first + 1);
    let changed = [tokens[first].clone(), tokens[first + 1].clone()];
    // Of two writes of unknown outcome either may have come first.
    changed.iter().all(|token| is_acked(history, token))
}

fn show_what_was_refused(history: &mut [Operation], rng: &mut Rng) -> bool {
    let refused = history.iter().filter(|one| matches!(one.outcome, Outcome::Refused { .. }));
    let refused: Vec<_> = refused.filter_map(|one| one.action.token().map(str::to_owned)).collect();
    let Some(at) = last_read(history, 1).filter(|_| !refused.is_empty()) else { return false };
    tokens_of(&mut history[at]).unwrap().push(refused[rng.usize(..refused.len())].clone());
    true
}

fn answer_from_the_past(history: &mut [Operation], _: &mut Rng) -> bool {
    let Some(last) = last_read(history, 1) else { return false };
    let older = history.iter().find(|operation| {
        operation.scroll == history[last].scroll
            && operation.action == Action::Read
            && operation.outcome != history[last].outcome
    });
    let Some(outcome) = older.map(|older| older.outcome.clone()) else { return false };
    let newest = tokens_of(&mut history[last]).unwrap().last().unwrap().clone();
    let present = matches!(outcome, Outcome::Seen { revision: Some(_), .. });
    history[last].outcome = outcome;
    // A removal of unknown outcome would explain absence, and nothing need have changed but by it.
    present && is_acked(history, &newest)
}

fn carry_out_what_was_not_to_be(history: &mut [Operation], _: &mut Rng) -> bool {
    // Acknowledged and overwritten, says the store; but others found the condition wrong.
    let refused = history.iter_mut().find(|operation| {
        operation.outcome == Outcome::Refused { status: 412 }
            && matches!(operation.action, Action::Swap { expected, .. } if expected > 0)
    });
    let revision = 1_000_000;
    refused.map(|refused| refused.outcome = Outcome::Acked { revision }).is_some()
}

fn change_two_revisions(history: &mut [Operation], _: &mut Rng) -> bool {
    let is_acked = |one: &Operation| matches!(one.outcome, Outcome::Acked { .. });
    let (first, last) = (history.iter().position(is_acked), history.iter().rposition(is_acked));
    let (Some(first), Some(last)) = (first, last) else { return false };
    let kept = history[first].outcome.clone();
    history[first].outcome = std::mem::replace(&mut history[last].outcome, kept);
    first != last
}

fn miscount(history: &mut [Operation], _: &mut Rng) -> bool {
    let last = history.last_mut().unwrap();
    if let Outcome::Measured { used_bytes, .. } = &mut last.outcome {
        *used_bytes += 1;
    }
    true
}

fn refuse_half_a_batch(history: &mut [Operation], _: &mut Rng) -> bool {
    let part = history.iter_mut().find(|operation| {
        operation.batch.is_some() && matches!(operation.outcome, Outcome::Acked { .. })
    });
    part.map(|part| part.outcome = Outcome::Refused { status: 412 }).is_some()
}

const MUTATIONS: [(&str, Mutation); 9] = [
    ("forget a line", forget_a_line),
    ("show a line twice", show_a_line_twice),
    ("change two lines", change_two_lines),
    ("show what was refused", show_what_was_refused),
    ("answer from the past", answer_from_the_past),
    ("carry out what was not to be", carry_out_what_was_not_to_be),
    ("change two revisions", change_two_revisions),
    ("miscount", miscount),
    ("refuse half a batch", refuse_half_a_batch),
];

#[test]
fn tier_a_catches_every_mutation() {
    for (name, mutation) in MUTATIONS {
        let (mut spoiled, mut caught) = (0, 0);
        for seed in 0..150 {
            let mut history = simulate(seed, 5);
            if mutation(&mut history, &mut Rng::with_seed(seed)) {
                spoiled += 1;
                caught += u32::from(check(&history).is_err());
            }
        }
        assert!(spoiled > 50, "{name}: only {spoiled}");
        assert_eq!(spoiled, caught, "{name}");
    }
}

#[test]
fn tier_b_catches_what_texts_alone_show() {
    let sampling = Sampling { budget: 200_000, ..Sampling::default() };
    let mut decided = 0;
    for (name, mutation) in &MUTATIONS[..5] {
        let (mut spoiled, mut caught) = (0, 0);
        for seed in 0..60 {
            let mut history = simulate(seed, 5);
            if !mutation(&mut history, &mut Rng::with_seed(seed)) {
                continue;
            }
            spoiled += 1;
            let found = search(&history, sampling).err().unwrap_or_default();
            caught += u32::from(!found.is_empty());
            let stuck = |found: &Violation| matches!(found, Violation::NotLinearizable { .. });
            decided += u32::from(found.iter().any(stuck));
        }
        assert!(spoiled > 20, "{name}: only {spoiled}");
        // What a removal of unknown outcome may have done is no proof.
        assert!(caught * 10 >= spoiled * 8, "{name}: {caught} of {spoiled}");
    }
    assert!(decided > 150, "most of them without giving up: {decided}");
}
