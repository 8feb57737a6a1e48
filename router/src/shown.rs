//! Waiting for this router's own directory to show something: it follows the meta group's, and is
//! a moment behind.

use std::time::Duration;

use ranch_proto::{Directory, Shards};

/// Longest wait for what has been decided, or for the directory of a router that has just started.
pub(crate) const SHOW_MAX: Duration = Duration::from_secs(2);

/// Waits until the directory shows something, for a bounded time; says whether it did.
pub(crate) async fn until_shown<S: Shards>(
    shards: &S,
    longest: Duration,
    there: impl Fn(&Directory) -> bool,
) -> bool {
    let mut epochs = shards.epochs();
    let wait = async {
        while !there(&shards.directory().read()) {
            if epochs.changed().await.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(longest, wait).await.unwrap_or(false)
}
