//! Stored rows: their bytes, which may never change, and what is refused.

use proptest::prelude::*;
use ranch_proto::value::{
    BodyRow, FIRST_LINE_MAX, HEADER_BYTES, HeaderRow, PART_BYTES, SCROLL_MAX, ScrollHeader,
    ValueError, WHOLE_MAX, decode_body_row, decode_header_row, encode_body_row,
    encode_grown_header_row, encode_header_row, encode_manifest, parts_of, scroll_cost,
};

const HEADER: [u8; HEADER_BYTES] = *b"\x01\
    \x01\x02\x03\x04\x05\x06\x07\x08\
    \0\0\x01\x9A\0\0\0\x01\
    \0\0\x01\x9A\0\0\0\x02\
    \0\0\0\x05\
    \xE7\x8D\x8C\x8C\x65\xE8\xDD\x85\xA9\x4D\x9E\x0E\x4C\x5A\x54\x34";

fn described(text: &str) -> ScrollHeader {
    let revision = 0x0102_0304_0506_0708;
    ScrollHeader::describe(text.as_bytes(), revision, 0x019A_0000_0001, 0x019A_0000_0002)
}

fn header_row(text: &str) -> Vec<u8> {
    let mut row = b"left over".to_vec();
    encode_header_row(&described(text), text.as_bytes(), &mut row);
    row
}

fn body_row(text: &str) -> Vec<u8> {
    let mut row = b"left over".to_vec();
    encode_body_row(&described(text), text.as_bytes(), &mut row);
    row
}

#[test]
fn rows_are_these_bytes() {
    assert_eq!(header_row("hi\nho"), [&HEADER[..], b"\x01hi"].concat());
    assert_eq!(body_row("hi\nho"), [&HEADER[..], b"hi\nho"].concat());
    assert_eq!(header_row("hi")[HEADER_BYTES..], *b"\x00hi");
    assert_eq!(header_row("hi\n")[HEADER_BYTES..], *b"\x01hi");
    assert_eq!(header_row("\nhi")[HEADER_BYTES..], *b"\x01");
    assert_eq!(header_row("")[HEADER_BYTES..], *b"\x00");
}

#[test]
fn manifests_are_these_bytes() {
    let length = WHOLE_MAX as u32 + 1;
    let header = ScrollHeader { length, ..described("hi\nho") };
    let mut row = b"left over".to_vec();
    encode_manifest(&header, &mut row);
    let golden = [b"\x02", &HEADER[1..25], b"\0\x10\0\x01", &HEADER[29..]].concat();
    assert_eq!(row, golden);
    assert_eq!(decode_body_row(&row), Ok(BodyRow::InParts(header)));
    for cut in 1..row.len() {
        assert_eq!(decode_body_row(&row[..cut]), Err(ValueError::Truncated { found: cut }));
    }
    row.push(0);
    assert_eq!(decode_body_row(&row), Err(ValueError::Length { expected: length, found: 1 }));
    // A text that short is never in parts.
    encode_manifest(&described("hi\nho"), &mut row);
    assert_eq!(decode_body_row(&row), Err(ValueError::Length { expected: 5, found: 0 }));
}

#[test]
fn long_texts_are_in_parts_and_old_long_rows_are_still_read() {
    let part = PART_BYTES as u64;
    assert_eq!([0, 1, part, part + 1, 2 * part, 2 * part + 1].map(parts_of), [0, 0, 0, 2, 2, 3]);
    assert_eq!(parts_of(SCROLL_MAX), 64);
    let text = "x".repeat(PART_BYTES + 1);
    let row = body_row(&text);
    assert_eq!(decode_body_row(&row), Ok(BodyRow::Whole(described(&text), text.as_bytes())));
}

#[test]
fn a_scroll_that_grew_keeps_its_first_line() {
    for (before, first_line) in [("hi\nho".to_owned(), "hi"), ("x".repeat(999), &"x".repeat(256))] {
        let after = described(&"y".repeat(2_000));
        let mut row = Vec::new();
        encode_grown_header_row(&after, &header_row(&before), &mut row).unwrap();
        let expected = HeaderRow { header: after, first_line, more: true };
        assert_eq!(decode_header_row(&row).unwrap(), expected);
    }
    assert!(encode_grown_header_row(&described("x"), b"?", &mut Vec::new()).is_err());
}

