//! Which replicas of shards live in a data directory, and which have lived there: a small file
//! beside the databases, replaced atomically.
//!
//! What must hold: a replica is listed, durably, before anything of it is stored, and a replica
//! that was destroyed is listed as gone before anything of it is deleted. So whatever is found in
//! the databases after a crash is known to be of one replica, and no replica returns. The
//! directory of the ranch cannot say this: it may be older than the databases beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use ranch_proto::{GroupId, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::identity::replace_file;

const FILE: &str = "replicas.toml";
const VERSION: u32 = 1;

/// A replica that lives here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) replica: ReplicaId,
    /// The directory's epoch that called for it. An older directory says nothing about it.
    pub(crate) epoch: u64,
}

/// What is known of one group here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    resident: Option<Resident>,
    /// The last replica destroyed here; it and those before it never return.
    gone: Option<ReplicaId>,
}

/// The list, and where it is kept.
#[derive(Debug)]
pub(crate) struct Roster {
    path: PathBuf,
    entries: Mutex<BTreeMap<GroupId, Entry>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    #[serde(default, rename = "shard")]
    shards: Vec<StoredEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEntry {
    id: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    replica: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    epoch: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    gone: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Roster {
    /// Reads the list in `dir`; an empty one where there is none yet.
    pub(crate) fn open(dir: &Path) -> Result<Self, NodeError> {
        let path = dir.join(FILE);
        let entries = if path.exists() { read(&path)? } else { BTreeMap::new() };
        Ok(Self { path, entries: Mutex::new(entries) })
    }

    /// The replica of a group that lives here.
    pub(crate) fn resident(&self, group: GroupId) -> Option<Resident> {
        self.entries.lock().get(&group)?.resident
    }

    /// Groups with a replica that was being destroyed when the process ended.
    pub(crate) fn doomed(&self) -> Vec<GroupId> {
        let entries = self.entries.lock();
        let doomed = entries.iter().filter(|(_, entry)| {
            entry.resident.is_some_and(|resident| Some(resident.replica) <= entry.gone)
        });
        doomed.map(|(group, _)| *group).collect()
    }

    /// Whether a replica was destroyed here, or came before one that was.
    pub(crate) fn is_gone(&self, group: GroupId, replica: ReplicaId) -> bool {
        self.entries.lock().get(&group).is_some_and(|entry| Some(replica) <= entry.gone)
    }

    /// Lists a replica that is about to be opened.
    pub(crate) fn admit(&self, group: GroupId, resident: Resident) -> Result<(), NodeError> {
        self.change(group, |entry| entry.resident = Some(resident))
    }

    /// Lists a replica as gone, before it is deleted.
    pub(crate) fn doom(&self, group: GroupId, replica: ReplicaId) -> Result<(), NodeError> {
        self.change(group, |entry| entry.gone = entry.gone.max(Some(replica)))
    }

    /// Takes note that nothing of the group is stored here any more.
    pub(crate) fn forget(&self, group: GroupId) -> Result<(), NodeError> {
        self.change(group, |entry| entry.resident = None)
    }

    fn change(&self, group: GroupId, change: impl FnOnce(&mut Entry)) -> Result<(), NodeError> {
        let mut entries = self.entries.lock();
        let mut changed = entries.clone();
        change(changed.entry(group).or_default());
        replace_file(&self.path, text(&changed).as_bytes())?;
        *entries = changed;
        Ok(())
    }
}

fn read(path: &Path) -> Result<BTreeMap<GroupId, Entry>, NodeError> {
    let damaged = |detail: String| NodeError::Identity { path: path.to_owned(), detail };
    let bytes = fs::read(path).map_err(|source| NodeError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let parsed = toml::from_slice::<Stored>(&bytes);
    let stored = parsed.map_err(|error| damaged(error.message().to_owned()))?;
    if stored.version != VERSION {
        let found = stored.version;
        let path = path.to_owned();
        return Err(NodeError::IdentityVersion { path, found, known: VERSION });
    }
    let entries = stored.shards.into_iter().map(|entry| {
        let replica = |id: u64| (id != 0).then_some(ReplicaId(id));
        let epoch = entry.epoch;
        let resident = replica(entry.replica).map(|replica| Resident { replica, epoch });
        (GroupId(entry.id), Entry { resident, gone: replica(entry.gone) })
    });
    Ok(entries.collect())
}

fn text(entries: &BTreeMap<GroupId, Entry>) -> String {
    let shards = entries.iter().map(|(group, entry)| StoredEntry {
        id: group.0,
        replica: entry.resident.map_or(0, |resident| resident.replica.0),
        epoch: entry.resident.map_or(0, |resident| resident.epoch),
        gone: entry.gone.map_or(0, |replica| replica.0),
    });
    // A struct of numbers always has a TOML form.
    toml::to_string(&Stored { version: VERSION, shards: shards.collect() }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ranch_proto::NodeId;

    const GROUP: GroupId = GroupId(3);

    fn replica(number: u32) -> ReplicaId {
        ReplicaId::new(NodeId(2), number)
    }

    #[test]
    fn replicas_are_admitted_doomed_and_forgotten_and_that_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let resident = Resident { replica: replica(5), epoch: 17 };
        let roster = Roster::open(dir.path()).unwrap();
        assert_eq!(roster.resident(GROUP), None);
        roster.admit(GROUP, resident).unwrap();
        let roster = Roster::open(dir.path()).unwrap();
        assert_eq!(roster.resident(GROUP), Some(resident));
        assert!(roster.doomed().is_empty() && !roster.is_gone(GROUP, replica(5)));
        roster.doom(GROUP, replica(5)).unwrap();
        let roster = Roster::open(dir.path()).unwrap();
        assert_eq!(roster.doomed(), [GROUP]);
        roster.forget(GROUP).unwrap();
        let roster = Roster::open(dir.path()).unwrap();
        assert!(roster.doomed().is_empty() && roster.resident(GROUP).is_none());
        assert!(roster.is_gone(GROUP, replica(4)) && roster.is_gone(GROUP, replica(5)));
        assert!(!roster.is_gone(GROUP, replica(6)) && !roster.is_gone(GroupId(1), replica(5)));
        roster.admit(GROUP, Resident { replica: replica(6), epoch: 20 }).unwrap();
        assert!(roster.doomed().is_empty());
    }

    #[test]
    fn the_file_is_the_one_that_was_always_written() {
        let dir = tempfile::tempdir().unwrap();
        let roster = Roster::open(dir.path()).unwrap();
        roster.doom(GROUP, ReplicaId(7)).unwrap();
        roster.admit(GROUP, Resident { replica: ReplicaId(9), epoch: 4 }).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(text, "version = 1\n\n[[shard]]\nid = 3\nreplica = 9\nepoch = 4\ngone = 7\n");
        for damage in ["", "version = 1\nshard = 3\n"] {
            fs::write(dir.path().join(FILE), damage).unwrap();
            let error = Roster::open(dir.path()).unwrap_err();
            assert!(matches!(error, NodeError::Identity { .. }), "{damage}");
        }
        fs::write(dir.path().join(FILE), "version = 2\n").unwrap();
        let error = Roster::open(dir.path()).unwrap_err();
        assert!(matches!(error, NodeError::IdentityVersion { found: 2, .. }), "{error}");
    }
}
