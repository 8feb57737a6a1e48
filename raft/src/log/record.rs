//! How a message lies in the log: `version u8 | crc32 u32 BE of the rest | protobuf`.
//!
//! Entries, votes and marks all have this frame. Decoding trusts nothing.
//!
//! Records of entries form a chain: each holds the hash of the one before it. A checksum tells
//! that a record is whole, the chain that it is the one that was written there last: not one that
//! a truncation had taken away, nor that of an older state of a file.

use std::num::NonZeroU64;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use ranch_proto::schema as wire;
use xxhash_rust::xxh3::xxh3_64;

use crate::convert::{Incomplete, entry_from_wire, entry_to_wire};
use crate::types::Entry;

const VERSION: u8 = 1;
const HEAD: usize = 5;

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too few bytes to be one.
    #[error("it is cut short")]
    TooShort,
    /// Written by another version.
    #[error("it has version {found}, which this version of ranch does not know")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// The bytes are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
    /// The checksum holds but the bytes are no message.
    #[error("it cannot be decoded: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A part of the message is missing.
    #[error("it is {0}")]
    Incomplete(#[from] Incomplete),
    /// The record of another index lies there.
    #[error("it holds entry {found}")]
    Misplaced {
        /// The index inside the record.
        found: u64,
    },
    /// It was written behind another record than the one that lies before it.
    #[error(
        "it does not continue the entry before it: one of the two is not what was written last"
    )]
    Unchained,
    /// A key of a form that no version wrote.
    #[error("it has an unknown form")]
    UnknownKey,
}

/// Hash of an entry's record, by which the next one knows it; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHash(NonZeroU64);

impl RecordHash {
    /// The hash of a whole record.
    pub(super) fn of(record: &[u8]) -> Self {
        Self(NonZeroU64::new(xxh3_64(record)).unwrap_or(NonZeroU64::MIN))
    }
}

/// Appends the record of a message to `buffer`.
pub(super) fn encode<M: Message>(buffer: &mut BytesMut, message: &M) {
    let start = begin(buffer, message.encoded_len());
    message.encode_raw(buffer);
    seal(buffer, start);
}

/// Appends the record of an entry to `buffer`, which follows the one with the hash `prior`. The
/// payload of a normal entry is the record's end.
pub(super) fn encode_entry(buffer: &mut BytesMut, entry: &Entry, prior: Option<RecordHash>) {
    let (link, entry) = (link_to_wire(prior), entry_to_wire(entry));
    let start = begin(buffer, link.encoded_len() + entry.encoded_len());
    link.encode_raw(buffer);
    entry.encode_raw(buffer);
    seal(buffer, start);
}

fn link_to_wire(prior: Option<RecordHash>) -> wire::LogLink {
    wire::LogLink { prior: prior.map_or(0, |hash| hash.0.get()) }
}

/// Makes room for a record and leaves its head open.
fn begin(buffer: &mut BytesMut, length: usize) -> usize {
    buffer.reserve(HEAD + length);
    let start = buffer.len();
    buffer.put_u8(VERSION);
    buffer.put_u32(0);
    start
}

fn seal(buffer: &mut BytesMut, start: usize) {
    let sum = crc32fast::hash(&buffer[start + HEAD..]);
    buffer[start + 1..start + HEAD].copy_from_slice(&sum.to_be_bytes());
}

/// Reads a record.
pub(super) fn decode<M: Message + Default>(record: &Bytes) -> Result<M, RecordError> {
    if record.len() < HEAD {
        return Err(RecordError::TooShort);
    }
    if record[0] != VERSION {
        return Err(RecordError::UnknownVersion { found: record[0] });
    }
    let sum = [record[1], record[2], record[3], record[4]];
    if u32::from_be_bytes(sum) != crc32fast::hash(&record[HEAD..]) {
        return Err(RecordError::Checksum);
    }
    Ok(M::decode(record.slice(HEAD..))?)
}

/// Reads the record of the entry at `index`. Its payload shares the record's memory.
pub(super) fn decode_entry(record: &Bytes, index: u64) -> Result<Entry, RecordError> {
    let entry = entry_from_wire(decode::<wire::Entry>(record)?)?;
    if entry.log_id.index != index {
        return Err(RecordError::Misplaced { found: entry.log_id.index });
    }
    Ok(entry)
}

/// Follows the chain through records read in their order.
#[derive(Debug, Default)]
pub(super) struct Chain {
    last: Option<RecordHash>,
}

