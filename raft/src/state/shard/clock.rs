//! How time passes for a shard: by the stamps of its entries, as far as they can be believed.
//!
//! A machine whose clock jumps a year ahead stamps entries a year ahead. If what is remembered for
//! twenty minutes went by stamps alone, it would all be forgotten at once, and a retry would apply
//! a second time. So a shard's age grows with the stamps, but by at most [`STEP_MAX_MS`] an entry,
//! and never shrinks. Where entries are rare, age falls behind, and things are remembered longer.

use ranch_proto::ids::GroupId;
use ranch_proto::keys;

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::store::StateStore;

/// Most milliseconds by which one entry ages its shard.
pub const STEP_MAX_MS: u64 = 60_000;

const VERSION: u8 = 1;
const ROW_BYTES: usize = 17;

/// A shard's age, on the scale of its first entry's stamp.
pub(super) struct Clock {
    group: GroupId,
    now: Option<Moment>,
    moved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// Of the last entry.
    stamp_ms: u64,
    age_ms: u64,
}

impl Clock {
    pub(super) fn load(store: &StateStore, group: GroupId) -> Result<Self, StateError> {
        let row = store.get(&keys::clock(group))?;
        let now = row.map(|row| decode(&row)).transpose()?;
        Ok(Self { group, now, moved: false })
    }

    /// Takes in an entry's stamp; the age it is applied at, in milliseconds.
    pub(super) fn advance(&mut self, stamp_ms: u64) -> u64 {
        let age_ms = self.now.map_or(stamp_ms, |now| {
            let step = stamp_ms.saturating_sub(now.stamp_ms).min(STEP_MAX_MS);
            now.age_ms.saturating_add(step)
        });
        let now = Some(Moment { stamp_ms, age_ms });
        self.moved |= now != self.now;
        self.now = now;
        age_ms
    }

    /// Adds the age to the batch if it has moved.
    pub(super) fn finish(&mut self, batch: &mut ApplyBatch) {
        if let (true, Some(now)) = (std::mem::take(&mut self.moved), self.now) {
            batch.put(keys::clock(self.group), encode(now));
        }
    }
}

/// `version u8 | stamp_ms u64 | age_ms u64`, big-endian.
fn encode(now: Moment) -> [u8; ROW_BYTES] {
    let mut row = [VERSION; ROW_BYTES];
    row[1..9].copy_from_slice(&now.stamp_ms.to_be_bytes());
    row[9..].copy_from_slice(&now.age_ms.to_be_bytes());
    row
}

fn decode(row: &[u8]) -> Result<Moment, StateError> {
    let parts = || {
        let (&VERSION, row) = row.split_first()? else { return None };
        let (stamp, row) = row.split_first_chunk()?;
        let age = <[u8; 8]>::try_from(row).ok()?;
        Some(Moment { stamp_ms: u64::from_be_bytes(*stamp), age_ms: u64::from_be_bytes(age) })
    };
    parts().ok_or(StateError::Row { what: "clock" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock { group: GroupId(1), now: None, moved: false }
    }

    #[test]
    fn age_follows_stamps_but_not_their_jumps() {
        const YEAR_MS: u64 = 365 * 24 * 3_600_000;
        let mut clock = clock();
        assert_eq!(clock.advance(1_000), 1_000);
        assert_eq!(clock.advance(1_500), 1_500);
        assert_eq!(clock.advance(1_500 + YEAR_MS), 1_500 + STEP_MAX_MS, "a jump ahead");
        assert_eq!(clock.advance(1_700), 1_500 + STEP_MAX_MS, "and back");
        assert_eq!(clock.advance(1_800), 1_600 + STEP_MAX_MS, "goes on from there");
    }

    #[test]
    fn the_row_has_its_golden_bytes() {
        let now = Moment { stamp_ms: 0x0102, age_ms: 3 };
        let row = [1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3];
        assert_eq!(encode(now), row);
        assert_eq!(decode(&row).unwrap(), now);
        assert!(decode(&row[..16]).is_err());
        assert!(decode(&[2; 17]).is_err());
    }
}
