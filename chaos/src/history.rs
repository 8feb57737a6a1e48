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
}

/// What a client may ask. A scroll's text is a line a token.
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
}

impl Action {
    /// The token a write or append carries.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Write(token) | Self::Append(token) => Some(token),
            Self::Read | Self::Delete => None,
        }
    }

    /// Whether it changes the scroll.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Read)
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
        /// The scroll's revision; absent when there was no scroll.
        revision: Option<u64>,
        /// The lines of the scroll.
        tokens: Vec<String>,
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
        }
    }

    #[test]
    fn a_saved_history_is_read_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let mut history = vec![acked(0, 5, 1), acked(7, 20, 2)];
        history.push(Operation {
            action: Action::Read,
            outcome: Outcome::Seen { revision: Some(2), tokens: vec!["t1".into(), "t2".into()] },
            ..acked(30, 40, 0)
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
    fn the_gap_is_between_answers_in_order_of_time() {
        let history = [acked(0, 900, 2), acked(0, 100, 1), acked(0, 950, 3)];
        assert_eq!(longest_write_gap(&history), Duration::from_micros(800));
        assert_eq!(longest_write_gap(&history[..1]), Duration::ZERO);
    }
}
