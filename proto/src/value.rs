//! What is stored for a scroll: a header row without the text, for listings, and a body row with
//! it. Both begin with the same fixed header, whose first byte is the version of the whole row.
//!
//! ```text
//! header     = 0x01 revision u64 created_ms u64 modified_ms u64 length u32 hash u128   45 bytes
//! header row = header more u8 first_line
//! body row   = header text
//! manifest   = header, but its first byte is 0x02
//! ```
//!
//! A text of more than [`WHOLE_MAX`] bytes is kept in rows of its own, its parts, of
//! [`PART_BYTES`] each but the last; the manifest then stands where the body row would. Body rows
//! from before there were parts may be longer and are still read.
//!
//! Numbers are big-endian. A version this code does not know is an error, never a guess.

use xxhash_rust::xxh3::xxh3_128;

use crate::phext::SCROLL_BYTES_MAX;

/// Most bytes of a scroll's first line kept in its header row.
pub const FIRST_LINE_MAX: usize = 256;
/// Bytes of an encoded [`ScrollHeader`].
pub const HEADER_BYTES: usize = 45;
/// Longest text that is kept in one row, in bytes.
pub const WHOLE_MAX: u64 = PART_BYTES as u64;
/// Bytes of each part of a longer text but the last.
pub const PART_BYTES: usize = 1 << 20;
/// Largest scroll there can be, in bytes (SPEC 1).
pub const SCROLL_MAX: u64 = SCROLL_BYTES_MAX as u64;
/// What a scroll counts for storage beside its text, in bytes.
pub const SCROLL_COST: u64 = 64;

/// The version all rows are written in but manifests.
const VERSION: u8 = 1;
/// The version of a manifest, whose text is in parts.
const VERSION_IN_PARTS: u8 = 2;
const MORE: u8 = 1;
const WHOLE: u8 = 0;

/// What is known of a scroll without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrollHeader {
    /// The write that made it what it is.
    pub revision: u64,
    /// When it came to be, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was last written, in milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// UTF-8 bytes of the text.
    pub length: u32,
    /// XXH3-128 of the text.
    pub hash: u128,
}

/// A header row as read: borrowed from the database's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRow<'a> {
    /// The scroll's header.
    pub header: ScrollHeader,
    /// The text up to its first line feed, at most [`FIRST_LINE_MAX`] bytes of it.
    pub first_line: &'a str,
    /// Whether the text goes on after `first_line`.
    pub more: bool,
}

/// What stands in a scroll's body row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRow<'a> {
    /// The whole text.
    Whole(ScrollHeader, &'a [u8]),
    /// That the text is in parts, see [`parts_of`].
    InParts(ScrollHeader),
}

/// Bytes that are no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Written by another version of the format.
    #[error("a scroll is stored in format version {found}, but this version reads {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The row ends too early.
    #[error("a stored scroll's row has {found} bytes, fewer than it must have")]
    Truncated {
        /// Bytes found.
        found: usize,
    },
    /// The flag after the header is neither 0 nor 1.
    #[error("a stored scroll's row has the unknown flag {found:#04x}")]
    Flag {
        /// The flag found.
        found: u8,
    },
    /// The first line is not UTF-8 or too long.
    #[error("a stored scroll's first line is damaged")]
    FirstLine,
    /// The text has another length than its header says.
    #[error("a stored scroll has {found} bytes of text where its header says {expected}")]
    Length {
        /// Bytes the header promises.
        expected: u32,
        /// Bytes found.
        found: usize,
    },
}

/// What a scroll of `length` bytes counts against its tenant's quota.
#[must_use]
pub fn scroll_cost(length: u64) -> u64 {
    length + SCROLL_COST
}

/// How many parts a text of so many bytes is kept in; 0 when it is kept whole.
#[must_use]
pub fn parts_of(length: u64) -> u32 {
    // At most 64 by SCROLL_MAX.
    if length <= WHOLE_MAX { 0 } else { length.div_ceil(PART_BYTES as u64) as u32 }
}

