//! A sliding window over the calls of a tenant with a rate: as many calls in any stretch of its
//! length as the rate gives.
//!
//! A token bucket that lets a second's worth through at once would, over the five seconds a test
//! or a client may look at, let through a fifth too much. A window allows the same burst and
//! holds the rate over every second. Calls are counted in slots, so the window is up to one slot
//! too long, and a tenant gets at least 63/64 of its rate.

// What is cast here is never negative: rates are above 0, and times after the epoch.
#![allow(clippy::cast_sign_loss)]

/// Parts a window's length is divided into.
const SLOTS: usize = 64;
/// Length of a window of whole calls a second, in milliseconds.
const SECOND_MS: f64 = 1_000.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    rate_per_s: f64,
    /// Most calls in a window.
    most: u64,
    slot_ms: f64,
    slots: [u32; SLOTS + 1],
    /// Number of the newest slot since the epoch.
    newest: u64,
    calls: u64,
}

impl Window {
    /// An empty window. Its length is a second where the rate is whole; other rates get as much
    /// longer a window as makes its calls whole, so half a call a second is one in two seconds.
    pub(super) fn new(rate_per_s: f64) -> Self {
        let most = rate_per_s.ceil().max(1.0);
        let slot_ms = most / rate_per_s * SECOND_MS / SLOTS as f64;
        let slots = [0; SLOTS + 1];
        Self { rate_per_s, most: most as u64, slot_ms, slots, newest: 0, calls: 0 }
    }

    pub(super) fn is_for(&self, rate_per_s: f64) -> bool {
        self.rate_per_s.to_bits() == rate_per_s.to_bits()
    }

    /// Counts a call, or says in how many milliseconds there will be room for one.
    pub(super) fn admit(&mut self, now_ms: u64) -> Result<(), u32> {
        self.move_to((now_ms as f64 / self.slot_ms) as u64);
        if self.calls < self.most {
            self.calls += 1;
            self.slots[place(self.newest)] += 1;
            return Ok(());
        }
        let oldest = (self.newest.saturating_sub(SLOTS as u64)..=self.newest)
            .find(|slot| self.slots[place(*slot)] > 0)
            .unwrap_or(self.newest);
        let free_ms = (oldest + SLOTS as u64 + 1) as f64 * self.slot_ms;
        Err((free_ms - now_ms as f64).ceil().clamp(1.0, f64::from(u32::MAX)) as u32)
    }

    /// Lets go of what lies before the window that ends with this slot. A clock that went back
    /// keeps counting in the newest slot.
    fn move_to(&mut self, slot: u64) {
        let steps = slot.saturating_sub(self.newest).min(SLOTS as u64 + 1);
        self.newest = self.newest.max(slot);
        for passed in 0..steps {
            let left = std::mem::take(&mut self.slots[place(self.newest - passed)]);
            self.calls -= u64::from(left);
        }
    }
}

fn place(slot: u64) -> usize {
    (slot % (SLOTS as u64 + 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_772_366_400_123;

    /// How many of the calls made every millisecond from `from` to `to` are let through.
    fn hammered(window: &mut Window, from: u64, to: u64) -> u64 {
        (from..to).filter(|ms| window.admit(START + ms).is_ok()).count() as u64
    }

    #[test]
    fn a_seconds_worth_at_once_and_the_rate_over_every_second() {
        let mut window = Window::new(20.0);
        assert_eq!(hammered(&mut window, 0, 20), 20, "a burst");
        assert_eq!(hammered(&mut window, 20, 1_000), 0);
        assert_eq!(hammered(&mut window, 1_000, 5_000), 80, "a hundred in five seconds");
    }

    #[test]
    fn a_steady_pace_at_the_rate_is_hardly_refused() {
        let mut window = Window::new(100.0);
        let admitted = (0..1_000).filter(|call| window.admit(START + call * 10).is_ok()).count();
        assert!((980..=1_000).contains(&admitted), "{admitted}");
    }

    #[test]
    fn rates_that_are_not_whole_are_held_too() {
        for (rate, seconds, expected) in [(0.5, 20, 10), (1.5, 20, 30), (2.5, 60, 150)] {
            let mut window = Window::new(rate);
            let admitted = hammered(&mut window, 0, seconds * 1_000);
            let off = admitted.abs_diff(expected);
            assert!(off * 20 <= expected, "{rate}: {admitted} instead of {expected}");
        }
    }

    #[test]
    fn whoever_waits_as_told_is_let_through() {
        for rate in [0.1, 1.0, 3.7, 20.0, 5_000.0] {
            let mut window = Window::new(rate);
            let mut now = START;
            for _ in 0..200 {
                if let Err(wait) = window.admit(now) {
                    now += u64::from(wait);
                    assert!(window.admit(now).is_ok(), "rate {rate}, told {wait} ms");
                }
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut window = Window::new(2.0);
        assert_eq!([0, 0, 0].map(|_| window.admit(START).is_ok()), [true, true, false]);
        assert!(window.admit(START - 60_000).is_err());
        assert!(window.admit(START + 1_100).is_ok());
    }
}
