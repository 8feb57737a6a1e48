//! `where`: a coordinate calculated from a text, in SQ's two ways. A function of the text alone;
//! nothing is stored or looked up.
//!
//! - `xor` (the default): the text is read as phext text. The coordinates of all its scrolls of at
//!   least `limit` bytes (default 100) are combined component by component with exclusive or,
//!   beginning with the origin.
//! - `checksum`: the 32 hex digits of the text's XXH3-128, as ASCII, make nine numbers of two bytes
//!   each, big-endian, from library to scroll; what is left over is not used. A component is its
//!   number modulo 999. `limit` is only repeated in the answer.
//!
//! A component that comes out as 0 is 1, in both, so that the answer can be used as a coordinate;
//! SQ says 0 after `xor`, which is none.

use hyper::body::Incoming;
use ranch_proto::phext::{DELIMITERS, SCROLL_BYTES_MAX, checksum_hex, is_delimiter};
use ranch_proto::{Coordinate, Shards};
use xxhash_rust::xxh3::xxh3_128;

use crate::api::{Call, scrolls};
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::http::body;

/// Shortest scroll that counts when nothing is said, in bytes.
const LIMIT: u64 = 100;

/// Answers `where`.
pub async fn answer<S: Shards>(call: &Call<'_, S>, body: Incoming) -> Result<Answer, ApiError> {
    // It has no influence, but a request with a wrong one is not one to be answered.
    scrolls::phext(call.query)?;
    let given = |name| call.query.get(name).filter(|value| !value.is_empty());
    let limit = match given("limit") {
        Some(_) => call.query.number("limit")?.unwrap_or(LIMIT),
        None => LIMIT,
    };
    let limit_bytes = SCROLL_BYTES_MAX as u64;
    let text = body::read(body, limit_bytes, call.app.options.body_timeout).await?;
    let text = if text.is_empty() {
        call.query.get("s").unwrap_or_default()
    } else {
        let text = std::str::from_utf8(&text);
        text.map_err(|error| ApiError::NotUtf8 { at: error.valid_up_to() })?
    };
    let (algorithm, coordinate) = match given("algo") {
        None | Some("xor") => ("xor", by_xor(text.as_bytes(), limit)),
        Some("checksum") => ("checksum", by_checksum(text.as_bytes())),
        Some(_) => {
            return Err(ApiError::BadParameter { field: "algo", expected: "xor or checksum" });
        }
    };
    let coordinate = Coordinate::Numeric(coordinate.map(|component| component.max(1)));
    Ok(answer::text(format!(
        "Calculated coordinate {coordinate} for input (algo={algorithm}, limit={limit})."
    )))
}

/// The exclusive or of the places of all scrolls with `limit` bytes or more.
///
/// As libphext takes phext text apart: delimiters that follow each other part no scrolls, and when
/// the text ends with such, an empty scroll before them is the last.
fn by_xor(text: &[u8], limit: u64) -> [u32; 9] {
    let mut composite = [1; 9];
    let mut at = [1; 9];
    let mut rest = text;
    loop {
        let begin = at;
        while let Some((delimiter, after)) = rest.split_first().filter(|(b, _)| is_delimiter(**b)) {
            step(&mut at, *delimiter);
            rest = after;
        }
        let length = rest.iter().position(|byte| is_delimiter(*byte)).unwrap_or(rest.len());
        let place = if length == 0 { begin } else { at };
        if length as u64 >= limit {
            composite.iter_mut().zip(place).for_each(|(sum, component)| *sum ^= component);
        }
        rest = &rest[length..];
        let Some((delimiter, after)) = rest.split_first() else { break };
        step(&mut at, *delimiter);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    composite
}

/// Moves over one delimiter. The text is far too short for a component to overflow.
fn step(at: &mut [u32; 9], delimiter: u8) {
    if let Some(dimension) = DELIMITERS.iter().position(|known| *known == delimiter) {
        at[dimension] = at[dimension].saturating_add(1);
        at[dimension + 1..].fill(1);
    }
}

fn by_checksum(text: &[u8]) -> [u32; 9] {
    let digits = checksum_hex(xxh3_128(text)).into_bytes();
    let mut components = [0; 9];
    for (component, pair) in components.iter_mut().zip(digits.chunks_exact(2)) {
        *component = u32::from(u16::from_be_bytes([pair[0], pair[1]])) % 999;
    }
    components
}

#[cfg(test)]
mod tests {
    use libphext::phext;

    use super::*;

    /// The same from libphext's own way to take a text apart.
    fn expected(text: &str, limit: usize) -> [u32; 9] {
        let mut composite = [1; 9];
        for scroll in phext::phokenize(text) {
            if scroll.scroll.len() >= limit {
                let Coordinate::Numeric(at) = scroll.coord.to_string().parse().unwrap() else {
                    panic!("libphext makes numeric coordinates");
                };
                composite.iter_mut().zip(at).for_each(|(sum, component)| *sum ^= component);
            }
        }
        composite
    }

    #[test]
    fn xor_takes_texts_apart_as_libphext_does() {
        for text in [
            "",
            "one",
            "one\u{17}two\u{17}three",
            "\u{17}\u{17}late",
            "a\u{17}",
            "a\u{17}\u{17}",
            "\u{1}",
            "\u{1}\u{1f}\u{1e}x\u{1d}\u{1c}\u{1a}yy\u{19}\u{18}\u{17}zzz",
            "grüße\u{18}\u{18}a\nb",
        ] {
            for limit in [0, 1, 2, 3, 100] {
                assert_eq!(
                    by_xor(text.as_bytes(), limit),
                    expected(text, limit as usize),
                    "{text:?} {limit}"
                );
            }
        }
    }

    #[test]
    fn components_of_a_checksum_come_from_its_digits() {
        // XXH3-128 of nothing is 99aa06d3014798d86001c324468d497f; "99" is 0x3939, and so on.
        let digits = b"99aa06d3014798d860";
        let numbers: Vec<u32> = digits
            .chunks(2)
            .map(|pair| (u32::from(pair[0]) * 256 + u32::from(pair[1])) % 999)
            .collect();
        assert_eq!(by_checksum(b"").to_vec(), numbers);
        assert_eq!(by_checksum(b"")[0], 663);
    }
}
