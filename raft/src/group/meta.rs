//! A replica of the meta group.

use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftNetworkFactory;
use prost::Message as _;
use ranch_proto::schema::{MetaCommand, MetaEntry, MetaResult, meta_command::What};
use ranch_proto::{ReplicaId, ShardError};

use super::barrier::Followers;
use super::core::{GroupCore, GroupError};
use super::hand_over::{HandOverError, hand_over};
use super::options::GroupOptions;
use super::proposer::{Entries, Proposer};
use crate::log::GroupLog;
use crate::state::{MetaFeed, SnapshotHandle, StateMachine};
use crate::types::{Applied, TypeConfig};

struct MetaEntries;

impl Entries for MetaEntries {
    type Command = MetaCommand;
    type Outcome = MetaResult;

    const COMMAND_MAX: usize = 1 << 20;

    fn size(command: &MetaCommand) -> usize {
        command.encoded_len()
    }

    fn encode(version: u32, stamp_ms: u64, commands: Vec<MetaCommand>) -> Bytes {
        // Whoever cannot go along must not even apply what says so.
        let raised = commands.iter().map(|command| match &command.what {
            Some(What::RaiseVersion(raise)) => raise.to,
            _ => version,
        });
        let version = raised.max().unwrap_or(version).max(version);
        MetaEntry { version, stamp_ms, commands }.encode_to_vec().into()
    }

    fn outcomes(applied: Applied) -> Option<Vec<MetaResult>> {
        match applied {
            Applied::Meta(results) => Some(results),
            Applied::Nothing | Applied::Commands(_) => None,
        }
    }
}

/// A running replica of the meta group. Cheap to clone.
#[derive(Clone)]
pub struct MetaGroup {
    core: GroupCore,
    proposer: Proposer<MetaEntries>,
    feed: Arc<MetaFeed>,
}

impl MetaGroup {
    /// Builds the replica; it does nothing until it is [run](GroupCore::run).
    ///
    /// # Errors
    /// When its stores cannot be read.
    pub async fn build<N>(
        options: &GroupOptions,
        log: GroupLog,
        (machine, feed): (StateMachine, Arc<MetaFeed>),
        network: N,
    ) -> Result<Self, GroupError>
    where
        N: RaftNetworkFactory<TypeConfig> + Followers,
        N::Network: openraft::network::NetSnapshot<TypeConfig, SnapshotData = SnapshotHandle>,
    {
        let core = GroupCore::build(options, log, machine, network).await?;
        let proposer = Proposer::start(options, core.raft().clone());
        Ok(Self { core, proposer, feed })
    }

    /// What all groups have.
    #[must_use]
    pub fn core(&self) -> &GroupCore {
        &self.core
    }

    /// The directory and its changes.
    #[must_use]
    pub fn feed(&self) -> &Arc<MetaFeed> {
        &self.feed
    }

    /// Proposes a command and waits until it is applied.
    ///
    /// # Errors
    /// As [`super::ShardGroup::propose`].
    pub async fn propose(&self, command: MetaCommand) -> Result<MetaResult, ShardError> {
        self.proposer.propose(command).await
    }

    /// Hands leadership to the replica `to`, once that holds everything, and returns when it
    /// leads. What is proposed meanwhile waits, or is sent on.
    ///
    /// # Errors
    /// When `to` cannot lead or did not take over; trying again later may help.
    pub async fn hand_over(&self, to: ReplicaId) -> Result<(), HandOverError> {
        hand_over(&self.core, self.proposer.hold(), to).await
    }
}
