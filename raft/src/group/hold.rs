//! Holding back a group's proposals for a moment, so that a leader can hand over without a write
//! caught in between: what waits meanwhile is carried out, or sent on to the next leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, MutexGuard, Notify};

/// Shared by a group's proposer and whoever hands the group over.
#[derive(Debug, Default)]
pub(super) struct Hold {
    one: Mutex<()>,
    held: AtomicBool,
    /// Wakes the proposer when the hold begins or ends.
    changed: Notify,
    /// Wakes the holder when nothing is under way any more.
    quiet: Notify,
}

/// Proposals wait as long as this lives.
pub(super) struct Held<'a> {
    hold: &'a Hold,
    _one: MutexGuard<'a, ()>,
}

impl Hold {
    /// One for a proposer and its group.
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Begins to hold back; `None` while somebody else does.
    pub(super) fn begin(&self) -> Option<Held<'_>> {
        let one = self.one.try_lock().ok()?;
        // Said to a holder who had stopped waiting.
        let _ = self.quiet.notified().now_or_never();
        self.held.store(true, Ordering::Release);
        self.changed.notify_one();
        Some(Held { hold: self, _one: one })
    }

    /// Whether proposals are to wait.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// For the proposer: waits until that may have changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// For the proposer: says that nothing is under way.
    pub(super) fn say_quiet(&self) {
        self.quiet.notify_one();
    }
}

impl Held<'_> {
    /// Waits until everything proposed before has been answered.
    pub(super) async fn quiet(&self) {
        self.hold.quiet.notified().await;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.hold.held.store(false, Ordering::Release);
        self.hold.changed.notify_one();
    }
}
