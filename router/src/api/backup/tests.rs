//! Which paths lead where, and what copies are called.

use super::*;

#[test]
fn paths_lead_where_they_say() {
    for (path, expected) in [
        ("records", Some(Endpoint::Records)),
        ("copies", Some(Endpoint::Open)),
        ("copies/1-2-a", Some(Endpoint::Close("1-2-a"))),
        ("copies/1-2-a/7", Some(Endpoint::Piece("1-2-a", "7"))),
        ("copies/1-2-a/7/bytes", Some(Endpoint::Bytes("1-2-a", "7"))),
        ("copies/1-2-a/7/x", None),
        ("copies//7", None),
        ("", None),
    ] {
        assert_eq!(Endpoint::find(path), expected, "{path}");
    }
}

#[test]
fn names_of_copies_are_read_back() {
    let place = Place { shard: GroupId(3), node: NodeId(2), copy: 0xbeef };
    assert_eq!(place.name(), "3-2-beef");
    assert_eq!(Place::parse("3-2-beef").unwrap().copy, 0xbeef);
    for bad in ["", "3-2", "3-2-0", "3-2-x", "3-2-1-1", "-2-1"] {
        assert!(Place::parse(bad).is_none(), "{bad}");
    }
}
