//! A damaged tail: cut at each of its last bytes, and with each of them flipped. The store either
//! comes back with everything that had been acknowledged, or refuses. It never guesses.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use ranch_raft::log::{LogError, LogStore};
use tempfile::TempDir;

use super::support::*;

/// How many of the last bytes are cut and flipped.
const TAIL: u64 = 240;

/// A log whose watermark lies before its end: entries 0..30 of two groups and vote 1 are
/// acknowledged, entry 30 of group 1 was still being written.
struct Torn {
    dir: TempDir,
}

impl Torn {
    async fn new() -> Self {
        let dir = scratch();
        let live = dir.path().join("live");
        let store = open(&live);
        for id in 1..=2 {
            let mut log = group(&store, id);
            append(&mut log, 1, 0..29).await;
            log.save_vote(&vote(1)).await.unwrap();
            append(&mut log, 1, 29..30).await;
        }
        std::fs::copy(live.join("watermark"), dir.path().join("watermark")).unwrap();
        append(&mut group(&store, 1), 1, 30..31).await;
        // Copied while open: closing would be one more write.
        copy(&live.join("db"), &dir.path().join("db"));
        drop(store);
        Self { dir }
    }

    /// A fresh copy of the log, and its newest write-ahead file.
    fn copy(&self, name: &str) -> (PathBuf, PathBuf) {
        let path = self.dir.path().join(name);
        copy(&self.dir.path().join("db"), &path.join("db"));
        std::fs::copy(self.dir.path().join("watermark"), path.join("watermark")).unwrap();
        let files = std::fs::read_dir(path.join("db")).unwrap().map(|item| item.unwrap().path());
        let newest = files.filter(|file| file.extension().is_some_and(|e| e == "log")).max();
        (path, newest.unwrap())
    }
}

/// Opens a damaged log. `true` when it came back, checked to be whole; `false` when refused.
async fn comes_back(path: &Path, what: &str) -> bool {
    let store = match LogStore::open(path, options()) {
        Ok(store) => store,
        Err(
            LogError::RolledBack { .. }
            | LogError::Corrupt { .. }
            | LogError::Damaged { .. }
            | LogError::Hole { .. },
        ) => return false,
        Err(other) => panic!("{what}: {other}"),
    };
    for id in 1..=2 {
        let mut log = group(&store, id);
        let found = entries(&mut log).await;
        assert!(found.starts_with(&ids(1, 0..30)), "{what}: group {id} lost entries");
        assert!(found.len() <= if id == 1 { 31 } else { 30 }, "{what}: entries from nowhere");
        let vote_found = log.get_log_reader().await.read_vote().await.unwrap();
        assert_eq!(vote_found, Some(vote(1)), "{what}");
        let last = log.get_log_state().await.unwrap().last_log_id;
        assert_eq!(last, found.last().copied(), "{what}");
    }
    // What came back may be answered for, so it must be there the next time too.
    let found = entries(&mut group(&store, 1)).await;
    drop(store);
    assert_eq!(entries(&mut group(&open(path), 1)).await, found, "{what}");
    true
}

#[tokio::test]
async fn a_cut_tail_is_recovered_or_refused() {
    let torn = Torn::new().await;
    let (mut back, mut refused) = (0, 0);
    for cut in 0..=TAIL {
        let (path, wal) = torn.copy("cut");
        let file = OpenOptions::new().write(true).open(&wal).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - cut).unwrap();
        drop(file);
        if comes_back(&path, &format!("{cut} bytes cut")).await {
            assert_eq!(refused, 0, "{cut} bytes cut came back, fewer did not");
            back += 1;
        } else {
            refused += 1;
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
    assert!(back > 20, "a torn tail that was never acknowledged is no loss: {back}");
    assert!(refused > 20, "the cuts never reached what was acknowledged: {refused}");
}

#[tokio::test]
async fn a_flipped_tail_is_recovered_or_refused() {
    let torn = Torn::new().await;
    let (mut back, mut refused) = (0, 0);
    for at in 1..=TAIL {
        let (path, wal) = torn.copy("flipped");
        let file = OpenOptions::new().read(true).write(true).open(&wal).unwrap();
        let at_byte = file.metadata().unwrap().len() - at;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at_byte).unwrap();
        byte[0] ^= 1 << (at % 8);
        file.write_all_at(&byte, at_byte).unwrap();
        drop(file);
        if comes_back(&path, &format!("byte {at} from the end flipped")).await {
            back += 1;
        } else {
            refused += 1;
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
    assert!(back > 20 && refused > 20, "{back} came back, {refused} were refused");
}

/// Opening makes what came back durable and answers for it: losing it afterwards is a loss.
#[tokio::test]
async fn what_came_back_is_under_the_watermark() {
    let torn = Torn::new().await;
    let (back, _) = torn.copy("back");
    drop(open(&back));
    let (cut, wal) = torn.copy("cut");
    let file = OpenOptions::new().write(true).open(&wal).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    std::fs::copy(back.join("watermark"), cut.join("watermark")).unwrap();
    assert!(!comes_back(&cut, "an entry that had come back was lost").await);
}
