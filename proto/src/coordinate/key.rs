//! The bytes of a coordinate in keys and commands. Comparing two encodings as bytes compares the
//! coordinates, and no component's encoding is a prefix of another's, so a prefix of whole
//! components selects exactly the coordinates that begin with them.
//!
//! ```text
//! numeric = 0x01 number{9}
//! named   = 0x02 (component+ 0x00){3}
//! number  = 0x01..=0x7F                      1 to 127
//!         | 0x80 u8 | 0x81 u16 | 0x82 u24 | 0x83 u32    big-endian, shortest form only
//! name    = 0x90 ASCII 0x00
//! ```

use super::component::{COMPONENTS_MAX, Component, is_name};
use super::{Coordinate, NamedCoordinate};
use crate::keys::KeyError;

pub(crate) const CLASS_NUMERIC: u8 = 0x01;
pub(crate) const CLASS_NAMED: u8 = 0x02;

/// Least encoding of a named coordinate: the exclusive end of all numeric ones.
pub const FIRST_NAMED_KEY: [u8; 1] = [CLASS_NAMED];

/// Ends an arm. Less than any component, so that a shorter arm sorts before its extensions.
const ARM_END: u8 = 0x00;
/// Numbers up to here are their own single byte.
const SHORT_MAX: u8 = 0x7F;
/// `LONG + n` leads a number of `n + 1` bytes.
const LONG: u8 = 0x80;
const LONG_LAST: u8 = 0x83;
/// Leads a name. Greater than any number's lead.
const NAME: u8 = 0x90;
/// Ends a name. Less than any character, so that a shorter name sorts before its extensions.
const NAME_END: u8 = 0x00;

pub(super) fn encode(coordinate: &Coordinate, key: &mut Vec<u8>) {
    match coordinate {
        Coordinate::Numeric(components) => {
            key.push(CLASS_NUMERIC);
            for &number in components {
                encode_number(number, key);
            }
        }
        Coordinate::Named(named) => {
            key.push(CLASS_NAMED);
            for arm in named.arms() {
                for component in arm {
                    encode_component(component, key);
                }
                encode_arm_end(key);
            }
        }
    }
}

pub(crate) fn encode_arm_end(key: &mut Vec<u8>) {
    key.push(ARM_END);
}

pub(crate) fn encode_component(component: &Component, key: &mut Vec<u8>) {
    match component {
        Component::Number(number) => encode_number(*number, key),
        Component::Name(name) => {
            key.push(NAME);
            key.extend_from_slice(name.as_bytes());
            key.push(NAME_END);
        }
    }
}

pub(crate) fn encode_number(number: u32, key: &mut Vec<u8>) {
    debug_assert_ne!(number, 0, "a component is at least 1");
    let bytes = number.to_be_bytes();
    let zeros = number.leading_zeros() as usize / 8;
    if number > u32::from(SHORT_MAX) {
        // At most 3 bytes are dropped, as the number is not zero.
        key.push(LONG_LAST - zeros as u8);
    }
    key.extend_from_slice(&bytes[zeros.min(3)..]);
}

pub(super) fn decode(key: &[u8]) -> Result<Coordinate, KeyError> {
    let mut rest = key;
    let coordinate = match take(&mut rest)? {
        CLASS_NUMERIC => Coordinate::Numeric(decode_numeric(&mut rest)?),
        CLASS_NAMED => Coordinate::Named(decode_named(&mut rest)?),
        _ => return Err(fault("its class is unknown")),
    };
    if rest.is_empty() { Ok(coordinate) } else { Err(fault("bytes follow its end")) }
}

fn decode_numeric(rest: &mut &[u8]) -> Result<[u32; 9], KeyError> {
    let mut components = [0; 9];
    for component in &mut components {
        let lead = take(rest)?;
        *component = decode_number(lead, rest)?;
    }
    Ok(components)
}

fn decode_named(rest: &mut &[u8]) -> Result<NamedCoordinate, KeyError> {
    let arms = [decode_arm(rest)?, decode_arm(rest)?, decode_arm(rest)?];
    NamedCoordinate::exact(arms).ok_or_else(|| fault("its arms are not those of a name"))
}

fn decode_arm(rest: &mut &[u8]) -> Result<Vec<Component>, KeyError> {
    let mut arm = Vec::with_capacity(3);
    loop {
        let component = match take(rest)? {
            ARM_END => return Ok(arm),
            _ if arm.len() == COMPONENTS_MAX => return Err(fault("an arm is too long")),
            NAME => Component::Name(decode_name(rest)?),
            lead => Component::Number(decode_number(lead, rest)?),
        };
        arm.push(component);
    }
}

fn decode_number(lead: u8, rest: &mut &[u8]) -> Result<u32, KeyError> {
    if (1..=SHORT_MAX).contains(&lead) {
        return Ok(u32::from(lead));
    }
    if !(LONG..=LONG_LAST).contains(&lead) {
        return Err(fault("a component is neither number nor name"));
    }
    let length = usize::from(lead - LONG) + 1;
    let (bytes, after) = rest.split_at_checked(length).ok_or_else(cut)?;
    *rest = after;
    let number = bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
    let least = if length == 1 { u32::from(SHORT_MAX) + 1 } else { 1 << (8 * (length - 1)) };
    if number < least { Err(fault("a number is not in its shortest form")) } else { Ok(number) }
}

fn decode_name(rest: &mut &[u8]) -> Result<Box<str>, KeyError> {
    let end = rest.iter().position(|&byte| byte == NAME_END).ok_or_else(cut)?;
    let name = str::from_utf8(&rest[..end]).ok().filter(|name| is_name(name));
    *rest = &rest[end + 1..];
    name.map(Into::into).ok_or_else(|| fault("a name holds other characters than names do"))
}

fn take(rest: &mut &[u8]) -> Result<u8, KeyError> {
    let (&byte, after) = rest.split_first().ok_or_else(cut)?;
    *rest = after;
    Ok(byte)
}

fn cut() -> KeyError {
    fault("it ends too early")
}

fn fault(what: &'static str) -> KeyError {
    KeyError::Coordinate { fault: what }
}
