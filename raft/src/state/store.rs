//! The state database of a node: one database for all groups it has replicas of.
//!
//! Owns the directory (`VERSION`, `db/`, `staging/`), opens it, and makes it durable: flushing is
//! the only way anything but an installed snapshot reaches the disk for good.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use ranch_proto::ids::GroupId;
use ranch_proto::keys;
use ranch_proto::schema::MetricFamily;
use rocksdb::{
    DB, DBPinnableSlice, ErrorKind, FlushOptions, ReadOptions, WriteBatch, WriteOptions,
};

use crate::damage::DamageNote;
use crate::garbage::Collector;
use crate::rocks;
use crate::rocks_metrics::{self, BACKGROUND_ERRORS};
use crate::state::batch::decode_applied;
use crate::state::error::StateError;
use crate::state::options::StateOptions;
use crate::state::progress::Progress;
use crate::state::turn::Turns;
use crate::state::view::walk;

/// Format of everything in the directory.
const VERSION: u32 = 1;
const VERSION_FILE: &str = "VERSION";
const VERSION_LABEL: &str = "ranch-state ";
const DATABASE_DIR: &str = "db";
const STAGING_DIR: &str = "staging";

/// The state database of a node. Machines and readers of its groups share it.
pub struct StateStore {
    db: DB,
    staging: PathBuf,
    unlogged: WriteOptions,
    plain: ReadOptions,
    machines: Mutex<HashMap<GroupId, Weak<Progress>>>,
    turns: Arc<Turns>,
    damage: OnceLock<DamageNote>,
    pub(super) collector: Collector,
    /// Threads that give back the space of removed groups.
    pub(super) reclaiming: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for StateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateStore").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl StateStore {
    /// Opens the state in directory `path`, making it when there is none. Whatever a transfer
    /// that was broken off left behind is removed. Blocks on the disk.
    ///
    /// # Errors
    /// [`StateError::InUse`], [`StateError::Corrupt`], [`StateError::UnknownVersion`], or what the
    /// system or the database said.
    pub fn open(path: impl AsRef<Path>, options: StateOptions) -> Result<Arc<Self>, StateError> {
        let root = path.as_ref();
        fs::create_dir_all(root).map_err(StateError::io("create", root))?;
        let database = root.join(DATABASE_DIR);
        check_version(root, &database)?;
        let db = rocks::open(&options.database(), &database).map_err(|e| classify(root, e))?;
        let staging = root.join(STAGING_DIR);
        clear_staging(&staging)?;
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        Ok(Arc::new(Self {
            db,
            staging,
            unlogged,
            plain: ReadOptions::default(),
            machines: Mutex::default(),
            turns: Arc::default(),
            damage: OnceLock::new(),
            collector: Collector::new(options.blobs()),
            reclaiming: Mutex::default(),
        }))
    }

    /// Writes everything that is only in memory to disk. Blocks on it.
    ///
    /// # Errors
    /// When the disk refuses. The data stays in memory, but nothing more may be purged.
    pub fn flush(&self) -> Result<(), StateError> {
        crash_point("state-before-flush");
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let flushed = self.db.flush_opt(&options).map_err(StateError::engine("flush"));
        flushed.inspect_err(|error| self.note_damage(error))?;
        crash_point("state-after-flush");
        Ok(())
    }

    /// Flushes, and then publishes for every open machine that what it had applied before is on
    /// disk. Blocks on it.
    ///
    /// # Errors
    /// As [`StateStore::flush`]; nothing is published then.
    pub fn flush_and_publish(&self) -> Result<(), StateError> {
        // Captured first: what is applied while the flush runs may miss it.
        let captured: Vec<_> =
            self.open_machines().into_iter().map(|m| (m.applied_meta(), m)).collect();
        self.flush()?;
        for (meta, machine) in captured {
            machine.set_durable(meta);
        }
        Ok(())
    }

    /// How far the machine of `group` is, while one is open.
    pub fn progress(&self, group: GroupId) -> Option<Arc<Progress>> {
        self.machines.lock().get(&group).and_then(Weak::upgrade)
    }

