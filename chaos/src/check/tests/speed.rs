//! How fast tier A is, and that its time grows with the operations and no faster.

use std::time::{Duration, Instant};

use crate::check::check;
use crate::history::{Action, Operation, Outcome};

/// Appends and reads of eight clients, with a replacing write now and then.
fn history(operations: u64) -> Vec<Operation> {
    let mut tokens: Vec<Vec<String>> = vec![Vec::new(); 64];
    let mut revisions = [0; 64];
    let mut history = Vec::new();
    for at in 0..operations {
        let scroll = (at % 64) as usize;
        let token = format!("{}-{at}", at % 8);
        let (action, outcome) = match at / 64 % 12 {
            last if last % 3 == 2 || at + 64 >= operations => {
                let (revision, tokens) = (Some(revisions[scroll]), tokens[scroll].clone());
                (Action::Read, Outcome::Seen { revision, tokens, applied: None })
            }
            0 => {
                tokens[scroll] = vec![token.clone()];
                (Action::Write(token), Outcome::Acked { revision: at + 1 })
            }
            _ => {
                tokens[scroll].push(token.clone());
                (Action::Append(token), Outcome::Acked { revision: at + 1 })
            }
        };
        if let Outcome::Acked { revision } = outcome {
            revisions[scroll] = revision;
        }
        history.push(Operation {
            client: (at % 8) as u32,
            tenant: "t".to_owned(),
            scroll: scroll.to_string(),
            action,
            invoked_us: at * 10,
            returned_us: Some(at * 10 + 25),
            outcome,
            batch: None,
        });
    }
    history
}

fn measure(operations: u64) -> Duration {
    let history = history(operations);
    let began = Instant::now();
    let summary = check(&history).unwrap();
    assert_eq!(summary.acked + summary.reads, operations);
    began.elapsed()
}

#[test]
fn time_grows_with_the_operations() {
    let (small, large) = (measure(20_000), measure(320_000));
    // Sixteen times the operations; what a busy machine adds is allowed for, a square is not.
    assert!(large < small * 80 + Duration::from_secs(2), "{small:?}, then {large:?}");
}

/// Run by hand: `cargo test --release -p ranch-chaos ten_million -- --ignored --nocapture`.
#[test]
#[ignore = "takes gigabytes"]
fn ten_million_operations_take_seconds() {
    println!("10^7 operations checked in {:?}", measure(10_000_000));
}
