//! Reading a shard's scrolls for a backup, tenant by tenant, all as of one moment.
//!
//! A thread of its own holds the database's snapshot. Once the first piece is asked for it reads
//! ahead by a chunk; it ends when all is read or nobody wants more. What it read of a tenant is
//! counted, and must be what the tenant's totals say: a backup that lacks something is none.

use std::sync::Arc;

use bytes::Bytes;
use ranch_proto::backup::{self, Chunk, Cutter};
use ranch_proto::ids::GroupId;
use ranch_proto::keys::{self, Kind};
use ranch_proto::schema::{BackupScroll, CopiedTenant, Usage};
use ranch_proto::value::{BodyRow, ScrollHeader};
use tokio::sync::{mpsc, oneshot};

use crate::background;
use crate::state::batch::decode_applied;
use crate::state::error::StateError;
use crate::state::shard::UsageRow;
use crate::state::store::StateStore;
use crate::state::view::{View, body};

/// Pieces read before they are asked for.
const AHEAD: usize = 1;

/// What comes out of a [`CopySource`].
#[derive(Clone, Debug, PartialEq)]
pub enum CopyPiece {
    /// Scrolls of the tenant that is named next.
    Chunk(Chunk),
    /// All chunks of this tenant have been given.
    Tenant(CopiedTenant),
    /// So have all tenants.
    End,
}

/// A shard's scrolls as of one moment.
#[derive(Debug)]
pub struct CopySource {
    applied: u64,
    /// Has the thread begin to read.
    begin: Option<oneshot::Sender<()>>,
    pieces: Pieces,
}

type Pieces = mpsc::Receiver<Result<CopyPiece, StateError>>;
type Out = mpsc::Sender<Result<CopyPiece, StateError>>;

const LOST: StateError = StateError::ThreadLost { action: "read a copy" };

impl CopySource {
    /// Begins to read the scrolls of `group`, as they are now.
    ///
    /// # Errors
    /// When the thread cannot be started or the database cannot be read.
    pub async fn open(store: &Arc<StateStore>, group: GroupId) -> Result<Self, StateError> {
        let (opened, opening) = oneshot::channel();
        let (begin, beginning) = oneshot::channel();
        let (out, pieces) = mpsc::channel(AHEAD);
        let store = Arc::clone(store);
        let spawned = background::spawn(format!("copy-{group}"), move || {
            let last = read(&store, group, (opened, beginning), &out);
            if let Err(error) = &last {
                store.note_damage(error);
            }
            // Whoever sees the end may close the store.
            drop(store);
            // A receiver that is gone needs no end.
            let _ = last.transpose().map(|last| out.blocking_send(last));
        });
        spawned.map_err(StateError::io("start a thread to read", "the state database"))?;
        let applied = opening.await.map_err(|_| LOST)??;
        Ok(Self { applied, begin: Some(begin), pieces })
    }

    /// Index of the last log entry whose effects are in it.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The next piece; none follows [`CopyPiece::End`].
    ///
    /// # Errors
    /// When the database cannot be read, or after the end.
    pub async fn next(&mut self) -> Result<CopyPiece, StateError> {
        if let Some(begin) = self.begin.take() {
            // A thread that is gone has said why, or is found missing.
            let _ = begin.send(());
        }
        self.pieces.recv().await.ok_or(LOST)?
    }
}

/// Sends everything but the end, which is returned; `None` when nobody wants it any more.
fn read(
    store: &StateStore,
    group: GroupId,
    (opened, beginning): (oneshot::Sender<Result<u64, StateError>>, oneshot::Receiver<()>),
    out: &Out,
) -> Result<Option<CopyPiece>, StateError> {
    let view = View::of_this_moment(store);
    let applied = applied(&view, group);
    let usable = applied.is_ok();
    // A receiver that is gone has given up.
    if opened.send(applied).is_err() || !usable || beginning.blocking_recv().is_err() {
        return Ok(None);
    }
    for (tenant, usage) in tenants(&view, group)? {
        if !copy(&view, group, &tenant, &usage, out)? {
            return Ok(None);
        }
        let mut totals = Usage::default();
        usage.describe(&mut totals);
        let copied = CopiedTenant { tenant, life: usage.life, totals: Some(totals) };
        if out.blocking_send(Ok(CopyPiece::Tenant(copied))).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(CopyPiece::End))
}

fn applied(view: &View<'_>, group: GroupId) -> Result<u64, StateError> {
    let Some(row) = view.get(&keys::applied(group))? else { return Ok(0) };
    Ok(decode_applied(&row)?.last_log_id.map_or(0, |id| id.index))
}

fn tenants(view: &View<'_>, group: GroupId) -> Result<Vec<(String, UsageRow)>, StateError> {
    let mut tenants = Vec::new();
    view.for_each_once(keys::kind_bounds(group, Kind::Usage), |key, row| {
        let tenant =
            keys::read_usage(key).map_err(|source| StateError::Key { what: "usage", source })?;
        tenants.push((tenant.to_owned(), UsageRow::decode(row)?));
        Ok(true)
    })?;
    Ok(tenants)
}

/// Sends a tenant's chunks; says whether anybody wants more.
fn copy(
    view: &View<'_>,
    group: GroupId,
    tenant: &str,
    usage: &UsageRow,
    out: &Out,
) -> Result<bool, StateError> {
    let mut cutter = Cutter::default();
    let (mut scrolls, mut bytes, mut wanted) = (0, 0, true);
    view.for_each_once(keys::tenant_bounds(Kind::Body, group, tenant), |key, row| {
        let scroll = scroll(view, key, row)?;
        scrolls += 1;
        bytes += backup::cost(&scroll);
        wanted = cutter.push(scroll).into_iter().all(|chunk| send(out, chunk));
        Ok(wanted)
    })?;
    if !wanted {
        return Ok(false);
    }
    if (scrolls, bytes) != (usage.scrolls, usage.storage_bytes) {
        return Err(StateError::Uncounted { tenant: tenant.to_owned() });
    }
    Ok(cutter.finish().is_none_or(|chunk| send(out, chunk)))
}

fn send(out: &Out, chunk: Chunk) -> bool {
    out.blocking_send(Ok(CopyPiece::Chunk(chunk))).is_ok()
}

fn scroll(view: &View<'_>, key: &[u8], row: &[u8]) -> Result<BackupScroll, StateError> {
    let at = keys::read_scroll(key).map_err(|source| StateError::Key { what: "body", source })?;
    let (header, text) = match body(row)? {
        BodyRow::Whole(header, text) => (header, Bytes::copy_from_slice(text)),
        BodyRow::InParts(header) => {
            let mut text = Vec::new();
            view.text(key, &header, &mut text)?;
            (header, text.into())
        }
    };
    let ScrollHeader { revision, created_ms, modified_ms, hash, .. } = header;
    Ok(BackupScroll {
        phext: at.phext.to_owned(),
        coordinate: Bytes::copy_from_slice(at.coordinate),
        revision,
        created_ms,
        modified_ms,
        hash: Bytes::copy_from_slice(&hash.to_be_bytes()),
        text,
    })
}
