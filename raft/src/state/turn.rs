//! Turns: of all the shards of a node, one at a time carries out a large command, since it holds
//! all of it in memory from putting it together until it is written.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Where turns are taken.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    taken: Mutex<bool>,
    ended: Condvar,
}

/// A turn, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

impl Turns {
    /// Waits for a turn. Blocks; whoever has one only computes and writes to the database, and
    /// waits for nothing.
    pub(crate) fn take(self: &Arc<Self>) -> Turn {
        let mut taken = self.taken.lock();
        while *taken {
            self.ended.wait(&mut taken);
        }
        *taken = true;
        Turn(Arc::clone(self))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.taken.lock() = false;
        self.0.ended.notify_one();
    }
}

/// Runs what may take long without holding up the other tasks of a runtime's thread.
///
/// Only for large commands: handing the thread's other tasks over costs more than a small one.
#[expect(
    clippy::disallowed_methods,
    reason = "the work borrows the machine, so it cannot go to another thread"
)]
pub(crate) fn unhurried<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // No runtime, or one without another thread that could go on meanwhile.
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_has_a_turn_at_a_time() {
        let turns = Arc::new(Turns::default());
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _turn = turns.take();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
