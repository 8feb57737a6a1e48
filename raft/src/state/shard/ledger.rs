//! Operations on scrolls and the totals they move: what writing, appending, deleting and reading
//! mean, when they are refused, and how an atomic command is taken back.
//!
//! Storage is counted in the same step as the write, so two writers cannot overshoot a quota
//! together. A command is refused for its quota only if it makes the tenant's usage grow, so one
//! who is over can always delete and shrink.

use std::sync::Arc;

use bytes::Bytes;
use ranch_proto::coordinate::Coordinate;
use ranch_proto::ids::GroupId;
use ranch_proto::keys;
use ranch_proto::schema::{Command, Op, OpResult, OpStatus, Restored, RestoredTotals, op::Kind};
use ranch_proto::value::{SCROLL_MAX, WHOLE_MAX, scroll_cost};

use crate::state::batch::ApplyBatch;
use crate::state::error::StateError;
use crate::state::shard::codec::{PhextRow, UsageRow};
use crate::state::shard::is_storable_phext;
use crate::state::shard::scrolls::{Head, Scrolls, Undo};
use crate::state::shard::table::Table;
use crate::state::store::StateStore;

/// Most bytes of texts the reads of one command are given; each at most a text that is kept
/// whole. More is to be read outside of commands.
pub const READ_BYTES_MAX: u64 = 4 << 20;
/// Largest text of a scroll where a command does not say, in bytes.
const SCROLL_MAX_UNSAID: u64 = 4 << 20;

/// Scrolls and totals of a shard as of the batch under way.
pub(super) struct Ledger {
    store: Arc<StateStore>,
    group: GroupId,
    scrolls: Scrolls,
    tenants: Table<UsageRow>,
    phexts: Table<PhextRow>,
    key: Vec<u8>,
    /// Tenants purged by the batch under way, whose rows the database still has.
    purged: Vec<String>,
}

/// What a batch did to the shard's totals.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) scrolls: i64,
    pub(super) bytes: i64,
    pub(super) last_write_ms: u64,
}

/// The command an op belongs to, while it runs.
struct Run<'a> {
    command: &'a Command,
    stamp_ms: u64,
    /// Place of the tenant's totals.
    tenant: usize,
    /// Changes so far; `None` when none will be taken back.
    undo: Option<Vec<Step>>,
    /// The first op that grew usage past the quota, where that is judged at the end.
    over: Option<usize>,
    /// Bytes of texts read so far.
    read_bytes: u64,
}

/// One change with what it did to its phext's totals.
struct Step {
    scroll: Undo,
    phext: usize,
    phext_before: PhextRow,
}

/// A change about to be made, with all that decides about it.
struct Change {
    place: usize,
    before: Option<Head>,
    /// Length of the new text; `None` removes the scroll.
    after: Option<u64>,
}

impl Ledger {
    pub(super) fn new(store: Arc<StateStore>, group: GroupId) -> Self {
        Self {
            store,
            group,
            scrolls: Scrolls::default(),
            tenants: Table::default(),
            phexts: Table::default(),
            key: Vec::with_capacity(128),
            purged: Vec::new(),
        }
    }

    /// The shard.
    pub(super) fn group(&self) -> GroupId {
        self.group
    }

    /// Whether a tenant of this life may still be here: nothing of it or of a later one was purged.
    pub(super) fn is_current(&mut self, tenant: &str, life: u64) -> Result<bool, StateError> {
        // In the entry that purged it, not even its successor: the old rows are still to be seen.
        if self.purged.iter().any(|purged| purged == tenant) {
            return Ok(false);
        }
        keys::usage_into(&mut self.key, self.group, tenant);
        let place = self.tenants.find(&self.store, &self.key)?;
        Ok(life >= self.tenants.get(place).life)
    }

