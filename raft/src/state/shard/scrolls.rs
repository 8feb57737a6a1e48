//! Scrolls touched by the batch under way: what they are now, whether or not it is written yet.
//!
//! A scroll's row is read when it is first touched and written once at the batch's end, however
//! often it was changed between; repeated appends grow one buffer. Texts are read only by those
//! who need them; of a text in parts an append needs the last one only.

use std::collections::HashMap;

use bytes::Bytes;
use ranch_proto::keys::{self, Bounds, Kind};
use ranch_proto::value::{BodyRow, PART_BYTES, ScrollHeader};

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::shard::rows::{Grown, RowWriter};
use crate::state::store::StateStore;
use crate::state::view;

/// Most room an append makes for further ones.
const ROOM_MAX: usize = PART_BYTES;

/// What is known of a scroll without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) revision: u64,
    pub(super) created_ms: u64,
    pub(super) modified_ms: u64,
    pub(super) length: u64,
}

enum Text {
    /// As the database has it; not read so far.
    Stored,
    Whole(Bytes),
    /// Grown by appends of this batch.
    Growing(Vec<u8>),
    /// In parts, with what follows the last full one; what is before that stays as it is stored.
    Behind {
        kept: u64,
        tail: Vec<u8>,
    },
}

struct Slot {
    scroll: Option<(Head, Text)>,
    /// What the database has.
    stored: Option<Head>,
    dirty: bool,
}

/// How to take one change back.
pub(super) enum Undo {
    /// Put back what was there.
    Restore { place: usize, scroll: Option<SavedScroll>, dirty: bool },
    /// Cut off what was appended.
    Shorten { place: usize, head: Head, dirty: bool },
}

/// A scroll taken out of its place.
pub(super) struct SavedScroll(Head, Text);

/// The scrolls of the batch under way.
#[derive(Default)]
pub(super) struct Scrolls {
    places: HashMap<Box<[u8]>, usize>,
    slots: Vec<Slot>,
    loaded_bytes: usize,
    writer: RowWriter,
}

impl Scrolls {
    /// The place of a scroll, valid until [`Scrolls::finish`]. `key` is its header's; the kind in
    /// it may have changed afterwards.
    pub(super) fn find(
        &mut self,
        store: &StateStore,
        key: &mut [u8],
        with_text: bool,
    ) -> Result<usize, StateError> {
        if let Some(&place) = self.places.get(&*key) {
            if with_text && matches!(self.slots[place].scroll, Some((_, Text::Stored))) {
                let scroll = self.load_body(store, key)?;
                self.slots[place].scroll = Some(scroll.ok_or(StateError::HalfScroll)?);
            }
            return Ok(place);
        }
        let header_key: Box<[u8]> = (&*key).into();
        let scroll = if with_text { self.load_body(store, key)? } else { load_head(store, key)? };
        let place = self.slots.len();
        let stored = scroll.as_ref().map(|(head, _)| *head);
        self.slots.push(Slot { scroll, stored, dirty: false });
        self.places.insert(header_key, place);
        Ok(place)
    }

    fn load_body(
        &mut self,
        store: &StateStore,
        key: &mut [u8],
    ) -> Result<Option<(Head, Text)>, StateError> {
        keys::set_kind(key, Kind::Body);
        let Some(row) = store.get(key)? else { return Ok(None) };
        let (header, text) = match view::body(&row)? {
            BodyRow::Whole(header, text) => (header, Text::Whole(Bytes::copy_from_slice(text))),
            BodyRow::InParts(header) => (header, load_tail(store, key, header.length.into())?),
        };
        self.loaded_bytes += match &text {
            Text::Whole(text) => text.len(),
            Text::Behind { tail, .. } => tail.len(),
            Text::Stored | Text::Growing(_) => 0,
        };
        Ok(Some((head_of(&header), text)))
    }

    /// The scroll's head; `None` when there is no scroll.
    pub(super) fn head(&self, place: usize) -> Option<Head> {
        self.slots[place].scroll.as_ref().map(|(head, _)| *head)
    }

    /// The text of a scroll that was found with its text, unless that is in parts.
    pub(super) fn text(&self, place: usize) -> Option<Bytes> {
        match &self.slots[place].scroll {
            Some((_, Text::Whole(text))) => Some(text.clone()),
            Some((_, Text::Growing(text))) => Some(Bytes::copy_from_slice(text)),
            Some((_, Text::Stored | Text::Behind { .. })) | None => None,
        }
    }

    /// Puts a whole text in place of what was there.
    pub(super) fn replace(&mut self, place: usize, head: Head, text: Bytes) -> Undo {
        self.put(place, Some((head, Text::Whole(text))))
    }

    pub(super) fn remove(&mut self, place: usize) -> Undo {
        self.put(place, None)
    }

