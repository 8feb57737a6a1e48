//! The state machine of a shard: commands that change and read scrolls of its tenants.
//!
//! The rules a command is judged by, in this order:
//! 0. A command meant for a tenant that was purged is refused, whoever has its id now. A purge
//!    removes all rows of its tenant; it is a note in the log whatever that tenant had.
//! 1. A request id seen within the window gets its first answer, whatever that was. Refusals are
//!    remembered too: an answer once given must stay true, so a late duplicate in the log must
//!    not carry out what its first copy refused. Commands that only read are not remembered.
//! 2. An idempotency key answered before gets that answer if the content is the same and
//!    `OP_KEY_REUSED` if not. Only commands that took effect are remembered under their key.
//! 3. The operations, see [`ledger`].
//!
//! A command too large for one entry arrives in parts, see [`staging`]; the entry that commits it
//! has the rules above applied to the whole, in one step, under the request id it always had.
//!
//! A repeated command's reads give their text again only while the scroll still has the revision
//! first read; afterwards they answer `OP_ABORTED` rather than a text from another time.

mod calls;
mod clock;
mod codec;
mod dedup;
mod idempotent;
mod ledger;
mod outcome;
mod rows;
mod scrolls;
mod staging;
mod table;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ranch_proto::ids::{GroupId, RequestId, is_tenant_id};
use ranch_proto::keys::{self, Kind};
use ranch_proto::phext::PHEXT_NAME_BYTES_MAX;
use ranch_proto::schema::{
    Command, CommandResult, Idempotency, OpResult, OpStatus, ShardEntry, StageCommit, TenantCalls,
    op::Kind as OpKind,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::state::batch::ApplyBatch;
use crate::state::check_entry;
use crate::state::error::StateError;
use crate::state::machine::{BATCH_ALIGNMENT, Machine};
use crate::state::store::StateStore;
use crate::state::totals::Totals;
use crate::types::Applied;

use calls::Calls;
pub(crate) use calls::CallsRow;
use clock::Clock;
pub use clock::STEP_MAX_MS;
pub(crate) use codec::{PhextRow, UsageRow};
use dedup::DedupWindow;
pub use dedup::{DEDUP_OPS_MAX, DEDUP_WINDOW_MS};
pub use idempotent::IDEMPOTENCY_MS;
use idempotent::{Found, Idempotent};
pub use ledger::READ_BYTES_MAX;
use ledger::{Ledger, life_of};
use outcome::Outcome;
use staging::Staging;
pub use staging::{STAGED_MS, STAGED_TENANT_MAX};

/// Applies the entries of one shard.
pub(crate) struct ShardMachine {
    ledger: Ledger,
    clock: Clock,
    calls: Calls,
    dedup: DedupWindow,
    idempotent: Idempotent,
    staging: Staging,
    totals: Arc<Totals>,
}

/// When an entry is applied.
#[derive(Clone, Copy)]
struct Time {
    /// As its leader's clock said, which may be wrong: for showing.
    stamp_ms: u64,
    /// The shard's age: for deciding what is old.
    age_ms: u64,
}

impl ShardMachine {
    /// Takes up what the database holds; `totals` is set from it.
    pub(crate) fn open(
        store: &Arc<StateStore>,
        group: GroupId,
        totals: &Arc<Totals>,
    ) -> Result<Self, StateError> {
        let dedup = DedupWindow::load(store, group)?;
        sum_up(store, group, totals)?;
        Ok(Self {
            ledger: Ledger::new(Arc::clone(store), group),
            clock: Clock::load(store, group)?,
            calls: Calls::new(Arc::clone(store), group),
            dedup,
            idempotent: Idempotent::new(Arc::clone(store), group),
            staging: Staging::load(store, group)?,
            totals: Arc::clone(totals),
        })
    }

    fn command(
        &mut self,
        command: &Command,
        time: Time,
        batch: &mut ApplyBatch,
    ) -> Result<CommandResult, StateError> {
        if !command.calls.is_empty() {
            self.note(&command.calls, time.stamp_ms)?;
            return Ok(CommandResult::default());
        }
        let Some(id) = identity(command) else {
            return Ok(all(command, OpStatus::OpInvalid));
        };
        if command.life.is_some_and(|life| life.purge) {
            self.purge(command, batch)?;
            return Ok(fresh(Vec::new()));
        }
        if !self.ledger.is_current(&command.tenant, life_of(command))? {
            return Ok(all(command, OpStatus::OpTenantGone));
        }
        if let Some(part) = &command.stage {
            // Not remembered: staging a part again changes nothing.
            let status = self.staging.stage(&command.tenant, part, time.age_ms, batch);
            return Ok(one(status));
        }
        if let Some(commit) = &command.commit {
            return self.staged(command, commit, time, batch);
        }
        self.whole(command, id, time, batch)
    }

    /// Carries out a command whose parts were staged.
    fn staged(
        &mut self,
        command: &Command,
        commit: &StageCommit,
        time: Time,
        batch: &mut ApplyBatch,
    ) -> Result<CommandResult, StateError> {
        let Some(parts) = self.staging.take(&command.tenant, commit, batch)? else {
            let first = identity(command).and_then(|id| self.dedup.find(&id));
            // The texts it read are not at hand: what it asked for is gone with the parts.
            return Ok(first.map_or_else(|| one(OpStatus::OpNotStaged), bare));
        };
        let whole = Command::decode(parts).ok().filter(|whole| {
            let plain = whole.stage.is_none() && whole.commit.is_none() && whole.calls.is_empty();
            plain && (&whole.tenant, &whole.request_id) == (&command.tenant, &command.request_id)
        });
        let (Some(mut whole), Some(id)) = (whole, identity(command)) else {
            return Ok(one(OpStatus::OpInvalid));
        };
        whole.quota_bytes = command.quota_bytes;
        whole.scroll_max_bytes = command.scroll_max_bytes;
        whole.life = command.life;
        whole.restoring = command.restoring;
        self.whole(&whole, id, time, batch)
    }

    fn whole(
        &mut self,
        command: &Command,
        id: RequestId,
        time: Time,
        batch: &mut ApplyBatch,
    ) -> Result<CommandResult, StateError> {
        if let Some(outcome) = self.dedup.find(&id) {
            let outcome = outcome.clone();
            return self.repeat(command, &outcome);
        }
        let result = match &command.idempotency {
            Some(idempotency) => self.idempotent(command, idempotency, time, batch)?,
            None => fresh(self.ledger.run(command, time.stamp_ms)?),
        };
        if writes(command) {
            self.dedup.remember(id, Outcome::of(&result.results));
        }
        Ok(result)
    }

    /// Counts calls; those of tenants that were purged count for nobody.
    fn note(&mut self, calls: &[TenantCalls], stamp_ms: u64) -> Result<(), StateError> {
        for noted in calls.iter().filter(|noted| is_tenant_id(&noted.tenant)) {
            if self.ledger.is_current(&noted.tenant, noted.life)? {
                self.calls.note(noted, stamp_ms)?;
            }
        }
        Ok(())
    }

    fn purge(&mut self, command: &Command, batch: &mut ApplyBatch) -> Result<(), StateError> {
        let tenant = command.tenant.as_str();
        if self.ledger.purge(tenant, life_of(command), batch)? {
            let group = self.ledger.group();
            self.idempotent.purge(&keys::tenant_bounds(Kind::Idempotent, group, tenant));
            self.calls.purge(tenant);
            self.staging.purge(tenant);
        }
        Ok(())
    }

    fn idempotent(
        &mut self,
        command: &Command,
        idempotency: &Idempotency,
        time: Time,
        batch: &mut ApplyBatch,
    ) -> Result<CommandResult, StateError> {
        let (key, content) = (idempotency.key.as_ref(), idempotency.content.as_ref());
        let (Ok(key), Ok(content)) = (<[u8; 16]>::try_from(key), <[u8; 16]>::try_from(content))
        else {
            return Ok(all(command, OpStatus::OpInvalid));
        };
        let stale = match self.idempotent.find(&command.tenant, &key, time.age_ms)? {
            Found::Live(row) if row.content == content => {
                return self.repeat(command, &row.outcome);
            }
            Found::Live(_) => return Ok(all(command, OpStatus::OpKeyReused)),
            Found::Expired { expires_ms } => Some(expires_ms),
            Found::Nothing => None,
        };
        let results = self.ledger.run(command, time.stamp_ms)?;
        if took_effect(command, &results) {
            if let Some(expires_ms) = stale {
                self.idempotent.forget(&command.tenant, &key, expires_ms, batch);
            }
            let outcome = Outcome::of(&results);
            let owner = (command.tenant.as_str(), life_of(command));
            let row = (content, outcome);
            self.idempotent.remember(owner, key, row, time.age_ms, batch);
        }
        Ok(fresh(results))
    }

    /// The first answer again.
    fn repeat(
        &mut self,
        command: &Command,
        outcome: &Outcome,
    ) -> Result<CommandResult, StateError> {
        if outcome.ops().len() != command.ops.len() {
            // The same id for another command: nothing a retry can be.
            return Ok(all(command, OpStatus::OpInvalid));
        }
        let mut results = Vec::with_capacity(command.ops.len());
        for (op, first) in command.ops.iter().zip(outcome.ops()) {
            let mut result = first.result();
            let read = op.kind == i32::from(OpKind::Read) && result.status == OK;
            if read && result.revision != 0 {
                match self.ledger.text_at(&command.tenant, op, result.revision)? {
                    Some(text) => result.text = Some(text),
                    None => result.status = OpStatus::OpAborted.into(),
                }
            }
            results.push(result);
        }
        Ok(CommandResult { results, repeated_request: true })
    }
}

impl Machine for ShardMachine {
    fn apply(
        &mut self,
        index: u64,
        payload: Bytes,
        batch: &mut ApplyBatch,
    ) -> Result<Applied, StateError> {
        let entry = ShardEntry::decode(payload)
            .map_err(|source| StateError::MalformedEntry { index, source })?;
        check_entry(index, entry.version)?;
        let stamp_ms = entry.stamp_ms;
        let time = Time { stamp_ms, age_ms: self.clock.advance(stamp_ms) };
        if index.is_multiple_of(BATCH_ALIGNMENT) {
            self.idempotent.sweep(time.age_ms, batch)?;
            self.staging.sweep(time.age_ms, batch);
        }
        let mut results = Vec::with_capacity(entry.commands.len());
        for command in &entry.commands {
            results.push(self.command(command, time, batch)?);
        }
        self.dedup.end_entry(index, stamp_ms, batch);
        batch.hold(self.ledger.take_loaded_bytes());
        Ok(Applied::Commands(results))
    }

    fn finish(&mut self, batch: &mut ApplyBatch) -> Result<(), StateError> {
        self.idempotent.finish();
        self.clock.finish(batch);
        self.calls.finish(batch);
        self.staging.finish();
        let changed = self.ledger.finish(batch)?;
        self.totals.add(changed.scrolls, changed.bytes, changed.last_write_ms);
        Ok(())
    }

    fn publish(&mut self) {}
}

const OK: i32 = OpStatus::OpOk as i32;

/// Whether `name` may be part of keys: not empty, not too long, without the byte that ends it.
pub(crate) fn is_storable_phext(name: &str) -> bool {
    (1..=PHEXT_NAME_BYTES_MAX).contains(&name.len()) && !name.as_bytes().contains(&0)
}

/// What a command is remembered by: its request id, mixed with its tenant so that no tenant can
/// meet another's answers. `None` for a malformed id or tenant.
fn identity(command: &Command) -> Option<RequestId> {
    let RequestId(id) = RequestId::from_slice(&command.request_id)?;
    if !is_tenant_id(&command.tenant) {
        return None;
    }
    let mixed = u128::from_be_bytes(id) ^ xxh3_128(command.tenant.as_bytes());
    Some(RequestId(mixed.to_be_bytes()))
}

fn writes(command: &Command) -> bool {
    command.ops.iter().any(|op| op.kind != i32::from(OpKind::Read))
}

fn took_effect(command: &Command, results: &[OpResult]) -> bool {
    let mut pairs = command.ops.iter().zip(results);
    pairs.any(|(op, result)| op.kind != i32::from(OpKind::Read) && result.status == OK)
}

fn fresh(results: Vec<OpResult>) -> CommandResult {
    CommandResult { results, repeated_request: false }
}

/// An answer to a command that is a part, or stands for one that is not at hand.
fn one(status: OpStatus) -> CommandResult {
    fresh(vec![OpResult { status: status.into(), ..OpResult::default() }])
}

/// The first answer again, without any text.
fn bare(outcome: &Outcome) -> CommandResult {
    let results = outcome.ops().iter().map(|op| op.result()).collect();
    CommandResult { results, repeated_request: true }
}

/// The same refusal for every op.
fn all(command: &Command, status: OpStatus) -> CommandResult {
    if command.stage.is_some() || command.commit.is_some() {
        return one(status);
    }
    let refused = OpResult { status: status.into(), ..OpResult::default() };
    fresh(vec![refused; command.ops.len()])
}

fn sum_up(store: &StateStore, group: GroupId, totals: &Totals) -> Result<(), StateError> {
    let (mut scrolls, mut bytes, mut last_write_ms) = (0, 0, 0);
    store.for_each(keys::kind_bounds(group, Kind::Usage), |_, value| {
        let usage = UsageRow::decode(value)?;
        scrolls += usage.scrolls;
        bytes += usage.storage_bytes;
        last_write_ms = last_write_ms.max(usage.last_write_ms);
        Ok(true)
    })?;
    totals.set(scrolls, bytes, last_write_ms);
    Ok(())
}
