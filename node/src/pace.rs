//! How fast copies are sent: at most at a rate, and less while requests need the processors.
//!
//! A copy costs more than the bytes: it is read, hashed, sent, written, and merged with what is
//! there. Linux tells in how much of the time somebody waited for a processor (its pressure stall
//! information, `Documentation/accounting/psi.rst`). The more, the slower this node sends a copy
//! that gives way; but never less than a quarter of the rate, since one that takes the place of a
//! lost copy is needed, too. What must catch up with writers goes at the full rate: they could
//! keep ahead of it for ever.

use std::fs;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

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
    /// Of all bytes.
    all: Turns,
    /// Of those that give way, which wait here first: so they hold up nobody else.
    giving_way: Turns,
    pressure: Pressure,
}

impl Pace {
    /// At most so many, and at least one.
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let turns = Turns { next: Instant::now() };
        let state = State { all: turns, giving_way: turns, pressure: Pressure::new() };
        Self { bytes_per_s: bytes_per_s.max(1), state: Mutex::new(state) }
    }

    /// Waits for the turn of so many bytes, of a copy that gives way or not.
    pub(crate) async fn pass(&self, bytes: u64, gives_way: bool) {
        if gives_way {
            let turn = {
                let mut state = self.state.lock();
                let now = Instant::now();
                let part = state.pressure.part(now, time_waited);
                state.giving_way.take(now, takes(bytes, self.bytes_per_s, part))
            };
            sleep_until(turn).await;
        }
        let takes = takes(bytes, self.bytes_per_s, WHOLE);
        let turn = self.state.lock().all.take(Instant::now(), takes);
        sleep_until(turn).await;
    }
}

/// Turns one after the other.
#[derive(Clone, Copy)]
struct Turns {
    next: Instant,
}

impl Turns {
    /// The next turn, after which nobody has one for as long as it `takes`.
    fn take(&mut self, now: Instant, takes: Duration) -> Instant {
        let turn = self.next.max(now);
        self.next = turn + takes;
        turn
    }
}

/// How much the processors of this machine are wanted.
struct Pressure {
    /// When it was last looked at.
    looked: Option<Instant>,
    /// When it could last be told, and the time waited until then.
    told: Option<(Instant, Duration)>,
    /// What is left of the rate, in thousandths.
    part: u64,
}

impl Pressure {
    fn new() -> Self {
        Self { looked: None, told: None, part: WHOLE }
    }

    /// What is left of the rate, in thousandths, by how long others `waited` between the last
    /// two looks; looks again if the last is long enough ago.
    fn part(&mut self, now: Instant, waited: impl FnOnce() -> Option<Duration>) -> u64 {
        if self.looked.is_some_and(|then| now < then + LOOK) {
            return self.part;
        }
        self.looked = Some(now);
        let Some(waited) = waited() else { return self.part };
        if let Some((then, before)) = self.told.replace((now, waited)) {
            let waited = waited.saturating_sub(before).as_micros() as u64;
            self.part = part(waited * WHOLE / ((now - then).as_micros() as u64));
        }
        self.part
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
        let mut pressure = Pressure::new();
        let before = pressure.part(start, waited(90_000));
        assert_eq!(before, WHOLE, "what was before does not count");
        assert_eq!(pressure.part(after(499), || panic!("too soon")), WHOLE);
        assert_eq!(pressure.part(after(1_000), waited(90_500)), LEAST);
        assert_eq!(pressure.part(after(2_000), || None), LEAST, "it may be told again");
        assert_eq!(pressure.part(after(2_100), || panic!("too soon")), LEAST);
        assert_eq!(pressure.part(after(3_000), waited(90_510)), WHOLE);
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

    /// A rate of one chunk of a mebibyte each 100 ms.
    const RATE: u64 = 10 << 20;
    const CHUNK: u64 = 1 << 20;

    /// Where the processors are wanted so much, and stay so for as long as a test runs.
    fn wanted_at(part: u64) -> Pace {
        let pace = Pace::new(RATE);
        let looked = Some(Instant::now() + Duration::from_hours(1));
        pace.state.lock().pressure = Pressure { looked, told: None, part };
        pace
    }

    /// How many chunks each sender gets past in so many seconds, where those for which it is true
    /// give way.
    async fn passed(pace: &Pace, give_way: &[bool], seconds: u64) -> Vec<u64> {
        let end = Instant::now() + Duration::from_secs(seconds);
        let senders = give_way.iter().map(|gives_way| async move {
            let mut chunks = 0;
            while tokio::time::timeout_at(end, pace.pass(CHUNK, *gives_way)).await.is_ok() {
                chunks += 1;
            }
            chunks
        });
        futures_util::future::join_all(senders).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_gives_way_passes_at_what_is_left_of_the_rate_and_all_else_at_the_rate() {
        let near = |chunks: u64, wanted: u64| chunks.abs_diff(wanted) <= 2;
        for (part, give_way, wanted) in [
            (WHOLE, &[true][..], &[100][..]),
            (LEAST, &[true], &[25]),
            (LEAST, &[true, true], &[13, 13]),
            (LEAST, &[false], &[100]),
            (LEAST, &[false, false], &[50, 50]),
            // Beside one that gives way, what must catch up has the rest.
            (LEAST, &[true, false], &[25, 75]),
        ] {
            let passed = passed(&wanted_at(part), give_way, 10).await;
            let alike = passed.iter().zip(wanted).all(|(chunks, wanted)| near(*chunks, *wanted));
            assert!(alike, "{part} of the rate left, {give_way:?}: {passed:?}");
        }
    }
}
