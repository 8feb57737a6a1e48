//! What `ranch backup` asks for: copies of shards, piece by piece, and the records of tenants and
//! keys. The client says which chunks it lacks by asking for their bytes; those it has are not
//! sent.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::HeaderValue;
use ranch_proto::backup::{CHUNK_BYTES_MAX, PART_BYTES, encode_records};
use ranch_proto::schema::copy_reply::What;
use ranch_proto::schema::{CopiedTenant, CopyReply, CopyRequest, Record, TenantRecord, record};
use ranch_proto::{Directory, GroupId, NodeId, ShardError, Shards, hex};
use serde::Serialize;

use crate::api::describe::{
    HttpMethod, NUMBER, Operation, Parameter, Reply, STRING, argument, operation, query, reply,
};
use crate::api::tenants::audit;
use crate::api::{Call, Methods};
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer};
use crate::http::date;
use crate::http::params::path_argument;
use crate::shown::until_shown;

/// What chunks and records are.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Longest wait for this router to know what the meta group knows.
const CURRENT_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// The endpoints below `admin/backup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// What there is to back up.
    About,
    /// Tenants and their keys.
    Records,
    /// Opens a copy of a shard.
    Open,
    /// Gives a copy up.
    Close(&'a str),
    /// A piece of a copy.
    Piece(&'a str, &'a str),
    /// The bytes of a piece.
    Bytes(&'a str, &'a str),
}

#[derive(Serialize)]
struct About {
    cluster_id: String,
    cluster_name: String,
    version: &'static str,
    now: String,
    shards: Vec<u32>,
}

#[derive(Serialize)]
struct Opened {
    copy: String,
    shard: u32,
    node: u32,
    applied: u64,
    stored_bytes: u64,
}

/// A piece: a chunk, a tenant whose chunks these were, or the end.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Piece {
    Chunk { digest: String, bytes: u64 },
    Tenant(Tenant),
    End(bool),
}

#[derive(Serialize)]
struct Tenant {
    #[serde(rename = "tenant_id")]
    id: String,
    life: u64,
    scrolls: u64,
    storage_bytes: u64,
    phexts: u64,
    revision: u64,
    last_write_ms: u64,
}

impl<'a> Endpoint<'a> {
    /// The endpoint at a path below `admin/backup/`.
    pub fn find(path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').collect();
        match segments[..] {
            _ if segments.contains(&"") => None,
            ["records"] => Some(Self::Records),
            ["copies"] => Some(Self::Open),
            ["copies", copy] => Some(Self::Close(copy)),
            ["copies", copy, piece] => Some(Self::Piece(copy, piece)),
            ["copies", copy, piece, "bytes"] => Some(Self::Bytes(copy, piece)),
            _ => None,
        }
    }

    /// The methods it takes.
    pub fn methods(self) -> Methods {
        match self {
            Self::About | Self::Records | Self::Piece(..) | Self::Bytes(..) => Methods::READ,
            Self::Open => Methods::POST,
            Self::Close(_) => Methods::DELETE,
        }
    }
}

/// Where a copy is: the name it goes by in paths.
struct Place {
    shard: GroupId,
    node: NodeId,
    copy: u64,
}

impl Place {
    fn name(&self) -> String {
        format!("{}-{}-{:x}", self.shard, self.node, self.copy)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let shard = GroupId(parts.next()?.parse().ok()?);
        let node = NodeId(parts.next()?.parse().ok()?);
        let copy = u64::from_str_radix(parts.next()?, 16).ok()?;
        (parts.next().is_none() && copy > 0).then_some(Self { shard, node, copy })
    }

    async fn ask<S: Shards>(
        &self,
        call: &Call<'_, S>,
        asked: CopyRequest,
    ) -> Result<CopyReply, ApiError> {
        let asked = CopyRequest { copy: self.copy, ..asked };
        let reply = call.app.forward.copy(self.shard, self.node, asked).await;
        reply.map_err(|error| match error {
            ShardError::Invalid { .. } | ShardError::NoReplica => ApiError::NotNow {
                reason: format!("this copy of shard {} is gone, or has no such piece", self.shard),
            },
            error => {
                let (shard, node) = (self.shard, self.node);
                tracing::warn!(%shard, %node, %error, "a copy cannot be read");
                ForwardError::Unavailable.into()
            }
        })
    }
}

