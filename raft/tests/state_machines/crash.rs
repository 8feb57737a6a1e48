//! Death at every step that touches the disk, in a process of its own: reopened, the state is the
//! old one or the new one.

use std::path::Path;
use std::process::{Command as Process, ExitStatus};

use openraft::storage::RaftStateMachine;
use ranch_proto::schema::SnapshotEnd;
use ranch_raft::state::{
    SnapshotPiece, SnapshotSource, SnapshotStage, StateError, StateMachine, StateStore,
};

use crate::support::*;

const ROLE: &str = "RANCH_STATE_TEST_ROLE";
const PLACE: &str = "RANCH_STATE_TEST_PLACE";
const POINT: &str = "RANCH_STATE_TEST_POINT";

const SOURCE: &str = "source";
const TARGET: &str = "target";

/// Runs `child` below in another process, which aborts at `point`.
fn die_at(point: &str, role: &str, place: &Path) -> ExitStatus {
    let mut process = Process::new(std::env::current_exe().unwrap());
    process.args(["--exact", "crash::child", "--ignored", "--nocapture"]);
    process.env(ROLE, role).env(PLACE, place).env(POINT, point);
    process.output().unwrap().status
}

fn died(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    // SIGABRT
    status.signal() == Some(6)
}

#[test]
#[ignore = "run by the tests of this file, in a process that dies"]
fn child() {
    let place = std::env::var_os(PLACE).unwrap();
    let place = Path::new(&place);
    fail::cfg(std::env::var(POINT).unwrap(), "return").unwrap();
    match std::env::var(ROLE).unwrap().as_str() {
        "install" => install(place),
        "apply" => apply(place),
        other => panic!("no such role: {other}"),
    }
}

fn fill(path: &Path, library: u32, scrolls: u32) -> SnapshotEnd {
    let store = StateStore::open(path, options()).unwrap();
    let (mut machine, _) = StateMachine::shard(&store, GROUP).unwrap();
    for n in 1..=scrolls {
        let text = format!("{library} {n} ").repeat(400);
        let op = write(&format!("{library}.1.{n}/1.1.1/1.1.1"), &text);
        let entry = entry(n.into(), vec![command(vec![op])]);
        machine.replay([normal(u64::from(n) - 1, &entry)]).unwrap();
    }
    rows(&store, GROUP)
}

fn install(place: &Path) {
    let source = StateStore::open(place.join(SOURCE), options()).unwrap();
    let target = StateStore::open(place.join(TARGET), options()).unwrap();
    let (mut machine, _) = StateMachine::shard(&target, GROUP).unwrap();
    block_on(async {
        let mut reading = SnapshotSource::open(&source, GROUP).await.unwrap();
        let meta = reading.meta().clone();
        let mut stage = SnapshotStage::begin(&target, GROUP, meta.clone()).unwrap();
        loop {
            match reading.next().await.unwrap() {
                SnapshotPiece::Chunk(chunk) => stage.push(&chunk).unwrap(),
                SnapshotPiece::End(end) => {
                    let handle = stage.finish(&end).unwrap();
                    machine.install_snapshot(&meta, handle).await.unwrap();
                    return;
                }
            }
        }
    });
}

#[test]
fn a_crash_while_a_snapshot_comes_in_leaves_the_old_state_or_the_new() {
    for (point, comes_through) in [
        ("state-snapshot-chunk-out", false),
        ("state-snapshot-chunk-in", false),
        ("state-snapshot-staged", false),
        ("state-snapshot-before-ingest", false),
        ("state-snapshot-after-ingest", true),
        ("no such point", true),
    ] {
        let place = real_disk();
        let new = fill(&place.path().join(SOURCE), 1, 300);
        let old = fill(&place.path().join(TARGET), 2, 20);
        let status = die_at(point, "install", place.path());
        assert_eq!(died(status), point != "no such point", "{point}: {status}");

        let store = StateStore::open(place.path().join(TARGET), options()).unwrap();
        let found = rows(&store, GROUP);
        assert_eq!(found, if comes_through { new.clone() } else { old }, "{point}");
        let staged = place.path().join(TARGET).join("staging");
        assert_eq!(std::fs::read_dir(staged).unwrap().count(), 0, "{point} left files behind");
        drop(store);

        // And the transfer, begun again, comes through.
        assert!(die_at("none", "install", place.path()).success());
        let store = StateStore::open(place.path().join(TARGET), options()).unwrap();
        assert_eq!(rows(&store, GROUP), new, "{point}, again");
    }
}

