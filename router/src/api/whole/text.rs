//! Phext text as a stream of pieces. Delimiters are counted before anything is sent, because one
//! far coordinate can take gigabytes of them, and are made in small runs while sending.

use bytes::Bytes;
use ranch_proto::phext::{DELIMITERS, delimiters_between};
use ranch_proto::schema::{ScanScrolls, Scroll};
use ranch_proto::{Coordinate, Shards};

use crate::api::Call;
use crate::api::pages::{self, Page, Pages};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::ForwardError;

/// How large a piece is, in bytes, unless it is the last.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// The text of a phext on its way out.
pub struct Text<S> {
    pages: Pages<S>,
    scrolls: std::vec::IntoIter<Scroll>,
    last: bool,
    writer: Writer,
}

/// Checks the size of a phext's text and opens it. The second part is the log index a stale read
/// reflects.
///
/// A phext that fits one page is measured on that page; of a larger one the headers are read
/// first.
///
/// # Errors
/// [`ApiError::ExportTooLarge`] above the limit.
pub async fn open<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    phext: String,
) -> Result<(Text<S>, Option<u64>), ApiError> {
    let scan = ScanScrolls { phext, numeric_only: true, texts: true, ..ScanScrolls::default() };
    let headers = ScanScrolls { texts: false, ..scan.clone() };
    let mut pages = Pages::new(call, caller, scan, None)?;
    let first = pages.next().await?;
    let limit = call.app.options.export_max_bytes;
    let mut size = Size::new(limit);
    if first.last {
        size.add_page(&first)?;
    } else {
        let mut headers = Pages::new(call, caller, headers, None)?;
        loop {
            let page = headers.next().await?;
            size.add_page(&page)?;
            if page.last {
                break;
            }
        }
    }
    let Page { scrolls, applied, last, .. } = first;
    let text = Text { pages, scrolls: scrolls.into_iter(), last, writer: Writer::new() };
    Ok((text, applied))
}

/// The size of a text so far.
pub(super) struct Size {
    limit: u64,
    bytes: u64,
    at: [u32; 9],
}

impl Size {
    /// The size of no text yet, which may grow to `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, at: [1; 9] }
    }

    /// Counts a scroll of `length` bytes that comes after those before.
    ///
    /// # Errors
    /// [`ApiError::ExportTooLarge`].
    pub fn add(&mut self, coordinate: [u32; 9], length: u64) -> Result<(), ApiError> {
        self.bytes += delimiters_between(self.at, coordinate) + length;
        self.at = coordinate;
        if self.bytes > self.limit {
            return Err(ApiError::ExportTooLarge { limit: self.limit });
        }
        Ok(())
    }

    fn add_page(&mut self, page: &Page) -> Result<(), ApiError> {
        page.scrolls.iter().try_for_each(|scroll| self.add(numeric(scroll)?, scroll.length))
    }
}

impl<S: Shards> Text<S> {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When a page cannot be read: the text ends there and must not be taken for whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ForwardError> {
        let mut out = Vec::new();
        loop {
            if self.writer.advance(&mut out) {
                return Ok(Some(out.into()));
            }
            if let Some(scroll) = self.scrolls.next() {
                self.writer.put(numeric(&scroll)?, scroll.text.unwrap_or_default())?;
            } else if self.last {
                return Ok((!out.is_empty()).then(|| out.into()));
            } else {
                let page = self.pages.next().await?;
                self.scrolls = page.scrolls.into_iter();
                self.last = page.last;
            }
        }
    }
}

/// Puts scrolls behind each other with the delimiters between them, a piece at a time.
pub(crate) struct Writer {
    at: [u32; 9],
    next: Option<([u32; 9], Bytes)>,
}

impl Writer {
    /// A writer at the beginning of a phext.
    pub fn new() -> Self {
        Self { at: [1; 9], next: None }
    }

    /// Takes the next scroll, once the one before is written.
    ///
    /// # Errors
    /// [`ForwardError::Garbled`] for one out of order.
    pub fn put(&mut self, coordinate: [u32; 9], text: Bytes) -> Result<(), ForwardError> {
        if coordinate < self.at {
            return Err(ForwardError::Garbled);
        }
        self.next = Some((coordinate, text));
        Ok(())
    }

    /// Writes what is left of the scroll at hand, and whether `out` has become a whole piece.
    pub fn advance(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((coordinate, text)) = &mut self.next else { return out.len() >= PIECE_BYTES };
        while let Some(dimension) = (0..9).find(|&index| self.at[index] != coordinate[index]) {
            let room = PIECE_BYTES.saturating_sub(out.len());
            if room == 0 {
                return true;
            }
            // Scrolls come in order, which was checked, so the first difference is upwards.
            let missing = coordinate[dimension].saturating_sub(self.at[dimension]);
            let run = missing.min(room as u32);
            out.resize(out.len() + run as usize, DELIMITERS[dimension]);
            self.at[dimension] += run;
            self.at[dimension + 1..].fill(1);
        }
        let room = PIECE_BYTES.saturating_sub(out.len());
        out.extend_from_slice(&text.split_to(room.min(text.len())));
        if text.is_empty() {
            self.next = None;
        }
        out.len() >= PIECE_BYTES
    }
}

/// The place of a scroll in phext text.
pub(super) fn numeric(scroll: &Scroll) -> Result<[u32; 9], ForwardError> {
    match pages::coordinate(scroll)? {
        Coordinate::Numeric(coordinate) => Ok(coordinate),
        Coordinate::Named(_) => Err(ForwardError::Garbled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(scrolls: &[([u32; 9], &str)]) -> Vec<Vec<u8>> {
        let mut writer = Writer::new();
        let (mut pieces, mut out) = (Vec::new(), Vec::new());
        for (coordinate, text) in scrolls {
            writer.next = Some((*coordinate, Bytes::copy_from_slice(text.as_bytes())));
            while writer.next.is_some() {
                if writer.advance(&mut out) {
                    pieces.push(std::mem::take(&mut out));
                }
            }
        }
        pieces.push(out);
        pieces
    }

    #[test]
    fn text_is_that_of_libphext() {
        let scrolls = [
            ([1, 1, 1, 1, 1, 1, 1, 1, 1], "first"),
            ([1, 1, 1, 1, 1, 1, 1, 1, 3], "third"),
            ([1, 1, 1, 1, 1, 1, 2, 1, 2], "next chapter"),
            ([13, 13, 13, 13, 13, 13, 13, 13, 13], "far"),
        ];
        let mut map = std::collections::HashMap::new();
        for (c, text) in scrolls {
            let coordinate = libphext::phext::to_coordinate(&Coordinate::Numeric(c).to_string());
            map.insert(coordinate, text.to_owned());
        }
        let expected = libphext::phext::implode(map);
        assert_eq!(String::from_utf8(pieces(&scrolls).concat()).unwrap(), expected);
    }

    #[test]
    fn a_far_coordinate_is_written_in_small_pieces() {
        let far = [1, 1, 1, 1, 1, 1, 1, 1, 300_000];
        let pieces = pieces(&[([1; 9], "a"), (far, "b")]);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES + 1));
        let text = pieces.concat();
        assert_eq!(text.len(), 300_001);
        assert_eq!((text[0], text[1], text[300_000]), (b'a', 0x17, b'b'));
    }
}
