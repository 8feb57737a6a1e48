//! The state machine of a group as openraft drives it: entries in, answers out, and snapshots.
//!
//! Everything about order, batches and durability is here; what an entry means is the business of
//! a [`Machine`]. Answers are sent only after the batch with their effects has been written, and
//! readers see the new state only then, too.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use ranch_proto::ids::GroupId;
use ranch_proto::keys;

use crate::state::batch::{ApplyBatch, decode_applied};
use crate::state::error::StateError;
use crate::state::meta::{MetaFeed, MetaMachine};
use crate::state::progress::Progress;
use crate::state::reader::ShardReader;
use crate::state::shard::ShardMachine;
use crate::state::snapshot::{Snapshot, SnapshotBuilder, SnapshotFault, SnapshotHandle};
use crate::state::store::{StateStore, crash_point};
use crate::state::totals::Totals;
use crate::state::turn::unhurried;
use crate::types::{Applied, Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};

/// What entries mean. Implementations read no clock and no randomness: the same entries give the
/// same rows everywhere.
pub(crate) trait Machine: Send + Sync + 'static {
    /// Applies one entry. Its effects must be visible to the next one, also within the batch.
    fn apply(
        &mut self,
        index: u64,
        payload: Bytes,
        batch: &mut ApplyBatch,
    ) -> Result<Applied, StateError>;

    /// Adds to the batch what was held back until its end.
    fn finish(&mut self, batch: &mut ApplyBatch) -> Result<(), StateError>;

    /// The batch has been written: let others see what changed.
    fn publish(&mut self);
}

/// An entry whose index is a multiple of this one always begins a batch, on every replica. So
/// housekeeping done there sees all rows of the entries before it in the database.
pub(crate) const BATCH_ALIGNMENT: u64 = 256;

/// Makes a machine from what the database holds, at the start and after a snapshot came in.
type OpenMachine = Arc<dyn Fn() -> Result<Box<dyn Machine>, StateError> + Send + Sync>;

/// The state machine of one group.
pub struct StateMachine {
    store: Arc<StateStore>,
    group: GroupId,
    progress: Arc<Progress>,
    open: OpenMachine,
    machine: Box<dyn Machine>,
    applied: SnapshotMeta,
    membership_changed: bool,
}

impl StateMachine {
    /// Opens the machine of a shard, and the way to read from it. Blocks on the disk.
    ///
    /// # Errors
    /// When rows that must be read do not decode, or the disk refuses.
    pub fn shard(
        store: &Arc<StateStore>,
        group: GroupId,
    ) -> Result<(Self, ShardReader), StateError> {
        let totals = Arc::new(Totals::default());
        let parts = (Arc::clone(store), Arc::clone(&totals));
        let open: OpenMachine =
            Arc::new(move || Ok(Box::new(ShardMachine::open(&parts.0, group, &parts.1)?)));
        let machine = Self::new(store, group, open)?;
        let reader = ShardReader::new(Arc::clone(store), Arc::clone(&machine.progress), totals);
        Ok((machine, reader))
    }

    /// Opens the machine of the meta group; `feed` is filled with what is stored and then follows
    /// it. Blocks on the disk.
    ///
    /// # Errors
    /// As [`StateMachine::shard`].
    pub fn meta(store: &Arc<StateStore>, feed: Arc<MetaFeed>) -> Result<Self, StateError> {
        let parts = (Arc::clone(store), feed);
        let open: OpenMachine =
            Arc::new(move || Ok(Box::new(MetaMachine::open(&parts.0, &parts.1)?)));
        Self::new(store, GroupId::META, open)
    }

    /// What cannot be read here would end every start of the node, so it is noted as damage.
    fn new(store: &Arc<StateStore>, group: GroupId, open: OpenMachine) -> Result<Self, StateError> {
        let machine = Self::take_up(store, group, open);
        machine.inspect_err(|error| store.note_damage(error))
    }

    fn take_up(
        store: &Arc<StateStore>,
        group: GroupId,
        open: OpenMachine,
    ) -> Result<Self, StateError> {
        let applied = match store.get(&keys::applied(group))? {
            Some(row) => decode_applied(&row)?,
            None => SnapshotMeta::default(),
        };
        let progress = Arc::new(Progress::new(group, applied.clone()));
        let machine = open()?;
        store.register(&progress);
        Ok(Self {
            store: Arc::clone(store),
            group,
            progress,
            open,
            machine,
            applied,
            membership_changed: false,
        })
    }