    /// Removes all rows of a tenant, and leaves word that its life is over. Says whether there is
    /// anything to remove. The batch ends with the entry at hand, so that the next one finds the
    /// rows gone.
    pub(super) fn purge(
        &mut self,
        tenant: &str,
        life: u64,
        batch: &mut ApplyBatch,
    ) -> Result<bool, StateError> {
        keys::usage_into(&mut self.key, self.group, tenant);
        let place = self.tenants.find(&self.store, &self.key)?;
        if self.tenants.get(place).life > life {
            return Ok(false);
        }
        for bounds in keys::tenant_rows(self.group, tenant) {
            self.scrolls.forget(&bounds);
            self.phexts.forget(&bounds);
            batch.delete_range(bounds);
        }
        self.tenants.set(place, UsageRow { life: life.saturating_add(1), ..UsageRow::default() });
        self.purged.push(tenant.to_owned());
        batch.close();
        Ok(true)
    }

    /// Runs a command of a valid tenant: one result an op.
    pub(super) fn run(
        &mut self,
        command: &Command,
        stamp_ms: u64,
    ) -> Result<Vec<OpResult>, StateError> {
        keys::usage_into(&mut self.key, self.group, &command.tenant);
        let tenant = self.tenants.find(&self.store, &self.key)?;
        if let Some(totals) = command.totals.filter(|_| command.restoring) {
            self.restore_totals(tenant, totals, life_of(command));
        }
        let mut run = Run { command, stamp_ms, tenant, undo: None, over: None, read_bytes: 0 };
        if command.independent || command.ops.len() < 2 {
            return (0..command.ops.len()).map(|at| self.op(&mut run, at)).collect();
        }
        run.undo = Some(Vec::with_capacity(command.ops.len()));
        self.atomic(run)
    }

    /// Has a tenant's totals be what they were when it was backed up. What its scrolls say comes
    /// with them; the last revision given out may be that of one deleted since.
    fn restore_totals(&mut self, tenant: usize, totals: RestoredTotals, life: u64) {
        let mut usage = self.tenants.get(tenant);
        usage.revision = usage.revision.max(totals.revision);
        usage.last_write_ms = usage.last_write_ms.max(totals.last_write_ms);
        usage.life = usage.life.max(life);
        self.tenants.set(tenant, usage);
    }

    fn atomic(&mut self, mut run: Run<'_>) -> Result<Vec<OpResult>, StateError> {
        let before = self.tenants.get(run.tenant);
        let mut results = Vec::with_capacity(run.command.ops.len());
        for at in 0..run.command.ops.len() {
            let result = self.op(&mut run, at)?;
            if result.status != i32::from(OpStatus::OpOk) {
                return Ok(self.take_back(run, before, at, result));
            }
            results.push(result);
        }
        let now = self.tenants.get(run.tenant).storage_bytes;
        if let Some(at) = run.over
            && now > before.storage_bytes
            && is_over(run.command, now)
        {
            let result = refused(OpStatus::OpQuotaExceeded, 0);
            return Ok(self.take_back(run, before, at, result));
        }
        Ok(results)
    }

    /// Undoes a command whose op `at` was refused.
    fn take_back(
        &mut self,
        run: Run<'_>,
        before: UsageRow,
        at: usize,
        result: OpResult,
    ) -> Vec<OpResult> {
        for step in run.undo.into_iter().flatten().rev() {
            self.scrolls.undo(step.scroll);
            self.phexts.set(step.phext, step.phext_before);
        }
        self.tenants.set(run.tenant, before);
        let mut results = vec![refused(OpStatus::OpAborted, 0); run.command.ops.len()];
        results[at] = result;
        results
    }

