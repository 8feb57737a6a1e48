//! Refused connections in the log, each kind once a minute: whoever is refused tries again many
//! times a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two lines of one kind.
const EVERY: Duration = Duration::from_mins(1);
/// Kinds remembered; with so many in a minute, new ones are not written down.
const KINDS_MAX: usize = 256;

/// What was said of late.
#[derive(Debug, Default)]
pub struct Complaints {
    said: Mutex<HashMap<String, Said>>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    /// Times it was held back since.
    more: u64,
}

impl Complaints {
    /// Warns that something is amiss with `whom`, unless the same was said a moment ago.
    pub fn warn(&self, whom: &str, what: &str) {
        match self.due(&format!("{whom}: {what}"), Instant::now()) {
            Some(0) => tracing::warn!("{whom}: {what}"),
            Some(more) => tracing::warn!("{whom}: {what} ({more} times more since last said)"),
            None => {}
        }
    }

    /// Whether to say it now, and how often it was held back before.
    fn due(&self, kind: &str, now: Instant) -> Option<u64> {
        let mut said = self.said.lock();
        if let Some(before) = said.get_mut(kind) {
            if now.duration_since(before.at) < EVERY {
                before.more += 1;
                return None;
            }
            before.at = now;
            return Some(std::mem::take(&mut before.more));
        }
        if said.len() >= KINDS_MAX {
            said.retain(|_, old| now.duration_since(old.at) < EVERY);
        }
        if said.len() >= KINDS_MAX {
            return None;
        }
        said.insert(kind.to_owned(), Said { at: now, more: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute_and_counted() {
        let complaints = Complaints::default();
        let start = Instant::now();
        assert_eq!(complaints.due("a", start), Some(0));
        assert_eq!(complaints.due("a", start + EVERY / 2), None);
        assert_eq!(complaints.due("b", start), Some(0));
        assert_eq!(complaints.due("a", start + EVERY), Some(1));
        assert_eq!(complaints.due("a", start + EVERY * 2), Some(0));
    }

    #[test]
    fn kinds_are_bounded() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let said = (0..1_000).filter(|n| complaints.due(&n.to_string(), start).is_some()).count();
        assert_eq!(said, KINDS_MAX);
        assert_eq!(complaints.due("later", start + EVERY), Some(0));
    }
}
