//! Memory for large texts. Whoever takes one in, or puts one together, first takes a share of a
//! budget as large as the text, and keeps it until the text has left. So a router's memory stays
//! within its means however many ask at once; those beyond it wait, and are told to come back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::forward::ForwardError;

/// Texts and bodies up to this size need no share, in bytes.
pub const SMALL_BYTES: u64 = 1 << 20;
/// What shares are counted in, in bytes.
const UNIT: u64 = 64 << 10;

/// What there is for all.
#[derive(Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    units_max: u32,
    patience: Duration,
}

/// Somebody's share; given back when dropped.
#[derive(Debug)]
pub struct Share {
    _held: OwnedSemaphorePermit,
}

impl Budget {
    /// A budget of so many bytes, for which one waits at most `patience`.
    pub fn new(bytes: u64, patience: Duration) -> Self {
        let units_max = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self { units: Arc::new(Semaphore::new(units_max as usize)), units_max, patience }
    }

    /// A share for a text of so many bytes; all there is for a larger one.
    ///
    /// # Errors
    /// [`ForwardError::Overloaded`] when none gets free in time.
    pub async fn take(&self, bytes: u64) -> Result<Share, ForwardError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units_max);
        let taking = Arc::clone(&self.units).acquire_many_owned(units);
        match tokio::time::timeout(self.patience, taking).await {
            Ok(Ok(held)) => Ok(Share { _held: held }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(ForwardError::Overloaded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shares_are_given_while_there_is_something_left() {
        let budget = Budget::new(4 * UNIT, Duration::from_millis(20));
        let half = budget.take(2 * UNIT).await.unwrap();
        let one = budget.take(1).await.unwrap();
        assert_eq!(budget.take(2 * UNIT).await.unwrap_err(), ForwardError::Overloaded);
        drop(half);
        drop(budget.take(3 * UNIT).await.unwrap());
        assert_eq!(budget.take(u64::MAX).await.unwrap_err(), ForwardError::Overloaded);
        drop(one);
        budget.take(u64::MAX).await.unwrap();
    }
}
