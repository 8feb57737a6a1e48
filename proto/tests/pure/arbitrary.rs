//! Generators of coordinates. Small numbers and few names prevail, so that two coordinates often
//! share a beginning.

use proptest::collection::vec;
use proptest::prelude::*;
use ranch_proto::Coordinate;

pub fn number() -> impl Strategy<Value = u32> {
    let edges = [0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x1_0000, 0xFF_FFFF, 0x100_0000, u32::MAX];
    prop_oneof![6 => 1..4_u32, 2 => proptest::sample::select(edges.to_vec()), 1 => 1..=u32::MAX]
}

pub fn name() -> impl Strategy<Value = String> {
    let any = "[A-Za-z0-9_][A-Za-z0-9_-]{0,63}"
        .prop_filter("a number", |name| !name.bytes().all(|byte| byte.is_ascii_digit()));
    prop_oneof![3 => "[ab][ab-]{0,2}", 1 => any]
}

pub fn component() -> impl Strategy<Value = String> {
    prop_oneof![number().prop_map(|number| number.to_string()), name()]
}

pub fn numeric() -> impl Strategy<Value = [u32; 9]> {
    proptest::array::uniform9(number())
}

/// Small enough to be written as phext text.
pub fn near() -> impl Strategy<Value = [u32; 9]> {
    proptest::array::uniform9(1..5_u32)
}

/// Three arms with a name at a random place.
pub fn named_text() -> impl Strategy<Value = String> {
    let arms = proptest::array::uniform3(vec(component(), 1..=5));
    (arms, 0..3_usize, any::<proptest::sample::Index>(), name()).prop_map(
        |(mut arms, arm, at, name)| {
            let at = at.index(arms[arm].len());
            arms[arm][at] = name;
            // A dot tells arms from a path; without one, a padded arm means the same.
            if arms.iter().all(|arm| arm.len() == 1) {
                arms[2].push("1".to_owned());
            }
            arms.map(|arm| arm.join(".")).join("/")
        },
    )
}

pub fn coordinate() -> impl Strategy<Value = Coordinate> {
    prop_oneof![
        numeric().prop_map(Coordinate::Numeric),
        named_text().prop_map(|text| Coordinate::parse(&text).unwrap()),
    ]
}