    fn op(&mut self, run: &mut Run<'_>, at: usize) -> Result<OpResult, StateError> {
        let op = &run.command.ops[at];
        let Some(kind) = checked(op).filter(|kind| may_be_restored(run.command, op, *kind)) else {
            return Ok(refused(OpStatus::OpInvalid, 0));
        };
        let with_text = matches!(kind, Kind::Read | Kind::Append);
        let place = self.locate(&run.command.tenant, op, with_text)?;
        let before = self.scrolls.head(place);
        let found = before.map_or(0, |head| head.revision);
        if op.if_revision.is_some_and(|wanted| wanted != found) {
            return Ok(refused(OpStatus::OpPreconditionFailed, found));
        }
        let length = before.map_or(0, |head| head.length);
        let given = op.text.len() as u64;
        let after = match kind {
            Kind::Append => length + given,
            Kind::Write => given,
            Kind::Delete => 0,
            Kind::Read | Kind::Unspecified => {
                if length > WHOLE_MAX || run.read_bytes + length > READ_BYTES_MAX {
                    return Ok(refused(OpStatus::OpTooLarge, found));
                }
                run.read_bytes += length;
                let text = self.scrolls.text(place);
                return Ok(OpResult { text, ..done(found, length) });
            }
        };
        let nothing_to_do = match kind {
            Kind::Append => given == 0,
            _ => after == 0 && before.is_none(),
        };
        if nothing_to_do {
            return Ok(done(self.tenants.get(run.tenant).revision, 0));
        }
        if after > scroll_max(run.command) {
            return Ok(refused(OpStatus::OpTooLarge, found));
        }
        let change = Change { place, before, after: (after > 0).then_some(after) };
        let bytes = match kind {
            Kind::Append => given,
            Kind::Write => after,
            _ => length,
        };
        let Some(revision) = self.change(run, at, kind, &change)? else {
            return Ok(refused(OpStatus::OpQuotaExceeded, found));
        };
        Ok(done(revision, bytes))
    }

    /// Makes a change and returns its revision; `None` when the quota does not allow it.
    fn change(
        &mut self,
        run: &mut Run<'_>,
        at: usize,
        kind: Kind,
        change: &Change,
    ) -> Result<Option<u64>, StateError> {
        let cost_before = change.before.map_or(0, |head| scroll_cost(head.length));
        let cost_after = change.after.map_or(0, scroll_cost);
        let mut usage = self.tenants.get(run.tenant);
        usage.storage_bytes = usage.storage_bytes - cost_before + cost_after;
        if cost_after > cost_before && is_over(run.command, usage.storage_bytes) {
            if run.undo.is_none() {
                return Ok(None);
            }
            run.over.get_or_insert(at);
        }
        let op = &run.command.ops[at];
        let head = head_of(op, change, usage.revision, run.stamp_ms);
        usage.revision = usage.revision.max(head.revision);
        usage.life = usage.life.max(life_of(run.command));
        usage.last_write_ms = usage.last_write_ms.max(head.modified_ms);

        keys::phext_into(&mut self.key, self.group, &run.command.tenant, &op.phext);
        let phext = self.phexts.find(&self.store, &self.key)?;
        let phext_before = self.phexts.get(phext);
        let mut totals = phext_before;
        totals.storage_bytes = totals.storage_bytes - cost_before + cost_after;
        totals.scrolls = count(totals.scrolls, change.before.is_some(), change.after.is_some());
        usage.scrolls = count(usage.scrolls, change.before.is_some(), change.after.is_some());
        usage.phexts = count(usage.phexts, phext_before.scrolls > 0, totals.scrolls > 0);
        self.phexts.set(phext, totals);
        self.tenants.set(run.tenant, usage);

        let scroll = match change.after {
            None => self.scrolls.remove(change.place),
            Some(_) if kind == Kind::Append => self.scrolls.append(change.place, head, &op.text),
            Some(_) => self.scrolls.replace(change.place, head, op.text.clone()),
        };
        if let Some(undo) = &mut run.undo {
            undo.push(Step { scroll, phext, phext_before });
        }
        Ok(Some(head.revision))
    }

