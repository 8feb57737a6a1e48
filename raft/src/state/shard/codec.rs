//! Rows of totals: what a tenant has in all, and what each of its phexts has.
//!
//! ```text
//! usage = 0x01 storage_bytes u64 scrolls u64 phexts u64 revision u64 last_write_ms u64
//!       | 0x02 … the same, then life u64; where life is 0 it is left out
//! phext = 0x01 scrolls u64 storage_bytes u64
//! ```
//! Numbers are big-endian; the first byte is the version.

use ranch_proto::schema::Usage;

use crate::state::error::StateError;

const VERSION: u8 = 1;
const VERSION_WITH_LIFE: u8 = 2;

/// A tenant's totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageRow {
    /// UTF-8 bytes of all scrolls plus `SCROLL_COST` each.
    pub(crate) storage_bytes: u64,
    pub(crate) scrolls: u64,
    pub(crate) phexts: u64,
    /// The last revision given out. Outlives all scrolls, so that none is given out twice.
    pub(crate) revision: u64,
    pub(crate) last_write_ms: u64,
    /// Which of the tenants that have had this id these are the totals of; commands meant for an
    /// earlier one are refused. What remains of a purged tenant is a row with nothing but this.
    pub(crate) life: u64,
}

/// A phext's totals; it has a row while it has scrolls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PhextRow {
    pub(crate) scrolls: u64,
    pub(crate) storage_bytes: u64,
}

impl UsageRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let numbers =
            [self.storage_bytes, self.scrolls, self.phexts, self.revision, self.last_write_ms];
        let mut row = encode(numbers);
        if self.life > 0 {
            row[0] = VERSION_WITH_LIFE;
            row.extend_from_slice(&self.life.to_be_bytes());
        }
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, StateError> {
        const WHAT: &str = "usage";
        let (numbers, life) = match row {
            [VERSION_WITH_LIFE, numbers @ ..] => {
                let [numbers @ .., life] = decode_numbers::<6>(numbers, WHAT)?;
                (numbers, life)
            }
            _ => (decode(row, WHAT)?, 0),
        };
        let [storage_bytes, scrolls, phexts, revision, last_write_ms] = numbers;
        Ok(Self { storage_bytes, scrolls, phexts, revision, last_write_ms, life })
    }
}

impl UsageRow {
    /// Puts what the row says into an account of the tenant's usage.
    pub(crate) fn describe(&self, usage: &mut Usage) {
        usage.storage_bytes = self.storage_bytes;
        usage.scrolls = self.scrolls;
        usage.phexts = self.phexts;
        usage.revision = self.revision;
        usage.last_write_ms = self.last_write_ms;
    }
}

impl PhextRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode([self.scrolls, self.storage_bytes])
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, StateError> {
        let [scrolls, storage_bytes] = decode(row, "phext")?;
        Ok(Self { scrolls, storage_bytes })
    }
}

fn encode<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + N * 8);
    row.push(VERSION);
    for number in numbers {
        row.extend_from_slice(&number.to_be_bytes());
    }
    row
}

fn decode<const N: usize>(row: &[u8], what: &'static str) -> Result<[u64; N], StateError> {
    let Some((&VERSION, numbers)) = row.split_first() else {
        return Err(StateError::Row { what });
    };
    decode_numbers(numbers, what)
}

fn decode_numbers<const N: usize>(
    numbers: &[u8],
    what: &'static str,
) -> Result<[u64; N], StateError> {
    let malformed = || StateError::Row { what };
    let (numbers, rest) = numbers.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(malformed());
    }
    let numbers: &[[u8; 8]; N] = numbers.try_into().map_err(|_| malformed())?;
    Ok(numbers.map(u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_their_golden_bytes() {
        let usage = UsageRow {
            storage_bytes: 0x0102,
            scrolls: 3,
            phexts: 4,
            revision: 5,
            last_write_ms: 0x0600,
            life: 0,
        };
        let bytes = [
            &[1_u8][..],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 0, 0, 0, 0, 4],
            &[0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 0, 0, 0, 0, 0, 6, 0],
        ]
        .concat();
        assert_eq!(usage.encode(), bytes);
        assert_eq!(UsageRow::decode(&bytes).unwrap(), usage);
        let usage = UsageRow { life: 0x0700, ..usage };
        let bytes = [&[2], &bytes[1..], &[0, 0, 0, 0, 0, 0, 7, 0]].concat();
        assert_eq!(usage.encode(), bytes);
        assert_eq!(UsageRow::decode(&bytes).unwrap(), usage);
        assert!(UsageRow::decode(&bytes[..41]).is_err());
        let phext = PhextRow { scrolls: 1, storage_bytes: 66 };
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 66];
        assert_eq!(phext.encode(), bytes);
        assert_eq!(PhextRow::decode(&bytes).unwrap(), phext);
    }

    #[test]
    fn other_bytes_are_no_rows() {
        let good = PhextRow::default().encode();
        for bad in [&[][..], &good[..16], &[&good[..], &[0]].concat(), &[&[2], &good[1..]].concat()]
        {
            assert!(PhextRow::decode(bad).is_err(), "{bad:?}");
        }
    }
}
