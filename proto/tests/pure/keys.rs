//! Keys: their bytes, which may never change, and their way back.

use proptest::prelude::*;
use ranch_proto::keys::{self, KeyError, Kind, LogTag};
use ranch_proto::{Coordinate, GroupId};

use crate::arbitrary::coordinate;

const SHARD: GroupId = GroupId(0x0102_0304);
const HASH: [u8; 16] = *b"0123456789abcdef";
const MS: u64 = 0x0000_019A_0B0C_0D0E;

#[test]
fn state_keys_are_these_bytes() {
    let origin = Coordinate::ORIGIN.to_key();
    for (key, expected) in [
        (keys::applied(SHARD), &b"\x01\x02\x03\x04\x01"[..]),
        (keys::usage(SHARD, "will"), b"\x01\x02\x03\x04\x10will"),
        (keys::phext(SHARD, "will", "index"), b"\x01\x02\x03\x04\x11will\0index"),
        (
            keys::header(SHARD, "will", "index", &origin),
            b"\x01\x02\x03\x04\x20will\0index\0\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
        ),
        (
            keys::body(SHARD, "will", "index", &origin),
            b"\x01\x02\x03\x04\x21will\0index\0\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
        ),
        (
            keys::body_part(&keys::header(SHARD, "will", "index", &origin), 258),
            b"\x01\x02\x03\x04\x22will\0index\0\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
              \0\0\x01\x02",
        ),
        (keys::upload(SHARD, "will", &HASH), b"\x01\x02\x03\x04\x33will\x000123456789abcdef"),
        (
            keys::staged(SHARD, "will", &HASH, 258),
            b"\x01\x02\x03\x04\x34will\x000123456789abcdef\0\0\x01\x02",
        ),
        (keys::dedup(SHARD, 258), b"\x01\x02\x03\x04\x30\0\0\0\0\0\0\x01\x02"),
        (keys::idempotent(SHARD, "will", &HASH), b"\x01\x02\x03\x04\x31will\x000123456789abcdef"),
        (
            keys::idempotent_expiry(SHARD, MS, "will", &HASH),
            b"\x01\x02\x03\x04\x32\0\0\x01\x9A\x0B\x0C\x0D\x0Ewill\x000123456789abcdef",
        ),
        (keys::meta_record(4, b"will"), b"\0\0\0\0\x40\x04will"),
        (keys::meta_epoch(), b"\0\0\0\0\x41"),
        (keys::clock(SHARD), b"\x01\x02\x03\x04\x38"),
        (keys::calls(SHARD, "will"), b"\x01\x02\x03\x04\x50will"),
        (keys::meta_dedup(258), b"\0\0\0\0\x42\0\0\0\0\0\0\x01\x02"),
    ] {
        assert_eq!(key, expected);
    }
}

