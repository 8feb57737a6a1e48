//! Every key of both databases of a node: no other module puts key bytes together.
//!
//! ```text
//! state   shard u32 | kind u8 | rest           big-endian, `rest` by kind, see [`Kind`]
//! log     group u64 | tag u8 | index u64       big-endian, 17 bytes always
//! ```
//!
//! Tenant ids and phext names hold no NUL, so 0x00 ends them without doubt and keeps their order.
//! Kinds and tags are on disk: they are never renumbered or reused. Builders named `…_into`
//! replace what the buffer held, so that one buffer serves a whole batch.

mod bounds;
mod log;
mod read;

pub use bounds::{
    Bounds, dedup_bounds, idempotent_expiry_bounds, kind_bounds, meta_dedup_bounds, phext_bounds,
    shard_bounds, tenant_bounds, tenant_rows,
};
pub use log::{
    LogKey, LogTag, log_bounds, log_committed, log_entry, log_entry_bounds, log_purged, log_vote,
    read_log,
};
pub use read::{
    ScrollKey, coordinate_part, read_calls, read_expiry, read_head, read_index, read_meta_record,
    read_phext, read_scroll, read_upload, read_usage,
};

use crate::ids::GroupId;

/// What a key of the state database holds; the byte after the shard's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Applied log id and membership. No rest.
    Applied = 0x01,
    /// A tenant's totals. Rest: `tenant`.
    Usage = 0x10,
    /// A phext's totals. Rest: `tenant 0x00 phext`.
    Phext = 0x11,
    /// A scroll without its text. Rest: `tenant 0x00 phext 0x00 coordinate`.
    Header = 0x20,
    /// A scroll. Rest as for [`Kind::Header`].
    Body = 0x21,
    /// A part of a large scroll's text. Rest: that of its header, then `part u32`.
    BodyPart = 0x22,
    /// Request ids of one log entry. Rest: `index u64`.
    Dedup = 0x30,
    /// What an idempotency key was answered. Rest: `tenant 0x00 key[16]`.
    Idempotent = 0x31,
    /// When idempotency keys expire. Rest: `stamp_ms u64 tenant 0x00 key[16]`.
    IdempotentExpiry = 0x32,
    /// An upload under way. Rest: `tenant 0x00 upload[16]`.
    Upload = 0x33,
    /// A part of an upload. Rest: `tenant 0x00 upload[16] part u32`.
    Staged = 0x34,
    /// How time has passed for a shard. No rest.
    Clock = 0x38,
    /// A record of the directory. Rest: `type u8 id`.
    MetaRecord = 0x40,
    /// The directory's epoch. No rest.
    MetaEpoch = 0x41,
    /// Request ids of the meta group. Rest: `index u64`.
    MetaDedup = 0x42,
    /// A tenant's calls. Rest: `tenant`.
    Calls = 0x50,
}

/// Bytes that are no key of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key ends inside one of its parts.
    #[error("the key ends inside its {part}")]
    Truncated {
        /// The part that is not whole.
        part: &'static str,
    },
    /// The key goes on after its last part.
    #[error("the key goes on after its {part}")]
    Overlong {
        /// The last part.
        part: &'static str,
    },
    /// A text is not UTF-8.
    #[error("the key's {part} is not UTF-8")]
    NotUtf8 {
        /// The text concerned.
        part: &'static str,
    },
    /// Another kind of key, or one this version does not know.
    #[error("a key of kind {found:#04x} where {expected} was expected")]
    Kind {
        /// What was asked for.
        expected: &'static str,
        /// The byte found.
        found: u8,
    },
    /// A log key's group is no group number.
    #[error("the key's group is larger than any group's number")]
    GroupTooLarge,
    /// The coordinate's encoding is wrong.
    #[error("malformed coordinate in a key: {fault}")]
    Coordinate {
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// Whose rows a kind holds, which decides what becomes of them when a tenant is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// One tenant's, whose id the rest begins with: all go with it.
    Tenant,
    /// The group's. If they hold anything of a tenant, they say so themselves and expire.
    Group,
}