/// Answers one of them.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    endpoint: Endpoint<'_>,
) -> Result<Answer, ApiError> {
    match endpoint {
        Endpoint::About => about(call),
        Endpoint::Records => records(call).await,
        Endpoint::Open => open(call).await,
        Endpoint::Close(copy) => {
            let asked = CopyRequest { close: true, ..CopyRequest::default() };
            place(copy)?.ask(call, asked).await?;
            Ok(answer::empty(StatusCode::NO_CONTENT))
        }
        Endpoint::Piece(copy, piece) => {
            let asked = CopyRequest { piece: number(piece)?, ..CopyRequest::default() };
            let reply = place(copy)?.ask(call, asked).await?;
            let piece = reply.what.and_then(described).ok_or(ApiError::Garbled)?;
            Ok(answer::json(StatusCode::OK, &piece))
        }
        Endpoint::Bytes(copy, piece) => {
            let (place, piece) = (place(copy)?, number(piece)?);
            match asked_part(call)? {
                Some(part) => part_of_bytes(call, &place, piece, part).await,
                None => bytes(call, &place, piece).await,
            }
        }
    }
}

fn about<S: Shards>(call: &Call<'_, S>) -> Result<Answer, ApiError> {
    let directory = call.app.shards.directory().read();
    let cluster = directory.cluster.as_ref().ok_or(ForwardError::Unavailable)?;
    let about = About {
        cluster_id: hex::encode(&cluster.cluster_id),
        cluster_name: cluster.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        now: date::rfc3339(date::now_ms()),
        shards: directory.shards.keys().map(|shard| shard.0).collect(),
    };
    Ok(answer::json(StatusCode::OK, &about))
}

/// The records as of now: whatever was acknowledged before is in them.
async fn records<S: Shards>(call: &Call<'_, S>) -> Result<Answer, ApiError> {
    let epoch = call.app.forward.current_epoch().await?;
    if !until_shown(&*call.app.shards, CURRENT_MAX, |directory| directory.epoch >= epoch).await {
        return Err(ForwardError::Unavailable.into());
    }
    audit(call, "back up", "");
    let records = backed_up(&call.app.shards.directory().read());
    Ok(answer::of(BYTES, encode_records(records)))
}

/// What is backed up of a directory: no machines, nothing of administrators, and no tenant that is
/// on its way out or not all in.
fn backed_up(directory: &Directory) -> Vec<Record> {
    let is_there = |tenant: &TenantRecord| {
        !tenant.purging && tenant.restored.as_ref().is_none_or(|from| from.whole)
    };
    let is_of_tenants = |record: &Record| match &record.what {
        Some(record::What::Cluster(_)) => true,
        Some(record::What::Tenant(tenant)) => is_there(tenant),
        Some(record::What::Key(key)) => directory.tenants.get(&key.tenant).is_some_and(is_there),
        _ => false,
    };
    let mut records: Vec<Record> = directory.records().filter(is_of_tenants).collect();
    // Maps have no order, but what is the same should be the same chunk.
    records.sort_by_cached_key(|record| match &record.what {
        Some(record::What::Key(key)) => (true, key.hash.clone()),
        _ => (false, Bytes::new()),
    });
    records
}

async fn open<S: Shards>(call: &Call<'_, S>) -> Result<Answer, ApiError> {
    const NOT_ONE: ApiError =
        ApiError::BadParameter { field: "shard", expected: "the number of a shard" };
    let shard: u32 = call.query.get("shard").and_then(|text| text.parse().ok()).ok_or(NOT_ONE)?;
    if !call.app.shards.directory().read().shards.contains_key(&GroupId(shard)) {
        return Err(ApiError::NoShard { shard });
    }
    let (node, opened) = call.app.forward.open_copy(GroupId(shard)).await?;
    let CopyReply { copy, applied, stored_bytes, .. } = opened;
    let place = Place { shard: GroupId(shard), node, copy };
    let opened = Opened { copy: place.name(), shard, node: node.0, applied, stored_bytes };
    Ok(answer::json(StatusCode::CREATED, &opened))
}

/// All bytes of a chunk, which come from the node in parts.
async fn bytes<S: Shards>(
    call: &Call<'_, S>,
    place: &Place,
    piece: u64,
) -> Result<Answer, ApiError> {
    let asked = CopyRequest { piece, ..CopyRequest::default() };
    let Some(What::Chunk(chunk)) = place.ask(call, asked).await?.what else {
        return Err(ApiError::NotNow { reason: "this piece has no bytes".to_owned() });
    };
    if chunk.length > CHUNK_BYTES_MAX {
        return Err(ApiError::Garbled);
    }
    let share = call.app.budget.take(chunk.length).await?;
    let mut whole = BytesMut::with_capacity(chunk.length as usize);
    while (whole.len() as u64) < chunk.length {
        let offset = Some(whole.len() as u64);
        let asked = CopyRequest { piece, offset, ..CopyRequest::default() };
        match place.ask(call, asked).await?.what {
            Some(What::Bytes(part)) if !part.is_empty() => whole.extend_from_slice(&part),
            _ => return Err(ApiError::Garbled),
        }
    }
    let mut answer = answer::of(BYTES, whole.freeze());
    answer.body_mut().share = Some(share);
    Ok(answer)
}

