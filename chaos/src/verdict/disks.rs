//! What is said of full and of rotten disks.

use std::time::Duration;

use super::{Evidence, Strike, Verdict, between};
use crate::fault::{FaultKind, Target};
use crate::history::{Operation, Outcome};
use crate::scenario::Promise;
use crate::states::States;

/// Longest until a write is refused once all disks are full (R8).
const REFUSED_MAX: Duration = Duration::from_secs(1);
/// Longest until a write succeeds once there is room (R8).
const BACK_MAX: Duration = Duration::from_secs(10);
/// What a refusal for want of room is answered with.
const INSUFFICIENT_STORAGE: u16 = 507;

impl Evidence<'_> {
    /// R8, of the faults that filled all disks: of a minority the others take the writes.
    pub(super) fn refuses_when_full(&self) -> Verdict {
        let full =
            |strike: &&Strike| strike.kind == FaultKind::DiskFull && strike.target == Target::All;
        let (mut broken, mut refusals, mut returns) = (Vec::new(), Vec::new(), Vec::new());
        for strike in self.strikes.iter().filter(full) {
            match self.refusal(strike) {
                Ok(took) => refusals.push(took),
                Err(why) => broken.push(why.to_owned()),
            }
            let acked = |one: &Operation| matches!(one.outcome, Outcome::Acked { .. });
            let back = self.first(strike.healed_us..u64::MAX, acked);
            returns.push(back.map_or(Duration::MAX, |at| between(strike.healed_us, at)));
        }
        let slowest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
        let (refused, back) = (slowest(&refusals), slowest(&returns));
        if refused > REFUSED_MAX.mul_f64(self.slack) {
            broken.push(format!("writes were refused only after {refused:?}"));
        }
        if back > BACK_MAX.mul_f64(self.slack) {
            broken.push(format!("writes were taken again only after {back:?}"));
        }
        match (broken.is_empty(), returns.len()) {
            (false, _) => Verdict::Broken(broken),
            (true, 0) => Verdict::NotShown("the disks were never all full".to_owned()),
            (true, times) => Verdict::Kept(format!(
                "{times} times, refused within {refused:?}, taken again within {back:?}"
            )),
        }
    }

    /// How long it took until a write was refused for want of room.
    fn refusal(&self, strike: &Strike) -> Result<Duration, &'static str> {
        let refused = |one: &Operation| {
            matches!(one.outcome, Outcome::Refused { status: INSUFFICIENT_STORAGE })
        };
        let seen = |one: &Operation| matches!(one.outcome, Outcome::Seen { .. });
        let held = strike.began_us..strike.healed_us;
        let at = self.first(held.clone(), refused).ok_or("no write was answered 507")?;
        let read = self.first(at..held.end, seen);
        read.ok_or("no read was answered while the disks were full")?;
        Ok(between(strike.began_us, at))
    }

    /// When the first operation of a kind was answered in a time.
    fn first(&self, time: std::ops::Range<u64>, kind: impl Fn(&Operation) -> bool) -> Option<u64> {
        let such = self.history.iter().filter(|one| kind(one));
        such.filter_map(|one| one.returned_us.filter(|at| time.contains(at))).min()
    }

    /// R9: nothing wrong was served, every backup that was restored was found out, and in the end
    /// all copies have the same rows.
    pub(super) fn finds_rot(&self) -> Verdict {
        let of = |kind| self.strikes.iter().filter(|strike| strike.kind == kind).count();
        let (rotten, stale) = (of(FaultKind::Rot), of(FaultKind::StaleBackup));
        if rotten + stale == 0 {
            return Verdict::NotShown("nothing rotted and no backup was restored".to_owned());
        }
        let wrong = [Promise::R1, Promise::R2, Promise::R4];
        let served = self
            .violations
            .iter()
            .filter(|violation| wrong.iter().any(|promise| violation.concerns(*promise)));
        let mut broken: Vec<_> = served.map(ToString::to_string).collect();
        broken.extend(self.states.faults.iter().cloned());
        let found_out = self.found_out;
        if found_out < stale {
            broken.push(format!("{stale} backups were restored, {found_out} were found out"));
        }
        if !broken.is_empty() {
            return Verdict::Broken(broken);
        }
        let States { groups, copies, .. } = self.states;
        if *groups == 0 {
            return Verdict::NotShown("the copies were not compared".to_owned());
        }
        Verdict::Kept(format!(
            "{rotten} damages and {stale} old backups, all of those found out, nothing served; \
             {copies} copies of {groups} groups alike"
        ))
    }
}
