//! State keys read back into their parts, without copying.

use super::{KIND_AT, KeyError, Kind, REST_AT, TEXT_END};
use crate::ids::GroupId;

/// The parts of a [`Kind::Header`] or [`Kind::Body`] key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrollKey<'a> {
    /// The shard.
    pub group: GroupId,
    /// The tenant's id.
    pub tenant: &'a str,
    /// The phext's name.
    pub phext: &'a str,
    /// The encoded coordinate; not checked here.
    pub coordinate: &'a [u8],
}

/// The group and kind of any state key.
///
/// # Errors
/// A key too short to have them, or of an unknown kind.
pub fn read_head(key: &[u8]) -> Result<(GroupId, Kind), KeyError> {
    let group = key.first_chunk().ok_or(KeyError::Truncated { part: "shard" })?;
    let &found = key.get(KIND_AT).ok_or(KeyError::Truncated { part: "kind" })?;
    let kind = Kind::from_byte(found).ok_or(KeyError::Kind { expected: "a known one", found })?;
    Ok((GroupId(u32::from_be_bytes(*group)), kind))
}

/// The rest of a key that must be of one of `kinds`.
fn rest<'a>(
    key: &'a [u8],
    kinds: &[Kind],
    expected: &'static str,
) -> Result<(GroupId, &'a [u8]), KeyError> {
    let (group, kind) = read_head(key)?;
    if !kinds.contains(&kind) {
        return Err(KeyError::Kind { expected, found: kind as u8 });
    }
    Ok((group, &key[REST_AT..]))
}

fn text<'a>(bytes: &'a [u8], part: &'static str) -> Result<&'a str, KeyError> {
    str::from_utf8(bytes).map_err(|_| KeyError::NotUtf8 { part })
}

fn ended_text<'a>(rest: &mut &'a [u8], part: &'static str) -> Result<&'a str, KeyError> {
    let end = rest.iter().position(|&byte| byte == TEXT_END);
    let (ended, after) = rest.split_at(end.ok_or(KeyError::Truncated { part })?);
    *rest = &after[1..];
    text(ended, part)
}

fn number(rest: &mut &[u8], part: &'static str) -> Result<u64, KeyError> {
    let (bytes, after) = rest.split_first_chunk().ok_or(KeyError::Truncated { part })?;
    *rest = after;
    Ok(u64::from_be_bytes(*bytes))
}

/// The parts of a [`Kind::Header`] or [`Kind::Body`] key.
///
/// # Errors
/// Any other key.
pub fn read_scroll(key: &[u8]) -> Result<ScrollKey<'_>, KeyError> {
    let (group, mut rest) = rest(key, &[Kind::Header, Kind::Body], "a scroll")?;
    let tenant = ended_text(&mut rest, "tenant")?;
    let phext = ended_text(&mut rest, "phext")?;
    Ok(ScrollKey { group, tenant, phext, coordinate: rest })
}

/// The encoded coordinate of a [`Kind::Header`] or [`Kind::Body`] key, without checking the texts
/// before it.
///
/// # Errors
/// Any other key.
pub fn coordinate_part(key: &[u8]) -> Result<&[u8], KeyError> {
    let (_, mut rest) = rest(key, &[Kind::Header, Kind::Body], "a scroll")?;
    for part in ["tenant", "phext"] {
        let end = rest.iter().position(|&byte| byte == TEXT_END);
        rest = &rest[end.ok_or(KeyError::Truncated { part })? + 1..];
    }
    Ok(rest)
}

/// The tenant of a [`Kind::Usage`] key.
///
/// # Errors
/// Any other key.
pub fn read_usage(key: &[u8]) -> Result<&str, KeyError> {
    let (_, rest) = rest(key, &[Kind::Usage], "a tenant's usage")?;
    text(rest, "tenant")
}

/// The tenant of a [`Kind::Calls`] key.
///
/// # Errors
/// Any other key.
pub fn read_calls(key: &[u8]) -> Result<&str, KeyError> {
    let (_, rest) = rest(key, &[Kind::Calls], "a tenant's calls")?;
    text(rest, "tenant")
}

/// Tenant and name of a [`Kind::Phext`] key.
///
/// # Errors
/// Any other key.
pub fn read_phext(key: &[u8]) -> Result<(&str, &str), KeyError> {
    let (_, mut rest) = rest(key, &[Kind::Phext], "a phext")?;
    let tenant = ended_text(&mut rest, "tenant")?;
    Ok((tenant, text(rest, "phext")?))
}

/// The index of a [`Kind::Dedup`] or [`Kind::MetaDedup`] key.
///
/// # Errors
/// Any other key.
pub fn read_index(key: &[u8]) -> Result<u64, KeyError> {
    let (_, mut rest) = rest(key, &[Kind::Dedup, Kind::MetaDedup], "a dedup row")?;
    let index = number(&mut rest, "index")?;
    if rest.is_empty() { Ok(index) } else { Err(KeyError::Overlong { part: "index" }) }
}

/// Stamp, tenant and hashed key of a [`Kind::IdempotentExpiry`] key.
///
/// # Errors
/// Any other key.
pub fn read_expiry(key: &[u8]) -> Result<(u64, &str, [u8; 16]), KeyError> {
    let (_, mut rest) = rest(key, &[Kind::IdempotentExpiry], "an expiry")?;
    let stamp_ms = number(&mut rest, "stamp")?;
    let tenant = ended_text(&mut rest, "tenant")?;
    let (hash, rest) = rest.split_first_chunk().ok_or(KeyError::Truncated { part: "hash" })?;
    if rest.is_empty() {
        Ok((stamp_ms, tenant, *hash))
    } else {
        Err(KeyError::Overlong { part: "hash" })
    }
}

/// Tenant and id of a [`Kind::Upload`] key.
///
/// # Errors
/// Any other key.
pub fn read_upload(key: &[u8]) -> Result<(&str, [u8; 16]), KeyError> {
    let (_, mut rest) = rest(key, &[Kind::Upload], "an upload")?;
    let tenant = ended_text(&mut rest, "tenant")?;
    let (upload, rest) = rest.split_first_chunk().ok_or(KeyError::Truncated { part: "id" })?;
    if rest.is_empty() { Ok((tenant, *upload)) } else { Err(KeyError::Overlong { part: "id" }) }
}

/// Type and identifying bytes of a [`Kind::MetaRecord`] key.
///
/// # Errors
/// Any other key.
pub fn read_meta_record(key: &[u8]) -> Result<(u8, &[u8]), KeyError> {
    let (_, rest) = rest(key, &[Kind::MetaRecord], "a directory record")?;
    let (&record_type, id) = rest.split_first().ok_or(KeyError::Truncated { part: "type" })?;
    Ok((record_type, id))
}
