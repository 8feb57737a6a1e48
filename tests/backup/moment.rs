//! What a backup has of a tenant that was written while it was taken: all of it, as of one moment.

use std::collections::BTreeMap;
use std::ops::Range;

use ranch_chaos::Ranch;
use ranch_chaos::history::{Action, Operation, Outcome};
use ranch_chaos::token;
use ranch_chaos::workload::PHEXT;

use crate::LIMIT;

/// The revision under which a write was acknowledged.
fn acked(operation: &Operation) -> Option<u64> {
    match operation.outcome {
        Outcome::Acked { revision } => Some(revision),
        _ => None,
    }
}

/// R1: a tenant that was put back is what the history of its load says that it was at one moment
/// of the backup: each scroll has all writes up to then and none after, what was acknowledged
/// before the backup began is among them, and what was begun after it had ended is not. `taken` is
/// from when to when it was taken, on the clock of the history. Leaves a scroll in the tenant.
pub async fn is_of_one(ranch: &Ranch, key: &str, history: &[Operation], taken: Range<u64>) {
    let unknown = |one: &&Operation| matches!(one.outcome, Outcome::Unknown { .. });
    assert_eq!(history.iter().find(unknown), None, "it is known what became of each write");
    let mut client = ranch.client(Some(key)).with_limit(LIMIT);
    // Revisions go on from the last one that the backup knows of.
    let next = client.write("after", "1.1.1/1.1.1/1.1.1", "next").await.unwrap();
    let moment = next.revision().expect("a write has a revision") - 1;
    let returned = |one: &&Operation| one.returned_us.is_some_and(|at_us| at_us < taken.start);
    let before = history.iter().filter(returned).filter_map(acked).max();
    let after = history.iter().filter(|one| one.invoked_us > taken.end).filter_map(acked).min();
    let (before, after) = (before.expect("writes before"), after.expect("writes after"));
    println!("the backup is as of revision {moment}, between {before} and {after}");
    assert!((before..after).contains(&moment), "{before}, {moment}, {after}");

    let mut scrolls: BTreeMap<&str, BTreeMap<u64, &Action>> = BTreeMap::new();
    for one in history.iter().filter(|one| one.action.is_about_a_scroll()) {
        let writes = scrolls.entry(&one.scroll).or_default();
        writes.extend(acked(one).filter(|at| *at <= moment).map(|at| (at, &one.action)));
    }
    for (scroll, writes) in scrolls {
        let (revision, text) = replay(&writes);
        let read = client.read(PHEXT, scroll).await.unwrap();
        let Some(revision) = revision else {
            assert_eq!(read.status, 404, "{scroll}: {}", read.text());
            continue;
        };
        assert_eq!((read.status, read.etag()), (200, Some(revision)), "{scroll}: {writes:?}");
        assert_eq!(read.text(), text, "{scroll} at {revision}");
    }
}

/// The revision and the text of a scroll after these writes.
fn replay(writes: &BTreeMap<u64, &Action>) -> (Option<u64>, String) {
    let (mut revision, mut text) = (None, String::new());
    for (at, action) in writes {
        if action.replaces() {
            text.clear();
        }
        text.push_str(&action.token().map(token::line).unwrap_or_default());
        revision = action.token().map(|_| *at);
    }
    (revision, text)
}
