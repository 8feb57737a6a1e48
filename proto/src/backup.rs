//! The chunks a backup is made of: scrolls of one tenant in key order, cut where their keys say so.
//!
//! Where a chunk ends depends on the scroll it ends with and on how much came before it in the
//! same chunk, so that one scroll more or less changes its own chunk and perhaps the next, and all
//! others are what they were. Chunks are named by the BLAKE3 of their bytes; a backup that finds
//! one of that name has it already.

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::coordinate::Coordinate;
use crate::phext::PHEXT_NAME_BYTES_MAX;
use crate::schema::{BackupChunk, BackupRecords, BackupScroll, Record};
use crate::value::{SCROLL_MAX, scroll_cost};

/// The version chunks and records are written in, the only one that is read.
const VERSION: u32 = 1;
/// A chunk ends nowhere before it has so many bytes.
const LEAST_BYTES: usize = 256 << 10;
/// Then it ends after as many more on average,
const MORE_BYTES: usize = 1 << 20;
/// and always once it has so many.
const MOST_BYTES: usize = 4 << 20;
/// A scroll of this size is a chunk of its own.
const LARGE_BYTES: usize = 1 << 20;
/// What a scroll takes beside its texts, about.
const SCROLL_BYTES: usize = 64;

/// Largest chunk there can be, in bytes: one scroll of the largest size, with room for the rest.
pub const CHUNK_BYTES_MAX: u64 = SCROLL_MAX + (1 << 20);
/// Most bytes of a chunk in one answer of a node.
pub const PART_BYTES: usize = 1 << 20;
/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 32;

/// What a chunk is named by.
pub type Digest = [u8; DIGEST_BYTES];

/// The digest of a chunk's bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

/// A chunk, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its name.
    pub digest: Digest,
    /// What is stored.
    pub bytes: Bytes,
}

/// Cuts the scrolls of one tenant into chunks.
#[derive(Debug, Default)]
pub struct Cutter {
    scrolls: Vec<BackupScroll>,
    bytes: usize,
}

impl Cutter {
    /// Takes the next scroll in key order; the chunks that are complete with it, of which there
    /// are at most two.
    pub fn push(&mut self, scroll: BackupScroll) -> Vec<Chunk> {
        let size = size_of(&scroll);
        let mut done = Vec::new();
        if size >= LARGE_BYTES {
            done.extend(self.finish());
        }
        let ends = is_end(&scroll, size);
        self.scrolls.push(scroll);
        self.bytes += size;
        if size >= LARGE_BYTES || self.bytes >= MOST_BYTES || (self.bytes >= LEAST_BYTES && ends) {
            done.extend(self.finish());
        }
        done
    }

    /// The last chunk, unless there is nothing left.
    pub fn finish(&mut self) -> Option<Chunk> {
        self.bytes = 0;
        let scrolls = std::mem::take(&mut self.scrolls);
        (!scrolls.is_empty()).then(|| encode(scrolls))
    }
}

fn size_of(scroll: &BackupScroll) -> usize {
    scroll.phext.len() + scroll.coordinate.len() + scroll.text.len() + SCROLL_BYTES
}

/// Whether a chunk that is large enough ends with this scroll. Large ones are likelier ends, so
/// that chunks have their average in bytes, whatever the sizes of scrolls.
fn is_end(scroll: &BackupScroll, size: usize) -> bool {
    let key = [scroll.phext.as_bytes(), &[0], &scroll.coordinate].concat();
    u128::from(xxh3_64(&key)) * (MORE_BYTES as u128) < (size as u128) << 64
}

fn encode(scrolls: Vec<BackupScroll>) -> Chunk {
    let bytes: Bytes = BackupChunk { version: VERSION, scrolls }.encode_to_vec().into();
    Chunk { digest: digest(&bytes), bytes }
}

