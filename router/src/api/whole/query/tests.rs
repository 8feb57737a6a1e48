//! How sets are taken apart, and below what ranges are looked for.

use super::*;

fn coordinates(texts: &[&str]) -> Vec<Coordinate> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn sets_are_parted_as_sq_does_and_arms_may_be_too() {
    for (text, expected) in [
        ("", &[][..]),
        (" ,\n;", &[]),
        ("2.1.1/1.1.1/1.1.1, 1.1.1/1.1.1/1.1.1\n", &["1.1.1/1.1.1/1.1.1", "2.1.1/1.1.1/1.1.1"]),
        ("1.1.1/1.1.1/1.1.1;1.1.1/1.1.1/1.1.1;", &["1.1.1/1.1.1/1.1.1"]),
        ("1.1.1;1.1.1;1.1.2", &["1.1.1/1.1.1/1.1.2"]),
        ("notes/a;notes/b", &["notes/a", "notes/b"]),
        ("notes;a", &["notes/a"]),
    ] {
        assert_eq!(set(text).unwrap(), coordinates(expected), "{text}");
    }
    for bad in ["abc", "1.1.1/1.1.1", "0.1.1/1.1.1/1.1.1", "1.1.1/1.1.1/1.1.1 2.2.2"] {
        let reason = format!("Bad Request: invalid coordinate in set: {bad}");
        assert_eq!(set(bad).unwrap_err().to_string(), reason);
    }
}

#[test]
fn what_is_quoted_stays_short_and_on_one_line() {
    assert_eq!(quoted("a\nb\u{7}"), "a\\nb\\u{7}");
    assert_eq!(quoted(&"ä".repeat(1000)).chars().count(), QUOTED_MAX + 1);
}

#[test]
fn a_range_is_looked_for_below_what_its_ends_share() {
    for (from, to, pattern) in [
        ("1.1.1/1.1.1/1.1.1", "1.1.1/1.1.1/1.1.9", "1.1.1/1.1.1/1.1"),
        ("1.1.1/1.1.1/1.1.1", "1.1.1/2.1.1/1.1.1", "1.1.1"),
        ("1.1.1/1.1.1/1.1.1", "1.1.2/1.1.1/1.1.1", "1.1"),
        ("1.1.1/1.1.1/1.1.1", "2.1.1/1.1.1/1.1.1", ""),
        ("1.1.1/1.1.1/1.1.1", "notes/todo", ""),
    ] {
        let [from, to] = [from, to].map(|text| text.parse().unwrap());
        assert_eq!(common(&from, &to), pattern);
    }
}
