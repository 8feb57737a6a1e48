//! Pages of scrolls in key order, bounded in bytes, rows and rows looked at.

use bytes::Bytes;
use ranch_proto::coordinate::{Coordinate, FIRST_NAMED_KEY};
use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Kind};
use ranch_proto::pattern::{KeyRange, Pattern};
use ranch_proto::schema::{ScanReply, ScanScrolls, Scroll};
use ranch_proto::value::{self, BodyRow, FIRST_LINE_MAX, HeaderRow, ScrollHeader, parts_of};

use crate::state::error::StateError;
use crate::state::reader::ReadError;
use crate::state::store::StateStore;
use crate::state::view::{View, body, body_key};

/// Bytes of answer a page holds at most; a single larger scroll makes a page of its own.
const PAGE_BYTES: usize = 1 << 20;
/// Rows looked at for one page, also when few of them match.
const PAGE_ROWS: usize = 100_000;
/// Longest first line given where whole ones are asked for, in bytes.
const LINE_MAX: usize = 64 << 10;
/// What a scroll costs in an answer beside its coordinate, first line and text.
const SCROLL_BYTES: usize = 64;

/// A page being filled.
struct Page<'a> {
    view: &'a View<'a>,
    pattern: Option<Pattern>,
    scan: &'a ScanScrolls,
    bytes_max: usize,
    bytes: usize,
    rows: usize,
    /// Bytes of a key before its coordinate.
    coordinate_at: usize,
    reply: ScanReply,
}

/// One page of `scan`, whose tenant and phext are valid.
pub(crate) fn page(
    store: &StateStore,
    group: GroupId,
    tenant: &str,
    scan: &ScanScrolls,
) -> Result<ScanReply, ReadError> {
    // Only whole lines take more than the row at hand.
    let view = if scan.whole_lines { View::of_this_moment(store) } else { View::Now(store) };
    let kind = if scan.texts { Kind::Body } else { Kind::Header };
    let pattern = Pattern::parse(&scan.pattern)?;
    let ranges = ranges(&pattern, scan);
    let (low, high) = keys::phext_bounds(kind, group, tenant, &scan.phext);
    let asked = scan.max_bytes as usize;
    let mut page = Page {
        view: &view,
        pattern: (pattern != Pattern::ALL).then_some(pattern),
        scan,
        bytes_max: if asked == 0 { PAGE_BYTES } else { asked.min(PAGE_BYTES) },
        bytes: 0,
        rows: 0,
        coordinate_at: low.len(),
        reply: ScanReply::default(),
    };
    for (first, past) in ranges {
        let low = [low.as_slice(), &first].concat();
        let high =
            past.map_or_else(|| high.clone(), |past| [&low[..page.coordinate_at], &past].concat());
        if low >= high {
            continue;
        }
        view.for_each((low, high), |key, row| page.take(key, row))?;
        if page.reply.more {
            break;
        }
    }
    Ok(page.reply)
}

/// The ranges of coordinates to look in, in order, without what lies before the page.
fn ranges(pattern: &Pattern, scan: &ScanScrolls) -> Vec<KeyRange> {
    let all = *pattern == Pattern::ALL;
    let mut ranges = if all { vec![(Vec::new(), None)] } else { pattern.key_ranges() };
    for (first, past) in &mut ranges {
        if !scan.after.is_empty() {
            // The least key after it.
            let next = [scan.after.as_ref(), &[0]].concat();
            *first = std::mem::take(first).max(next);
        }
        if scan.numeric_only && past.as_deref().is_none_or(|past| *past > FIRST_NAMED_KEY[..]) {
            *past = Some(FIRST_NAMED_KEY.to_vec());
        }
    }
    ranges
}

