//! Keys of the log database: `group u64 | tag u8 | index u64`, big-endian. All have one length;
//! those without an index hold 0 there, and sort before the group's entries.

use super::KeyError;
use crate::ids::GroupId;

/// A key of the log database.
pub type LogKey = [u8; 17];

/// What a key of the log database holds; never renumbered or reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LogTag {
    /// The vote.
    Vote = 0x01,
    /// The last log id purged.
    Purged = 0x02,
    /// The last log id known to be committed.
    Committed = 0x03,
    /// One entry, under its index.
    Entry = 0x10,
}

const TAG_AT: usize = 8;
const INDEX_AT: usize = 9;

fn key(group: GroupId, tag: u8, index: u64) -> LogKey {
    let mut key = [0; 17];
    key[..TAG_AT].copy_from_slice(&u64::from(group.0).to_be_bytes());
    key[TAG_AT] = tag;
    key[INDEX_AT..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Key of a group's vote.
#[must_use]
pub fn log_vote(group: GroupId) -> LogKey {
    key(group, LogTag::Vote as u8, 0)
}

/// Key of the last log id purged.
#[must_use]
pub fn log_purged(group: GroupId) -> LogKey {
    key(group, LogTag::Purged as u8, 0)
}

/// Key of the last log id known to be committed.
#[must_use]
pub fn log_committed(group: GroupId) -> LogKey {
    key(group, LogTag::Committed as u8, 0)
}

/// Key of the entry at `index`.
#[must_use]
pub fn log_entry(group: GroupId, index: u64) -> LogKey {
    key(group, LogTag::Entry as u8, index)
}

/// The entries from `from` on and before `to`.
#[must_use]
pub fn log_entry_bounds(group: GroupId, from: u64, to: u64) -> (LogKey, LogKey) {
    (log_entry(group, from), log_entry(group, to))
}

/// Everything of a group.
#[must_use]
pub fn log_bounds(group: GroupId) -> (LogKey, LogKey) {
    // No tag is 0xFF, so this is past all keys of the group and before those of the next.
    (key(group, 0x00, 0), key(group, 0xFF, 0))
}

/// Reads back a key: its group, tag and index (0 where the tag has none).
///
/// # Errors
/// Another length, a tag this version does not know, a group past `u32::MAX`.
pub fn read_log(key: &[u8]) -> Result<(GroupId, LogTag, u64), KeyError> {
    let (group, rest) = key.split_first_chunk().ok_or(KeyError::Truncated { part: "group" })?;
    let (&tag, rest) = rest.split_first().ok_or(KeyError::Truncated { part: "tag" })?;
    let (index, rest) = rest.split_first_chunk().ok_or(KeyError::Truncated { part: "index" })?;
    if !rest.is_empty() {
        return Err(KeyError::Overlong { part: "index" });
    }
    let tags = [LogTag::Vote, LogTag::Purged, LogTag::Committed, LogTag::Entry];
    let known = tags.into_iter().find(|&known| known as u8 == tag);
    let tag = known.ok_or(KeyError::Kind { expected: "a log tag", found: tag })?;
    let group = u32::try_from(u64::from_be_bytes(*group)).map_err(|_| KeyError::GroupTooLarge)?;
    Ok((GroupId(group), tag, u64::from_be_bytes(*index)))
}
