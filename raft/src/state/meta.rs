//! The state machine of the meta group: nodes, shards, tenants and keys.
//!
//! A command is judged against the directory by a pure function ([`plan`]) that answers with
//! records to put or remove; only here are those carried out: in the rows, in the directory that
//! this process shares, and in the feed that others follow. Every command is remembered by its
//! request id, refused ones too, so a retry gets the first answer.

mod dedup;
mod feed;
mod plan;
mod records;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ranch_proto::directory::Directory;
use ranch_proto::ids::{GroupId, RequestId};
use ranch_proto::keys;
use ranch_proto::placement::ShardRing;
use ranch_proto::schema::{MetaCommand, MetaEntry, MetaResult, MetaStatus};
use ranch_proto::versions::Support;

use crate::state::batch::ApplyBatch;
use crate::state::check_entry;
use crate::state::error::StateError;
use crate::state::machine::Machine;
use crate::state::store::StateStore;
use crate::types::Applied;

use dedup::MetaDedup;
pub use feed::MetaFeed;
use plan::{Plan, Refused};

/// Applies the entries of the meta group.
pub(crate) struct MetaMachine {
    feed: Arc<MetaFeed>,
    dedup: MetaDedup,
    ring: KnownRing,
}

/// The ring of the shards there are. To make one takes as long as hundreds of look-ups in it, and
/// tenants come by the hundred.
#[derive(Default)]
struct KnownRing {
    shards: Vec<GroupId>,
    ring: Option<ShardRing>,
}

impl KnownRing {
    fn of(&mut self, directory: &Directory) -> &ShardRing {
        if !self.shards.iter().eq(directory.shards.keys()) {
            self.shards = directory.shards.keys().copied().collect();
            self.ring = None;
        }
        self.ring.get_or_insert_with(|| ShardRing::new(self.shards.iter().copied()))
    }
}

impl MetaMachine {
    /// Takes up what the database holds, and fills the feed with it.
    pub(crate) fn open(store: &StateStore, feed: &Arc<MetaFeed>) -> Result<Self, StateError> {
        let dedup = MetaDedup::load(store)?;
        let directory = records::load(store)?;
        let (found, known) = (directory.version(), Support::ours().formats);
        if directory.cluster.is_some() && !known.contains(found) {
            return Err(StateError::ClusterVersion { found, known });
        }
        feed.reset(directory);
        feed.announce();
        Ok(Self { feed: Arc::clone(feed), dedup, ring: KnownRing::default() })
    }

    fn command(
        &mut self,
        command: MetaCommand,
        stamp_ms: u64,
        batch: &mut ApplyBatch,
    ) -> MetaResult {
        let Some(id) = RequestId::from_slice(&command.request_id) else {
            return refused(Refused::invalid("a command without a request id of 16 bytes"));
        };
        if let Some(first) = self.dedup.find(&id) {
            return first.clone();
        }
        let plan = {
            let directory = self.feed.directory().read();
            let ring = self.ring.of(&directory);
            plan::plan(&directory, ring, command.what, stamp_ms)
        };
        let result = match plan {
            Ok(plan) => self.carry_out(plan, batch),
            Err(reason) => refused(reason),
        };
        self.dedup.remember(id, result.clone());
        result
    }

    fn carry_out(&self, plan: Plan, batch: &mut ApplyBatch) -> MetaResult {
        if !plan.records.is_empty() {
            plan.records.iter().for_each(|record| records::store(record, batch));
            let epoch = self.feed.change(plan.records);
            batch.put(keys::meta_epoch(), records::encode_epoch(epoch));
        }
        let epoch = self.feed.directory().read().epoch;
        let status = MetaStatus::MetaOk.into();
        MetaResult { status, record: plan.answer, epoch, ..MetaResult::default() }
    }
}

impl Machine for MetaMachine {
    fn apply(
        &mut self,
        index: u64,
        payload: Bytes,
        batch: &mut ApplyBatch,
    ) -> Result<Applied, StateError> {
        let entry = MetaEntry::decode(payload)
            .map_err(|source| StateError::MalformedEntry { index, source })?;
        check_entry(index, entry.version)?;
        let stamp_ms = entry.stamp_ms;
        let commands = entry.commands.into_iter();
        let results = commands.map(|command| self.command(command, stamp_ms, batch)).collect();
        self.dedup.end_entry(index, batch);
        Ok(Applied::Meta(results))
    }

    fn finish(&mut self, _batch: &mut ApplyBatch) -> Result<(), StateError> {
        Ok(())
    }

    fn publish(&mut self) {
        self.feed.announce();
    }
}

fn refused(refused: Refused) -> MetaResult {
    MetaResult { status: refused.status.into(), reason: refused.reason, ..MetaResult::default() }
}
