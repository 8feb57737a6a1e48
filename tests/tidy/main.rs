//! The house rules that no other tool checks: which crate may use which, and how files look.
//!
//! Sizes are of product code: what follows a file's `#[cfg(test)]` and whole files of tests count
//! only for the length of their lines and functions. Formatting is rustfmt's business, so a
//! function ends at the first line that is its indentation and a closing brace.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use sources::{Source, files};

/// Every arrow of the house: a crate and the crates of the house it may depend on.
const ARROWS: [(&str, &[&str]); 6] = [
    ("ranch-proto", &[]),
    ("ranch-raft", &["ranch-proto"]),
    ("ranch-node", &["ranch-proto", "ranch-raft"]),
    ("ranch-router", &["ranch-proto"]),
    ("ranch-chaos", &["ranch-proto"]),
    ("ranch", &["ranch-node", "ranch-proto", "ranch-raft", "ranch-router"]),
];
/// For tests alone.
const TEST_ARROWS: [(&str, &str); 1] = [("ranch", "ranch-chaos")];
/// Libraries that one crate of the house, or two, keep from all others.
const KEPT: [(&str, &[&str]); 2] =
    [("rocksdb", &["ranch-raft"]), ("openraft", &["ranch-raft", "ranch-node"])];
/// What apply may not use: it must come out the same on every replica and at every replay.
const NOT_PURE: [&str; 4] = ["SystemTime::now", "Instant::now", "fastrand::", "getrandom::"];

const LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// A package's dependencies as `cargo metadata` gives them: name and kind.
fn packages() -> BTreeMap<String, Vec<(String, Option<String>)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs, since it runs this test");
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().expect("metadata lists packages").iter();
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("and their dependencies");
        let named = dependencies.iter().map(|dependency| {
            (text(&dependency["name"]).unwrap_or_default(), text(&dependency["kind"]))
        });
        (text(&package["name"]).unwrap_or_default(), named.collect())
    };
    packages.map(package).collect()
}

#[test]
fn crates_depend_on_each_other_only_along_the_arrows() {
    let packages = packages();
    let known: BTreeSet<_> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(packages.keys().cloned().collect::<BTreeSet<_>>(), known, "crates of the house");
    for (name, allowed) in ARROWS {
        for (dependency, kind) in &packages[name] {
            // A crate may name itself to test with features of its own.
            let in_house = known.contains(dependency) && dependency != name;
            let for_tests = kind.as_deref() == Some("dev")
                && TEST_ARROWS.contains(&(name, dependency.as_str()));
            assert!(
                !in_house || for_tests || allowed.contains(&dependency.as_str()),
                "{name} -> {dependency} is no arrow of the house"
            );
        }
    }
}

#[test]
fn libraries_with_a_keeper_are_used_by_it_alone() {
    for (name, dependencies) in packages() {
        for (library, keepers) in KEPT {
            let uses = dependencies.iter().any(|(dependency, _)| dependency == library);
            assert!(!uses || keepers.contains(&name.as_str()), "{name} uses {library}");
        }
    }
}

/// Panics with one line for each complaint.
fn no_complaints(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_file_says_what_it_owns_and_stays_small() {
    let mut complaints = Vec::new();
    let rust = files(&["rs"]);
    assert!(rust.len() > 50, "the sources were not found");
    for file in &rust {
        if !file.text.starts_with("//! ") {
            complaints.push(format!("{} does not open with //!", file.path));
        }
        let lines = file.product_lines();
        if lines > LINES_MAX {
            complaints.push(format!("{} has {lines} lines of code: two subjects?", file.path));
        }
        for (line, name, length) in file.functions() {
            if length > FUNCTION_LINES_MAX {
                let at = &file.path;
                complaints.push(format!("{at}:{line}: {name} has {length} lines"));
            }
        }
    }
    no_complaints(&complaints);
}

#[test]
fn lines_fit() {
    let mut complaints = Vec::new();
    for Source { path, text } in files(&["rs", "proto"]) {
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                complaints.push(format!("{path}:{}: {columns} columns", number + 1));
            }
        }
    }
    no_complaints(&complaints);
}

#[test]
fn nothing_is_left_undone_and_nothing_names_a_machine() {
    // Put together here, so that this file does not complain about itself.
    let undone = ["TO", "FIX", "XX"].map(|start| {
        format!(
            "{start}{}",
            if start == "TO" {
                "DO"
            } else if start == "FIX" {
                "ME"
            } else {
                "X"
            }
        )
    });
    let machine = ["work", "root", "home", "Users"].map(|top| format!("/{top}/"));
    let mut complaints = Vec::new();
    let everywhere =
        ["rs", "proto", "toml", "md", "sh", "yml", "Makefile", "deps", "nextest", "run"];
    for Source { path, text } in files(&everywhere) {
        for (number, line) in text.lines().enumerate() {
            for word in undone.iter().chain(&machine) {
                if line.contains(word.as_str()) {
                    complaints.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    no_complaints(&complaints);
}

#[test]
fn apply_has_no_clock_and_no_dice() {
    let mut complaints = Vec::new();
    let state: Vec<_> =
        files(&["rs"]).into_iter().filter(|file| file.path.starts_with("raft/src/state")).collect();
    assert!(!state.is_empty(), "the state machine has moved: move this rule with it");
    for file in state {
        for (number, line) in file.text.lines().enumerate() {
            for word in NOT_PURE.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("{}:{}: {word}", file.path, number + 1));
            }
        }
    }
    no_complaints(&complaints);
}
