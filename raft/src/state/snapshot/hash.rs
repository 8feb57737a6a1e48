//! The checksum of a snapshot on the wire, the same at both ends.

use xxhash_rust::xxh3::Xxh3Default;

/// XXH3-128 over every key and value, each preceded by its length as u32 big-endian.
#[derive(Default)]
pub(super) struct PairsHash {
    hash: Xxh3Default,
    pairs: u64,
}

impl PairsHash {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            // Rows are far below 4 GiB: the largest holds one scroll.
            self.hash.update(&(part.len() as u32).to_be_bytes());
            self.hash.update(part);
        }
        self.pairs += 1;
    }

    pub(super) fn pairs(&self) -> u64 {
        self.pairs
    }

    pub(super) fn bytes(&self) -> [u8; 16] {
        self.hash.digest128().to_be_bytes()
    }
}
