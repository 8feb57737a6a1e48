//! What a link has heard of its peer: when last, and whether the process there is still the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::schema::Hello;
use crate::versions::{NoCommonProtocol, Support};

/// The process at the other end of a link, as it introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Version of its binary.
    pub version: String,
    /// Chosen anew each time it starts.
    pub boot: u64,
    /// What it can write and speak.
    pub support: Support,
    /// The protocol spoken with it.
    pub protocol: u32,
}

/// Over all connections of a link. Times to within a few milliseconds.
pub(super) struct Heard {
    start: Instant,
    /// When last, in milliseconds since `start`.
    last_ms: AtomicU64,
    /// The process at the other end; 0 before its first hello.
    boot: AtomicU64,
    /// When the process before it was last heard, plus one; 0 when there was none.
    died_ms: AtomicU64,
    peer: Mutex<Option<Peer>>,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ms: AtomicU64::new(0),
            boot: AtomicU64::new(0),
            died_ms: AtomicU64::new(0),
            peer: Mutex::default(),
        }
    }

    /// Something came in.
    pub(super) fn now(&self) {
        self.last_ms.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// The peer introduced itself. To be called before [`Heard::now`].
    pub(super) fn hello(&self, hello: &Hello) -> Result<(), NoCommonProtocol> {
        let support = Support::of_hello(hello);
        let protocol = Support::ours().agree(support, &hello.version)?;
        let (version, boot) = (hello.version.clone(), hello.boot);
        *self.peer.lock() = Some(Peer { version, boot, support, protocol });
        self.boot(boot);
        Ok(())
    }

    /// Who it is, by its last hello.
    pub(super) fn peer(&self) -> Option<Peer> {
        self.peer.lock().clone()
    }

    /// The protocol spoken with it, by its last hello.
    pub(super) fn protocol(&self) -> Option<u32> {
        self.peer.lock().as_ref().map(|peer| peer.protocol)
    }

    fn boot(&self, boot: u64) {
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
        let hello = |boot| Hello { protocol: 1, boot, ..Hello::default() };
        heard.hello(&hello(7)).unwrap();
        heard.now();
        assert_eq!(heard.died(), None);
        heard.hello(&hello(7)).unwrap();
        assert_eq!(heard.died(), None, "the same process on a new connection");
        heard.hello(&hello(8)).unwrap();
        assert_eq!(heard.peer().map(|peer| (peer.boot, peer.protocol)), Some((8, 1)));
        assert_eq!(heard.protocol(), Some(1));
        assert!(heard.hello(&Hello { protocol: 99, ..hello(9) }).is_err());
        assert!(heard.died().is_some_and(|died| died <= Instant::now()));
        assert!(heard.silence() < Duration::from_secs(5));
    }
}
