//! A replica of one group on a directory of its own, and short ways to say commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use prost::Message;
use ranch_proto::coordinate::Coordinate;
use ranch_proto::ids::GroupId;
use ranch_proto::schema::{
    Command, CommandResult, Op, OpResult, OpStatus, ShardEntry, SnapshotEnd, op::Kind,
};
use ranch_proto::stage::Cut;
use ranch_proto::versions::FORMATS;
use ranch_raft::state::{
    ShardReader, SnapshotPiece, SnapshotSource, StateMachine, StateOptions, StateStore,
};
use ranch_raft::types::{Applied, Entry, LogId, Proposal, TypeConfig};

pub const GROUP: GroupId = GroupId(3);
pub const TENANT: &str = "will";
pub const PHEXT: &str = "index";

/// A directory for durability tests, which must not be on a disk made of memory.
pub fn real_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub fn options() -> StateOptions {
    StateOptions {
        block_cache_bytes: 1 << 20,
        write_buffer_bytes: 1 << 20,
        merge_files: false,
        ..StateOptions::default()
    }
}

pub fn log_id(index: u64) -> LogId {
    let leader = openraft::alias::LeaderIdOf::<TypeConfig>::new(1, 1 << 32 | 1);
    LogId { leader_id: leader, index }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A shard's machine with its store, fed with entries from index 0 on.
pub struct Replica {
    dir: tempfile::TempDir,
    options: StateOptions,
    open: Option<Open>,
    pub next: u64,
}

struct Open {
    store: Arc<StateStore>,
    machine: StateMachine,
    reader: ShardReader,
}

impl Replica {
    pub fn new() -> Self {
        Self::with(options())
    }

    pub fn with(options: StateOptions) -> Self {
        let dir = real_disk();
        let open = Some(open(dir.path(), options));
        Self { dir, options, open, next: 0 }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn store(&self) -> &Arc<StateStore> {
        &self.open.as_ref().unwrap().store
    }

    pub fn machine(&mut self) -> &mut StateMachine {
        &mut self.open.as_mut().unwrap().machine
    }

    pub fn reader(&self) -> &ShardReader {
        &self.open.as_ref().unwrap().reader
    }

    /// Applies entries as one batch and returns each one's answers.
    pub fn apply(&mut self, entries: &[ShardEntry]) -> Vec<Vec<CommandResult>> {
        let first = self.next;
        self.next += entries.len() as u64;
        let entries = entries.iter().zip(first..).map(|(entry, index)| normal(index, entry));
        let applied = self.machine().replay(entries.collect::<Vec<_>>()).unwrap();
        let answers = applied.into_iter().map(|applied| match applied {
            Applied::Commands(results) => results,
            other => panic!("not answers of a shard: {other}"),
        });
        answers.collect()
    }

    /// Applies one command in an entry of its own.
    pub fn run(&mut self, stamp_ms: u64, command: Command) -> CommandResult {
        self.apply(&[entry(stamp_ms, vec![command])]).remove(0).remove(0)
    }

    /// Applies one op in a command of its own.
    pub fn op(&mut self, op: Op) -> OpResult {
        let stamp_ms = 1_000 + self.next;
        self.run(stamp_ms, command(vec![op])).results.remove(0)
    }

    /// The text at a coordinate of [`PHEXT`].
    pub fn text(&self, coordinate: &str) -> Option<String> {
        let found = self.reader().get(TENANT, PHEXT, &key(coordinate)).unwrap();
        found.map(|(_, text)| String::from_utf8(text.to_vec()).unwrap())
    }

    /// Closes in order and opens again; nothing is lost.
    pub fn reopen(&mut self) {
        self.open = None;
        self.open = Some(open(self.dir.path(), self.options));
        assert_eq!(self.applied_next(), self.next);
    }

    /// Goes on from what is on disk, as after a crash; returns the index of the next entry.
    pub fn crash(&mut self) -> u64 {
        let image = self.image();
        self.open = None;
        self.dir = image;
        self.open = Some(open(self.dir.path(), self.options));
        self.next = self.applied_next();
        self.next
    }

    /// The files as they are at one moment: the database merges and removes some meanwhile, so they
    /// are copied until nothing changes.
    pub fn image(&self) -> tempfile::TempDir {
        loop {
            let (image, before) = (real_disk(), listing(self.dir.path()));
            if copy_dir(self.dir.path(), image.path()).is_ok() && listing(self.dir.path()) == before
            {
                return image;
            }
        }
    }

    fn applied_next(&mut self) -> u64 {
        let state = openraft::storage::RaftStateMachine::applied_state(self.machine());
        block_on(state).unwrap().0.map_or(0, |id| id.index + 1)
    }

    /// Number and checksum of all rows.
    pub fn rows(&self) -> SnapshotEnd {
        rows(self.store(), GROUP)
    }
}

fn open(path: &Path, options: StateOptions) -> Open {
    let store = StateStore::open(path, options).unwrap();
    let (machine, reader) = StateMachine::shard(&store, GROUP).unwrap();
    Open { store, machine, reader }
}

pub fn rows(store: &Arc<StateStore>, group: GroupId) -> SnapshotEnd {
    block_on(async {
        let mut source = SnapshotSource::open(store, group).await.unwrap();
        loop {
            if let SnapshotPiece::End(end) = source.next().await.unwrap() {
                return end;
            }
        }
    })
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// All files below a directory with their lengths. One that goes meanwhile has none.
fn listing(dir: &Path) -> BTreeMap<PathBuf, Option<u64>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let about = entry.metadata().ok();
        if about.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            found.extend(listing(&entry.path()));
        } else {
            found.insert(entry.path(), about.map(|about| about.len()));
        }
    }
    found
}

