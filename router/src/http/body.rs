//! Reading a request's body: never more than its limit, never slower than patience allows.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::ApiError;
use crate::large::{Budget, SMALL_BYTES, Share};

/// Slowest average at which a body may arrive once its first wait is used up, in bytes a second.
const RATE_MIN: u64 = 1024;

/// Reads a body whole, as [`read`] does, and takes a share of memory for one that is large.
///
/// # Errors
/// As [`read`]; [`ForwardError::Overloaded`](crate::forward::ForwardError) without a share.
pub async fn read_large(
    body: Incoming,
    limit: u64,
    patience: Duration,
    budget: &Budget,
) -> Result<(Bytes, Option<Share>), ApiError> {
    collect(body, limit, patience, Some(budget)).await
}

/// Reads a body whole. One that arrives in one piece, as nearly all do, is not copied.
///
/// # Errors
/// [`ApiError::BodyTooLarge`] as soon as more than `limit` bytes are announced or arrive,
/// [`ApiError::SlowBody`] when `patience` passes without a byte or the average is below
/// [`RATE_MIN`], [`ApiError::BrokenBody`] when the client leaves in the middle.
pub async fn read(body: Incoming, limit: u64, patience: Duration) -> Result<Bytes, ApiError> {
    Ok(collect(body, limit, patience, None).await?.0)
}

/// Reads a body; with a budget, what becomes more than a little takes a share of it.
async fn collect(
    mut body: Incoming,
    limit: u64,
    patience: Duration,
    budget: Option<&Budget>,
) -> Result<(Bytes, Option<Share>), ApiError> {
    if body.is_end_stream() {
        return Ok((Bytes::new(), None));
    }
    let announced = body.size_hint();
    if announced.lower() > limit {
        return Err(ApiError::BodyTooLarge { limit });
    }
    let expected = announced.exact().unwrap_or(limit);
    let mut share = None;
    if announced.lower() > SMALL_BYTES
        && let Some(budget) = budget
    {
        share = Some(budget.take(expected).await?);
    }
    let started = Instant::now();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(patience, body.frame());
        let Some(frame) = frame.await.map_err(|_| ApiError::SlowBody)? else { break };
        let Ok(data) = frame.map_err(|_| ApiError::BrokenBody)?.into_data() else { continue };
        let received = (first.len() + all.len() + data.len()) as u64;
        if received > limit {
            return Err(ApiError::BodyTooLarge { limit });
        }
        if started.elapsed() > patience + Duration::from_secs(received / RATE_MIN) {
            return Err(ApiError::SlowBody);
        }
        if received > SMALL_BYTES
            && share.is_none()
            && let Some(budget) = budget
        {
            share = Some(budget.take(expected).await?);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            let expected = announced.exact().unwrap_or(received);
            all.reserve(expected.min(limit) as usize);
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, share))
}
