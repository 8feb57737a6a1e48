//! Waiting for a condition, always with a limit. Nothing in the harness sleeps and hopes.

use std::time::{Duration, Instant};

use crate::error::HarnessError;

/// How long to wait between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);

/// Calls `probe` until it gives a value, and returns that value.
///
/// # Errors
/// [`HarnessError::TimedOut`] with `what` when nothing came within `limit`.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> Result<T, HarnessError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(HarnessError::TimedOut { what: what.to_owned(), limit });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_the_value_or_names_what_was_missing() {
        let mut looks = 0;
        let third = until("a third look", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third.await.unwrap(), 3);

        let never = until("rain", Duration::from_millis(1), async || None::<()>).await;
        assert!(never.unwrap_err().to_string().contains("rain"));
    }
}