impl Page<'_> {
    /// Takes one row, or ends the page before it; says whether to go on.
    fn take(&mut self, key: &[u8], row: &[u8]) -> Result<bool, StateError> {
        let coordinate = &key[self.coordinate_at..];
        let limit = self.scan.limit as usize;
        if self.rows == PAGE_ROWS || (limit > 0 && self.reply.scrolls.len() == limit) {
            return Ok(self.end());
        }
        if self.matches(coordinate)? {
            let coordinate = Bytes::copy_from_slice(coordinate);
            let scroll = if self.scan.texts {
                texted(coordinate, row)?
            } else {
                self.lined(coordinate, key, row)?
            };
            let text = scroll.text.as_ref().map_or(0, Bytes::len);
            if self.is_full(scroll.coordinate.len() + scroll.first_line.len() + text) {
                return Ok(self.end());
            }
            self.reply.scrolls.push(scroll);
        }
        self.rows += 1;
        self.reply.next_after = Bytes::copy_from_slice(&key[self.coordinate_at..]);
        Ok(true)
    }

    /// A scroll with its first line, whole if asked for.
    fn lined(&self, coordinate: Bytes, key: &[u8], row: &[u8]) -> Result<Scroll, StateError> {
        let row = value::decode_header_row(row)
            .map_err(|source| StateError::Value { what: "header", source })?;
        let scroll = bare(coordinate, &row.header);
        if self.scan.whole_lines
            && may_be_cut(&row)
            && let Some(line) = whole_line(self.view, &body_key(key))?
        {
            let (first_line, more_lines, line_cut) = line;
            return Ok(Scroll { first_line, more_lines, line_cut, ..scroll });
        }
        Ok(Scroll { first_line: row.first_line.to_owned(), more_lines: row.more, ..scroll })
    }

    fn matches(&self, coordinate: &[u8]) -> Result<bool, StateError> {
        let Some(pattern) = &self.pattern else { return Ok(true) };
        let coordinate = Coordinate::from_key(coordinate)
            .map_err(|source| StateError::Key { what: "scroll", source })?;
        Ok(pattern.matches(&coordinate))
    }

    /// Counts a scroll of so many bytes, unless it does not fit any more.
    fn is_full(&mut self, bytes: usize) -> bool {
        let full =
            !self.reply.scrolls.is_empty() && self.bytes + bytes + SCROLL_BYTES > self.bytes_max;
        if !full {
            self.bytes += bytes + SCROLL_BYTES;
        }
        full
    }

    fn end(&mut self) -> bool {
        self.reply.more = true;
        false
    }
}

/// Whether a first line may go on behind what its row keeps: a cut may leave a character's bytes
/// fewer than fit.
fn may_be_cut(row: &HeaderRow<'_>) -> bool {
    row.more && row.first_line.len() > FIRST_LINE_MAX - 4
}

/// The first line of the text whose body is under `key`, whether anything follows it, and whether
/// it is cut all the same.
fn whole_line(view: &View<'_>, key: &[u8]) -> Result<Option<(String, bool, bool)>, StateError> {
    let Some(row) = view.get(key)? else { return Ok(None) };
    Ok(Some(match body(&row)? {
        BodyRow::Whole(_, text) => line_of(text, text.len()),
        BodyRow::InParts(header) => line_of(&view.part(key, 0)?, header.length as usize),
    }))
}

/// The first line of a text of `length` bytes that begins with `start`.
fn line_of(start: &[u8], length: usize) -> (String, bool, bool) {
    let start = &start[..start.len().min(LINE_MAX)];
    let end = start.iter().position(|&byte| byte == b'\n');
    let line = &start[..end.unwrap_or(start.len())];
    // Texts are UTF-8, so only a character at the end can be in two.
    let line = match str::from_utf8(line) {
        Ok(line) => line,
        Err(error) => str::from_utf8(&line[..error.valid_up_to()]).unwrap_or_default(),
    };
    let more = line.len() < length;
    (line.to_owned(), more, more && end.is_none())
}

/// A scroll as its body row has it; one in parts without its text.
fn texted(coordinate: Bytes, row: &[u8]) -> Result<Scroll, StateError> {
    Ok(match body(row)? {
        BodyRow::Whole(header, text) => {
            with_text(coordinate, &header, Bytes::copy_from_slice(text))
        }
        BodyRow::InParts(header) => {
            Scroll { parts: parts_of(header.length.into()), ..bare(coordinate, &header) }
        }
    })
}

/// A scroll as answered, with its text.
pub(crate) fn with_text(coordinate: Bytes, header: &ScrollHeader, text: Bytes) -> Scroll {
    Scroll { text: Some(text), ..bare(coordinate, header) }
}

/// A scroll as answered, without its text.
pub(crate) fn bare(coordinate: Bytes, header: &ScrollHeader) -> Scroll {
    Scroll {
        coordinate,
        revision: header.revision,
        created_ms: header.created_ms,
        modified_ms: header.modified_ms,
        length: header.length.into(),
        hash: Bytes::copy_from_slice(&header.hash.to_be_bytes()),
        ..Scroll::default()
    }
}
