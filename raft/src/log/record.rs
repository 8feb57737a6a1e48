//! How a message lies in the log: `version u8 | crc32 u32 BE of the rest | protobuf`.
//!
//! Entries, votes and marks all have this frame. Decoding trusts nothing.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use ranch_proto::schema as wire;

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
    /// A key of a form that no version wrote.
    #[error("it has an unknown form")]
    UnknownKey,
}

/// Appends the record of a message to `buffer`.
pub(super) fn encode<M: Message>(buffer: &mut BytesMut, message: &M) {
    buffer.reserve(HEAD + message.encoded_len());
    let start = buffer.len();
    buffer.put_u8(VERSION);
    buffer.put_u32(0);
    message.encode_raw(buffer);
    let sum = crc32fast::hash(&buffer[start + HEAD..]);
    buffer[start + 1..start + HEAD].copy_from_slice(&sum.to_be_bytes());
}

/// Appends the record of an entry to `buffer`. The payload of a normal entry is the record's end.
pub(super) fn encode_entry(buffer: &mut BytesMut, entry: &Entry) {
    encode(buffer, &entry_to_wire(entry));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::test_support::entry;

    fn record(entry: &Entry) -> Bytes {
        let mut buffer = BytesMut::new();
        encode_entry(&mut buffer, entry);
        buffer.freeze()
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
    fn another_entry_in_its_place_is_found() {
        let error = decode_entry(&record(&entry(1, 4, b"")), 5);
        assert_eq!(error, Err(RecordError::Misplaced { found: 4 }));
        let mut newer = record(&entry(1, 4, b"")).to_vec();
        newer[0] = 2;
        let error = decode_entry(&newer.into(), 4);
        assert_eq!(error, Err(RecordError::UnknownVersion { found: 2 }));
    }
}
