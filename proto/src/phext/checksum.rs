//! The checksum of phext text: XXH3-128, as 32 hex digits. The same as libphext's.

use xxhash_rust::xxh3::Xxh3;

/// A checksum in the making, for text that comes in pieces.
#[derive(Clone, Default)]
pub struct Checksum {
    state: Xxh3,
}

impl Checksum {
    /// The checksum of no text yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next piece; where pieces begin and end makes no difference.
    pub fn update(&mut self, text: &[u8]) {
        self.state.update(text);
    }

    /// The checksum of all pieces so far.
    #[must_use]
    pub fn value(&self) -> u128 {
        self.state.digest128()
    }

    /// [`Checksum::value`] as it is printed.
    #[must_use]
    pub fn hex(&self) -> String {
        checksum_hex(self.value())
    }
}

/// A checksum as it is printed: 32 lower-case hex digits.
#[must_use]
pub fn checksum_hex(checksum: u128) -> String {
    format!("{checksum:032x}")
}