/// What part of a chunk is asked for: from where, and most bytes; `None` for all of it.
fn asked_part<S: Shards>(call: &Call<'_, S>) -> Result<Option<(u64, u64)>, ApiError> {
    match (call.query.number("offset")?, call.query.number("length")?) {
        (None, None) => Ok(None),
        (_, Some(0)) => Err(ApiError::BadParameter { field: "length", expected: "at least 1" }),
        (offset, length) => {
            let length = length.map_or(PART_BYTES as u64, |length| length.min(PART_BYTES as u64));
            Ok(Some((offset.unwrap_or(0), length)))
        }
    }
}

/// Bytes of a chunk as the node gives them at once.
async fn part_of_bytes<S: Shards>(
    call: &Call<'_, S>,
    place: &Place,
    piece: u64,
    (offset, length): (u64, u64),
) -> Result<Answer, ApiError> {
    let share = call.app.budget.take(length).await?;
    let asked = CopyRequest { piece, offset: Some(offset), length, ..CopyRequest::default() };
    let Some(What::Bytes(mut part)) = place.ask(call, asked).await?.what else {
        return Err(ApiError::Garbled);
    };
    // A node of an earlier version gives as much as fits.
    part.truncate(length as usize);
    let mut answer = answer::of(BYTES, part);
    answer.body_mut().share = Some(share);
    Ok(answer)
}

fn place(name: &str) -> Result<Place, ApiError> {
    const NOT_ONE: ApiError =
        ApiError::BadParameter { field: "copy", expected: "one that was opened" };
    Place::parse(&path_argument(name)?).ok_or(NOT_ONE)
}

fn number(text: &str) -> Result<u64, ApiError> {
    const NOT_ONE: ApiError =
        ApiError::BadParameter { field: "piece", expected: "the number of a piece, from 0" };
    text.parse().map_err(|_| NOT_ONE)
}

fn described(what: What) -> Option<Piece> {
    match what {
        What::Chunk(chunk) => {
            Some(Piece::Chunk { digest: hex::encode(&chunk.digest), bytes: chunk.length })
        }
        What::Tenant(CopiedTenant { tenant, life, totals }) => {
            let totals = totals.unwrap_or_default();
            Some(Piece::Tenant(Tenant {
                id: tenant,
                life,
                scrolls: totals.scrolls,
                storage_bytes: totals.storage_bytes,
                phexts: totals.phexts,
                revision: totals.revision,
                last_write_ms: totals.last_write_ms,
            }))
        }
        What::End(_) => Some(Piece::End(true)),
        What::Bytes(_) => None,
    }
}

const OBJECT: &str = r#"{"type":"object"}"#;
const BINARY: &str = r#"{"type":"string","format":"binary"}"#;
const COPY: Parameter = argument("copy", STRING, "The copy, as it was named when it was opened.");
const PIECE: Parameter =
    argument("piece", NUMBER, "The piece, from 0: the one last asked for, or the next.");
const OFFSET: Parameter = query("offset", NUMBER, "Leave out so many bytes before [default: 0].");
const LENGTH: Parameter =
    query("length", NUMBER, "Most bytes; with this or `offset` a MB is the most there is.");
const SHARD: Parameter = query("shard", NUMBER, "The shard's number.");
const SAID: &[Reply] = &[reply(200, &[("application/json", OBJECT)], "As it is.")];
const MADE: &[Reply] = &[reply(201, &[("application/json", OBJECT)], "It is opened.")];
const GONE: &[Reply] = &[reply(204, &[], "It is given up.")];
const STORED: &[Reply] = &[reply(200, &[("application/octet-stream", BINARY)], "As it is stored.")];

/// The endpoints, described.
pub static OPERATIONS: &[Operation] = &[
    operation(HttpMethod::Get, "admin/backup", "What there is to back up", &[], SAID),
    operation(
        HttpMethod::Get,
        "admin/backup/records",
        "Tenants, and the hashes of their keys, for a backup",
        &[],
        STORED,
    ),
    operation(
        HttpMethod::Post,
        "admin/backup/copies",
        "Opens a copy of a shard, as of one moment",
        &[SHARD],
        MADE,
    ),
    operation(HttpMethod::Delete, "admin/backup/copies/{copy}", "Gives a copy up", &[COPY], GONE),
    operation(
        HttpMethod::Get,
        "admin/backup/copies/{copy}/{piece}",
        "A piece of a copy: the name of a chunk, the tenant whose chunks came before, or the end",
        &[COPY, PIECE],
        SAID,
    ),
    operation(
        HttpMethod::Get,
        "admin/backup/copies/{copy}/{piece}/bytes",
        "The bytes of a chunk, or a part of them",
        &[COPY, PIECE, OFFSET, LENGTH],
        STORED,
    ),
];

#[cfg(test)]
mod tests;
