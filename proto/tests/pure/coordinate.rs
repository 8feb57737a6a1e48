//! Coordinates: spellings, order, encoding.

use proptest::prelude::*;
use ranch_proto::Coordinate;
use ranch_proto::coordinate::FIRST_NAMED_KEY;

use crate::arbitrary::{coordinate, name, named_text, numeric};

fn printed(text: &str) -> String {
    Coordinate::parse(text).unwrap().to_string()
}

#[test]
fn spellings_of_one_numeric_coordinate() {
    let expected = Coordinate::Numeric([7, 11, 13, 3, 8, 5, 1, 12, 4_294_967_295]);
    for text in [
        "7.11.13/3.8.5/1.12.4294967295",
        "7.11.13;3.8.5;1.12.4294967295",
        "7.11.13/3.8.5;1.12.4294967295",
        "7.11.13%2F3.8.5%2f1.12.4294967295",
        "7.11.13%3B3.8.5%3b1%2E12.4294967295",
        " 7. 11 .13 / 3.8.5/1.12.4294967295\n",
        "007.011.0013/03.8.5/1.12.00000000000000000004294967295",
        "%207.11.13/3.8.5/1.12.4294967295%20",
    ] {
        assert_eq!(Coordinate::parse(text).unwrap(), expected, "{text}");
    }
    assert_eq!(expected.to_string(), "7.11.13/3.8.5/1.12.4294967295");
}

#[test]
fn spellings_of_named_coordinates() {
    for (text, expected) in [
        ("notes/todo", "1.1/notes.todo.1/1.1.1"),
        (" notes ; todo ", "1.1/notes.todo.1/1.1.1"),
        ("notes%2Ftodo", "1.1/notes.todo.1/1.1.1"),
        ("notes/todo/1", "1.1/notes.todo.1/1.1.1"),
        ("a/b/c", "1.1/a.b.c/1.1.1"),
        ("a/b/c/d", "1.1/a.b.c.d/1.1.1"),
        ("notes/2026", "1.1/notes.2026.1/1.1.1"),
        ("notes/007", "1.1/notes.7.1/1.1.1"),
        ("2026-01/x_y", "1.1/2026-01.x_y.1/1.1.1"),
        ("_a/b", "1.1/_a.b.1/1.1.1"),
        ("test-agent.1.1/test.multi.item1/1.1.1", "test-agent.1.1/test.multi.item1/1.1.1"),
        ("agent/x.1/1", "agent/x.1.1/1.1.1"),
        ("1.1.1/1.1.1/1.1.x", "1.1.1/1.1.1/1.1.x"),
        ("1/1/a.b", "1/1.1.1/a.b.1"),
        ("1/1.1.1.1/a", "1/1.1.1.1/a.1.1"),
        ("1.2.3.4/1.1.1/a.1.1", "1.2.3.4/1.1.1/a.1.1"),
    ] {
        assert_eq!(printed(text), expected, "{text}");
    }
    let sixteen = vec!["a"; 16].join("/");
    assert_eq!(printed(&sixteen), format!("1.1/{}/1.1.1", vec!["a"; 16].join(".")));
    let longest = format!("{}/a", "n".repeat(64));
    assert!(Coordinate::parse(&longest).is_ok());
}