impl Chain {
    /// Reads the record of the entry at `index`, which lies behind the one read before.
    pub(super) fn follow(&mut self, record: &Bytes, index: u64) -> Result<Entry, RecordError> {
        let entry = decode_entry(record, index)?;
        let link = wire::LogLink::decode(record.slice(HEAD..))?;
        // Either may be unknown: the first of a log, and what was written by older versions.
        if link.prior != 0 && self.last.is_some() && link != link_to_wire(self.last) {
            return Err(RecordError::Unchained);
        }
        self.last = Some(RecordHash::of(record));
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::test_support::entry;

    fn record(entry: &Entry) -> Bytes {
        let mut buffer = BytesMut::new();
        encode_entry(&mut buffer, entry, None);
        buffer.freeze()
    }

    /// Records behind each other, each knowing the one before.
    fn records(entries: &[Entry]) -> Vec<Bytes> {
        let mut prior = None;
        let chained = entries.iter().map(|entry| {
            let mut buffer = BytesMut::new();
            encode_entry(&mut buffer, entry, prior);
            prior = Some(RecordHash::of(&buffer));
            buffer.freeze()
        });
        chained.collect()
    }

    /// Follows records from `first` on, and gives what is wrong at which index.
    fn followed(first: u64, records: &[Bytes]) -> Result<(), (u64, RecordError)> {
        let mut chain = Chain::default();
        (first..).zip(records).try_for_each(|(index, record)| {
            chain.follow(record, index).map(drop).map_err(|error| (index, error))
        })
    }

    #[test]
    fn golden_bytes() {
        let bytes = record(&entry(2, 9, b"yak"));
        let golden = [
            1, 0xb2, 0x37, 0xe4, 0x96, // version, crc32
            0x0a, 0x06, 0x08, 2, 0x10, 1, 0x18, 9, // log id: term, leader, index
            0x1a, 3, b'y', b'a', b'k', // normal payload
        ];
        assert_eq!(bytes[5..], golden[5..]);
        assert_eq!(bytes[..5], golden[..5]);
        assert!(bytes.ends_with(b"yak"), "the payload must end the record");
        assert_eq!(decode_entry(&bytes, 9), Ok(entry(2, 9, b"yak")));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let good = record(&entry(3, 7, b"a scroll"));
        for at in 0..good.len() {
            assert!(decode_entry(&good.slice(..at), 7).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[at] ^= 1 << bit;
                assert!(decode_entry(&bad.into(), 7).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn golden_bytes_of_a_chained_record() {
        let chained = &records(&[entry(2, 9, b"yak"), entry(2, 10, b"gnu")])[1];
        let golden = [
            0x79, 0xa9, 0x92, 0x35, 0xed, 0xd5, 0xcd, 0x79,
            0xce, // prior: xxh3 of the record before, LE
            0x0a, 0x06, 0x08, 2, 0x10, 1, 0x18, 10, 0x1a, 3, b'g', b'n', b'u',
        ];
        assert_eq!(chained[HEAD..], golden);
        assert_eq!(decode_entry(chained, 10), Ok(entry(2, 10, b"gnu")));
        // A version that knows no chain takes it for a field it does not know.
        assert!(decode::<wire::Entry>(chained).is_ok());
    }

    #[test]
    fn a_whole_record_of_another_past_is_found() {
        let written = [entry(1, 5, b"ant"), entry(1, 6, b"bee"), entry(1, 7, b"cow")];
        let good = records(&written);
        assert_eq!(followed(5, &good), Ok(()));
        let elsewhere = records(&[entry(1, 5, b"ape"), entry(1, 6, b"bee")]);
        for at in [5, 6] {
            let mut spoiled = good.clone();
            spoiled[at - 5] = elsewhere[at - 5].clone();
            let found = followed(5, &spoiled);
            assert!(matches!(found, Err((6, RecordError::Unchained))), "{at}: {found:?}");
        }
        // What stands before the first is not known, and that is no fault.
        assert_eq!(followed(6, &good[1..]), Ok(()));
    }

    #[test]
    fn records_of_a_version_without_a_chain_are_followed() {
        let old = [record(&entry(1, 5, b"ant")), record(&entry(1, 6, b"bee"))];
        let mut next = BytesMut::new();
        encode_entry(&mut next, &entry(1, 7, b"cow"), Some(RecordHash::of(&old[1])));
        let mixed = [old[0].clone(), old[1].clone(), next.freeze(), record(&entry(1, 8, b""))];
        assert_eq!(followed(5, &mixed), Ok(()));
        let swapped = [record(&entry(1, 6, b"bug")), mixed[2].clone()];
        assert_eq!(followed(6, &swapped), Err((7, RecordError::Unchained)));
    }

    #[test]
    fn another_entry_in_its_place_is_found() {
        let error = decode_entry(&record(&entry(1, 4, b"")), 5);
        assert_eq!(error, Err(RecordError::Misplaced { found: 4 }));
        let mut newer = record(&entry(1, 4, b"")).to_vec();
        newer[0] = 2;
        let error = decode_entry(&newer.into(), 4);
        assert_eq!(error, Err(RecordError::UnknownVersion { found: 2 }));
    }
}
