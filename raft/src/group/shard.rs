//! A replica of a shard: commands on scrolls, and reads of them.

use bytes::Bytes;
use openraft::RaftNetworkFactory;
use prost::Message as _;
use ranch_proto::schema::read_request::What;
use ranch_proto::schema::{
    Command, CommandResult, GroupStatus, ReadReply, ReadRequest, ShardEntry,
};
use ranch_proto::stage::COMMAND_BYTES_MAX;
use ranch_proto::{ReplicaId, ShardError};

use super::barrier::Followers;
use super::core::{GroupCore, GroupError};
use super::hand_over::{HandOverError, hand_over};
use super::options::GroupOptions;
use super::proposer::{Entries, Proposer};
use crate::log::GroupLog;
use crate::state::{ShardReader, SnapshotHandle, StateMachine};
use crate::types::{Applied, TypeConfig};

struct ShardEntries;

impl Entries for ShardEntries {
    type Command = Command;
    type Outcome = CommandResult;

    const COMMAND_MAX: usize = COMMAND_BYTES_MAX;

    fn size(command: &Command) -> usize {
        command.encoded_len()
    }

    fn encode(version: u32, stamp_ms: u64, commands: Vec<Command>) -> Bytes {
        ShardEntry { version, stamp_ms, commands }.encode_to_vec().into()
    }

    fn outcomes(applied: Applied) -> Option<Vec<CommandResult>> {
        match applied {
            Applied::Commands(results) => Some(results),
            Applied::Nothing | Applied::Meta(_) => None,
        }
    }
}

/// A running replica of a shard. Cheap to clone.
#[derive(Clone)]
pub struct ShardGroup {
    core: GroupCore,
    proposer: Proposer<ShardEntries>,
    reader: ShardReader,
}

impl ShardGroup {
    /// Builds the replica; it does nothing until it is [run](GroupCore::run).
    ///
    /// # Errors
    /// When its stores cannot be read.
    pub async fn build<N>(
        options: &GroupOptions,
        log: GroupLog,
        (machine, reader): (StateMachine, ShardReader),
        network: N,
    ) -> Result<Self, GroupError>
    where
        N: RaftNetworkFactory<TypeConfig> + Followers,
        N::Network: openraft::network::NetSnapshot<TypeConfig, SnapshotData = SnapshotHandle>,
    {
        let core = GroupCore::build(options, log, machine, network).await?;
        let proposer = Proposer::start(options, core.raft().clone());
        Ok(Self { core, proposer, reader })
    }

    /// What all groups have.
    #[must_use]
    pub fn core(&self) -> &GroupCore {
        &self.core
    }

    /// Proposes a command and waits until it is applied.
    ///
    /// # Errors
    /// [`ShardError::NotLeader`] when this replica does not lead (nothing was done),
    /// [`ShardError::Unknown`] when leadership was lost on the way.
    pub async fn propose(&self, command: Command) -> Result<CommandResult, ShardError> {
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

    /// Reads, after a barrier unless the request allows stale answers.
    ///
    /// # Errors
    /// As [`GroupCore::read_barrier`]; [`ShardError::Invalid`] for a malformed request.
    pub async fn read(&self, request: ReadRequest) -> Result<ReadReply, ShardError> {
        if !request.stale {
            self.core.read_barrier().await?;
        }
        let read = if is_short(&request) {
            self.reader.read(&request)
        } else {
            let reader = self.reader.clone();
            let reading = tokio::task::spawn_blocking(move || reader.read(&request)).await;
            reading.map_err(|error| ShardError::Unavailable { detail: error.to_string() })?
        };
        read.map_err(|error| {
            self.reader.note_damage(&error);
            let detail = error.to_string();
            if error.is_invalid_request() {
                ShardError::Invalid { detail }
            } else {
                ShardError::Unavailable { detail }
            }
        })
    }

    /// Reads of what is applied here, without any barrier.
    #[must_use]
    pub fn reader(&self) -> &ShardReader {
        &self.reader
    }

    /// Whether what this replica has of a tenant is of this life; so if it has nothing.
    #[must_use]
    pub fn has_life(&self, tenant: &str, life: u64) -> bool {
        self.reader.life(tenant).is_ok_and(|found| found == 0 || found == life)
    }

    /// The replica's account of itself.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        GroupStatus {
            durable_applied: self.reader.durable_applied(),
            scrolls: self.reader.scrolls(),
            bytes: self.reader.bytes(),
            last_write_ms: self.reader.last_write_ms(),
            ..self.core.status()
        }
    }
}

/// Whether a read is one look-up, which costs less than handing it to another thread.
fn is_short(request: &ReadRequest) -> bool {
    matches!(request.what, Some(What::Get(_) | What::Part(_) | What::Usage(_)) | None)
}