    fn put(&mut self, place: usize, scroll: Option<(Head, Text)>) -> Undo {
        let slot = &mut self.slots[place];
        let dirty = std::mem::replace(&mut slot.dirty, true);
        let old = std::mem::replace(&mut slot.scroll, scroll);
        Undo::Restore { place, scroll: old.map(|(head, text)| SavedScroll(head, text)), dirty }
    }

    /// Adds to the text of a scroll that was found with its text, and gives it a new head.
    pub(super) fn append(&mut self, place: usize, head: Head, addition: &Bytes) -> Undo {
        self.loaded_bytes += addition.len();
        let slot = &mut self.slots[place];
        let dirty = slot.dirty;
        if let Some((old_head, Text::Growing(text) | Text::Behind { tail: text, .. })) =
            &mut slot.scroll
        {
            text.extend_from_slice(addition);
            slot.dirty = true;
            return Undo::Shorten { place, head: std::mem::replace(old_head, head), dirty };
        }
        let text = match &slot.scroll {
            Some((_, Text::Whole(old))) => {
                // Room for more of the same, as appends come in runs.
                let room = addition.len().min(ROOM_MAX);
                let mut text = Vec::with_capacity(old.len() + addition.len() + room);
                text.extend_from_slice(old);
                text.extend_from_slice(addition);
                Text::Growing(text)
            }
            _ => Text::Whole(addition.clone()),
        };
        self.put(place, Some((head, text)))
    }

    /// Takes a change back; changes are taken back in the reverse of their order.
    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Restore { place, scroll, dirty } => {
                let slot = &mut self.slots[place];
                slot.scroll = scroll.map(|SavedScroll(head, text)| (head, text));
                slot.dirty = dirty;
            }
            Undo::Shorten { place, head, dirty } => {
                let slot = &mut self.slots[place];
                match &mut slot.scroll {
                    Some((now, Text::Growing(text))) => {
                        text.truncate(head.length as usize);
                        *now = head;
                    }
                    Some((now, Text::Behind { kept, tail })) => {
                        tail.truncate((head.length - *kept) as usize);
                        *now = head;
                    }
                    _ => {}
                }
                slot.dirty = dirty;
            }
        }
    }

    /// Takes note that the rows of `bounds`, which are of headers, are removed by the batch under
    /// way.
    pub(super) fn forget(&mut self, (low, high): &Bounds) {
        // Revisions may begin anew, and must not be taken for those from before.
        self.writer.forget_hashes();
        for (key, &place) in &self.places {
            if (low.as_slice()..high).contains(&&**key) {
                self.slots[place] = Slot { scroll: None, stored: None, dirty: false };
            }
        }
    }

    /// Bytes of texts taken into memory since last asked.
    pub(super) fn take_loaded_bytes(&mut self) -> usize {
        std::mem::take(&mut self.loaded_bytes)
    }

    /// Adds all changed scrolls to the batch and forgets them.
    pub(super) fn finish(
        &mut self,
        store: &StateStore,
        batch: &mut ApplyBatch,
    ) -> Result<(), StateError> {
        for (key, place) in self.places.drain() {
            let Slot { scroll, stored, dirty: true } = &self.slots[place] else { continue };
            let before = stored.map(|head| head.length);
            match scroll {
                None => self.writer.remove(&key, before, batch),
                Some((head, Text::Whole(text))) => {
                    self.writer.whole((&key, head), text, before, batch);
                }
                Some((head, Text::Growing(text))) => {
                    self.writer.whole((&key, head), text, before, batch);
                }
                Some((head, Text::Behind { kept, tail })) => {
                    let stored = stored.ok_or(StateError::HalfScroll)?;
                    let grown = Grown { stored, kept: *kept, tail };
                    self.writer.grown((&key, head), &grown, store, batch)?;
                }
                // Whoever changes a scroll brings its text.
                Some((_, Text::Stored)) => return Err(StateError::HalfScroll),
            }
        }
        self.slots.clear();
        Ok(())
    }
}

/// What follows the last full part of a text whose body is under `key`.
fn load_tail(store: &StateStore, key: &[u8], length: u64) -> Result<Text, StateError> {
    let kept = length / PART_BYTES as u64 * PART_BYTES as u64;
    let tail = if kept == length {
        Vec::new()
    } else {
        let part = store.get(&keys::body_part(key, view::part_at(kept)))?;
        part.ok_or(StateError::HalfScroll)?.to_vec()
    };
    if kept + tail.len() as u64 != length {
        return Err(StateError::HalfScroll);
    }
    Ok(Text::Behind { kept, tail })
}

fn load_head(store: &StateStore, key: &[u8]) -> Result<Option<(Head, Text)>, StateError> {
    let Some(row) = store.get(key)? else { return Ok(None) };
    let (header, _) = ScrollHeader::decode(&row)
        .map_err(|source| StateError::Value { what: "header", source })?;
    Ok(Some((head_of(&header), Text::Stored)))
}

fn head_of(header: &ScrollHeader) -> Head {
    Head {
        revision: header.revision,
        created_ms: header.created_ms,
        modified_ms: header.modified_ms,
        length: header.length.into(),
    }
}