    /// The text of the scroll `op` names, if it still has this revision.
    pub(super) fn text_at(
        &mut self,
        tenant: &str,
        op: &Op,
        revision: u64,
    ) -> Result<Option<Bytes>, StateError> {
        if checked(op).is_none() {
            return Ok(None);
        }
        let place = self.locate(tenant, op, true)?;
        let same = self.scrolls.head(place).is_some_and(|head| head.revision == revision);
        Ok(if same { self.scrolls.text(place) } else { None })
    }

    fn locate(&mut self, tenant: &str, op: &Op, with_text: bool) -> Result<usize, StateError> {
        keys::header_into(&mut self.key, self.group, tenant, &op.phext, &op.coordinate);
        self.scrolls.find(&self.store, &mut self.key, with_text)
    }

    /// Bytes of texts taken into memory since last asked.
    pub(super) fn take_loaded_bytes(&mut self) -> usize {
        self.scrolls.take_loaded_bytes()
    }

    /// Adds everything that changed to the batch.
    pub(super) fn finish(&mut self, batch: &mut ApplyBatch) -> Result<Changed, StateError> {
        let mut changed = Changed::default();
        self.purged.clear();
        self.scrolls.finish(&self.store, batch)?;
        self.phexts.finish(batch, |_, _| ());
        self.tenants.finish(batch, |before, now| {
            changed.scrolls += now.scrolls.wrapping_sub(before.scrolls).cast_signed();
            changed.bytes += now.storage_bytes.wrapping_sub(before.storage_bytes).cast_signed();
            changed.last_write_ms = changed.last_write_ms.max(now.last_write_ms);
        });
        Ok(changed)
    }
}

/// Which of the tenants that have had its tenant's id a command is meant for.
pub(super) fn life_of(command: &Command) -> u64 {
    command.life.map_or(0, |life| life.number)
}

/// What a scroll is after a change: the next revision, changed now; or what it once was, if it
/// comes from a backup.
fn head_of(op: &Op, change: &Change, last_revision: u64, stamp_ms: u64) -> Head {
    let length = change.after.unwrap_or(0);
    if let Some(Restored { revision, created_ms, modified_ms }) = op.restored {
        return Head { revision, created_ms, modified_ms, length };
    }
    let created_ms = change.before.map_or(stamp_ms, |head| head.created_ms);
    Head { revision: last_revision + 1, created_ms, modified_ms: stamp_ms, length }
}

/// Whether the op may say what its scroll once was, if it does.
fn may_be_restored(command: &Command, op: &Op, kind: Kind) -> bool {
    op.restored.is_none_or(|was| command.restoring && kind == Kind::Write && was.revision > 0)
}

/// The op's kind, if keys can be built from the op and its text can be stored.
fn checked(op: &Op) -> Option<Kind> {
    let kind = Kind::try_from(op.kind).ok().filter(|&kind| kind != Kind::Unspecified)?;
    Coordinate::from_key(&op.coordinate).ok()?;
    let text = matches!(kind, Kind::Write | Kind::Append);
    let storable = is_storable_phext(&op.phext) && (!text || str::from_utf8(&op.text).is_ok());
    storable.then_some(kind)
}

/// Largest text an op of this command may leave behind.
fn scroll_max(command: &Command) -> u64 {
    command.scroll_max_bytes.unwrap_or(SCROLL_MAX_UNSAID).min(SCROLL_MAX)
}

fn is_over(command: &Command, storage_bytes: u64) -> bool {
    command.quota_bytes.is_some_and(|quota| storage_bytes > quota)
}

/// One more, one less or as many, by whether there was and is one.
fn count(number: u64, was: bool, is: bool) -> u64 {
    number + u64::from(is) - u64::from(was)
}

fn done(revision: u64, bytes: u64) -> OpResult {
    OpResult { status: OpStatus::OpOk.into(), revision, bytes, text: None }
}

fn refused(status: OpStatus, revision: u64) -> OpResult {
    OpResult { status: status.into(), revision, bytes: 0, text: None }
}
