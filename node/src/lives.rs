//! How far the other nodes have said that their logs are on disk. A node that comes back with
//! less has been rolled back, by a restored backup for one: it has forgotten votes and entries it
//! answered for, and must not take part under its old name. It cannot know; the others do.
//!
//! Kept in a file that is not synced: what the system has not written when a machine dies are the
//! last seconds, and a backup is older than that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use ranch_proto::schema::Tidings;
use ranch_proto::{NodeId, hex};

const FILE: &str = "peers.txt";
const HEAD: &str = "ranch-peers 1";

/// What is remembered.
pub(crate) struct Lives {
    path: PathBuf,
    memory: Mutex<Memory>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Memory {
    /// By node: its incarnation, and the farthest end of its log in it.
    ends: BTreeMap<NodeId, (u32, u64)>,
    unsaved: bool,
}

impl Lives {
    /// What was remembered in `dir` of this ranch. A file that cannot be read is as good as none.
    pub(crate) fn open(dir: &Path, cluster_id: &[u8]) -> Self {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let ends = parse(&text, cluster_id).unwrap_or_default();
        Self { path, memory: Mutex::new(Memory { ends, unsaved: false }) }
    }

    /// Takes in what a node says of its log. Returns how far it had said to be before, in the
    /// life it speaks for: the greatest number there is when that one is over.
    pub(crate) fn learn(&self, tidings: &Tidings) -> u64 {
        let (life, end) = (tidings.incarnation, tidings.log_end);
        if life == 0 {
            return 0;
        }
        let mut memory = self.memory.lock();
        let known = memory.ends.entry(NodeId(tidings.node)).or_default();
        let before = match known.0.cmp(&life) {
            std::cmp::Ordering::Greater => return u64::MAX,
            std::cmp::Ordering::Equal => known.1,
            std::cmp::Ordering::Less => 0,
        };
        if before < end || known.0 < life {
            *known = (life, end);
            memory.unsaved = true;
        }
        before
    }

    /// Writes down what is new. Blocks on the disk.
    pub(crate) fn save(&self, cluster_id: &[u8]) -> io::Result<()> {
        let text = {
            let mut memory = self.memory.lock();
            if !std::mem::take(&mut memory.unsaved) {
                return Ok(());
            }
            render(&memory.ends, cluster_id)
        };
        let draft = self.path.with_extension("new");
        fs::write(&draft, text)?;
        fs::rename(&draft, &self.path)
    }
}

fn render(ends: &BTreeMap<NodeId, (u32, u64)>, cluster_id: &[u8]) -> String {
    let mut text = format!("{HEAD} {}\n", hex::encode(cluster_id));
    for (node, (life, end)) in ends {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {life} {end}", node.0);
    }
    text
}

fn parse(text: &str, cluster_id: &[u8]) -> Option<BTreeMap<NodeId, (u32, u64)>> {
    let mut lines = text.lines();
    if lines.next()? != format!("{HEAD} {}", hex::encode(cluster_id)) {
        return None;
    }
    let row = |line: &str| {
        let mut words = line.split(' ');
        let node = NodeId(words.next()?.parse().ok()?);
        Some((node, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidings(node: u32, incarnation: u32, log_end: u64) -> Tidings {
        Tidings { node, incarnation, log_end, ..Tidings::default() }
    }

    #[test]
    fn a_log_that_went_back_is_noticed_and_a_new_life_is_not() {
        let dir = std::env::temp_dir().join(format!("ranch-lives-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let lives = Lives::open(&dir, b"a ranch");
        assert_eq!(lives.learn(&tidings(2, 1, 50)), 0);
        assert_eq!(lives.learn(&tidings(2, 1, 70)), 50);
        assert_eq!(lives.learn(&tidings(2, 1, 60)), 70, "it went back");
        assert_eq!(lives.learn(&tidings(2, 1, 70)), 70, "and that is not forgotten");
        lives.save(b"a ranch").unwrap();
        let lives = Lives::open(&dir, b"a ranch");
        assert_eq!(lives.learn(&tidings(2, 1, 71)), 70);
        assert_eq!(lives.learn(&tidings(2, 2, 3)), 0, "a new life begins anew");
        assert_eq!(lives.learn(&tidings(2, 1, 99)), u64::MAX, "an old one is over");
        assert_eq!(lives.learn(&tidings(3, 0, 0)), 0, "one without a place says nothing");
        lives.save(b"a ranch").unwrap();
        assert_eq!(Lives::open(&dir, b"another").learn(&tidings(2, 1, 1)), 0);
        fs::write(dir.join(FILE), "ranch-peers 1 \n2 x").unwrap();
        assert_eq!(Lives::open(&dir, b"").learn(&tidings(2, 1, 1)), 0);
        fs::remove_dir_all(dir).unwrap();
    }
}
