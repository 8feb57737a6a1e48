//! Phext text, taken apart into scrolls as it arrives.

use super::{SCROLL_BYTES_MAX, is_delimiter, step};

/// Reads phext text in pieces of any size. Holds at most one scroll.
///
/// Hand every piece to [`PhextReader::read`] until it returns `None`, then call
/// [`PhextReader::finish`]. Scrolls come in coordinate order, each coordinate at most once, and
/// none is empty.
#[derive(Debug)]
pub struct PhextReader {
    at: [u32; 9],
    text: Vec<u8>,
    /// Bytes of input before those in `text`.
    offset: u64,
    scroll_bytes_max: usize,
}

/// Text that is no phext, or one with a scroll too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhextReadError {
    /// A scroll is not UTF-8.
    #[error("the phext is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Where in the text, from 0.
        offset: u64,
    },
    /// A delimiter moves past the largest coordinate there is.
    #[error("the phext goes past coordinate component 4294967295 at byte {offset}")]
    Overflow {
        /// Where in the text, from 0.
        offset: u64,
    },
    /// A scroll is larger than one may be.
    #[error("the scroll that begins at byte {offset} is larger than {limit} bytes")]
    ScrollTooLarge {
        /// Where in the text the scroll begins, from 0.
        offset: u64,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Default for PhextReader {
    fn default() -> Self {
        Self::new()
    }
}

impl PhextReader {
    /// A reader at the beginning of a phext, for scrolls up to [`SCROLL_BYTES_MAX`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(SCROLL_BYTES_MAX)
    }

    /// A reader that refuses scrolls larger than `scroll_bytes_max`.
    #[must_use]
    pub fn with_limit(scroll_bytes_max: usize) -> Self {
        Self { at: [1; 9], text: Vec::new(), offset: 0, scroll_bytes_max }
    }

    /// Takes bytes off the front of `piece` up to the end of a scroll and returns that scroll;
    /// `None` when the piece is used up. After an error the reader is of no more use.
    ///
    /// # Errors
    /// See [`PhextReadError`].
    pub fn read(
        &mut self,
        piece: &mut &[u8],
    ) -> Result<Option<([u32; 9], String)>, PhextReadError> {
        while !piece.is_empty() {
            let end = piece.iter().position(|&byte| is_delimiter(byte));
            let (text, rest) = piece.split_at(end.unwrap_or(piece.len()));
            self.take_text(text)?;
            *piece = rest;
            let Some((&delimiter, rest)) = rest.split_first() else { break };
            *piece = rest;
            if let Some(scroll) = self.take_delimiter(delimiter)? {
                return Ok(Some(scroll));
            }
        }
        Ok(None)
    }

    /// The last scroll, if the text did not end with a delimiter.
    ///
    /// # Errors
    /// [`PhextReadError::NotUtf8`], also when the text stopped inside a character.
    pub fn finish(mut self) -> Result<Option<([u32; 9], String)>, PhextReadError> {
        self.take_scroll()
    }

    fn take_text(&mut self, text: &[u8]) -> Result<(), PhextReadError> {
        let limit = self.scroll_bytes_max;
        if text.len() > limit - self.text.len() {
            return Err(PhextReadError::ScrollTooLarge { offset: self.offset, limit });
        }
        self.text.extend_from_slice(text);
        Ok(())
    }

    fn take_delimiter(
        &mut self,
        delimiter: u8,
    ) -> Result<Option<([u32; 9], String)>, PhextReadError> {
        let scroll = self.take_scroll()?;
        step(&mut self.at, delimiter).ok_or(PhextReadError::Overflow { offset: self.offset })?;
        self.offset += 1;
        Ok(scroll)
    }

    fn take_scroll(&mut self) -> Result<Option<([u32; 9], String)>, PhextReadError> {
        if self.text.is_empty() {
            return Ok(None);
        }
        let bytes = self.text.len() as u64;
        let text = String::from_utf8(std::mem::take(&mut self.text)).map_err(|error| {
            let valid = error.utf8_error().valid_up_to() as u64;
            PhextReadError::NotUtf8 { offset: self.offset + valid }
        })?;
        self.offset += bytes;
        Ok(Some((self.at, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_component_passes_the_largest() {
        let largest = [1, 1, 1, 1, 1, 1, 1, 1, u32::MAX];
        let mut reader = PhextReader { at: largest, ..PhextReader::new() };
        assert_eq!(reader.read(&mut &b"a\x18b"[..]), Ok(Some((largest, "a".to_owned()))));
        let mut reader = PhextReader { at: largest, ..PhextReader::new() };
        assert_eq!(reader.read(&mut &b"a\x17b"[..]), Err(PhextReadError::Overflow { offset: 1 }));
    }
}
