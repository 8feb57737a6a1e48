//! What processes take of the machine, before the faults and after them: what only ever grows
//! shows as a leak (R10).

use std::fmt;
use std::fs;

use crate::verdict::Verdict;

/// What the largest of some processes takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Memory in use, in KiB.
    pub memory_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub files: u64,
}

/// Memory may double, caches filling, and grow by this much beside: 400 MiB.
const MEMORY_MORE_KIB: u64 = 400 << 10;
/// So many threads more may be busy.
const THREADS_MORE: u64 = 32;
/// So many files more may be open: tables of the databases, connections.
const FILES_MORE: u64 = 256;

impl Footprint {
    /// Of these processes; those that are gone count for nothing.
    #[must_use]
    pub fn of(pids: impl IntoIterator<Item = u32>) -> Self {
        let all = pids.into_iter().filter_map(Self::of_one);
        all.fold(Self::default(), |largest, one| Self {
            memory_kib: largest.memory_kib.max(one.memory_kib),
            threads: largest.threads.max(one.threads),
            files: largest.files.max(one.files),
        })
    }

    fn of_one(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        Some(Self { memory_kib: value("VmRSS:")?, threads: value("Threads:")?, files })
    }

    /// What has grown since `before` beyond what work explains.
    #[must_use]
    pub fn leaks_since(&self, before: &Self) -> Vec<String> {
        let grown = [
            ("KiB of memory", before.memory_kib, self.memory_kib, MEMORY_MORE_KIB, 2),
            ("threads", before.threads, self.threads, THREADS_MORE, 1),
            ("open files", before.files, self.files, FILES_MORE, 1),
        ];
        let over = grown
            .into_iter()
            .filter(|(_, before, now, more, factor)| *now > before * factor + more);
        over.map(|(what, before, now, ..)| {
            format!("a leak: {now} {what}, {before} before the faults")
        })
        .collect()
    }

    /// The verdict on R10 with this in it: `before` is of the time before the faults.
    #[must_use]
    pub fn weigh(&self, before: &Self, verdict: Verdict) -> Verdict {
        let leaks = self.leaks_since(before);
        match verdict {
            Verdict::Broken(how) => Verdict::Broken([how, leaks].concat()),
            _ if !leaks.is_empty() => Verdict::Broken(leaks),
            Verdict::Kept(figure) => Verdict::Kept(format!("{figure}; {before}, then {self}")),
            not_shown @ Verdict::NotShown(_) => not_shown,
        }
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_kib, threads, files } = self;
        write!(f, "{} MiB, {threads} threads, {files} files", memory_kib >> 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_footprint() {
        let this = Footprint::of([std::process::id()]);
        assert!(this.memory_kib > 100 && this.threads > 0 && this.files > 0, "{this:?}");
        let _more = std::fs::File::open("/proc/self/status").unwrap();
        assert!(Footprint::of([std::process::id()]).files > this.files);
    }

    #[test]
    fn what_grows_beyond_bounds_is_a_leak() {
        let before = Footprint { memory_kib: 200 << 10, threads: 20, files: 100 };
        let kept = || Verdict::Kept("whole".to_owned());
        assert!(matches!(before.weigh(&before, kept()), Verdict::Kept(_)));
        for after in [
            Footprint { memory_kib: 900 << 10, ..before },
            Footprint { threads: 60, ..before },
            Footprint { files: 400, ..before },
        ] {
            assert_eq!(after.leaks_since(&before).len(), 1, "{after}");
            assert!(matches!(after.weigh(&before, kept()), Verdict::Broken(_)));
        }
    }
}
