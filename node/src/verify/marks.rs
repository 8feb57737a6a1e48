//! Which replicas here are known to differ from most others. Kept in a file, so that a node that is
//! started anew before it could give up such a copy does not serve from it meanwhile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use ranch_proto::{GroupId, ReplicaId};

use crate::identity::replace_file;

const FILE: &str = "differing.txt";
const HEAD: &str = "ranch-differing 1";

/// The replicas of a data directory that differ, by their groups.
pub(crate) struct Marks {
    path: PathBuf,
    odd: Mutex<BTreeMap<GroupId, ReplicaId>>,
    /// Whether there ever was one, which every request looks at.
    any: AtomicBool,
}

impl Marks {
    /// Those noted in `dir`. A file that cannot be read is as good as none: the next comparison
    /// finds the same.
    pub(crate) fn open(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let odd = fs::read_to_string(&path).ok().and_then(|text| parse(&text)).unwrap_or_default();
        let any = AtomicBool::new(!odd.is_empty());
        Self { path, odd: Mutex::new(odd), any }
    }

    /// Whether the replica of a group here is one of them.
    pub(crate) fn contains(&self, group: GroupId) -> bool {
        self.any.load(Relaxed) && self.odd.lock().contains_key(&group)
    }

    /// Adds one; whether it is news. Blocks on the disk then.
    pub(crate) fn insert(&self, group: GroupId, replica: ReplicaId) -> bool {
        let mut odd = self.odd.lock();
        let before = odd.insert(group, replica);
        self.any.store(true, Relaxed);
        if before != Some(replica) {
            self.save(&odd);
        }
        before != Some(replica)
    }

    /// Drops those for which `is_another` says that another replica is in their place. Gives the
    /// rest.
    pub(crate) fn drop_replaced(
        &self,
        is_another: impl Fn(GroupId, ReplicaId) -> bool,
    ) -> Vec<GroupId> {
        if !self.any.load(Relaxed) {
            return Vec::new();
        }
        let mut odd = self.odd.lock();
        let before = odd.len();
        odd.retain(|group, replica| !is_another(*group, *replica));
        if odd.len() != before {
            self.save(&odd);
        }
        odd.keys().copied().collect()
    }

    fn save(&self, odd: &BTreeMap<GroupId, ReplicaId>) {
        let mut text = format!("{HEAD}\n");
        for (group, replica) in odd {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {}", group.0, replica.0);
        }
        if let Err(error) = replace_file(&self.path, text.as_bytes()) {
            tracing::warn!(%error, "which copies differ is not known after a restart");
        }
    }
}

fn parse(text: &str) -> Option<BTreeMap<GroupId, ReplicaId>> {
    let mut lines = text.lines();
    if lines.next()? != HEAD {
        return None;
    }
    let row = |line: &str| {
        let (group, replica) = line.split_once(' ')?;
        Some((GroupId(group.parse().ok()?), ReplicaId(replica.parse().ok()?)))
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: GroupId = GroupId(1);
    const TWO: GroupId = GroupId(2);

    #[test]
    fn what_differs_is_known_after_a_restart_until_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let marks = Marks::open(dir.path());
        assert!(!marks.contains(ONE));
        assert!(marks.insert(ONE, ReplicaId(7)) && marks.insert(TWO, ReplicaId(8)));
        assert!(!marks.insert(ONE, ReplicaId(7)), "no news");
        let marks = Marks::open(dir.path());
        assert!(marks.contains(ONE) && marks.contains(TWO));
        assert_eq!(
            marks.drop_replaced(|group, replica| (group, replica) == (ONE, ReplicaId(7))),
            [TWO]
        );
        let marks = Marks::open(dir.path());
        assert!(!marks.contains(ONE) && marks.contains(TWO));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "ranch-differing 2\n1 7\n", "ranch-differing 1\n1 x\n", "\0"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(!Marks::open(dir.path()).contains(ONE), "{text:?}");
        }
    }
}