/// Applies 10 entries, flushes, and applies 10 more in batches of two.
fn apply(place: &Path) {
    let store = StateStore::open(place, options()).unwrap();
    let (mut machine, reader) = StateMachine::shard(&store, GROUP).unwrap();
    for first in (0..20).step_by(2) {
        if first == 10 {
            store.flush_and_publish().unwrap();
            assert_eq!(reader.durable_applied(), 9);
        }
        machine.replay((first..first + 2).map(appending)).unwrap();
    }
    // Without closing in order, which would flush.
    std::process::abort();
}

fn appending(index: u64) -> ranch_raft::types::Entry {
    let mut command = command(vec![append("1.1.1/1.1.1/1.1.1", &format!("{index} "))]);
    command.request_id = vec![index as u8; 16].into();
    normal(index, &entry(index, vec![command]))
}

#[test]
fn a_crash_while_applying_loses_only_what_was_not_flushed() {
    let whole = real_disk();
    let store = StateStore::open(whole.path(), options()).unwrap();
    let (mut machine, _) = StateMachine::shard(&store, GROUP).unwrap();
    machine.replay((0..20).map(appending)).unwrap();
    let expected = rows(&store, GROUP);
    for (point, durable) in [
        ("state-before-apply-write", 0),
        ("state-after-apply-write", 0),
        ("state-before-flush", 0),
        ("state-after-flush", 10),
        ("no such point", 10),
    ] {
        let place = real_disk();
        assert!(died(die_at(point, "apply", place.path())), "{point}");
        let store = StateStore::open(place.path(), options()).unwrap();
        let (mut machine, _) = StateMachine::shard(&store, GROUP).unwrap();
        let (applied, _) = block_on(machine.applied_state()).unwrap();
        let next = applied.map_or(0, |id| id.index + 1);
        assert_eq!(next, durable, "{point}");
        machine.replay((next..20).map(appending)).unwrap();
        assert_eq!(rows(&store, GROUP), expected, "{point}");
    }
}

#[test]
fn a_store_opens_once_and_only_in_its_own_format() {
    let place = real_disk();
    let store = StateStore::open(place.path(), options()).unwrap();
    let error = StateStore::open(place.path(), options()).unwrap_err();
    assert!(matches!(error, StateError::InUse { .. }), "{error}");
    drop(store);
    std::fs::write(place.path().join("VERSION"), "ranch-state 9\n").unwrap();
    let error = StateStore::open(place.path(), options()).unwrap_err();
    assert!(matches!(&error, StateError::UnknownVersion { found, .. } if found == "9"), "{error}");
    std::fs::remove_file(place.path().join("VERSION")).unwrap();
    let error = StateStore::open(place.path(), options()).unwrap_err();
    assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
}

#[test]
fn damaged_files_are_named_as_such() {
    let place = real_disk();
    fill(place.path(), 1, 50);
    let database = place.path().join("db");
    let named = |prefix: &str| {
        let mut files = std::fs::read_dir(&database).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix)).unwrap()
    };
    let manifest = named("MANIFEST");
    let bytes = std::fs::read(&manifest).unwrap();
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xFF;
    std::fs::write(&manifest, flipped).unwrap();
    let error = StateStore::open(place.path(), options()).unwrap_err();
    assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
    std::fs::write(&manifest, bytes).unwrap();
    StateStore::open(place.path(), options()).unwrap();
    std::fs::write(named("CURRENT"), "nonsense").unwrap();
    let error = StateStore::open(place.path(), options()).unwrap_err();
    assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
}
