//! Requests under way on a link, by id, and how they end.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::refusal::ShardError;
use crate::schema::{Reply, reply};

type Waiter = oneshot::Sender<Result<Reply, ShardError>>;

/// Waiters of one connection. Once closed it takes no more, so none is forgotten.
#[derive(Default)]
pub(super) struct Pending {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    closed: bool,
    waiters: HashMap<u64, Waiter>,
}

impl Pending {
    /// Registers a request and gives it its id; `None` when the connection is gone.
    pub(super) fn add(&self, waiter: Waiter) -> Option<u64> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.next += 1;
        let id = state.next;
        state.waiters.insert(id, waiter);
        Some(id)
    }

    /// Forgets a request whose asker has stopped waiting.
    pub(super) fn forget(&self, id: u64) {
        self.state.lock().waiters.remove(&id);
    }

    /// Hands a reply to its asker; one that nobody waits for any more is dropped.
    pub(super) fn complete(&self, id: u64, reply: Reply) {
        let waiter = self.state.lock().waiters.remove(&id);
        let Some(waiter) = waiter else { return };
        let result = match reply.body {
            Some(reply::Body::Refusal(refusal)) => Err(refusal.into()),
            _ => Ok(reply),
        };
        // The asker may have gone in the meantime, which is its right.
        let _ = waiter.send(result);
    }

    /// Ends every request under way: nobody can say whether it took effect.
    pub(super) fn close(&self, why: &str) {
        let waiters = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.waiters)
        };
        for (_, waiter) in waiters {
            let _ = waiter.send(Err(ShardError::Unknown { detail: why.to_owned() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_end_once_and_all_end_when_closed() {
        let pending = Pending::default();
        let (first, first_end) = oneshot::channel();
        let (second, second_end) = oneshot::channel();
        let id = pending.add(first).unwrap();
        assert_ne!(pending.add(second).unwrap(), id);
        let pong = Reply { body: Some(reply::Body::Pong(true)) };
        pending.complete(id, pong.clone());
        pending.complete(id, pong.clone());
        assert_eq!(first_end.await.unwrap().unwrap(), pong);
        pending.close("the link broke");
        assert!(matches!(second_end.await.unwrap(), Err(ShardError::Unknown { .. })));
        assert!(pending.add(oneshot::channel().0).is_none());
    }
}