/// Why bytes are no chunk or no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// They do not decode.
    #[error("it does not decode ({reason})")]
    Malformed {
        /// What the decoder said.
        reason: String,
    },
    /// Another version of the format.
    #[error(
        "it has format {found}, this version reads format {VERSION}: use the one that wrote it"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// A scroll is not what it was when it was stored.
    #[error("the scroll at {at} is damaged: {fault}")]
    Scroll {
        /// Where, as far as that can be read.
        at: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// The scrolls of a chunk, each of them checked against the hash it was stored with.
///
/// # Errors
/// See [`BackupError`].
pub fn decode(bytes: Bytes) -> Result<Vec<BackupScroll>, BackupError> {
    let chunk = BackupChunk::decode(bytes)
        .map_err(|error| BackupError::Malformed { reason: error.to_string() })?;
    if chunk.version != VERSION {
        return Err(BackupError::Version { found: chunk.version });
    }
    for scroll in &chunk.scrolls {
        check(scroll)?;
    }
    Ok(chunk.scrolls)
}

fn check(scroll: &BackupScroll) -> Result<(), BackupError> {
    let coordinate = Coordinate::from_key(&scroll.coordinate);
    let at = coordinate.as_ref().map_or_else(|_| "?".to_owned(), ToString::to_string);
    let fault = |fault| Err(BackupError::Scroll { at: at.clone(), fault });
    let name = scroll.phext.as_bytes();
    if coordinate.is_err() {
        return fault("its coordinate is none");
    }
    if name.is_empty() || name.len() > PHEXT_NAME_BYTES_MAX || name.contains(&0) {
        return fault("its phext's name is none");
    }
    let length = scroll.text.len() as u64;
    if length == 0 || length > SCROLL_MAX || str::from_utf8(&scroll.text).is_err() {
        return fault("its text is none");
    }
    if xxh3_128(&scroll.text).to_be_bytes()[..] != scroll.hash[..] {
        return fault("its text is not the one that was stored");
    }
    Ok(())
}

/// What a scroll counts against its tenant's quota.
#[must_use]
pub fn cost(scroll: &BackupScroll) -> u64 {
    scroll_cost(scroll.text.len() as u64)
}

/// Records as they are stored.
#[must_use]
pub fn encode_records(records: Vec<Record>) -> Bytes {
    BackupRecords { version: VERSION, records }.encode_to_vec().into()
}

/// The records stored.
///
/// # Errors
/// See [`BackupError`].
pub fn decode_records(bytes: Bytes) -> Result<Vec<Record>, BackupError> {
    let stored = BackupRecords::decode(bytes)
        .map_err(|error| BackupError::Malformed { reason: error.to_string() })?;
    if stored.version != VERSION {
        return Err(BackupError::Version { found: stored.version });
    }
    Ok(stored.records)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn scroll(number: u32, text: &str) -> BackupScroll {
        BackupScroll {
            phext: "p".into(),
            coordinate: Coordinate::Numeric([1, 1, 1, 1, 1, 1, 1, 1, number]).to_key().into(),
            revision: 7,
            created_ms: 8,
            modified_ms: 9,
            hash: xxh3_128(text.as_bytes()).to_be_bytes().to_vec().into(),
            text: text.to_owned().into(),
        }
    }

    fn cut(scrolls: impl IntoIterator<Item = BackupScroll>) -> Vec<Chunk> {
        let mut cutter = Cutter::default();
        let mut chunks: Vec<_> = scrolls.into_iter().flat_map(|one| cutter.push(one)).collect();
        chunks.extend(cutter.finish());
        chunks
    }

    fn digests(chunks: &[Chunk]) -> HashSet<Digest> {
        chunks.iter().map(|chunk| chunk.digest).collect()
    }

    #[test]
    fn a_chunk_has_its_golden_bytes() {
        let chunks = cut([scroll(2, "hay")]);
        assert_eq!(chunks.len(), 1);
        assert_eq!(crate::hex::encode(&chunks[0].bytes), GOLDEN);
        assert_eq!(decode(chunks[0].bytes.clone()).unwrap(), [scroll(2, "hay")]);
    }

    const GOLDEN: &str = "0801122c0a0170120a010101010101010101021807200828093210cae452cfd0\
                          3262abe8c87cf8ff6000d83a03686179";

    #[test]
    fn records_have_a_version() {
        assert_eq!(encode_records(Vec::new())[..], [8, 1]);
        assert_eq!(decode_records(encode_records(Vec::new())), Ok(Vec::new()));
        assert_eq!(
            decode_records(Bytes::from_static(&[8, 2])),
            Err(BackupError::Version { found: 2 })
        );
        assert!(decode_records(Bytes::from_static(&[8])).is_err());
    }

    /// What comes out is what went in, in chunks of the sizes promised.
    #[test]
    fn chunks_hold_everything_in_order() {
        let text = "x".repeat(900);
        let scrolls: Vec<_> = (1..20_000).map(|number| scroll(number, &text)).collect();
        let chunks = cut(scrolls.clone());
        assert!((8..60).contains(&chunks.len()), "{}", chunks.len());
        for chunk in &chunks[..chunks.len() - 1] {
            let bytes = chunk.bytes.len();
            assert!((LEAST_BYTES / 2..=MOST_BYTES + 2048).contains(&bytes), "{bytes}");
        }
        let back = chunks.iter().flat_map(|chunk| decode(chunk.bytes.clone()).unwrap());
        assert!(back.eq(scrolls));
    }

    /// One scroll more, less or longer leaves nearly all chunks as they were.
    #[test]
    fn a_change_stays_where_it_is() {
        let text = "x".repeat(900);
        let scrolls: Vec<_> = (1..20_000).map(|number| scroll(number * 2, &text)).collect();
        let before = digests(&cut(scrolls.clone()));
        for at in [0, 1, 7_000, 19_990] {
            let mut more = scrolls.clone();
            more.insert(at, scroll(at as u32 * 2 + 1, "new"));
            let mut fewer = scrolls.clone();
            fewer.remove(at);
            let mut longer = scrolls.clone();
            longer[at] = scroll(at as u32 * 2 + 2, &"y".repeat(5_000));
            for changed in [more, fewer, longer] {
                let after = digests(&cut(changed));
                let new = after.difference(&before).count();
                assert!((1..=3).contains(&new), "{new} of {} chunks are new at {at}", after.len());
            }
        }
    }

    #[test]
    fn a_large_scroll_is_a_chunk_of_its_own() {
        let large = "y".repeat(LARGE_BYTES);
        let chunks = cut([scroll(1, "a"), scroll(2, &large), scroll(3, "b")]);
        let lengths = chunks.iter().map(|chunk| decode(chunk.bytes.clone()).unwrap().len());
        assert_eq!(lengths.collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn what_is_damaged_is_said() {
        let bytes = cut([scroll(2, "hay")]).remove(0).bytes;
        let mut wrong = bytes.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        let error = decode(wrong.into()).unwrap_err().to_string();
        assert!(error.contains("1.1.1/1.1.1/1.1.2") && error.contains("not the one"), "{error}");
        assert!(decode(bytes.slice(..bytes.len() - 1)).is_err());
        let newer = BackupChunk { version: 2, scrolls: Vec::new() }.encode_to_vec();
        assert_eq!(decode(newer.into()), Err(BackupError::Version { found: 2 }));
    }
}