    /// Removes all state of `group`, for good when this returns; [`StateStore::reclaim`] has the
    /// disk space given back. No machine of the group may be open. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove_group(&self, group: GroupId) -> Result<(), StateError> {
        let (low, high) = keys::shard_bounds(group);
        let mut batch = WriteBatch::default();
        batch.delete_range(low, high);
        self.write(batch)?;
        self.machines.lock().remove(&group);
        self.flush()
    }

    /// Bytes of memory the database holds in write buffers, cached blocks and open tables.
    pub fn memory_bytes(&self) -> u64 {
        let properties = [
            "rocksdb.cur-size-all-mem-tables",
            "rocksdb.block-cache-usage",
            "rocksdb.estimate-table-readers-mem",
        ];
        let read = |name: &&str| self.db.property_int_value(*name).ok().flatten();
        properties.iter().filter_map(read).sum()
    }

    /// From now on, notes damage there.
    pub fn note_damage_in(&self, note: DamageNote) {
        // Called once, by the node's start.
        let _ = self.damage.set(note);
    }

    /// Notes for the next start what cannot be read here, if it is lost.
    pub(crate) fn note_damage(&self, error: &StateError) {
        if let (Some(loss), Some(note)) = (error.loss(), self.damage.get()) {
            tracing::error!(%error, "the state is damaged");
            note.note(loss);
        }
    }

    /// Index of the last entry whose effects on `group` are stored.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn applied_index(&self, group: GroupId) -> Result<u64, StateError> {
        let Some(row) = self.get(&keys::applied(group))? else { return Ok(0) };
        Ok(decode_applied(&row)?.last_log_id.map_or(0, |id| id.index))
    }

    /// Failures of flushes and merges since the database was opened.
    pub fn background_errors(&self) -> u64 {
        self.db.property_int_value(BACKGROUND_ERRORS).ok().flatten().unwrap_or(0)
    }

    /// Reads everything there is, and notes what cannot be read. Blocks on the disk for long.
    ///
    /// # Errors
    /// As the first row that cannot be read.
    pub fn verify(&self) -> Result<(), StateError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let read = walk(self.db.raw_iterator_opt(options), |_, _| Ok(true));
        read.inspect_err(|error| self.note_damage(error))
    }

    /// What the database says of itself.
    pub fn metrics(&self) -> Vec<MetricFamily> {
        rocks_metrics::families("state", &self.db)
    }

    pub(crate) fn register(&self, progress: &Arc<Progress>) {
        self.machines.lock().insert(progress.group(), Arc::downgrade(progress));
    }

    fn open_machines(&self) -> Vec<Arc<Progress>> {
        self.machines.lock().values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn db(&self) -> &DB {
        &self.db
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StateError> {
        self.db.get_pinned_opt(key, &self.plain).map_err(StateError::engine("read a row"))
    }

    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), StateError> {
        self.db.write_opt(batch, &self.unlogged).map_err(StateError::engine("write"))
    }

    /// Options to iterate over exactly the keys of `bounds`.
    pub(crate) fn range((low, high): keys::Bounds) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(low);
        options.set_iterate_upper_bound(high);
        options
    }

    /// Calls `visit` with every row of `bounds`, in order, until it returns false.
    pub(crate) fn for_each(
        &self,
        bounds: keys::Bounds,
        visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        walk(self.db.raw_iterator_opt(Self::range(bounds)), visit)
    }

    /// Where large commands take turns.
    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// Where snapshots of `group` are staged.
    pub(crate) fn staging_dir(&self, group: GroupId) -> PathBuf {
        self.staging.join(group.to_string())
    }
}

/// Aborts here when a test has armed `name` with the action `return`; otherwise costs nothing.
pub(crate) fn crash_point(name: &'static str) {
    // Used by the macro only when failpoints are compiled in.
    let _ = name;
    fail::fail_point!(name, |_| std::process::abort());
}

/// Makes a rename, creation or removal in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StateError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(StateError::io("sync", dir))
}

fn check_version(root: &Path, database: &Path) -> Result<(), StateError> {
    let file = root.join(VERSION_FILE);
    match fs::read_to_string(&file) {
        Ok(text) if text.trim_end() == format!("{VERSION_LABEL}{VERSION}") => Ok(()),
        Ok(text) => {
            let path = root.to_owned();
            let found = text.trim_end().strip_prefix(VERSION_LABEL);
            let found = found.filter(|found| found.parse::<u32>().is_ok());
            Err(match found.map(str::to_owned) {
                Some(found) => StateError::UnknownVersion { path, found, known: VERSION },
                None => {
                    StateError::Corrupt { path, detail: format!("its {VERSION_FILE} file is none") }
                }
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            let detail = format!("its {VERSION_FILE} file is no text");
            Err(StateError::Corrupt { path: root.to_owned(), detail })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if database.exists() {
                let detail = format!("there is a database but no {VERSION_FILE} file");
                return Err(StateError::Corrupt { path: root.to_owned(), detail });
            }
            write_version(root, &file)
        }
        Err(error) => Err(StateError::io("read", file)(error)),
    }
}

fn write_version(root: &Path, file: &Path) -> Result<(), StateError> {
    let unfinished = root.join("VERSION.new");
    let written = File::create(&unfinished).and_then(|mut out| {
        writeln!(out, "{VERSION_LABEL}{VERSION}")?;
        out.sync_all()
    });
    written.map_err(StateError::io("write", &unfinished))?;
    fs::rename(&unfinished, file).map_err(StateError::io("write", file))?;
    sync_dir(root)
}

fn clear_staging(staging: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StateError::io("remove", staging)(error));
        }
        _ => {}
    }
    fs::create_dir_all(staging).map_err(StateError::io("create", staging))
}

/// Tells apart the ways opening fails that an operator can do something about.
fn classify(root: &Path, error: rocksdb::Error) -> StateError {
    let path = root.to_owned();
    let detail = error.to_string();
    let says = |text: &str| detail.contains(text);
    match error.kind() {
        ErrorKind::IOError if says("lock hold by") || says("While lock file") => {
            StateError::InUse { path }
        }
        ErrorKind::IOError if says("No such file") => StateError::Corrupt { path, detail },
        ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotFound => {
            StateError::Corrupt { path, detail }
        }
        _ => StateError::Engine { action: "open", source: error },
    }
}
