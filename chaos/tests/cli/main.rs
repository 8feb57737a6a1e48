//! `ranch-chaos check` on saved histories: what it prints and how it exits.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};

use ranch_chaos::history::{self, Action, Operation, Outcome};

fn operation(at_us: u64, action: Action, outcome: Outcome) -> Operation {
    Operation {
        client: 1,
        tenant: "t".to_owned(),
        scroll: "s".to_owned(),
        action,
        invoked_us: at_us,
        returned_us: Some(at_us + 5),
        outcome,
        batch: None,
    }
}

fn append(at_us: u64, token: &str, revision: u64) -> Operation {
    operation(at_us, Action::Append(token.to_owned()), Outcome::Acked { revision })
}

fn read(at_us: u64, revision: u64, tokens: &[&str]) -> Operation {
    let tokens = tokens.iter().map(|&token| token.to_owned()).collect();
    operation(
        at_us,
        Action::Read,
        Outcome::Seen { revision: Some(revision), tokens, applied: None },
    )
}

fn check(path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ranch-chaos")).arg("check").arg(path).output().unwrap()
}

fn judged(history: &[Operation]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    history::save(&path, history).unwrap();
    let output = check(&path);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn kept_promises_are_summed_up_and_broken_ones_are_named() {
    let honest = [append(0, "a", 1), append(10, "b", 2), read(20, 2, &["a", "b"])];
    let (code, said) = judged(&honest);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("2 writes acknowledged, 1 reads"), "{said}");

    let lossy = [append(0, "a", 1), append(10, "b", 2), read(20, 2, &["b"])];
    let (code, said) = judged(&lossy);
    assert_eq!(code, Some(1), "{said}");
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said[0], "R1: a read of t.s at revision 2 lacks the acknowledged a");
    assert!(said[1].starts_with("R2: no order explains what was answered of t.s"), "{said:?}");
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn what_is_no_history_is_told_from_a_bad_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    assert_eq!(check(&path).status.code(), Some(2), "no such file");
    std::fs::write(&path, "nonsense\n").unwrap();
    let output = check(&path);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("line 1"));
}
