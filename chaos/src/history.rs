//! What was asked and answered, one operation a line of JSON.
//!
//! Instants are microseconds since the workload began, on the one clock of the process that ran
//! it. Every write carries a token no other write has, so an answer tells which writes it reflects.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::HarnessError;

/// One operation on one scroll, from the client's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked; a client asks one thing at a time.
    pub client: u32,
    /// Whose scroll.
    pub tenant: String,
    /// Which scroll, unique within the tenant.
    pub scroll: String,
    /// What was asked.
    pub action: Action,
    /// When it was sent, in microseconds.
    pub invoked_us: u64,
    /// When its answer was complete, in microseconds; absent when none came.
    pub returned_us: Option<u64>,
    /// What was answered.
    pub outcome: Outcome,
    /// The request this was a part of, where it was one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

impl Operation {
    /// Whether a well-meant request was neither carried out nor told why it cannot be: statuses
    /// that follow from what is stored, and from limits, are answers like any other.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        match self.outcome {
            Outcome::Refused { status } => {
                let malformed = matches!(self.action, Action::Malformed(_)) && status >= 400;
                !(malformed || matches!(status, 412 | 424 | 429 | 507))
            }
            Outcome::Unknown { .. } => true,
            Outcome::Acked { .. } | Outcome::Seen { .. } | Outcome::Measured { .. } => false,
        }
    }
}

/// A request of several operations. Each is an operation of the history, and all have its instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Tells it from all other batches of the history.
    pub id: u64,
    /// Whether it is carried out as a whole or not at all, and reads as of one moment.
    pub atomic: bool,
}

/// What a client may ask. A scroll's text is a line a token, see [`crate::token`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The whole scroll.
    Read,
    /// Replace the scroll by one line.
    Write(String),
    /// Add a line at the end.
    Append(String),
    /// Remove the scroll.
    Delete,
    /// Replace the scroll by one line, if it has this revision; 0 stands for no scroll.
    Swap {
        /// The line.
        token: String,
        /// The revision the scroll must have.
        expected: u64,
    },
    /// The whole scroll, from any replica, however far behind that is.
    StaleRead,
    /// The scroll as part of its whole phext, which comes without revisions.
    Glance,
    /// The write of this token once more, under the Idempotency-Key it had.
    Again(String),
    /// Something that is wrong in itself, and must be refused; it carries this token.
    Malformed(String),
    /// An administrator asks how much the tenant has stored; this is about no scroll.
    Measure,
}

impl Action {
    /// The token of its own that it carries.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Write(token)
            | Self::Append(token)
            | Self::Swap { token, .. }
            | Self::Malformed(token) => Some(token),
            _ => None,
        }
    }

    /// Whether it is meant to change the scroll.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Append(_) | Self::Swap { .. } | Self::Delete)
    }

    /// Whether it leaves nothing of what was there before.
    #[must_use]
    pub fn replaces(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Swap { .. } | Self::Delete)
    }

    /// Whether it is about a scroll, and one that may be there.
    #[must_use]
    pub fn is_about_a_scroll(&self) -> bool {
        !matches!(self, Self::Malformed(_) | Self::Measure)
    }
}

/// What became of an operation, as far as the client knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A write was acknowledged under this revision.
    Acked {
        /// The tenant's revision of this write.
        revision: u64,
    },
    /// A read was answered; or a removal was, and there was nothing to remove.
    Seen {
        /// The scroll's revision; absent when there was no scroll, and in a glance.
        revision: Option<u64>,
        /// The lines of the scroll.
        tokens: Vec<String>,
        /// How far the replica was, where the answer says that it may be behind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        applied: Option<u64>,
    },
    /// So much is stored, of what may be.
    Measured {
        /// Bytes stored.
        used_bytes: u64,
        /// Bytes allowed; absent without a limit.
        quota_bytes: Option<u64>,
    },
    /// The ranch says it did nothing.
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// No answer, or one that says the outcome is unknown.
    Unknown {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
    },
}

/// Writes a history, one operation a line.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, history: &[Operation]) -> Result<(), HarnessError> {
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for operation in history {
            serde_json::to_writer(&mut file, operation)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write().map_err(HarnessError::io(format!("writing {}", path.display())))
}

/// Reads a history written by [`save`].
///
/// # Errors
/// When the file cannot be read, or a line is no operation; the line is named.
pub fn load(path: &Path) -> Result<Vec<Operation>, HarnessError> {
    let reading = || format!("reading {}", path.display());
    let file = File::open(path).map_err(HarnessError::io(reading()))?;
    let lines = BufReader::new(file).lines().enumerate();
    lines
        .map(|(index, line)| {
            let at = || format!("{}, line {}", reading(), index + 1);
            let line = line.map_err(HarnessError::io(at()))?;
            serde_json::from_str(&line).map_err(|error| HarnessError::io(at())(error.into()))
        })
        .collect()
}

/// The longest time between two acknowledged writes that followed each other, over all clients:
/// how long service was interrupted, seen from outside.
#[must_use]
pub fn longest_write_gap(history: &[Operation]) -> Duration {
    let mut instants: Vec<u64> = history
        .iter()
        .filter(|operation| matches!(operation.outcome, Outcome::Acked { .. }))
        .filter_map(|operation| operation.returned_us)
        .collect();
    instants.sort_unstable();
    let gap = instants.windows(2).map(|pair| pair[1] - pair[0]).max();
    Duration::from_micros(gap.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(invoked_us: u64, returned_us: u64, revision: u64) -> Operation {
        Operation {
            client: 1,
            tenant: "a".to_owned(),
            scroll: "s".to_owned(),
            action: Action::Append(format!("t{revision}")),
            invoked_us,
            returned_us: Some(returned_us),
            outcome: Outcome::Acked { revision },
            batch: None,
        }
    }

    #[test]
    fn a_saved_history_is_read_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let mut history = vec![acked(0, 5, 1), acked(7, 20, 2)];
        history.push(Operation {
            action: Action::Read,
            outcome: Outcome::Seen {
                revision: Some(2),
                tokens: vec!["t1".into(), "t2".into()],
                applied: Some(9),
            },
            ..acked(30, 40, 0)
        });
        history.push(Operation {
            action: Action::Swap { token: "t4".into(), expected: 2 },
            batch: Some(Batch { id: 7, atomic: true }),
            ..acked(41, 45, 4)
        });
        history.push(Operation {
            action: Action::Delete,
            returned_us: None,
            outcome: Outcome::Unknown { status: None },
            ..acked(50, 0, 0)
        });
        save(&path, &history).unwrap();
        assert_eq!(load(&path).unwrap(), history);
        std::fs::write(&path, "{}\n").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn a_history_of_an_older_harness_is_read() {
        let line = r#"{"client":1,"tenant":"a","scroll":"s","action":"read","invoked_us":1,
            "returned_us":2,"outcome":{"seen":{"revision":null,"tokens":[]}}}"#;
        let read: Operation = serde_json::from_str(line).unwrap();
        let outcome = Outcome::Seen { revision: None, tokens: vec![], applied: None };
        assert_eq!((read.action, read.outcome, read.batch), (Action::Read, outcome, None));
    }

    #[test]
    fn the_gap_is_between_answers_in_order_of_time() {
        let history = [acked(0, 900, 2), acked(0, 100, 1), acked(0, 950, 3)];
        assert_eq!(longest_write_gap(&history), Duration::from_micros(800));
        assert_eq!(longest_write_gap(&history[..1]), Duration::ZERO);
    }
}
