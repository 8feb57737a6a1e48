//! Opening what a node has on disk: who it is, its log and its state, checked against each other.

use std::path::Path;
use std::sync::Arc;

use ranch_proto::link::Links;
use ranch_proto::{GroupId, NodeId};
use ranch_raft::DamageNote;
use ranch_raft::log::{LogOptions, LogStore};
use ranch_raft::state::{StateOptions, StateStore};

use crate::disk::Disk;
use crate::error::NodeError;
use crate::identity::Identity;
use crate::node::NodeOptions;
use crate::rescue::Rescue;
use crate::roster::Roster;

/// What a node has on disk.
pub(crate) struct Opened {
    pub(crate) identity: Identity,
    pub(crate) log: LogStore,
    pub(crate) store: Arc<StateStore>,
    pub(crate) roster: Roster,
    pub(crate) damage: DamageNote,
}

/// Opens a node's data, as soon as there is room to. What is damaged is set aside, as soon as
/// that is safe.
pub(crate) async fn open_data(
    options: &NodeOptions,
    links: &Arc<Links>,
    disk: Arc<Disk>,
) -> Result<Opened, NodeError> {
    let dir = &options.node.data_dir;
    let rescue = Rescue { me: NodeId(options.node.id), dir, links, disk: &disk };
    rescue.make_room().map_err(|source| NodeError::File {
        action: "remove what was set aside in",
        path: dir.clone(),
        source,
    })?;
    let opened = loop {
        let opened = match rescue.noted() {
            Ok(()) => open_with_room(options, &rescue).await,
            Err(damaged) => Err(damaged),
        };
        match opened {
            Ok(opened) => break opened,
            Err(error) => rescue.recover(error).await?,
        }
    };
    links.options().cluster_id.write().clone_from(&opened.identity.cluster_id);
    Ok(opened)
}

async fn open_with_room(options: &NodeOptions, rescue: &Rescue<'_>) -> Result<Opened, NodeError> {
    loop {
        rescue.disk.wait_to_open().await;
        let (opening, damage) = (options.clone(), rescue.note());
        let opened = tokio::task::spawn_blocking(move || open(&opening, damage)).await;
        let opened = opened.map_err(|error| NodeError::ReplicaStopped {
            group: GroupId::META,
            detail: error.to_string(),
        })?;
        match opened {
            // Databases write when they are opened.
            Err(error) if error.loss().is_none() && rescue.disk.is_full() => {
                tracing::error!("{error}; the disk is full, so this node tries again");
                rescue.disk.changed_or_a_second().await;
            }
            opened => return opened,
        }
    }
}

fn open(options: &NodeOptions, damage: DamageNote) -> Result<Opened, NodeError> {
    let (dir, storage) = (&options.node.data_dir, &options.config.storage);
    let identity = Identity::open(dir, options.node.id)?;
    let compaction_bytes_per_s = mib(storage.compaction_rate_mb_s);
    let log_options = LogOptions { compaction_bytes_per_s, ..LogOptions::default() };
    let log = LogStore::open(&dir.join("log"), log_options)?;
    let state_options = StateOptions {
        block_cache_bytes: mib(storage.block_cache_mb) as usize,
        write_buffer_bytes: mib(storage.write_buffer_mb) as usize / 2,
        compaction_bytes_per_s,
        ..StateOptions::default()
    };
    let store = StateStore::open(dir.join("state"), state_options)?;
    let roster = Roster::open(dir)?;
    check(dir, &identity, (&log, &store), &roster)?;
    log.note_damage_in(damage.clone());
    store.note_damage_in(damage.clone());
    Ok(Opened { identity, log, store, roster, damage })
}

/// Checks that identity, log and state are of one life.
fn check(
    dir: &Path,
    identity: &Identity,
    (log, store): (&LogStore, &StateStore),
    roster: &Roster,
) -> Result<(), NodeError> {
    let dir = || dir.to_owned();
    let empty = log.groups_with_data().is_empty();
    if identity.settled && empty {
        return Err(NodeError::LogLost { dir: dir() });
    }
    if identity.incarnation == 0 && !empty {
        return Err(NodeError::IdentityLost { dir: dir() });
    }
    let doomed = roster.doomed();
    // What is being destroyed may be gone in part.
    for (group, purged) in log.purged().into_iter().filter(|(group, _)| !doomed.contains(group)) {
        // The log is purged only up to what the state has on disk.
        if store.applied_index(group)? < purged {
            return Err(NodeError::StateLost { dir: dir(), group });
        }
    }
    Ok(())
}

pub(crate) fn mib(count: u64) -> u64 {
    count << 20
}