#[test]
fn describing_a_text_hashes_it_like_libphext() {
    let header = described("hi\nho");
    assert_eq!(format!("{:032x}", header.hash), libphext::phext::checksum("hi\nho"));
    assert_eq!(header.length, 5);
}

#[test]
fn long_first_lines_are_cut_between_characters() {
    let first_line = |text: &str| {
        let row = header_row(text);
        let row = decode_header_row(&row).unwrap();
        (row.first_line.len(), row.more)
    };
    let max = FIRST_LINE_MAX;
    assert_eq!(first_line(&"x".repeat(max)), (max, false));
    assert_eq!(first_line(&"x".repeat(max + 1)), (max, true));
    assert_eq!(first_line(&format!("{}\nmore", "x".repeat(max))), (max, true));
    for (wide, bytes) in [("ö", 2), ("€", 3), ("🤠", 4)] {
        for shift in 0..bytes {
            let text = format!("{}{}", "x".repeat(shift), wide.repeat(max));
            let expected = shift + (max - shift) / bytes * bytes;
            assert_eq!(first_line(&text), (expected, true), "{wide} after {shift}");
        }
    }
}

#[test]
fn an_unknown_version_is_named() {
    for decode in [
        |row: &[u8]| decode_header_row(row).map(|row| row.header),
        |row: &[u8]| {
            decode_body_row(row).map(|row| match row {
                BodyRow::Whole(header, _) | BodyRow::InParts(header) => header,
            })
        },
        |row: &[u8]| ScrollHeader::decode(row).map(|row| row.0),
    ] {
        let mut row = header_row("");
        row[0] = 3;
        let error = decode(&row).unwrap_err();
        assert_eq!(error, ValueError::Version { found: 3 });
        let text = error.to_string();
        assert_eq!(text, "a scroll is stored in format version 3, but this version reads 1");
        assert_eq!(decode(&row[..0]), Err(ValueError::Truncated { found: 0 }));
    }
}

#[test]
fn damaged_rows_are_refused() {
    let row = header_row("hi\nho");
    for length in 1..=HEADER_BYTES {
        let truncated = Err(ValueError::Truncated { found: length });
        assert_eq!(decode_header_row(&row[..length]), truncated);
    }
    let with = |at: usize, byte: u8| {
        let mut row = row.clone();
        row[at] = byte;
        row
    };
    assert_eq!(decode_header_row(&with(HEADER_BYTES, 2)), Err(ValueError::Flag { found: 2 }));
    assert_eq!(decode_header_row(&with(HEADER_BYTES + 1, 0xFF)), Err(ValueError::FirstLine));
    let too_long = [&row[..], "x".repeat(FIRST_LINE_MAX).as_bytes()].concat();
    assert_eq!(decode_header_row(&too_long), Err(ValueError::FirstLine));
    let body = body_row("hi\nho");
    for length in HEADER_BYTES..body.len() {
        let found = length - HEADER_BYTES;
        assert_eq!(
            decode_body_row(&body[..length]),
            Err(ValueError::Length { expected: 5, found })
        );
    }
    let longer = [&body[..], b"!"].concat();
    assert_eq!(decode_body_row(&longer), Err(ValueError::Length { expected: 5, found: 6 }));
}

#[test]
fn a_scroll_counts_its_bytes_and_64() {
    assert_eq!([scroll_cost(0), scroll_cost(100)], [64, 164]);
}

proptest! {
    #[test]
    fn rows_are_read_back(text in "\\PC{0,200}(\n\\PC{0,9})?", numbers in any::<[u64; 3]>()) {
        let [revision, created_ms, modified_ms] = numbers;
        let bytes = text.as_bytes();
        let header = ScrollHeader::describe(bytes, revision, created_ms, modified_ms);
        let mut row = Vec::new();
        encode_body_row(&header, bytes, &mut row);
        prop_assert_eq!(decode_body_row(&row), Ok(BodyRow::Whole(header, bytes)));
        encode_header_row(&header, bytes, &mut row);
        let HeaderRow { header: read, first_line, more } = decode_header_row(&row).unwrap();
        prop_assert_eq!(read, header);
        let whole = text.split('\n').next().unwrap();
        prop_assert!(whole.starts_with(first_line) && first_line.len() <= FIRST_LINE_MAX);
        prop_assert!(first_line == whole || first_line.len() > FIRST_LINE_MAX - 4);
        prop_assert_eq!(more, first_line.len() < text.len());
    }
}
