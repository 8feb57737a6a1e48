//! Patterns: what they cover, and where to look for it.

use proptest::prelude::*;
use ranch_proto::coordinate::FIRST_NAMED_KEY;
use ranch_proto::pattern::KeyRange;
use ranch_proto::{Coordinate, Pattern};

use crate::arbitrary::{component, coordinate, name, near};

fn within(range: &KeyRange, key: &[u8]) -> bool {
    range.0.as_slice() <= key && range.1.as_ref().is_none_or(|high| key < high.as_slice())
}

fn covers(pattern: &str, coordinate: &str) -> bool {
    let pattern = Pattern::parse(pattern).unwrap();
    pattern.matches(&Coordinate::parse(coordinate).unwrap())
}

/// The rules of patterns once more, over printed text and without any cleverness.
fn covers_by_text(pattern: &str, coordinate: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '-';
    let first = pattern.split('/').next().unwrap();
    let arms: Vec<Vec<&str>> = if !pattern.contains('.') && first.contains(letter) {
        if !coordinate.starts_with("1.1/") {
            return false;
        }
        vec![vec!["1", "1"], pattern.split('/').collect()]
    } else {
        pattern.split('/').map(|arm| arm.split('.').collect()).collect()
    };
    let given: Vec<Vec<&str>> = coordinate.split('/').map(|arm| arm.split('.').collect()).collect();
    pattern == "*"
        || arms.iter().zip(&given).all(|(parts, arm)| {
            parts.len() <= arm.len()
                && parts.iter().zip(arm).all(|(&part, word)| part == "*" || part == *word)
        })
}

#[test]
fn what_patterns_cover() {
    for (pattern, inside, outside) in [
        ("", "4.5.6/1.1.1/1.1.1", None),
        ("*", "a/b", None),
        ("*/*/*", "a.1/b/1.c", None),
        ("1.5.*/3.7.3/*", "1.5.9/3.7.3/2.2.2", Some("1.5.9/3.7.4/2.2.2")),
        ("2.1", "2.1.7/1.1.1/1.1.1", Some("2.10.1/1.1.1/1.1.1")),
        ("2.1", "2.1/a.1.1/1.1.1", Some("2/1.a.1/1.1.1")),
        ("2", "2.9.9/9.9.9/9.9.9", Some("21.1.1/1.1.1/1.1.1")),
        ("2/3/4", "2.1.1/3.1.1/4.1.1", Some("2.1.1/3.1.1/1.1.4")),
        ("2/3/", "2.1.1/3.1.1/4.1.1", Some("3.1.1/3.1.1/4.1.1")),
        ("1.1.1/1.1.1/1.1.1", "1.1.1/1.1.1/1.1.1", Some("1.1.1/1.1.1/1.1.2")),
        ("1.1.1;1.1.1%2F1", "1.1.1/1.1.1/1.9.9", Some("1.1.1/1.1.1/2.1.1")),
        (" 01 . 2 ", "1.2.3/1.1.1/1.1.1", Some("1.3.3/1.1.1/1.1.1")),
        ("*.2", "7.2.1/1.1.1/1.1.1", Some("2.1.1/1.1.1/1.1.1")),
        ("*/notes", "a.b/notes.1.1/1.1.1", Some("notes.1/a.1.1/1.1.1")),
        ("notes", "notes/todo", Some("notes2/todo")),
        ("notes", "1.1/notes.x.1/5.5.5", Some("1.1.1/notes.x.1/1.1.1")),
        ("notes/", "notes/todo/deep", Some("note/s")),
        ("notes/todo", "notes/todo", Some("notes/todo2")),
        ("notes/*/x", "notes/todo/x", Some("notes/todo/y")),
        ("notes.*", "notes.1/a.1.1/1.1.1", Some("notes/todo")),
        ("agent.1/notes", "agent.1.1/notes.x.1/1.1.1", Some("agent.2.1/notes.x.1/1.1.1")),
        ("*.*.*.*", "1.1.1.1/a.1.1/1.1.1", Some("1.1.1/1.1.1/1.1.1")),
    ] {
        assert!(covers(pattern, inside), "{pattern} should cover {inside}");
        if let Some(outside) = outside {
            assert!(!covers(pattern, outside), "{pattern} should not cover {outside}");
        }
    }
}

#[test]
fn malformed_patterns() {
    let (long, many) = (vec!["1"; 17].join("."), vec!["a"; 17].join("/"));
    for text in [
        "0",
        "1.0",
        "-1",
        "+1",
        "1..2",
        ".1",
        "1.",
        "/",
        "//",
        "1//2",
        "1/2/3/4",
        "a b",
        "**",
        "a*",
        "4294967296",
        "notes//x",
        "../..",
        "\\",
        "ä",
        "1.1.1/1.1.1/1.1.1//",
        "%41",
        &long,
        &many,
    ] {
        assert!(Pattern::parse(text).is_err(), "{text:?}");
    }
    let error = Pattern::parse("1..2").unwrap_err().to_string();
    assert!(error.starts_with("malformed pattern \"1..2\": expected "), "{error}");
}

#[test]
fn printed_patterns() {
    for (text, printed) in [
        ("", "*"),
        ("1.5.*;3.7.3/*", "1.5.*/3.7.3/*"),
        (" 01.2/ ", "1.2"),
        ("notes;*/2/", "notes/*/2"),
        ("*/*", "*/*"),
    ] {
        assert_eq!(Pattern::parse(text).unwrap().to_string(), printed);
    }
    assert_eq!(Pattern::parse("*").unwrap(), Pattern::ALL);
    assert_eq!(Pattern::parse("").unwrap(), Pattern::ALL);
    for spelled in ["*/", "*;", " * ", " * /"] {
        assert_eq!(Pattern::parse(spelled).unwrap(), Pattern::ALL, "{spelled}");
    }
}