pub fn normal(index: u64, entry: &ShardEntry) -> Entry {
    let payload = EntryPayload::Normal(Proposal(entry.encode_to_vec().into()));
    Entry { log_id: log_id(index), payload }
}

pub fn entry(stamp_ms: u64, commands: Vec<Command>) -> ShardEntry {
    ShardEntry { version: FORMATS.max, stamp_ms, commands }
}

pub fn command(ops: Vec<Op>) -> Command {
    Command {
        request_id: ranch_proto::RequestId::random().0.to_vec().into(),
        tenant: TENANT.into(),
        ops,
        ..Command::default()
    }
}

/// The commands that bring a command in parts; the last one carries it out.
pub fn in_parts(command: &Command) -> Vec<Command> {
    let cut = Cut::new(command.clone());
    let parts = (0..cut.parts()).map(|part| cut.part(part));
    let (quota_bytes, scroll_max_bytes) = (command.quota_bytes, command.scroll_max_bytes);
    let commit = Command { quota_bytes, scroll_max_bytes, ..cut.commit() };
    parts.chain([commit]).collect()
}

pub fn key(coordinate: &str) -> Vec<u8> {
    Coordinate::parse(coordinate).unwrap().to_key()
}

fn op(kind: Kind, coordinate: &str, text: &str) -> Op {
    Op {
        kind: kind.into(),
        phext: PHEXT.into(),
        coordinate: key(coordinate).into(),
        text: text.to_owned().into(),
        ..Op::default()
    }
}

pub fn write(coordinate: &str, text: &str) -> Op {
    op(Kind::Write, coordinate, text)
}

pub fn append(coordinate: &str, text: &str) -> Op {
    op(Kind::Append, coordinate, text)
}

pub fn delete(coordinate: &str) -> Op {
    op(Kind::Delete, coordinate, "")
}

pub fn read(coordinate: &str) -> Op {
    op(Kind::Read, coordinate, "")
}

pub fn at_revision(revision: u64, op: Op) -> Op {
    Op { if_revision: Some(revision), ..op }
}

pub fn ok(revision: u64, bytes: u64) -> OpResult {
    OpResult { status: OpStatus::OpOk.into(), revision, bytes, text: None }
}

pub fn ok_text(revision: u64, text: &str) -> OpResult {
    OpResult { text: Some(text.to_owned().into()), ..ok(revision, text.len() as u64) }
}

pub fn refused(status: OpStatus, revision: u64) -> OpResult {
    OpResult { status: status.into(), revision, bytes: 0, text: None }
}
