//! How much of the log has been acknowledged, kept outside the log's own tail.
//!
//! `RocksDB`'s recovery stops without a word at the first record it cannot read, votes included.
//! This file tells a torn tail (never acknowledged, no loss) from lost acknowledgements: after
//! each fsync of the log its sequence number is written here, before anyone is told. The file is
//! not synced itself: losing its newest state in a power cut can only make the check milder, and
//! what it would have found is then covered by the fsync of the log.
//!
//! Two slots, a page apart, are written in turn, so a torn write leaves the other one whole:
//! `version u8 | sequence u64 BE | crc32 u32 BE of both`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::LogError;

const VERSION: u8 = 1;
const SLOT: usize = 13;
const SUMMED: usize = 9;
const SLOT_AT: [u64; 2] = [0, 4096];

/// Why a watermark file cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatermarkFault {
    /// There is a log but no watermark.
    #[error("is missing, so nobody knows how much of the log had been acknowledged")]
    Missing,
    /// Neither slot is whole.
    #[error("is damaged, so nobody knows how much of the log had been acknowledged")]
    Damaged,
    /// Written by another version.
    #[error("has version {found}, which this version of ranch does not know")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
}

/// The open watermark file.
#[derive(Debug)]
pub(super) struct Watermark {
    file: File,
    path: PathBuf,
    /// Slot of the next write: the one that does not hold the newest number.
    next: usize,
}

impl Watermark {
    /// Makes the file durably, holding 0.
    pub(super) fn create(path: &Path) -> Result<Self, LogError> {
        let draft = path.with_extension("new");
        let written = (|| {
            let options = OpenOptions::new().read(true).write(true).clone();
            let file = options.clone().create(true).truncate(true).open(&draft)?;
            for at in SLOT_AT {
                file.write_all_at(&slot(0), at)?;
            }
            file.sync_all()?;
            std::fs::rename(&draft, path)?;
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file)
        })();
        let file = written.map_err(|source| failed(path, "creating", source))?;
        Ok(Self { file, path: path.to_owned(), next: 0 })
    }

    /// Opens the file and reads the highest number published; `None` when there is no file.
    pub(super) fn open(path: &Path) -> Result<Option<(Self, u64)>, LogError> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(path, "opening", source)),
        };
        let mut slots = [Err(WatermarkFault::Damaged); 2];
        for (read, at) in slots.iter_mut().zip(SLOT_AT) {
            *read = read_slot(&file, at).map_err(|source| failed(path, "reading", source))?;
        }
        let (newest, sequence) = match slots {
            [Ok(first), Ok(second)] if second > first => (1, second),
            [Ok(first), Ok(_) | Err(WatermarkFault::Damaged)] => (0, first),
            [Err(WatermarkFault::Damaged), Ok(second)] => (1, second),
            [Err(fault), _] | [_, Err(fault)] => {
                return Err(LogError::Watermark { path: path.to_owned(), fault });
            }
        };
        Ok(Some((Self { file, path: path.to_owned(), next: 1 - newest }, sequence)))
    }

    /// Publishes the number up to which the log is on disk.
    pub(super) fn publish(&mut self, sequence: u64) -> io::Result<()> {
        self.file.write_all_at(&slot(sequence), SLOT_AT[self.next])?;
        self.next = 1 - self.next;
        Ok(())
    }

    /// Puts what was published on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> LogError {
    LogError::Io { path: path.to_owned(), action, source }
}

fn slot(sequence: u64) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[0] = VERSION;
    slot[1..SUMMED].copy_from_slice(&sequence.to_be_bytes());
    let sum = crc32fast::hash(&slot[..SUMMED]);
    slot[SUMMED..].copy_from_slice(&sum.to_be_bytes());
    slot
}

fn read_slot(file: &File, at: u64) -> io::Result<Result<u64, WatermarkFault>> {
    let mut slot = [0; SLOT];
    match file.read_exact_at(&mut slot, at) {
        Ok(()) => Ok(parse(slot)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Err(WatermarkFault::Damaged))
        }
        Err(error) => Err(error),
    }
}

fn parse(slot: [u8; SLOT]) -> Result<u64, WatermarkFault> {
    let (mut sequence, mut sum) = ([0; 8], [0; 4]);
    sequence.copy_from_slice(&slot[1..SUMMED]);
    sum.copy_from_slice(&slot[SUMMED..]);
    if u32::from_be_bytes(sum) != crc32fast::hash(&slot[..SUMMED]) {
        return Err(WatermarkFault::Damaged);
    }
    if slot[0] != VERSION {
        return Err(WatermarkFault::UnknownVersion { found: slot[0] });
    }
    Ok(u64::from_be_bytes(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::test_support::Scratch;

    #[test]
    fn the_newest_number_is_found_again() {
        let dir = Scratch::new();
        let path = dir.path().join("watermark");
        assert!(Watermark::open(&path).unwrap().is_none());
        let mut mark = Watermark::create(&path).unwrap();
        for sequence in [1, 7, 8, 300] {
            mark.publish(sequence).unwrap();
            let (reopened, found) = Watermark::open(&path).unwrap().unwrap();
            assert_eq!(found, sequence);
            mark = reopened;
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let dir = Scratch::new();
        let path = dir.path().join("watermark");
        for (last, torn_at) in [(2_u64, SLOT_AT[1]), (3, SLOT_AT[0])] {
            let mut mark = Watermark::create(&path).unwrap();
            for sequence in 1..=last {
                mark.publish(sequence).unwrap();
            }
            mark.file.write_all_at(&[0xAA; 4], torn_at + 5).unwrap();
            let (_, found) = Watermark::open(&path).unwrap().unwrap();
            assert_eq!(found, last - 1);
        }
    }

    #[test]
    fn what_cannot_be_believed_is_refused() {
        let dir = Scratch::new();
        let path = dir.path().join("watermark");
        let fault = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            match Watermark::open(&path).unwrap_err() {
                LogError::Watermark { fault, .. } => fault,
                other => panic!("{other}"),
            }
        };
        assert_eq!(fault(b""), WatermarkFault::Damaged);
        assert_eq!(fault(&[0; 5000]), WatermarkFault::Damaged);
        let mut newer = slot(5);
        newer[0] = 9;
        let sum = crc32fast::hash(&newer[..SUMMED]);
        newer[SUMMED..].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(fault(&newer), WatermarkFault::UnknownVersion { found: 9 });
    }
}
