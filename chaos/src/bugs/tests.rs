//! That the bank is in order. That its bugs are caught is for `make bugs` to show.

use super::*;
use crate::scenario::Promise;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every patch still applies: who changes what one touches brings the patch along.
#[test]
fn every_bug_can_be_put_back() {
    let bugs = bank(&checkout()).unwrap();
    assert!(bugs.len() >= 15, "{} bugs", bugs.len());
    let dir = tempfile::tempdir().unwrap();
    let mut rotten = Vec::new();
    for bug in &bugs {
        let check = Step::new("git").within(&checkout()).args(["apply", "--check", "--verbose"]);
        let log = dir.path().join("log");
        let ran = check.args([&bug.patch]).run(&log, GIT_MAX).unwrap();
        // Outside of a work tree git takes no notice of what it cannot apply.
        if !ran.is_good() || ran.said.contains("Skipped") {
            rotten.push(format!("{}: {}", bug.name, ran.said));
        }
    }
    assert!(rotten.is_empty(), "{}", rotten.join("\n"));
}

#[test]
fn every_manifest_says_what_it_must() {
    let promises: Vec<_> = Promise::ALL.iter().map(|one| format!("{one:?}")).collect();
    for bug in bank(&checkout()).unwrap() {
        let Manifest { what, promise, within_s, says, .. } = &bug.manifest;
        assert!(what.len() > 30 && what.ends_with('.'), "{}", bug.name);
        assert!(promises.contains(promise), "{}: {promise}", bug.name);
        assert!(*within_s <= 900 && !says.is_empty(), "{}", bug.name);
        let number = bug.name.split('-').next().unwrap().to_owned();
        assert!(number.len() == 2 && bug.is(&number) && bug.is(&bug.name), "{}", bug.name);
    }
}

#[test]
fn only_a_failure_for_the_right_reason_counts() {
    let catcher = Catcher::Test { suite: "s".into(), name: "n".into() };
    let (what, promise, says) = (String::new(), "R1".to_owned(), "lost it".to_owned());
    let manifest = Manifest { what, promise, within_s: 1, says, catcher };
    let bug = Bug { name: "00-x".into(), patch: PathBuf::new(), manifest };
    let took = Duration::from_secs(1);
    let judged = |code, said: &str| bug.judge(&Ran { code, said: said.into(), took }, "l".into());
    assert_eq!(judged(Some(101), "it lost it"), Caught::Yes(took));
    assert_eq!(judged(Some(101), "no such test"), Caught::OtherReason("l".into()));
    assert_eq!(judged(Some(0), "lost it"), Caught::No);
    assert_eq!(judged(None, "lost it"), Caught::TooLate);
}

#[test]
fn a_command_has_a_limit_and_leaves_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let shell = |script: &str| Step::new("sh").args(["-c", script]);
    let ran = shell("echo out; echo err >&2; exit 3").run(&log, GIT_MAX).unwrap();
    assert_eq!((ran.code, ran.said.as_str()), (Some(3), "out\nerr\n"));
    let ran = shell("echo on; sleep 600").run(&log, Duration::from_millis(200)).unwrap();
    assert_eq!((ran.code, ran.is_good()), (None, false));
    assert!(ran.took < Duration::from_mins(1));
}
