//! The bank of bugs: real bugs as patches, each with the test or scenario that must catch it. This
//! is how the harness is trusted: a net with a hole lets one of them through.
//!
//! `chaos/bugs/NN-name.patch` puts a bug back, `NN-name.toml` says what it is and what catches it.
//! Each is put into a clone of the checkout with a target directory of its own and built there;
//! its catcher must then fail within its time, and say what the manifest expects it to say.

mod command;

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::HarnessError;
use command::{Ran, Step};

/// Where the bank is, in a checkout.
const BANK: &str = "chaos/bugs";
/// How long a build may take.
const BUILD_MAX: Duration = Duration::from_hours(1);
/// How long git may take.
const GIT_MAX: Duration = Duration::from_mins(2);
/// The exit code of a scenario that could not be run.
const NOTHING_FOUND_OUT: i32 = 2;

/// What is known of a bug.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What is wrong, in a sentence.
    pub what: String,
    /// The promise it breaks.
    pub promise: String,
    /// How long its catcher may take once built, in seconds.
    pub within_s: u64,
    /// What its catcher says when it fails for the right reason.
    pub says: String,
    /// What must catch it.
    pub catcher: Catcher,
}

/// What must catch a bug.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Catcher {
    /// A test.
    Test {
        /// The suite it is in.
        suite: String,
        /// Its name, in full.
        name: String,
    },
    /// A scenario.
    Scenario {
        /// Its name.
        name: String,
        /// The seed.
        seed: u64,
        /// How long faults go on.
        minutes: f64,
    },
}

/// A bug of the bank.
#[derive(Clone, Debug)]
pub struct Bug {
    /// `NN-name`.
    pub name: String,
    /// The patch that puts it back.
    pub patch: PathBuf,
    /// What is known of it.
    pub manifest: Manifest,
}

/// What became of a bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caught {
    /// Its catcher failed as it must, after so long.
    Yes(Duration),
    /// Its catcher passed: there is a hole.
    No,
    /// Its catcher failed, but not as it must; with the file that has what it said.
    OtherReason(PathBuf),
    /// Its catcher was not over in time.
    TooLate,
    /// It could not be put back or built; with the file that says why.
    NotBuilt(PathBuf),
    /// Its scenario cannot be run on this machine.
    NotHere,
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes(took) => write!(f, "caught in {:.1} s", took.as_secs_f64()),
            Self::No => f.write_str("NOT CAUGHT"),
            Self::OtherReason(file) => write!(f, "NOT CAUGHT for its reason, {}", file.display()),
            Self::TooLate => f.write_str("NOT CAUGHT in time"),
            Self::NotBuilt(file) => write!(f, "NOT BUILT, see {}", file.display()),
            Self::NotHere => f.write_str("skipped: its scenario cannot be run here"),
        }
    }
}

