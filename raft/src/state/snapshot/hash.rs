//! The checksum of rows in their order: of a snapshot on the wire, the same at both ends, and of
//! a replica's rows, the same everywhere.

use xxhash_rust::xxh3::Xxh3Default;

/// XXH3-128 over every key and value, each preceded by its length as u32 big-endian.
#[derive(Default)]
pub(crate) struct PairsHash {
    hash: Xxh3Default,
    pairs: u64,
}

impl PairsHash {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            // Rows are far below 4 GiB: the largest holds one scroll.
            self.hash.update(&(part.len() as u32).to_be_bytes());
            self.hash.update(part);
        }
        self.pairs += 1;
    }

    pub(crate) fn pairs(&self) -> u64 {
        self.pairs
    }

    pub(crate) fn bytes(&self) -> [u8; 16] {
        self.hash.digest128().to_be_bytes()
    }
}
