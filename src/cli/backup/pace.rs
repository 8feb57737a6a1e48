//! How fast bytes may go, so that clients of the ranch do not feel a backup.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Bytes of a MB, as in quotas.
const MB: f64 = 1_048_576.0;

/// How often something goes in a second. What goes at once is handled at once, by the ranch, too,
/// and its clients would feel whole chunks.
const PARTS_PER_S: f64 = 64.0;
/// Parts cost requests, so no smaller and no larger ones than these.
const PART_BYTES: (u64, u64) = (64 << 10, 1 << 20);

/// A limit of bytes a second, on average over what has gone so far and never far above it.
pub struct Pace {
    bytes_per_s: Option<f64>,
    /// When all that has gone so far has had its time, and more may go.
    paid_until: Cell<Instant>,
}

impl Pace {
    /// So many MB a second; as fast as it goes where that is 0.
    pub fn new(mb_per_s: f64) -> Self {
        let bytes_per_s = (mb_per_s > 0.0).then_some(mb_per_s * MB);
        Self { bytes_per_s, paid_until: Cell::new(Instant::now()) }
    }

    /// How many things are to be under way at once, of `most`: several go in bursts, at a rate
    /// above the limit.
    pub fn at_once(&self, most: usize) -> usize {
        if self.bytes_per_s.is_some() { 1 } else { most }
    }

    /// Most bytes that are to go at once; `None` without a limit.
    #[allow(clippy::cast_sign_loss)] // no rate is below 0
    pub fn part(&self) -> Option<u64> {
        let part = |rate| ((rate / PARTS_PER_S) as u64).clamp(PART_BYTES.0, PART_BYTES.1);
        self.bytes_per_s.map(part)
    }

    /// How long to wait before so many bytes more.
    fn take(&self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_s else { return Duration::ZERO };
        // Time in which nothing went is not made up for.
        let turn = self.paid_until.get().max(now);
        self.paid_until.set(turn + Duration::from_secs_f64(bytes as f64 / rate));
        turn - now
    }

    /// Waits for the turn of so many bytes more.
    pub async fn wait(&self, bytes: u64) {
        let wait = self.take(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// A rate as the command line gives it.
pub fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
    rate.ok_or("a number of MB a second, 0 for no limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time() {
        let pace = Pace::new(1.0);
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!(pace.take(1 << 20, now), Duration::ZERO);
        assert_eq!(pace.take(1 << 19, now), Duration::from_secs(1));
        assert_eq!(pace.take(1, now), Duration::from_millis(1_500));
        let later = now + Duration::from_secs(10);
        assert_eq!(pace.take(1 << 19, later), Duration::ZERO);
        assert_eq!(pace.take(1, later), Duration::from_millis(500));
        assert_eq!(pace.at_once(4), 1);
        let parts = [1.0, 8.0, 32.0, 1e6].map(|rate| Pace::new(rate).part());
        assert_eq!(parts, [64 << 10, 128 << 10, 512 << 10, 1 << 20].map(Some));
        let unlimited = Pace::new(0.0);
        assert_eq!((unlimited.take(u64::MAX, now), unlimited.at_once(4)), (Duration::ZERO, 4));
        assert_eq!(unlimited.part(), None);
        assert!(rate("1.5").is_ok() && rate("-1").is_err() && rate("x").is_err());
    }
}
