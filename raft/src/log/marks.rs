//! How large a log is, about: which of its entries must go for the rest to have so many bytes.
//!
//! Of each MiB one index is noted. What was in the log when it was opened is not counted.

use std::collections::VecDeque;

/// Bytes of entries between two marks, at least.
const MARK_BYTES: u64 = 1 << 20;

/// An entry, and the bytes that were counted before it.
#[derive(Debug)]
struct Mark {
    index: u64,
    before: u64,
}

/// The marks of a log.
#[derive(Debug, Default)]
pub(super) struct Marks {
    counted: u64,
    marks: VecDeque<Mark>,
}

impl Marks {
    /// Counts the next entry.
    pub(super) fn append(&mut self, index: u64, bytes: usize) {
        if self.marks.back().is_none_or(|last| self.counted - last.before >= MARK_BYTES) {
            self.marks.push_back(Mark { index, before: self.counted });
        }
        self.counted += bytes as u64;
    }

    /// Forgets the entries from `end` on.
    pub(super) fn truncate(&mut self, end: u64) {
        while let Some(gone) = self.marks.pop_back_if(|mark| mark.index >= end) {
            self.counted = gone.before;
        }
    }

    /// Forgets the entries up to `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.marks.pop_front_if(|mark| mark.index <= upto).is_some() {}
    }

    /// The last of the entries that must go for the rest to have at most `bytes`, give or take
    /// what is between two marks; `None` when there are no more.
    pub(super) fn surplus(&self, bytes: u64) -> Option<u64> {
        let kept = self.marks.partition_point(|mark| self.counted - mark.before > bytes);
        let first = if kept == 0 { None } else { self.marks.get(kept).or(self.marks.back()) };
        first.and_then(|mark| mark.index.checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;
    const MIB: u64 = 1 << 20;

    /// A log of entries of a quarter MiB each, from index 1 on.
    fn log_of(entries: u64) -> Marks {
        let mut marks = Marks::default();
        (1..=entries).for_each(|index| marks.append(index, 256 * KIB));
        marks
    }

    #[test]
    fn what_is_over_is_named_by_its_last_entry() {
        let marks = log_of(40);
        assert_eq!(marks.surplus(10 * MIB), None);
        assert_eq!(marks.surplus(9 * MIB), Some(4));
        assert_eq!(marks.surplus(9 * MIB - 1), Some(8));
        assert_eq!(marks.surplus(MIB), Some(36));
        assert_eq!(marks.surplus(0), Some(36), "the last mark stays");
        assert_eq!(Marks::default().surplus(0), None);
    }

    #[test]
    fn what_is_purged_or_truncated_does_not_count() {
        let mut marks = log_of(40);
        marks.purge(18);
        assert_eq!((marks.surplus(5 * MIB), marks.surplus(4 * MIB)), (None, Some(24)));
        marks.truncate(33);
        assert_eq!((marks.surplus(3 * MIB), marks.surplus(2 * MIB)), (None, Some(24)));
        marks.append(33, 256 * KIB);
        assert_eq!(marks.surplus(2 * MIB), Some(28));
        marks.truncate(1);
        assert_eq!(marks.surplus(0), None);
        marks.append(1, 2 << 20);
        marks.append(2, KIB);
        assert_eq!(marks.surplus(MIB), Some(1));
    }

    #[test]
    fn small_entries_share_a_mark() {
        let mut marks = Marks::default();
        (1..=10_000).for_each(|index| marks.append(index, KIB));
        assert_eq!(marks.marks.len(), 10);
        assert_eq!(marks.surplus(5 * MIB), Some(5 * 1024));
    }
}