#[test]
fn malformed_coordinates() {
    let (long_name, long_path) = (format!("{}/a", "n".repeat(65)), vec!["a"; 17].join("/"));
    let long_arm = format!("{}/a/1", vec!["1"; 17].join("."));
    for text in [
        "",
        " ",
        "abc",
        "5",
        "2.2.2",
        "../..",
        "/",
        "//",
        ".",
        "..",
        "*",
        "1.1.1/1.1.1",
        "1.1.1/1.1.1/1.1.1/1.1.1",
        "1.1.1/1.1.1/1.1",
        "1.1.1/1.1.1/1.1.1.1",
        "1.1/1.1.1/1.1.1",
        "0.1.1/1.1.1/1.1.1",
        "1.1.1/1.1.1/1.1.0",
        "1.1.1/1.1.1/1.1.4294967296",
        "1.1.1/1.1.1/1.1.18446744073709551617",
        "+1.1.1/1.1.1/1.1.1",
        "-1.1.1/1.1.1/1.1.1",
        "1.1.1/1.1.1/1.1.",
        "1.1.1/1.1.1/1..1",
        "1.1.1/1.1.1/1.1.1/",
        "/1.1.1/1.1.1/1.1.1",
        "1.1.1\\1.1.1\\1.1.1",
        "1.1.1,1.1.1,1.1.1",
        "1 2.1.1/1.1.1/1.1.1",
        "1.1.1/1.1.1/1.1.1e0/",
        "١.1.1/1.1.1/1.1.1",
        "notes/",
        "/notes",
        "notes//todo",
        "2026/notes",
        "1/a/b",
        "1/2/3",
        "notes/0",
        "notes/-x",
        "-x/notes",
        "notes/to do",
        "notes/tödo",
        "notes/../x",
        "a.b",
        "a.b/c",
        "a.b/c/d/e",
        "a.0/c/d",
        "a.1/c/4294967296",
        "a.*/b/c",
        "notes%/todo",
        "notes%5Ctodo",
        "notes%2",
        "a\0/b",
        &long_name,
        &long_path,
        &long_arm,
    ] {
        assert!(Coordinate::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_error_quotes_the_text_and_shows_the_forms() {
    let error = Coordinate::parse("2.2.2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "malformed coordinate \"2.2.2\": expected nine numbers like 1.1.1/1.1.1/1.1.1, \
         a named form like agent.1.1/notes.x.1/1.1.1, or a path like notes/todo"
    );
    let quoted = Coordinate::parse("a\n\"b").unwrap_err().to_string();
    assert!(quoted.starts_with(r#"malformed coordinate "a\n\"b": "#), "{quoted}");
    let long = Coordinate::parse(&"ö".repeat(10_000)).unwrap_err().to_string();
    assert!(long.contains(&format!("\"{}…\"", "ö".repeat(80))), "{long}");
    assert!(long.len() < 500);
}

#[test]
fn namespaced_with_the_tenant_in_front() {
    assert_eq!(Coordinate::ORIGIN.namespaced("will"), "will.1.1.1/1.1.1/1.1.1");
    let path = Coordinate::parse("notes/todo").unwrap();
    assert_eq!(path.namespaced("alice"), "alice.1.1/notes.todo.1/1.1.1");
}

#[test]
fn order_is_numeric_then_named_component_by_component() {
    let ordered = [
        "1.1.1/1.1.1/1.1.1",
        "1.1.1/1.1.1/1.1.2",
        "1.1.1/1.1.1/1.1.9",
        "1.1.1/1.1.1/1.1.10",
        "1.1.1/1.1.1/1.1.127",
        "1.1.1/1.1.1/1.1.128",
        "1.1.1/1.1.1/1.1.255",
        "1.1.1/1.1.1/1.1.256",
        "1.1.1/1.1.1/1.1.65536",
        "1.1.1/1.1.1/1.2.1",
        "1.1.1/1.2.1/1.1.1",
        "13.1.1/1.1.1/1.1.1",
        "4294967295.1.1/1.1.1/1.1.1",
        // Named: a shorter arm before its extensions, numbers before names.
        "1/a.1.1/1.1.1",
        "1.1/9.a.1/1.1.1",
        "1.1/a.1.1/1.1.1",
        "1.1/a.2.1/1.1.1",
        "1.1/a.2.1.1/1.1.1",
        "1.1/a.a.1/1.1.1",
        "1.1/a-.1.1/1.1.1",
        "1.1/aa.1.1/1.1.1",
        "1.1/b.1.1/1.1.1",
        "1.1.1/a.1.1/1.1.1",
        "2.1/a.1.1/1.1.1",
        "A/1.1.1/1.1.1",
        "a/1.1.1/1.1.1",
        "a/1.1.1/1.1.a",
    ];
    let coordinates = ordered.map(|text| Coordinate::parse(text).unwrap());
    assert!(coordinates.is_sorted_by(|a, b| a < b));
    assert!(coordinates.map(|coordinate| coordinate.to_key()).is_sorted_by(|a, b| a < b));
}

#[test]
fn keys_are_these_bytes() {
    for (text, key) in [
        ("1.1.1/1.1.1/1.1.1", &b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"[..]),
        (
            "127.128.255/256.65535.65536/16777215.16777216.4294967295",
            b"\x01\x7F\x80\x80\x80\xFF\x81\x01\x00\x81\xFF\xFF\x82\x01\x00\x00\x82\xFF\xFF\xFF\
              \x83\x01\x00\x00\x00\x83\xFF\xFF\xFF\xFF",
        ),
        ("notes/todo", b"\x02\x01\x01\x00\x90notes\0\x90todo\0\x01\x00\x01\x01\x01\x00"),
        (
            "a-1.300/2.x.1.4/1.1.1",
            b"\x02\x90a-1\0\x81\x01\x2C\0\x02\x90x\0\x01\x04\0\x01\x01\x01\0",
        ),
    ] {
        let coordinate = Coordinate::parse(text).unwrap();
        assert_eq!(coordinate.to_key(), key, "{text}");
        assert_eq!(Coordinate::from_key(key).unwrap(), coordinate);
    }
    assert_eq!(FIRST_NAMED_KEY, [0x02]);
}

#[test]
fn other_bytes_are_no_key() {
    for key in [
        &b""[..],
        b"\x01",
        b"\x00",
        b"\x03\x01",
        b"\x01\x01\x01\x01\x01\x01\x01\x01\x01",
        b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
        b"\x01\x00\x01\x01\x01\x01\x01\x01\x01\x01",
        b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x80\x7F",
        b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x80",
        b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x81\x00\xFF",
        b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x84\x01",
        b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x90a\0",
        // Named: no name, an empty arm, a short arm, an empty or odd name, no end.
        b"\x02\x01\0\x01\x01\x01\0\x01\x01\x01\0",
        b"\x02\0\x90a\0\x01\x01\0\x01\x01\x01\0",
        b"\x02\x01\0\x90a\0\x01\0\x01\x01\x01\0",
        b"\x02\x01\0\x90\0\x01\x01\0\x01\x01\x01\0",
        b"\x02\x01\0\x90-\0\x01\x01\0\x01\x01\x01\0",
        b"\x02\x01\0\x907\0\x01\x01\0\x01\x01\x01\0",
        b"\x02\x01\0\x90\xC3\xA4\0\x01\x01\0\x01\x01\x01\0",
        b"\x02\x01\0\x90a\0\x01\x01\0\x01\x01\x01",
        b"\x02\x01\0\x90a",
        b"\x02\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
          \x01\0\x90a\0\x01\x01\0\x01\x01\x01\0",
    ] {
        assert!(Coordinate::from_key(key).is_err(), "{key:02X?}");
    }
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(coordinate in coordinate()) {
        prop_assert_eq!(Coordinate::parse(&coordinate.to_string()), Ok(coordinate));
    }

    #[test]
    fn encoding_and_decoding_are_inverse(coordinate in coordinate()) {
        prop_assert_eq!(Coordinate::from_key(&coordinate.to_key()), Ok(coordinate));
    }

    #[test]
    fn bytes_that_decode_are_the_key_of_what_they_decode_to(
        coordinate in coordinate(),
        at in any::<proptest::sample::Index>(),
        bits in any::<u8>(),
    ) {
        let mut key = coordinate.to_key();
        let at = at.index(key.len());
        key[at] ^= bits;
        if let Ok(decoded) = Coordinate::from_key(&key) {
            prop_assert_eq!(decoded.to_key(), key);
        }
    }

    #[test]
    fn keys_are_ordered_like_coordinates(a in coordinate(), b in coordinate()) {
        prop_assert_eq!(a.cmp(&b), a.to_key().cmp(&b.to_key()));
    }

    #[test]
    fn numeric_keys_lie_below_named_ones(coordinate in coordinate()) {
        let below = coordinate.to_key().as_slice() < FIRST_NAMED_KEY.as_slice();
        prop_assert_eq!(coordinate.is_numeric(), below);
        prop_assert_eq!(coordinate.numeric().is_some(), below);
    }

    #[test]
    fn no_key_begins_another(a in coordinate(), b in coordinate()) {
        prop_assume!(a != b);
        prop_assert!(!a.to_key().starts_with(&b.to_key()));
    }

    #[test]
    fn any_text_parses_to_itself_or_not_at_all(text in "[ -~äö\u{0}]{0,30}|[ab1.*/;% -]{0,30}") {
        if let Ok(coordinate) = Coordinate::parse(&text) {
            prop_assert_eq!(Coordinate::parse(&coordinate.to_string()), Ok(coordinate));
        }
    }

    #[test]
    fn named_text_never_becomes_numeric(text in named_text()) {
        prop_assert!(!Coordinate::parse(&text).unwrap().is_numeric());
    }

    #[test]
    fn paths_are_their_three_arm_form(words in proptest::collection::vec(name(), 2..=16)) {
        let arm = format!("1.1/{}/1", words.join("."));
        prop_assert_eq!(Coordinate::parse(&words.join("/")), Coordinate::parse(&arm));
    }

    #[test]
    fn libphext_reads_and_orders_numeric_coordinates_alike(a in numeric(), b in numeric()) {
        let (a, b) = (Coordinate::Numeric(a), Coordinate::Numeric(b));
        let theirs = [&a, &b].map(|own| libphext::phext::to_coordinate(&own.to_string()));
        prop_assert_eq!(theirs[0].to_string(), a.to_string());
        prop_assert_eq!(theirs[0].cmp(&theirs[1]), a.cmp(&b));
        prop_assert_eq!(Coordinate::parse(&theirs[1].to_urlencoded()), Ok(b));
    }
}
