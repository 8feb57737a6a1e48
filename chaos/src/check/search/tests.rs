//! The search on histories of a few operations. That it accepts whole runs of a correct store and
//! rejects spoiled ones is shown beside tier A's tests.

use super::*;

fn operation(client: u32, times: (u64, u64), action: Action, outcome: Outcome) -> Operation {
    let (invoked_us, returned_us) = times;
    let answered = !matches!(outcome, Outcome::Unknown { .. });
    Operation {
        client,
        tenant: "t".to_owned(),
        scroll: "s".to_owned(),
        action,
        invoked_us,
        returned_us: answered.then_some(returned_us),
        outcome,
        batch: None,
    }
}

fn append(token: &str) -> Action {
    Action::Append(token.to_owned())
}

fn acked(revision: u64) -> Outcome {
    Outcome::Acked { revision }
}

fn seen(tokens: &[&str]) -> Outcome {
    let tokens: Vec<_> = tokens.iter().map(|&token| token.to_owned()).collect();
    let revision = (!tokens.is_empty()).then_some(99);
    Outcome::Seen { revision, tokens, applied: None }
}

fn unknown() -> Outcome {
    Outcome::Unknown { status: None }
}

fn is_explained(history: &[Operation]) -> bool {
    match search(history, Sampling::default()) {
        Ok(_) => true,
        Err(violations) => {
            let stuck = |found: &Violation| matches!(found, Violation::NotLinearizable { .. });
            assert!(violations.iter().all(stuck), "{violations:?}");
            false
        }
    }
}

#[test]
fn overlapping_appends_go_either_way_but_not_both() {
    let start = [
        operation(1, (0, 10), append("a"), acked(1)),
        operation(2, (5, 15), append("b"), acked(2)),
    ];
    let read = |times, tokens: &[&str]| operation(3, times, Action::Read, seen(tokens));
    let with = |reads: &[Operation]| [&start[..], reads].concat();
    assert!(is_explained(&with(&[read((20, 25), &["a", "b"])])));
    assert!(is_explained(&with(&[read((20, 25), &["b", "a"])])));
    let both = [read((20, 25), &["b", "a"]), read((30, 35), &["a", "b"])];
    assert!(!is_explained(&with(&both)));
    assert!(!is_explained(&with(&[read((20, 25), &["b"])])), "a is lost");
    assert!(is_explained(&with(&[read((8, 25), &["b"])])));
}

#[test]
fn what_was_shown_cannot_be_taken_back() {
    let read = |times, tokens: &[&str]| operation(3, times, Action::Read, seen(tokens));
    let open = operation(1, (0, 100), append("a"), acked(1));
    let end = read((110, 115), &["a"]);
    let early = [open.clone(), read((10, 20), &["a"]), read((30, 40), &["a"]), end.clone()];
    assert!(is_explained(&early));
    let back = [open, read((10, 20), &["a"]), read((30, 40), &[]), end];
    assert!(!is_explained(&back));
}

#[test]
fn unknown_outcomes_are_tried_both_ways() {
    let read = |times, tokens: &[&str]| operation(3, times, Action::Read, seen(tokens));
    let first = operation(1, (0, 5), append("a"), acked(1));
    let lost = operation(2, (6, 0), append("u"), unknown());
    assert!(is_explained(&[first.clone(), lost.clone(), read((20, 25), &["a"])]));
    assert!(is_explained(&[first.clone(), lost.clone(), read((20, 25), &["a", "u"])]));
    let twice = [read((20, 25), &["a", "u"]), read((30, 35), &["a"])];
    assert!(!is_explained(&[&[first.clone(), lost.clone()], &twice[..]].concat()));
    // Nothing shows it, but it explains why the condition did not hold.
    let swap = Action::Swap { token: "s".to_owned(), expected: 1 };
    let refused = operation(3, (20, 25), swap, Outcome::Refused { status: 412 });
    let removed = operation(1, (30, 35), Action::Delete, acked(3));
    let end = read((40, 45), &[]);
    let explained = [first.clone(), lost, refused.clone(), removed.clone(), end.clone()];
    assert!(is_explained(&explained));
    assert!(!is_explained(&[first, refused, removed, end]));
}

#[test]
fn conditions_and_removals_are_part_of_the_search() {
    let first = operation(1, (0, 5), append("a"), acked(1));
    let swap = |token: &str, times, outcome| {
        operation(2, times, Action::Swap { token: token.to_owned(), expected: 1 }, outcome)
    };
    let both = [
        first.clone(),
        swap("x", (10, 20), acked(2)),
        operation(3, (10, 20), Action::Swap { token: "y".into(), expected: 1 }, acked(3)),
        operation(4, (30, 35), Action::Read, seen(&["y"])),
    ];
    assert!(!is_explained(&both), "two won on one condition");
    let nothing = operation(3, (10, 20), Action::Delete, seen(&[]));
    assert!(!is_explained(&[first.clone(), nothing.clone()]), "there was something");
    let removed = operation(2, (8, 30), Action::Delete, acked(2));
    assert!(is_explained(&[first, removed, nothing]));
}

#[test]
fn a_search_that_grows_too_large_says_so() {
    // Removals of unknown outcome, any of which may come anywhere.
    let mut history: Vec<_> =
        (0..12).map(|at| operation(1, (at, 0), Action::Delete, unknown())).collect();
    for at in 0..12_u64 {
        let token = at.to_string();
        history.push(operation(2, (20 + 2 * at, 21 + 2 * at), append(&token), acked(at)));
    }
    history.push(operation(3, (90, 95), Action::Read, seen(&["3", "5"])));
    let small = Sampling { budget: 500, ..Sampling::default() };
    let found = search(&history, small).unwrap_err();
    assert!(matches!(found[..], [Violation::Undecided { .. }]), "{found:?}");
    assert!(!is_explained(&history));
}

#[test]
fn only_scrolls_of_few_clients_are_searched() {
    let history: Vec<_> = (0..6)
        .map(|client| operation(client, (0, 5), append(&client.to_string()), acked(1)))
        .collect();
    assert_eq!(search(&history, Sampling::default()).unwrap(), Sample::default());
    let five = search(&history[..5], Sampling::default()).unwrap();
    assert_eq!(five, Sample { scrolls: 1, operations: 5 });
}
