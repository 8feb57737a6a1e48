//! What a reader looks at: the state as it is at each look, or as it was at one moment.

use ranch_proto::keys::{self, Bounds, Kind};
use ranch_proto::value::{self, BodyRow, PART_BYTES, ScrollHeader, parts_of};
use rocksdb::{DB, DBPinnableSlice, DBRawIteratorWithThreadMode, SnapshotWithThreadMode};

use crate::state::error::StateError;
use crate::state::store::StateStore;

/// The rows a read is answered from.
pub(crate) enum View<'a> {
    /// As they are when looked at: enough where one row says all.
    Now(&'a StateStore),
    /// As they were when the view was made: needed where rows belong together.
    Then(SnapshotWithThreadMode<'a, DB>),
}

impl<'a> View<'a> {
    /// The rows as they are at this moment, for as long as the view lasts.
    pub(crate) fn of_this_moment(store: &'a StateStore) -> Self {
        Self::Then(store.db().snapshot())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StateError> {
        match self {
            Self::Now(store) => store.get(key),
            Self::Then(rows) => rows.get_pinned(key).map_err(StateError::engine("read a row")),
        }
    }

    /// Calls `visit` with every row of `bounds`, in order, until it returns false.
    pub(crate) fn for_each(
        &self,
        bounds: Bounds,
        visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        match self {
            Self::Now(store) => store.for_each(bounds, visit),
            Self::Then(rows) => walk(rows.raw_iterator_opt(StateStore::range(bounds)), visit),
        }
    }

    /// As [`View::for_each`], for what is read once: what others use stays in the cache.
    pub(crate) fn for_each_once(
        &self,
        bounds: Bounds,
        visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        let mut options = StateStore::range(bounds);
        options.fill_cache(false);
        match self {
            Self::Now(store) => walk(store.db().raw_iterator_opt(options), visit),
            Self::Then(rows) => walk(rows.raw_iterator_opt(options), visit),
        }
    }

    /// The part of a text whose header or body is under `scroll`; it must be there.
    pub(crate) fn part(&self, scroll: &[u8], part: u32) -> Result<DBPinnableSlice<'_>, StateError> {
        self.get(&keys::body_part(scroll, part))?.ok_or(StateError::HalfScroll)
    }

    /// Appends a whole text in parts to `out`.
    pub(crate) fn text(
        &self,
        scroll: &[u8],
        header: &ScrollHeader,
        out: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        let expected = out.len() + header.length as usize;
        out.reserve(header.length as usize);
        for part in 0..parts_of(header.length.into()) {
            out.extend_from_slice(&self.part(scroll, part)?);
        }
        if out.len() == expected { Ok(()) } else { Err(StateError::HalfScroll) }
    }
}

/// Walks over an iterator's rows until `visit` returns false.
pub(crate) fn walk(
    mut rows: DBRawIteratorWithThreadMode<'_, DB>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
) -> Result<(), StateError> {
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        if !visit(key, value)? {
            return Ok(());
        }
        rows.next();
    }
    rows.status().map_err(StateError::engine("read rows"))
}

/// Reads a body row.
pub(crate) fn body(row: &[u8]) -> Result<BodyRow<'_>, StateError> {
    value::decode_body_row(row).map_err(|source| StateError::Value { what: "body", source })
}

/// The body's key for the header's of the same scroll.
pub(crate) fn body_key(header_key: &[u8]) -> Vec<u8> {
    let mut key = header_key.to_vec();
    keys::set_kind(&mut key, Kind::Body);
    key
}

/// The part a byte of a text in parts is in.
pub(crate) fn part_at(byte: u64) -> u32 {
    (byte / PART_BYTES as u64) as u32
}