#[test]
fn ranges_are_as_tight_as_the_literal_beginning() {
    let ranges = |text: &str| Pattern::parse(text).unwrap().key_ranges();
    let range = |low: &[u8], high: &[u8]| (low.to_vec(), Some(high.to_vec()));
    assert_eq!(Pattern::ALL.key_range(), (vec![], None));
    assert_eq!(Pattern::ALL.key_ranges(), [range(&[1], &[2]), range(&[2], &[3])]);
    assert_eq!(ranges("1.5.*/3"), [range(&[1, 1, 5], &[1, 1, 6]), range(&[2, 1, 5], &[2, 1, 6])]);
    assert_eq!(ranges("1.5/3"), [range(&[1, 1, 5], &[1, 1, 6]), range(&[2, 1, 5], &[2, 1, 6])]);
    let long =
        [range(&[1, 1, 5, 7, 0x80, 255], &[1, 1, 5, 7, 0x81]), range(&[2, 1, 5, 7], &[2, 1, 5, 8])];
    assert_eq!(ranges("1.5.7/255"), long);
    assert_eq!(
        ranges("notes/9"),
        [range(b"\x02\x01\x01\0\x90notes\0\x09", b"\x02\x01\x01\0\x90notes\0\x0A")]
    );
    assert_eq!(ranges("a.1/b"), [range(b"\x02\x90a\0\x01", b"\x02\x90a\0\x02")]);
    let (low, high) = Pattern::parse("1.5").unwrap().key_range();
    assert_eq!((low, high), range(&[1, 1, 5], &[2, 1, 6]));
}

/// A pattern made from a coordinate: shortened, with some components starred or replaced.
fn pattern_text() -> impl Strategy<Value = (String, Coordinate)> {
    let edits = proptest::collection::vec((0..10_u8, component()), 48);
    let path = (proptest::collection::vec(name(), 2..5), 1..5_usize).prop_map(|(words, keep)| {
        (words[..keep.min(words.len())].join("/"), Coordinate::parse(&words.join("/")).unwrap())
    });
    let arms = (coordinate(), edits, 1..=3_usize, 1..=3_usize).prop_map(
        |(coordinate, edits, arms, components)| {
            let text = coordinate.to_string();
            let mut edits = edits.into_iter();
            let mut edit = |word: &str| match edits.next().unwrap() {
                (0, other) => other,
                (1..=3, _) => "*".to_owned(),
                _ => word.to_owned(),
            };
            let arms = text.split('/').take(arms).map(|arm| {
                let kept = arm.split('.').take(components).map(&mut edit);
                kept.collect::<Vec<_>>().join(".")
            });
            (arms.collect::<Vec<_>>().join("/"), coordinate)
        },
    );
    prop_oneof![1 => path, 4 => arms]
}

proptest! {
    #[test]
    fn coverage_follows_the_rules_and_stays_in_range(
        (text, origin) in pattern_text(),
        other in coordinate(),
    ) {
        let pattern = Pattern::parse(&text).unwrap();
        for coordinate in [origin, other] {
            let covered = pattern.matches(&coordinate);
            prop_assert_eq!(covered, covers_by_text(&text, &coordinate.to_string()));
            let key = coordinate.to_key();
            let ranges = pattern.key_ranges();
            if covered {
                prop_assert!(within(&pattern.key_range(), &key));
                prop_assert_eq!(ranges.iter().filter(|range| within(range, &key)).count(), 1);
            }
            if ranges.iter().any(|range| within(range, &key)) {
                prop_assert!(within(&pattern.key_range(), &key));
            }
        }
    }

    #[test]
    fn a_coordinate_covers_itself(coordinate in coordinate()) {
        let pattern = Pattern::parse(&coordinate.to_string()).unwrap();
        prop_assert!(pattern.matches(&coordinate));
        prop_assert!(Pattern::ALL.matches(&coordinate));
    }

    #[test]
    fn printing_and_parsing_are_inverse((text, _) in pattern_text()) {
        let pattern = Pattern::parse(&text).unwrap();
        prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern));
    }

    #[test]
    fn any_text_parses_to_itself_or_not_at_all(text in "[ -~]{0,20}|[ab1.*/; -]{0,20}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }

    /// Whole arms of numbers, then some components of the next: the range alone decides.
    #[test]
    fn literal_beginnings_select_exactly_by_range(
        origin in near(), other in near(), length in 1..=9_usize,
    ) {
        let text = Coordinate::Numeric(origin).to_string();
        let end = text.match_indices(['.', '/']).nth(length - 1).map_or(text.len(), |(at, _)| at);
        let pattern = Pattern::parse(&text[..end]).unwrap();
        let numeric = pattern.key_ranges().remove(0);
        prop_assert!(within(&numeric, &Coordinate::Numeric(origin).to_key()));
        // Half of the others share the beginning, so that both answers come up.
        for shared in [0, length] {
            let mut other = other;
            other[..shared].copy_from_slice(&origin[..shared]);
            let other = Coordinate::Numeric(other);
            prop_assert_eq!(within(&numeric, &other.to_key()), pattern.matches(&other));
        }
        prop_assert!(numeric.1.unwrap().as_slice() <= FIRST_NAMED_KEY.as_slice());
    }
}
