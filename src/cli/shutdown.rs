//! When a process should stop: an interrupt, a request to terminate, or, for a child of
//! `ranch up`, the end of its parent.

use std::io::{self, Read};
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Signals that ask this process to stop. Listening begins when it is made.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Begins listening.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them. May be called again for one more.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for a signal or, when `follow_parent`, for the end of standard input, which is a
    /// pipe that `ranch up` holds open as long as it lives.
    pub async fn or_parent_gone(mut self, follow_parent: bool) {
        tokio::select! {
            () = self.next() => {}
            () = parent_gone(), if follow_parent => {}
        }
    }
}

/// Reads on a thread of its own: a runtime that ends would wait for its own blocked reads.
async fn parent_gone() {
    let (gone, told) = oneshot::channel();
    let watching = thread::Builder::new().name("parent".to_owned()).spawn(move || {
        let mut bytes = [0_u8; 64];
        // Nothing is ever sent; an error means the pipe is gone as well.
        while io::stdin().read(&mut bytes).is_ok_and(|read| read > 0) {}
        // Nobody listens any more when the process ends for another reason.
        let _ = gone.send(());
    });
    match watching {
        Ok(_) => drop(told.await),
        Err(error) => {
            tracing::warn!("cannot watch for the end of `ranch up`: {error}");
            std::future::pending::<()>().await;
        }
    }
}