#[test]
fn log_keys_are_these_bytes() {
    let golden = |tag: u8, index: [u8; 8]| {
        let mut key = vec![0, 0, 0, 0, 1, 2, 3, 4, tag];
        key.extend_from_slice(&index);
        key
    };
    let index = 0x0102_0304_0506_0708;
    assert_eq!(keys::log_vote(SHARD).to_vec(), golden(1, [0; 8]));
    assert_eq!(keys::log_purged(SHARD).to_vec(), golden(2, [0; 8]));
    assert_eq!(keys::log_committed(SHARD).to_vec(), golden(3, [0; 8]));
    assert_eq!(keys::log_entry(SHARD, index).to_vec(), golden(0x10, [1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(keys::read_log(&keys::log_vote(SHARD)), Ok((SHARD, LogTag::Vote, 0)));
    assert_eq!(keys::read_log(&keys::log_entry(SHARD, 9)), Ok((SHARD, LogTag::Entry, 9)));
    let bounds = keys::log_entry_bounds(SHARD, 5, 9);
    assert_eq!(bounds, (keys::log_entry(SHARD, 5), keys::log_entry(SHARD, 9)));
}

#[test]
fn log_bounds_hold_one_group() {
    for group in [GroupId(0), SHARD, GroupId(u32::MAX)] {
        let (low, high) = keys::log_bounds(group);
        let own =
            [keys::log_vote(group), keys::log_entry(group, 0), keys::log_entry(group, u64::MAX)];
        assert!(own.iter().all(|key| low <= *key && *key < high));
        let next = GroupId(group.0.wrapping_add(1));
        let foreign = keys::log_vote(next);
        assert!(foreign >= high || foreign < low);
    }
}

#[test]
fn foreign_log_keys_are_refused() {
    let entry = keys::log_entry(SHARD, 7);
    assert_eq!(keys::read_log(&entry[..8]), Err(KeyError::Truncated { part: "tag" }));
    assert_eq!(keys::read_log(&entry[..16]), Err(KeyError::Truncated { part: "index" }));
    let longer = [&entry[..], b"x"].concat();
    assert_eq!(keys::read_log(&longer), Err(KeyError::Overlong { part: "index" }));
    let mut other = entry;
    other[8] = 0x11;
    assert!(matches!(keys::read_log(&other), Err(KeyError::Kind { found: 0x11, .. })));
    other = entry;
    other[3] = 1;
    assert_eq!(keys::read_log(&other), Err(KeyError::GroupTooLarge));
}

#[test]
fn bounds_are_these_bytes() {
    let pair = |low: &[u8], high: &[u8]| (low.to_vec(), high.to_vec());
    let shard = GroupId(7);
    assert_eq!(keys::shard_bounds(shard), pair(b"\0\0\0\x07", b"\0\0\0\x08"));
    assert_eq!(keys::shard_bounds(GroupId(u32::MAX)), pair(&[0xFF; 4], &[0xFF; 5]));
    assert_eq!(keys::kind_bounds(shard, Kind::Dedup), pair(b"\0\0\0\x07\x30", b"\0\0\0\x07\x31"));
    let phext = keys::phext_bounds(Kind::Body, shard, "a", "p");
    assert_eq!(phext, pair(b"\0\0\0\x07\x21a\0p\0", b"\0\0\0\x07\x21a\0p\x01"));
    let tenant = keys::tenant_bounds(Kind::Header, shard, "a");
    assert_eq!(tenant, pair(b"\0\0\0\x07\x20a\0", b"\0\0\0\x07\x20a\x01"));
    let usage = keys::tenant_bounds(Kind::Usage, shard, "a");
    assert_eq!(usage, pair(b"\0\0\0\x07\x10a", b"\0\0\0\x07\x10a\0"));
    let calls = keys::tenant_bounds(Kind::Calls, shard, "a");
    assert_eq!(calls, pair(b"\0\0\0\x07\x50a", b"\0\0\0\x07\x50a\0"));
    let dedup = keys::dedup_bounds(shard, 9);
    assert_eq!(dedup, (keys::dedup(shard, 0), keys::dedup(shard, 9)));
    assert_eq!(keys::meta_dedup_bounds(9), (keys::meta_dedup(0), keys::meta_dedup(9)));
}

#[test]
fn expired_keys_lie_within_their_bounds_and_no_others() {
    let (low, high) = keys::idempotent_expiry_bounds(SHARD, MS);
    let at = |ms| keys::idempotent_expiry(SHARD, ms, "will", &HASH);
    assert!([at(0), at(MS - 1)].iter().all(|key| low <= *key && *key < high));
    assert!([at(MS), at(u64::MAX)].iter().all(|key| *key >= high));
}

#[test]
fn state_keys_are_read_back() {
    assert_eq!(keys::read_head(&keys::applied(SHARD)), Ok((SHARD, Kind::Applied)));
    assert_eq!(keys::read_usage(&keys::usage(SHARD, "will")), Ok("will"));
    assert_eq!(keys::read_calls(&keys::calls(SHARD, "will")), Ok("will"));
    assert_eq!(keys::read_phext(&keys::phext(SHARD, "will", "ä")), Ok(("will", "ä")));
    assert_eq!(keys::read_index(&keys::dedup(SHARD, 9)), Ok(9));
    assert_eq!(keys::read_index(&keys::meta_dedup(9)), Ok(9));
    let expiry = keys::idempotent_expiry(SHARD, MS, "will", &HASH);
    assert_eq!(keys::read_expiry(&expiry), Ok((MS, "will", HASH)));
    assert_eq!(keys::read_upload(&keys::upload(SHARD, "will", &HASH)), Ok(("will", HASH)));
    let record = keys::meta_record(4, b"will");
    assert_eq!(keys::read_meta_record(&record), Ok((4, &b"will"[..])));
}

#[test]
fn foreign_state_keys_are_refused() {
    let usage = keys::usage(SHARD, "will");
    assert!(matches!(keys::read_scroll(&usage), Err(KeyError::Kind { found: 0x10, .. })));
    assert!(matches!(keys::coordinate_part(&usage), Err(KeyError::Kind { found: 0x10, .. })));
    assert_eq!(keys::read_head(b"\0\0\0"), Err(KeyError::Truncated { part: "shard" }));
    assert_eq!(keys::read_head(b"\0\0\0\0"), Err(KeyError::Truncated { part: "kind" }));
    assert!(matches!(keys::read_head(b"\0\0\0\0\x99"), Err(KeyError::Kind { found: 0x99, .. })));
    assert_eq!(keys::read_usage(b"\0\0\0\0\x10\xFF"), Err(KeyError::NotUtf8 { part: "tenant" }));
    let mut cut = keys::header(SHARD, "will", "p", b"");
    cut.pop();
    assert_eq!(keys::read_scroll(&cut), Err(KeyError::Truncated { part: "phext" }));
    assert_eq!(keys::coordinate_part(&cut), Err(KeyError::Truncated { part: "phext" }));
    let mut index = keys::dedup(SHARD, 9);
    index.push(0);
    assert_eq!(keys::read_index(&index), Err(KeyError::Overlong { part: "index" }));
    let mut expiry = keys::idempotent_expiry(SHARD, MS, "will", &HASH);
    expiry.push(0);
    assert_eq!(keys::read_expiry(&expiry), Err(KeyError::Overlong { part: "hash" }));
    expiry.truncate(expiry.len() - 2);
    assert_eq!(keys::read_expiry(&expiry), Err(KeyError::Truncated { part: "hash" }));
    let mut upload = keys::upload(SHARD, "will", &HASH);
    upload.push(0);
    assert_eq!(keys::read_upload(&upload), Err(KeyError::Overlong { part: "id" }));
    upload.truncate(upload.len() - 2);
    assert_eq!(keys::read_upload(&upload), Err(KeyError::Truncated { part: "id" }));
    let record = keys::meta_record(4, b"");
    assert_eq!(keys::read_meta_record(&record[..5]), Err(KeyError::Truncated { part: "type" }));
}

#[test]
fn builders_replace_what_the_buffer_held() {
    let mut key = b"left over".to_vec();
    keys::header_into(&mut key, SHARD, "a", "p", b"c");
    assert_eq!(key, keys::header(SHARD, "a", "p", b"c"));
    keys::body_into(&mut key, SHARD, "a", "p", b"c");
    assert_eq!(key, keys::body(SHARD, "a", "p", b"c"));
    keys::set_kind(&mut key, Kind::Header);
    assert_eq!(key, keys::header(SHARD, "a", "p", b"c"));
    let body = keys::body(SHARD, "a", "p", b"c");
    keys::body_part_into(&mut key, &body, 7);
    assert_eq!(key, keys::body_part(&keys::header(SHARD, "a", "p", b"c"), 7));
    keys::usage_into(&mut key, SHARD, "a");
    assert_eq!(key, keys::usage(SHARD, "a"));
    keys::phext_into(&mut key, SHARD, "a", "p");
    assert_eq!(key, keys::phext(SHARD, "a", "p"));
}

const TENANT: &str = "[ab][ab-]{0,2}";
const PHEXT: &str = "[ab][ab ä-]{0,2}";

proptest! {
    #[test]
    fn scroll_keys_are_read_back(
        tenant in TENANT, phext in "[^\u{0}]{1,20}", coordinate in coordinate(),
    ) {
        let encoded = coordinate.to_key();
        for key in [
            keys::header(SHARD, &tenant, &phext, &encoded),
            keys::body(SHARD, &tenant, &phext, &encoded),
        ] {
            let parts = keys::read_scroll(&key).unwrap();
            prop_assert_eq!((parts.group, parts.tenant, parts.phext), (SHARD, &*tenant, &*phext));
            prop_assert_eq!(parts.coordinate, &encoded);
            prop_assert_eq!(keys::coordinate_part(&key).unwrap(), &encoded);
        }
    }

    /// R4: a scan of one phext or tenant never meets another's rows.
    #[test]
    fn bounds_hold_exactly_what_their_names_say(
        a in (TENANT, PHEXT), b in (TENANT, PHEXT), shards in (0..3_u32, 0..3_u32),
        coordinate in coordinate(),
    ) {
        let (own, other) = (GroupId(shards.0), GroupId(shards.1));
        let key = keys::body(other, &b.0, &b.1, &coordinate.to_key());
        let within = |(low, high): keys::Bounds| low <= key && key < high;
        prop_assert_eq!(within(keys::shard_bounds(own)), own == other);
        prop_assert_eq!(within(keys::kind_bounds(own, Kind::Body)), own == other);
        prop_assert!(!within(keys::kind_bounds(own, Kind::Header)));
        let tenant = keys::tenant_bounds(Kind::Body, own, &a.0);
        prop_assert_eq!(within(tenant), own == other && a.0 == b.0);
        let phext = keys::phext_bounds(Kind::Body, own, &a.0, &a.1);
        prop_assert_eq!(within(phext), own == other && a == b);
        let part = keys::body_part(&key, 3);
        let within = |(low, high): keys::Bounds| low <= part && part < high;
        prop_assert!(!within(keys::kind_bounds(own, Kind::Body)));
        let tenant = keys::tenant_bounds(Kind::BodyPart, own, &a.0);
        prop_assert_eq!(within(tenant), own == other && a.0 == b.0);
        let phext = keys::phext_bounds(Kind::BodyPart, own, &a.0, &a.1);
        prop_assert_eq!(within(phext), own == other && a == b);
    }
}

#[test]
fn everything_of_a_tenant_is_within_its_rows_and_nothing_of_another() {
    let origin = Coordinate::ORIGIN.to_key();
    let rows_of = |tenant: &str| {
        vec![
            keys::usage(SHARD, tenant),
            keys::phext(SHARD, tenant, "index"),
            keys::header(SHARD, tenant, "index", &origin),
            keys::body(SHARD, tenant, "\u{10FFFF}", &origin),
            keys::body_part(&keys::body(SHARD, tenant, "\u{10FFFF}", &origin), u32::MAX),
            keys::idempotent(SHARD, tenant, &[0xFF; 16]),
            keys::upload(SHARD, tenant, &[0xFF; 16]),
            keys::staged(SHARD, tenant, &[0xFF; 16], u32::MAX),
            keys::calls(SHARD, tenant),
        ]
    };
    let within = |key: &[u8]| {
        let mut ranges = keys::tenant_rows(SHARD, "will");
        ranges.any(|(low, high)| low.as_slice() <= key && key < high.as_slice())
    };
    assert!(rows_of("will").iter().all(|key| within(key)));
    // A new kind of a tenant's rows belongs into the list above, too.
    assert_eq!(keys::tenant_rows(SHARD, "will").count(), rows_of("will").len());
    for other in ["wil", "will-", "will0", "willa", "willi", "a", "z", "0"] {
        assert!(!rows_of(other).iter().any(|key| within(key)), "{other}");
    }
    let other_shard = keys::usage(GroupId(9), "will");
    assert!(!within(&other_shard) && !within(&keys::applied(SHARD)));
    assert!(!within(&keys::dedup(SHARD, 1)) && !within(&keys::clock(SHARD)));
}
