//! What a link has heard of its peer: when last, and whether the process there is still the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Over all connections of a link. Times to within a few milliseconds.
pub(super) struct Heard {
    start: Instant,
    /// When last, in milliseconds since `start`.
    last_ms: AtomicU64,
    /// The process at the other end; 0 before its first hello.
    boot: AtomicU64,
    /// When the process before it was last heard, plus one; 0 when there was none.
    died_ms: AtomicU64,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ms: AtomicU64::new(0),
            boot: AtomicU64::new(0),
            died_ms: AtomicU64::new(0),
        }
    }

    /// Something came in.
    pub(super) fn now(&self) {
        self.last_ms.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// The peer said which process it is. To be called before [`Heard::now`].
    pub(super) fn hello(&self, boot: u64) {
        let before = self.boot.swap(boot, Ordering::Relaxed);
        if before != 0 && before != boot {
            self.died_ms.store(self.last_ms.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(heard)
    }

    pub(super) fn died(&self) -> Option<Instant> {
        let died = self.died_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.start + Duration::from_millis(died))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_process_means_that_the_first_died() {
        let heard = Heard::new();
        heard.hello(7);
        heard.now();
        assert_eq!(heard.died(), None);
        heard.hello(7);
        assert_eq!(heard.died(), None, "the same process on a new connection");
        heard.hello(8);
        assert!(heard.died().is_some_and(|died| died <= Instant::now()));
        assert!(heard.silence() < Duration::from_secs(5));
    }
}
