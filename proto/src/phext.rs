//! Phexts as names and as text. The text form is that of libphext 0.4: scrolls in coordinate
//! order, parted by nine delimiters, each of which moves one dimension on and sets the lower ones
//! back to 1.
//!
//! Text is read and written in pieces, so that a phext never has to be in memory as a whole.

mod checksum;
mod name;
mod reader;
mod writer;

pub use checksum::{Checksum, checksum_hex};
pub use name::{DEFAULT_PHEXT, PHEXT_NAME_BYTES_MAX, PhextName, PhextNameError, PhextNameFault};
pub use reader::{PhextReadError, PhextReader};
pub use writer::{PhextWriteError, PhextWriter, delimiters_between};

/// The delimiters, by the dimension they move: library, shelf, series, collection, volume, book,
/// chapter, section, scroll. The order is that of a numeric coordinate's components.
pub const DELIMITERS: [u8; 9] = [0x01, 0x1F, 0x1E, 0x1D, 0x1C, 0x1A, 0x19, 0x18, 0x17];

/// Largest scroll, in bytes of UTF-8.
pub const SCROLL_BYTES_MAX: usize = 64 << 20;

/// The delimiters as a set of bits; all are below 32.
const DELIMITER_BITS: u32 = {
    let mut bits = 0;
    let mut index = 0;
    while index < DELIMITERS.len() {
        bits |= 1 << DELIMITERS[index];
        index += 1;
    }
    bits
};

/// Whether `byte` parts scrolls, and so can be in none. In UTF-8 these bytes never occur inside
/// another character.
#[must_use]
pub fn is_delimiter(byte: u8) -> bool {
    byte < 32 && DELIMITER_BITS >> byte & 1 == 1
}

/// Moves `at` over one delimiter; `None` when the component is the largest already.
fn step(at: &mut [u32; 9], delimiter: u8) -> Option<()> {
    let dimension = DELIMITERS.iter().position(|&known| known == delimiter)?;
    at[dimension] = at[dimension].checked_add(1)?;
    at[dimension + 1..].fill(1);
    Some(())
}