const KIND_AT: usize = 4;
const REST_AT: usize = 5;
const TEXT_END: u8 = 0x00;

impl Kind {
    const ALL: [Self; 16] = [
        Self::Applied,
        Self::Usage,
        Self::Phext,
        Self::Header,
        Self::Body,
        Self::BodyPart,
        Self::Dedup,
        Self::Idempotent,
        Self::IdempotentExpiry,
        Self::Upload,
        Self::Staged,
        Self::Clock,
        Self::MetaRecord,
        Self::MetaEpoch,
        Self::MetaDedup,
        Self::Calls,
    ];

    /// The kind a byte stands for; `None` for one this version does not know.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == byte)
    }

    /// Whose rows these are. Every kind must say it, so that no purge forgets one.
    #[must_use]
    pub const fn owner(self) -> Owner {
        match self {
            Self::Usage
            | Self::Calls
            | Self::Phext
            | Self::Header
            | Self::Body
            | Self::BodyPart
            | Self::Idempotent
            | Self::Upload
            | Self::Staged => Owner::Tenant,
            Self::Applied
            | Self::Dedup
            | Self::IdempotentExpiry
            | Self::Clock
            | Self::MetaRecord
            | Self::MetaEpoch
            | Self::MetaDedup => Owner::Group,
        }
    }
}

fn start(key: &mut Vec<u8>, group: GroupId, kind: Kind) {
    key.clear();
    key.extend_from_slice(&group.0.to_be_bytes());
    key.push(kind as u8);
}

fn text(key: &mut Vec<u8>, text: &str) {
    debug_assert!(!text.as_bytes().contains(&TEXT_END), "texts in keys hold no NUL");
    key.extend_from_slice(text.as_bytes());
}

fn ended_text(key: &mut Vec<u8>, ended: &str) {
    text(key, ended);
    key.push(TEXT_END);
}

fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    build(&mut key);
    key
}

/// Key of a group's applied log id.
#[must_use]
pub fn applied(group: GroupId) -> Vec<u8> {
    built(|key| start(key, group, Kind::Applied))
}

/// Key of a tenant's totals.
pub fn usage_into(key: &mut Vec<u8>, group: GroupId, tenant: &str) {
    start(key, group, Kind::Usage);
    text(key, tenant);
}

/// See [`usage_into`].
#[must_use]
pub fn usage(group: GroupId, tenant: &str) -> Vec<u8> {
    built(|key| usage_into(key, group, tenant))
}

/// Key of a tenant's calls.
#[must_use]
pub fn calls(group: GroupId, tenant: &str) -> Vec<u8> {
    built(|key| {
        start(key, group, Kind::Calls);
        text(key, tenant);
    })
}

/// Key of a phext's totals.
pub fn phext_into(key: &mut Vec<u8>, group: GroupId, tenant: &str, phext: &str) {
    start(key, group, Kind::Phext);
    ended_text(key, tenant);
    text(key, phext);
}

/// See [`phext_into`].
#[must_use]
pub fn phext(group: GroupId, tenant: &str, phext: &str) -> Vec<u8> {
    built(|key| phext_into(key, group, tenant, phext))
}

/// Key of a scroll's header; `coordinate` as encoded by `Coordinate::to_key`.
pub fn header_into(
    key: &mut Vec<u8>,
    group: GroupId,
    tenant: &str,
    phext: &str,
    coordinate: &[u8],
) {
    start(key, group, Kind::Header);
    ended_text(key, tenant);
    ended_text(key, phext);
    key.extend_from_slice(coordinate);
}

/// See [`header_into`].
#[must_use]
pub fn header(group: GroupId, tenant: &str, phext: &str, coordinate: &[u8]) -> Vec<u8> {
    built(|key| header_into(key, group, tenant, phext, coordinate))
}

