//! Commands too large for a log entry: sent in parts, each an ordinary request of its own, and
//! then carried out by one small command under the request id of the whole.
//!
//! A leader change in the middle is no concern of this file, as every part finds its own way. If
//! the parts are gone when they are to be carried out, all is sent again.

use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use ranch_proto::Shards;
use ranch_proto::schema::{Command, CommandResult, OpStatus, reply, request};
use ranch_proto::stage::{Cut, STAGED_BYTES_MAX};

use super::{Forward, ForwardError, Home, Nature, garbled, jittered};

/// Parts under way at once: enough to keep the disks busy while answers travel.
const IN_FLIGHT: usize = 4;
/// How often all is sent before giving up.
const ROUNDS: u32 = 3;
/// Time a command gets for each MiB, beside that of any request.
const TIME_PER_MIB: Duration = Duration::from_millis(250);
/// Between attempts while others have staged all there may be.
const WAIT: Duration = Duration::from_millis(100);

impl<S: Shards> Forward<S> {
    /// Carries out a large command, once.
    ///
    /// # Errors
    /// As [`Forward::command`].
    pub(super) async fn staged(
        &self,
        home: Home,
        command: Command,
    ) -> Result<CommandResult, ForwardError> {
        let cut = Cut::new(command);
        if cut.length() > STAGED_BYTES_MAX {
            return Err(ForwardError::Invalid);
        }
        let mib = u32::try_from(cut.length() >> 20).unwrap_or(u32::MAX);
        let until = Instant::now() + self.deadline + TIME_PER_MIB * mib;
        for _ in 0..ROUNDS {
            self.stage(home, &cut, until).await?;
            let result = self.command_by(home, cut.commit(), until).await?;
            if !is(&result, OpStatus::OpNotStaged) {
                return Ok(result);
            }
            tracing::debug!(shard = %home.shard, "an upload was gone before it was carried out");
        }
        Err(ForwardError::Unavailable)
    }

    async fn stage(&self, home: Home, cut: &Cut, until: Instant) -> Result<(), ForwardError> {
        let mut left = 0..cut.parts();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < IN_FLIGHT
                && let Some(part) = left.next()
            {
                under_way.push(self.stage_part(home, cut, part, until).boxed());
            }
            match under_way.next().await {
                Some(staged) => staged?,
                None => return Ok(()),
            }
        }
    }

    async fn stage_part(
        &self,
        home: Home,
        cut: &Cut,
        part: u32,
        until: Instant,
    ) -> Result<(), ForwardError> {
        loop {
            let sent = self.command_by(home, cut.part(part), until).await;
            let result = sent.map_err(|error| match error {
                // Whether or not it arrived, nothing has been done with it.
                ForwardError::OutcomeUnknown => ForwardError::Unavailable,
                other => other,
            })?;
            // That the tenant is gone is for the commit to be told.
            if is(&result, OpStatus::OpOk) || is(&result, OpStatus::OpTenantGone) {
                return Ok(());
            }
            if !is(&result, OpStatus::OpStagingFull) {
                return Err(garbled(home.shard));
            }
            if Instant::now() + WAIT >= until {
                return Err(ForwardError::Overloaded);
            }
            tokio::time::sleep(jittered(WAIT)).await;
        }
    }

    /// Sends a command for no longer than any request, and not beyond `until`.
    async fn command_by(
        &self,
        home: Home,
        command: Command,
        until: Instant,
    ) -> Result<CommandResult, ForwardError> {
        let limit = self.deadline.min(until.saturating_duration_since(Instant::now()));
        let body = request::Body::Command(command);
        match self.send(home, body, Nature::Write, limit).await? {
            reply::Body::Command(result) => Ok(result),
            _ => Err(garbled(home.shard)),
        }
    }
}

/// Whether this is the answer to a part, or to a commit that came to nothing.
fn is(result: &CommandResult, status: OpStatus) -> bool {
    matches!(&result.results[..], [only] if only.status() == status)
}
