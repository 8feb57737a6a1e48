//! Phext text, with libphext as the oracle, and phext names.

use std::collections::{BTreeMap, HashMap};

use libphext::phext as oracle;
use proptest::prelude::*;
use ranch_proto::phext::{
    Checksum, DELIMITERS, PhextName, PhextNameError, PhextNameFault, PhextReadError, PhextReader,
    PhextWriteError, PhextWriter, checksum_hex, delimiters_between, is_delimiter,
};

use crate::arbitrary::near;

type Scrolls = Vec<([u32; 9], String)>;

/// Reads `text` in pieces of these lengths, the last one over and over.
fn read(text: &[u8], pieces: &[usize]) -> Result<Scrolls, PhextReadError> {
    let (mut reader, mut scrolls, mut rest) = (PhextReader::new(), Vec::new(), text);
    let mut lengths = pieces.iter().chain(pieces.last().into_iter().cycle());
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
        while let Some(scroll) = reader.read(&mut piece)? {
            scrolls.push(scroll);
        }
        rest = after;
    }
    scrolls.extend(reader.finish()?);
    Ok(scrolls)
}

fn write(scrolls: &[([u32; 9], String)]) -> String {
    let (mut writer, mut out) = (PhextWriter::new(), Vec::new());
    for (coordinate, text) in scrolls {
        writer.write(*coordinate, text.as_bytes(), &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn theirs(coordinate: [u32; 9]) -> oracle::Coordinate {
    oracle::to_coordinate(&ranch_proto::Coordinate::Numeric(coordinate).to_string())
}

fn exploded(text: &str) -> Scrolls {
    let mut scrolls: Scrolls = oracle::explode(text)
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(at, text)| {
            let (z, y, x) = (at.z, at.y, at.x);
            let all = [
                z.library,
                z.shelf,
                z.series,
                y.collection,
                y.volume,
                y.book,
                x.chapter,
                x.section,
                x.scroll,
            ];
            (all.map(|component| u32::try_from(component).unwrap()), text)
        })
        .collect();
    scrolls.sort();
    scrolls
}

#[test]
fn delimiters_are_those_nine_bytes() {
    let found: Vec<u8> = (0..=255).filter(|&byte| is_delimiter(byte)).collect();
    assert_eq!(found, [0x01, 0x17, 0x18, 0x19, 0x1A, 0x1C, 0x1D, 0x1E, 0x1F]);
    assert!(DELIMITERS.iter().all(|&byte| is_delimiter(byte)));
}

#[test]
fn each_delimiter_moves_its_dimension_and_sets_back_the_lower_ones() {
    for (dimension, delimiter) in DELIMITERS.into_iter().enumerate() {
        let before: Vec<u8> = DELIMITERS.to_vec();
        let text = [&before[..], &[delimiter], b"x"].concat();
        let mut expected = [2; 9];
        expected[dimension] += 1;
        expected[dimension + 1..].fill(1);
        assert_eq!(read(&text, &[1]), Ok(vec![(expected, "x".to_owned())]));
    }
}

#[test]
fn invalid_utf8_is_found_where_it_is() {
    assert_eq!(read(b"ab\x17c\xFFd", &[1]), Err(PhextReadError::NotUtf8 { offset: 4 }));
    assert_eq!(read("ab\x17ö".as_bytes(), &[4]).unwrap().len(), 2);
    assert_eq!(read(b"ab\x17c\xC3", &[9]), Err(PhextReadError::NotUtf8 { offset: 4 }));
    assert_eq!(read(b"\xC3\x17\xB6", &[9]), Err(PhextReadError::NotUtf8 { offset: 0 }));
}

#[test]
fn a_scroll_over_the_limit_is_refused_before_it_is_whole() {
    let mut reader = PhextReader::with_limit(4);
    assert!(reader.read(&mut &b"1234\x171234"[..]).unwrap().is_some());
    let mut reader = PhextReader::with_limit(4);
    let mut piece = &b"123\x17123"[..];
    assert!(reader.read(&mut piece).unwrap().is_some());
    assert_eq!(reader.read(&mut piece), Ok(None));
    let too_large = PhextReadError::ScrollTooLarge { offset: 4, limit: 4 };
    assert_eq!(reader.read(&mut &b"45"[..]), Err(too_large));
}

#[test]
fn scrolls_out_of_order_are_not_written() {
    let (mut writer, mut out) = (PhextWriter::new(), Vec::new());
    let (first, second) = ([1; 9], [1, 1, 1, 1, 1, 1, 1, 1, 2]);
    writer.write(first, b"a", &mut out).unwrap();
    let error = PhextWriteError::OutOfOrder { last: first, next: first };
    assert_eq!(writer.write(first, b"b", &mut out), Err(error));
    writer.write(second, b"c", &mut out).unwrap();
    let error = PhextWriteError::OutOfOrder { last: second, next: first };
    assert_eq!(writer.write(first, b"d", &mut out), Err(error));
    assert_eq!(out, b"a\x17c");
}

#[test]
fn far_coordinates_are_counted_without_being_written() {
    let far = [u32::MAX; 9];
    assert_eq!(delimiters_between([1; 9], far), 9 * u64::from(u32::MAX - 1));
    assert_eq!(delimiters_between(far, [1; 9]), 0);
    assert_eq!(PhextWriter::new().delimiters_to([1, 1, 1, 1, 1, 1, 3, 1, 5]), 2 + 4);
}

#[test]
fn names() {
    let longest = "n".repeat(200);
    for good in ["index", "a b", "ä€🤠", ".", ".hidden", "a.b", "*", "%2F", &longest] {
        assert_eq!(PhextName::parse(good).unwrap().as_str(), good);
    }
    for bad in ["/", "a/b", "\\", "a\\b", "..", "../x", "a..b", "/\0", &"/".repeat(300)] {
        let error = PhextName::parse(bad).unwrap_err();
        assert_eq!(error, PhextNameError::Traversal, "{bad:?}");
        assert_eq!(error.to_string(), "Forbidden: Invalid phext path");
    }
    let too_long = "ä".repeat(101);
    for (bad, fault) in [
        ("", PhextNameFault::Empty),
        (&*too_long, PhextNameFault::TooLong { bytes: 202 }),
        ("a\0b", PhextNameFault::Control),
        ("a\nb", PhextNameFault::Control),
        ("a\u{7F}", PhextNameFault::Control),
        ("a\u{85}", PhextNameFault::Control),
    ] {
        assert_eq!(PhextName::parse(bad), Err(PhextNameError::Invalid { fault }), "{bad:?}");
    }
    assert_eq!(PhextName::default().as_str(), "index");
    assert!(PhextName::parse("index").is_ok());
}

const TEXT: &str = "[ab\n\u{1b}\u{16}\u{2}ö€🤠]{0,6}";
const PHEXT_TEXT: &str = "([ab\nö🤠]{0,3}[\u{1}\u{17}-\u{1a}\u{1c}-\u{1f}]{0,3}){0,20}";

proptest! {
    #[test]
    fn reading_is_exploding(text in PHEXT_TEXT) {
        prop_assert_eq!(read(text.as_bytes(), &[usize::MAX]), Ok(exploded(&text)));
    }

    #[test]
    fn pieces_make_no_difference(
        text in PHEXT_TEXT, pieces in proptest::collection::vec(1..9_usize, 1..9),
    ) {
        prop_assert_eq!(read(text.as_bytes(), &pieces), read(text.as_bytes(), &[usize::MAX]));
    }

    #[test]
    fn writing_what_was_read_is_normalizing(text in PHEXT_TEXT) {
        let written = write(&read(text.as_bytes(), &[usize::MAX]).unwrap());
        prop_assert_eq!(&written, &oracle::normalize(&text));
        prop_assert_eq!(write(&read(written.as_bytes(), &[1]).unwrap()), written);
    }

    #[test]
    fn writing_is_imploding(scrolls in proptest::collection::btree_map(near(), TEXT, 0..9)) {
        let present: BTreeMap<_, _> =
            scrolls.clone().into_iter().filter(|(_, text)| !text.is_empty()).collect();
        let map: HashMap<_, _> =
            present.iter().map(|(at, text)| (theirs(*at), text.clone())).collect();
        let all: Scrolls = scrolls.into_iter().collect();
        let written = write(&all);
        prop_assert_eq!(&written, &oracle::implode(map));
        let read = read(written.as_bytes(), &[3]).unwrap();
        prop_assert_eq!(read, present.into_iter().collect::<Scrolls>());
    }

    #[test]
    fn delimiters_are_counted_right(a in near(), b in near()) {
        let (from, to) = (a.min(b), a.max(b));
        let scrolls = [(from, "x".to_owned()), (to, "y".to_owned())];
        let written = write(&scrolls[..if from == to { 1 } else { 2 }]);
        let count = written.bytes().filter(|&byte| is_delimiter(byte)).count() as u64;
        prop_assert_eq!(count, delimiters_between([1; 9], from) + delimiters_between(from, to));
    }

    #[test]
    fn checksums_are_libphexts(pieces in proptest::collection::vec("\\PC{0,99}", 0..9)) {
        let mut checksum = Checksum::new();
        for piece in &pieces {
            checksum.update(piece.as_bytes());
        }
        prop_assert_eq!(checksum.hex(), oracle::checksum(&pieces.concat()));
        prop_assert_eq!(checksum_hex(checksum.value()), checksum.hex());
    }
}
