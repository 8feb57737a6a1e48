//! How fast copies are sent: at most at a rate, and less while requests need the processors.
//!
//! A copy costs more than the bytes: it is read, hashed, sent, written, and merged with what is
//! there. Linux tells in how much of the time somebody waited for a processor (its pressure stall
//! information, `Documentation/accounting/psi.rst`). The more, the slower this node sends a copy
//! that gives way; but never less than a quarter of the rate, since one that takes the place of a
//! lost copy is needed, too. What must catch up with writers goes at the full rate: they could
//! keep ahead of it for ever.

use std::fs;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

// Parts of a whole, in thousandths.
const WHOLE: u64 = 1_000;
/// Part of the time up to which copies go at the full rate: without requests it is less.
const CALM: u64 = 100;
/// Part of the time from which they go as slowly as they ever do.
const BUSY: u64 = 400;
/// How slowly, as a part of the rate.
const LEAST: u64 = 250;
/// How often the pressure is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Lets so many bytes a second pass, whoever sends them.
pub(crate) struct Pace {
    bytes_per_s: u64,
    state: Mutex<State>,
}

struct State {
    /// When the next bytes may pass.
    next: Instant,
    /// When the pressure was last looked at, and the time waited until then.
    looked: Option<(Instant, Duration)>,
    /// What is left of the rate, in thousandths.
    part: u64,
}

impl Pace {
    /// At most so many, and at least one.
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let state = State { next: Instant::now(), looked: None, part: WHOLE };
        Self { bytes_per_s: bytes_per_s.max(1), state: Mutex::new(state) }
    }

    /// Waits for the turn of so many bytes, of a copy that gives way or not.
    pub(crate) async fn pass(&self, bytes: u64, gives_way: bool) {
        let turn = {
            let mut state = self.state.lock();
            let now = Instant::now();
            state.look(now, time_waited);
            let turn = state.next.max(now);
            let part = if gives_way { state.part } else { WHOLE };
            state.next = turn + takes(bytes, self.bytes_per_s, part);
            turn
        };
        tokio::time::sleep_until(turn.into()).await;
    }
}

impl State {
    /// Takes into account how long others waited since the last time, if that is long enough ago.
    fn look(&mut self, now: Instant, waited: impl FnOnce() -> Option<Duration>) {
        if self.looked.is_some_and(|(then, _)| now < then + LOOK) {
            return;
        }
        let Some(waited) = waited() else { return };
        if let Some((then, before)) = self.looked.replace((now, waited)) {
            let waited = waited.saturating_sub(before).as_micros() as u64;
            self.part = part(waited * WHOLE / ((now - then).as_micros() as u64));
        }
    }
}

/// How much of the rate is left when somebody waits in this part of the time.
fn part(share: u64) -> u64 {
    let above = share.clamp(CALM, BUSY) - CALM;
    WHOLE - above * (WHOLE - LEAST) / (BUSY - CALM)
}

/// How long so many bytes take at this part of a rate.
fn takes(bytes: u64, bytes_per_s: u64, part: u64) -> Duration {
    Duration::from_micros(bytes * 1_000_000 / bytes_per_s * WHOLE / part)
}

/// For how long, since this machine started, there was somebody who waited for a processor. `None`
/// where the kernel does not tell.
fn time_waited() -> Option<Duration> {
    total(&fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// Of the line `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, the total, in microseconds.
fn total(pressure: &str) -> Option<Duration> {
    let some = pressure.lines().find(|line| line.starts_with("some "))?;
    let total = some.split(' ').find_map(|field| field.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_others_wait_the_slower_copies_go() {
        assert_eq!([0, CALM, BUSY, WHOLE].map(part), [WHOLE, WHOLE, LEAST, LEAST]);
        assert_eq!(part(u64::midpoint(CALM, BUSY)), u64::midpoint(WHOLE, LEAST));
        assert_eq!(takes(3 << 20, 3 << 20, WHOLE), Duration::from_secs(1));
        assert_eq!(takes(3 << 20, 3 << 20, LEAST), Duration::from_secs(4));
    }

    #[test]
    fn pressure_is_what_was_waited_since_the_last_look() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let waited = |ms| move || Some(Duration::from_millis(ms));
        let mut state = State { next: start, looked: None, part: WHOLE };
        state.look(start, waited(90_000));
        assert_eq!(state.part, WHOLE, "what was before does not count");
        state.look(after(499), || panic!("too soon"));
        state.look(after(1_000), waited(90_500));
        assert_eq!(state.part, LEAST);
        state.look(after(2_000), || None);
        assert_eq!(state.part, LEAST, "it may be told again");
        state.look(after(3_000), waited(90_510));
        assert_eq!(state.part, WHOLE);
    }

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let text = "some avg10=1.60 avg60=19.90 avg300=29.70 total=25475832\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(total(text), Some(Duration::from_micros(25_475_832)));
        for other in ["", "full total=7", "some avg10=1.0", "some total=x"] {
            assert_eq!(total(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn bytes_pass_at_the_rate_or_slower() {
        let pace = Pace::new(10 << 20);
        let start = Instant::now();
        for _ in 0..5 {
            pace.pass(1 << 20, true).await;
        }
        // The first goes at once.
        assert!(start.elapsed() >= Duration::from_millis(395), "{:?}", start.elapsed());
        pace.pass(0, false).await;
        assert!(start.elapsed() >= Duration::from_millis(495), "{:?}", start.elapsed());
    }
}