/// All bugs of a checkout's bank, by name.
///
/// # Errors
/// When the bank cannot be read, or a patch has no manifest or a wrong one.
pub fn bank(checkout: &Path) -> Result<Vec<Bug>, HarnessError> {
    let dir = checkout.join(BANK);
    let reading = || format!("reading {}", dir.display());
    let mut bugs = Vec::new();
    for entry in fs::read_dir(&dir).map_err(HarnessError::io(reading()))? {
        let patch = entry.map_err(HarnessError::io(reading()))?.path();
        if patch.extension() == Some(OsStr::new("patch")) {
            bugs.push(Bug::read(patch)?);
        }
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}

impl Bug {
    fn read(patch: PathBuf) -> Result<Self, HarnessError> {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = patch.with_extension("toml");
        let text = fs::read_to_string(&file);
        let text = text.map_err(HarnessError::io(format!("reading {}", file.display())))?;
        let wrong = |error: toml::de::Error| HarnessError::Scenario {
            name: name.clone(),
            reason: error.to_string(),
        };
        let manifest = toml::from_str(&text).map_err(wrong)?;
        Ok(Self { name, patch, manifest })
    }

    /// Whether somebody means this bug: its name, or its number.
    #[must_use]
    pub fn is(&self, asked: &str) -> bool {
        let number = self.name.split('-').next().unwrap_or_default();
        asked == self.name || asked == number
    }

    /// Puts the bug into a clone of the checkout below `scratch`, and runs its catcher there.
    ///
    /// # Errors
    /// When a command cannot be started, or there is no clone to be had.
    pub fn catch(&self, checkout: &Path, scratch: &Path) -> Result<Caught, HarnessError> {
        let place = Place::prepare(checkout, scratch)?;
        let log = scratch.join(format!("{}.log", self.name));
        let patch = fs::canonicalize(&self.patch).map_err(HarnessError::io("finding a patch"))?;
        let apply = [OsStr::new("apply"), patch.as_os_str()];
        if !place.git(apply).run(&log, GIT_MAX)?.is_good() {
            return Ok(Caught::NotBuilt(log));
        }
        let (build, run) = match &self.manifest.catcher {
            Catcher::Test { suite, name } => (
                place.cargo(["test", "--workspace", "--locked", "--test", suite, "--no-run"]),
                place.cargo([
                    "test",
                    "--workspace",
                    "--locked",
                    "--test",
                    suite,
                    name,
                    "--",
                    "--exact",
                ]),
            ),
            Catcher::Scenario { name, seed, minutes } => (
                place.cargo(["build", "--workspace", "--locked", "--bins"]),
                place.scenario(name, *seed, *minutes),
            ),
        };
        if !build.run(&log, BUILD_MAX)?.is_good() {
            return Ok(Caught::NotBuilt(log));
        }
        let ran = run.run(&log, Duration::from_secs(self.manifest.within_s))?;
        Ok(self.judge(&ran, log))
    }

    fn judge(&self, ran: &Ran, log: PathBuf) -> Caught {
        let Some(code) = ran.code else { return Caught::TooLate };
        let scenario = matches!(self.manifest.catcher, Catcher::Scenario { .. });
        match code {
            0 => Caught::No,
            NOTHING_FOUND_OUT if scenario => Caught::NotHere,
            _ if ran.said.contains(&self.manifest.says) => Caught::Yes(ran.took),
            _ => Caught::OtherReason(log),
        }
    }
}

/// A clone of a checkout, and where it is built.
struct Place {
    tree: PathBuf,
    target: PathBuf,
}

impl Place {
    /// Brings the clone to where the checkout is, without any bug.
    fn prepare(checkout: &Path, scratch: &Path) -> Result<Self, HarnessError> {
        fs::create_dir_all(scratch).map_err(HarnessError::io("making a place for bugs"))?;
        let finding = HarnessError::io(format!("finding {}", scratch.display()));
        let scratch = fs::canonicalize(scratch).map_err(finding)?;
        let checkout = fs::canonicalize(checkout).map_err(HarnessError::io("finding the bank"))?;
        let place = Self { tree: scratch.join("tree"), target: scratch.join("target") };
        let log = scratch.join("clone.log");
        let steps = if place.tree.exists() {
            vec![
                place.git([
                    "fetch".as_ref(),
                    "--quiet".as_ref(),
                    "origin".as_ref(),
                    "HEAD".as_ref(),
                ]),
                place.git(["reset", "--quiet", "--hard", "FETCH_HEAD"].map(OsStr::new)),
            ]
        } else {
            let clone = Step::new("git").args(["clone", "--quiet"]);
            vec![clone.args([&checkout, &place.tree])]
        };
        for step in steps {
            if !step.run(&log, GIT_MAX)?.is_good() {
                let reason = format!("cannot be cloned, see {}", log.display());
                return Err(HarnessError::Scenario { name: "the checkout".to_owned(), reason });
            }
        }
        Ok(place)
    }

    fn git<'a>(&self, args: impl IntoIterator<Item = &'a OsStr>) -> Step {
        Step::new("git").args([OsStr::new("-C"), self.tree.as_os_str()]).args(args)
    }

    fn cargo<const N: usize>(&self, args: [&str; N]) -> Step {
        let step = Step::new("cargo").args(args).within(&self.tree);
        step.env("CARGO_TARGET_DIR", &self.target).env("TMPDIR", self.tmp())
    }

    fn scenario(&self, name: &str, seed: u64, minutes: f64) -> Step {
        let report = self.target.join("report");
        let step = Step::new(self.target.join("debug/ranch-chaos")).within(&self.tree);
        let (seed, minutes) = (seed.to_string(), minutes.to_string());
        step.args(["run", name, "--seed", &seed, "--minutes", &minutes, "--slack", "10"])
            .args([OsStr::new("--report"), report.as_os_str()])
            .env("TMPDIR", self.tmp())
    }

    fn tmp(&self) -> PathBuf {
        let tmp = self.target.join("tmp");
        // Where it cannot be made, whoever needs it will say so.
        let _ = fs::create_dir_all(&tmp);
        tmp
    }
}

#[cfg(test)]
mod tests;