    /// How far this machine is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Applies entries as one batch, outside of Raft: for tools and tests. Blocks on the disk.
    ///
    /// # Errors
    /// As applying fails; the machine must not be used any more then.
    pub fn replay(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<Applied>, StateError> {
        let mut answers = Vec::new();
        let mut batch = ApplyBatch::default();
        for entry in entries {
            if self.begins_batch(&entry) {
                self.commit(std::mem::take(&mut batch))?;
            }
            answers.push(self.stage(entry, &mut batch)?);
            if batch.is_closed() {
                self.commit(std::mem::take(&mut batch))?;
            }
        }
        self.commit(batch)?;
        Ok(answers)
    }

    fn stage(&mut self, entry: Entry, batch: &mut ApplyBatch) -> Result<Applied, StateError> {
        self.check_order(&entry.log_id)?;
        let answer = match entry.payload {
            EntryPayload::Blank => {
                batch.count(0);
                Applied::Nothing
            }
            EntryPayload::Normal(proposal) => {
                batch.count(proposal.0.len());
                self.machine.apply(entry.log_id.index, proposal.0, batch)?
            }
            EntryPayload::Membership(membership) => {
                batch.count(0);
                self.applied.last_membership =
                    StoredMembership::new(Some(entry.log_id), membership);
                self.membership_changed = true;
                Applied::Nothing
            }
        };
        self.applied.last_log_id = Some(entry.log_id);
        Ok(answer)
    }

    fn check_order(&self, id: &LogId) -> Result<(), StateError> {
        match self.applied.last_log_id {
            Some(last) if id.index != last.index + 1 => {
                Err(StateError::OutOfOrder { applied: last.index, found: id.index })
            }
            _ => Ok(()),
        }
    }

    /// Whether the entries before this one are to be written without it.
    fn begins_batch(&self, entry: &Entry) -> bool {
        let index = entry.log_id.index;
        index.is_multiple_of(BATCH_ALIGNMENT) || self.progress.cues().ends_before(index)
    }

    /// Lets those go on who wait for what is applied now.
    fn cue(&self) {
        let last = self.progress.applied();
        if self.progress.cues().wants(last) {
            unhurried(|| self.progress.cues().reached(last));
        }
    }

    /// Does something with the store; damage it meets is noted.
    fn noting<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let done = work(self);
        done.inspect_err(|error| self.store.note_damage(error))
    }

    fn commit(&mut self, batch: ApplyBatch) -> Result<(), StateError> {
        if batch.is_large() { unhurried(|| self.write(batch)) } else { self.write(batch) }
    }

    fn write(&mut self, mut batch: ApplyBatch) -> Result<(), StateError> {
        let Some(last) = self.applied.last_log_id else { return Ok(()) };
        if batch.is_empty() {
            return Ok(());
        }
        self.machine.finish(&mut batch)?;
        crash_point("state-before-apply-write");
        batch.write(&self.store, self.group, &self.applied)?;
        crash_point("state-after-apply-write");
        let changed = std::mem::take(&mut self.membership_changed);
        let membership = changed.then(|| self.applied.last_membership.clone());
        self.progress.advance(last, membership);
        self.machine.publish();
        self.cue();
        Ok(())
    }

    async fn install(
        &mut self,
        meta: &SnapshotMeta,
        handle: SnapshotHandle,
    ) -> Result<(), StateError> {
        let store = Arc::clone(&self.store);
        let open = Arc::clone(&self.open);
        let group = self.group;
        let wanted = meta.clone();
        let task = tokio::task::spawn_blocking(move || {
            let staged = handle.stage_in(&store, group)?;
            if *staged.meta() != wanted {
                return Err(StateError::Snapshot(SnapshotFault::Meta));
            }
            staged.ingest(&store)?;
            open()
        });
        let lost = |_| StateError::ThreadLost { action: "install a snapshot" };
        let opened = task.await.map_err(lost)?;
        self.machine = opened.inspect_err(|error| self.store.note_damage(error))?;
        self.applied = meta.clone();
        self.progress.install(meta);
        self.machine.publish();
        self.cue();
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotHandle;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied.last_log_id, self.applied.last_membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut entries = entries.fuse();
        let mut batch = ApplyBatch::default();
        let mut answers: Vec<(ApplyResponder<TypeConfig>, Applied)> = Vec::new();
        let mut next = entries.next().await;
        while let Some(item) = next {
            let (entry, responder) = item?;
            let answer = self.noting(|machine| machine.stage(entry, &mut batch))?;
            if let Some(responder) = responder {
                answers.push((responder, answer));
            }
            let full = batch.is_full();
            next = if full { None } else { entries.next().now_or_never().flatten() };
            let goes_on = matches!(&next, Some(Ok((entry, _))) if !self.begins_batch(entry));
            if !goes_on {
                let whole = std::mem::take(&mut batch);
                self.noting(|machine| machine.commit(whole))?;
                answers.drain(..).for_each(|(responder, answer)| responder.send(answer));
            }
            if next.is_none() {
                next = entries.next().await;
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let durable = self.progress.durable_meta();
        if durable.last_log_id.is_none() && !force {
            return None;
        }
        let progress = Arc::clone(&self.progress);
        Some(SnapshotBuilder::new(Arc::clone(&self.store), progress, force))
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(Arc::clone(&self.store), Arc::clone(&self.progress), true)
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotHandle,
    ) -> Result<(), io::Error> {
        Ok(self.install(meta, snapshot).await?)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.progress.snapshot().map(|meta| Snapshot {
            meta,
            snapshot: SnapshotHandle::local(&self.store, self.group),
        }))
    }
}