/// Key of a scroll's text; differs from that of its header in the kind alone.
pub fn body_into(key: &mut Vec<u8>, group: GroupId, tenant: &str, phext: &str, coordinate: &[u8]) {
    header_into(key, group, tenant, phext, coordinate);
    set_kind(key, Kind::Body);
}

/// See [`body_into`].
#[must_use]
pub fn body(group: GroupId, tenant: &str, phext: &str, coordinate: &[u8]) -> Vec<u8> {
    built(|key| body_into(key, group, tenant, phext, coordinate))
}

/// Key of a part of the text of the scroll whose header or body `scroll` is the key of.
pub fn body_part_into(key: &mut Vec<u8>, scroll: &[u8], part: u32) {
    key.clear();
    key.extend_from_slice(scroll);
    set_kind(key, Kind::BodyPart);
    key.extend_from_slice(&part.to_be_bytes());
}

/// See [`body_part_into`].
#[must_use]
pub fn body_part(scroll: &[u8], part: u32) -> Vec<u8> {
    built(|key| body_part_into(key, scroll, part))
}

/// Turns a built state key into one of another kind with the same rest, as header into body.
pub fn set_kind(key: &mut [u8], kind: Kind) {
    if let Some(byte) = key.get_mut(KIND_AT) {
        *byte = kind as u8;
    }
}

/// Key of the request ids applied by the log entry at `index`.
#[must_use]
pub fn dedup(group: GroupId, index: u64) -> Vec<u8> {
    built(|key| {
        start(key, group, Kind::Dedup);
        key.extend_from_slice(&index.to_be_bytes());
    })
}

/// Key of the answer to an idempotency key (given as its 16-byte hash).
#[must_use]
pub fn idempotent(group: GroupId, tenant: &str, hash: &[u8; 16]) -> Vec<u8> {
    built(|key| {
        start(key, group, Kind::Idempotent);
        ended_text(key, tenant);
        key.extend_from_slice(hash);
    })
}

/// Key that orders idempotency keys by the time they expire at.
#[must_use]
pub fn idempotent_expiry(group: GroupId, stamp_ms: u64, tenant: &str, hash: &[u8; 16]) -> Vec<u8> {
    built(|key| {
        start(key, group, Kind::IdempotentExpiry);
        key.extend_from_slice(&stamp_ms.to_be_bytes());
        ended_text(key, tenant);
        key.extend_from_slice(hash);
    })
}

/// Key of a shard's clock.
#[must_use]
pub fn clock(group: GroupId) -> Vec<u8> {
    built(|key| start(key, group, Kind::Clock))
}

/// Key of an upload under way.
#[must_use]
pub fn upload(group: GroupId, tenant: &str, upload: &[u8; 16]) -> Vec<u8> {
    built(|key| {
        start(key, group, Kind::Upload);
        ended_text(key, tenant);
        key.extend_from_slice(upload);
    })
}

/// Key of a part of an upload.
#[must_use]
pub fn staged(group: GroupId, tenant: &str, upload: &[u8; 16], part: u32) -> Vec<u8> {
    built(|key| {
        start(key, group, Kind::Staged);
        ended_text(key, tenant);
        key.extend_from_slice(upload);
        key.extend_from_slice(&part.to_be_bytes());
    })
}

/// Key of a directory record of one type, by its identifying bytes.
#[must_use]
pub fn meta_record(record_type: u8, id: &[u8]) -> Vec<u8> {
    built(|key| {
        start(key, GroupId::META, Kind::MetaRecord);
        key.push(record_type);
        key.extend_from_slice(id);
    })
}

/// Key of the directory's epoch.
#[must_use]
pub fn meta_epoch() -> Vec<u8> {
    built(|key| start(key, GroupId::META, Kind::MetaEpoch))
}

/// Key of the request ids the meta group remembers under `index`.
#[must_use]
pub fn meta_dedup(index: u64) -> Vec<u8> {
    built(|key| {
        start(key, GroupId::META, Kind::MetaDedup);
        key.extend_from_slice(&index.to_be_bytes());
    })
}