impl ScrollHeader {
    /// The header of `text`, with its length and hash. The text must be shorter than 4 GiB, which
    /// the limit on scrolls sees to.
    #[must_use]
    pub fn describe(text: &[u8], revision: u64, created_ms: u64, modified_ms: u64) -> Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self { revision, created_ms, modified_ms, length, hash: xxh3_128(text) }
    }

    /// Appends the 45 bytes of this header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.revision.to_be_bytes());
        out.extend_from_slice(&self.created_ms.to_be_bytes());
        out.extend_from_slice(&self.modified_ms.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
        out.extend_from_slice(&self.hash.to_be_bytes());
    }

    /// Reads the header at the beginning of any row; returns what follows it.
    ///
    /// # Errors
    /// An unknown version, or too few bytes.
    pub fn decode(row: &[u8]) -> Result<(Self, &[u8]), ValueError> {
        match row.first() {
            Some(&VERSION) => Self::fields(row),
            Some(&found) => Err(ValueError::Version { found }),
            None => Err(ValueError::Truncated { found: 0 }),
        }
    }

    /// Reads the header of a row whose version is known.
    fn fields(row: &[u8]) -> Result<(Self, &[u8]), ValueError> {
        let truncated = ValueError::Truncated { found: row.len() };
        let (fixed, rest) = row.split_first_chunk::<HEADER_BYTES>().ok_or(truncated)?;
        let header = Self {
            revision: u64::from_be_bytes(field(fixed, 1)),
            created_ms: u64::from_be_bytes(field(fixed, 9)),
            modified_ms: u64::from_be_bytes(field(fixed, 17)),
            length: u32::from_be_bytes(field(fixed, 25)),
            hash: u128::from_be_bytes(field(fixed, 29)),
        };
        Ok((header, rest))
    }
}

fn field<const N: usize>(fixed: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&fixed[at..at + N]);
    field
}

/// Replaces `out` by the header row of a scroll with this header and text.
pub fn encode_header_row(header: &ScrollHeader, text: &[u8], out: &mut Vec<u8>) {
    let first_line = first_line(text);
    put_header_row(header, first_line, first_line.len() < text.len(), out);
}

/// Replaces `out` by the header row of a scroll that only grew behind the first line of `before`,
/// its header row until then, which went on after that line.
///
/// # Errors
/// As [`decode_header_row`].
pub fn encode_grown_header_row(
    header: &ScrollHeader,
    before: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let before = decode_header_row(before)?;
    put_header_row(header, before.first_line.as_bytes(), true, out);
    Ok(())
}

fn put_header_row(header: &ScrollHeader, first_line: &[u8], more: bool, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(HEADER_BYTES + 1 + first_line.len());
    header.encode(out);
    out.push(if more { MORE } else { WHOLE });
    out.extend_from_slice(first_line);
}

/// Reads a header row.
///
/// # Errors
/// An unknown version, or a row that [`encode_header_row`] does not write.
pub fn decode_header_row(row: &[u8]) -> Result<HeaderRow<'_>, ValueError> {
    let (header, rest) = ScrollHeader::decode(row)?;
    let (&flag, line) = rest.split_first().ok_or(ValueError::Truncated { found: row.len() })?;
    let more = match flag {
        MORE => true,
        WHOLE => false,
        found => return Err(ValueError::Flag { found }),
    };
    let first_line = str::from_utf8(line).map_err(|_| ValueError::FirstLine)?;
    if line.len() > FIRST_LINE_MAX {
        return Err(ValueError::FirstLine);
    }
    Ok(HeaderRow { header, first_line, more })
}

/// Replaces `out` by the body row of a scroll with this header and text.
pub fn encode_body_row(header: &ScrollHeader, text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.reserve(HEADER_BYTES + text.len());
    header.encode(out);
    out.extend_from_slice(text);
}

/// Replaces `out` by the manifest of a scroll whose text is in parts.
pub fn encode_manifest(header: &ScrollHeader, out: &mut Vec<u8>) {
    out.clear();
    header.encode(out);
    out[0] = VERSION_IN_PARTS;
}

/// Reads a body row or a manifest. A text's length is checked but not its hash.
///
/// # Errors
/// An unknown version, or a row that neither [`encode_body_row`] nor [`encode_manifest`] writes.
pub fn decode_body_row(row: &[u8]) -> Result<BodyRow<'_>, ValueError> {
    if row.first() == Some(&VERSION_IN_PARTS) {
        let (header, rest) = ScrollHeader::fields(row)?;
        return match rest {
            [] if parts_of(header.length.into()) > 0 => Ok(BodyRow::InParts(header)),
            rest => Err(ValueError::Length { expected: header.length, found: rest.len() }),
        };
    }
    let (header, text) = ScrollHeader::decode(row)?;
    if text.len() != header.length as usize {
        return Err(ValueError::Length { expected: header.length, found: text.len() });
    }
    Ok(BodyRow::Whole(header, text))
}

/// The bytes of `text` before its first line feed, cut on a character boundary when long.
fn first_line(text: &[u8]) -> &[u8] {
    let start = &text[..text.len().min(FIRST_LINE_MAX + 1)];
    if let Some(end) = start.iter().position(|&byte| byte == b'\n') {
        return &text[..end];
    }
    if text.len() <= FIRST_LINE_MAX {
        return text;
    }
    // A character continues in bytes of the form 10xxxxxx; it is at most four bytes long.
    let is_boundary = |at: &usize| text[*at] & 0xC0 != 0x80;
    let end = (FIRST_LINE_MAX - 3..=FIRST_LINE_MAX).rev().find(is_boundary);
    &text[..end.unwrap_or(0)]
}
