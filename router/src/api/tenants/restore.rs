//! What `ranch restore` asks for: a tenant begun as it was in a backup, its scrolls, and its end.
//! Until then the tenant is disabled, so nobody ever sees half of it. Everything may be said
//! again: a scroll that is there already is put there once more as it was.

mod operations;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use hyper::body::Incoming;
use prost::Message;
use ranch_proto::backup::{self, CHUNK_BYTES_MAX};
use ranch_proto::schema::{
    BackupScroll, Command, FinishRestore, Op, OpStatus, ReadRequest, RestoreTenant, Restored,
    RestoredTotals, Role, TenantRecord, TenantUsage, Usage, meta_command::What, op, read_reply,
    read_request,
};
use ranch_proto::stage::COMMAND_BYTES_MAX;
use ranch_proto::versions::Feature;
use ranch_proto::{RequestId, Shards, hex};
use serde::{Deserialize, Serialize};

pub use operations::OPERATIONS;

use super::{decide, decide_tenant, input, keys, known, status};
use crate::api::{Call, Methods};
use crate::error::ApiError;
use crate::forward::Home;
use crate::http::answer::{self, Answer};
use crate::http::body;

/// Largest body but those of chunks, in bytes: a tenant with thousands of keys.
const BODY_MAX: u64 = 4 << 20;
/// Commands under way at once.
const IN_FLIGHT: usize = 4;
/// Bytes of texts that are put into one command: with their addresses they stay below what goes in
/// one piece.
const COMMAND_TEXTS: usize = COMMAND_BYTES_MAX / 2;
/// What a scroll takes in a command beside its text, about.
const SCROLL_BYTES: usize = 128;
/// The tenant made on a ranch's first start.
const DEMO: &str = "demo";

/// The endpoints below `admin/restore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// What there is of backups.
    List,
    /// Begins to restore a tenant.
    Begin,
    /// Puts scrolls into a tenant that is being restored.
    Scrolls(&'a str),
    /// Ends it.
    Finish(&'a str),
}

impl<'a> Endpoint<'a> {
    /// The endpoint at a path below `admin/restore/`.
    pub fn find(path: &'a str) -> Option<Self> {
        match path.split('/').collect::<Vec<_>>()[..] {
            ["tenants"] => Some(Self::Begin),
            ["tenants", id, "scrolls"] if !id.is_empty() => Some(Self::Scrolls(id)),
            ["tenants", id, "finish"] if !id.is_empty() => Some(Self::Finish(id)),
            _ => None,
        }
    }

    /// The methods it takes.
    pub fn methods(self) -> Methods {
        match self {
            Self::List => Methods::READ,
            Self::Begin | Self::Scrolls(_) | Self::Finish(_) => Methods::POST,
        }
    }
}

#[derive(Serialize)]
struct List {
    tenants: Vec<Listed>,
    /// There is a tenant `demo` that never had a scroll.
    untouched_demo: bool,
}

#[derive(Serialize)]
struct Listed {
    tenant_id: String,
    status: &'static str,
    /// The digest of the backup it comes from, if it does.
    backup: Option<String>,
    /// Whether everything of it is here.
    whole: bool,
}

#[derive(Serialize)]
struct Begun<'a> {
    tenant_id: &'a str,
    status: &'static str,
    shard: u32,
    keys: usize,
    whole: bool,
}

/// What the tenant had when it was backed up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    scrolls: u64,
    storage_bytes: u64,
    phexts: u64,
    revision: u64,
    last_write_ms: u64,
    /// Make a key if the tenant has none.
    #[serde(default)]
    new_key: bool,
}

#[derive(Serialize)]
struct Finished<'a> {
    tenant_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
}

/// Answers one of them.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    endpoint: Endpoint<'_>,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let patience = call.app.options.body_timeout;
    match endpoint {
        Endpoint::List => list(call).await,
        Endpoint::Begin => begin(call, body::read(body, BODY_MAX, patience).await?).await,
        Endpoint::Scrolls(id) => {
            let budget = &call.app.budget;
            let (chunk, share) = body::read_large(body, CHUNK_BYTES_MAX, patience, budget).await?;
            let answer = scrolls(call, id, chunk).await;
            drop(share);
            answer
        }
        Endpoint::Finish(id) => {
            finish(call, id, &body::read(body, BODY_MAX, patience).await?).await
        }
    }
}

async fn list<S: Shards>(call: &Call<'_, S>) -> Result<Answer, ApiError> {
    let tenants: Vec<TenantRecord> =
        call.app.shards.directory().read().tenants.values().cloned().collect();
    let demo = tenants.iter().find(|tenant| tenant.id == DEMO && tenant.restored.is_none());
    let untouched_demo = match demo {
        Some(demo) => usage(call, demo).await?.revision == 0,
        None => false,
    };
    let tenants = tenants.iter().map(|tenant| Listed {
        tenant_id: tenant.id.clone(),
        status: status(tenant),
        backup: tenant.restored.as_ref().map(|from| hex::encode(&from.backup)),
        whole: tenant.restored.as_ref().is_none_or(|from| from.whole),
    });
    let list = List { tenants: tenants.collect(), untouched_demo };
    Ok(answer::json(StatusCode::OK, &list))
}

async fn begin<S: Shards>(call: &Call<'_, S>, body: Bytes) -> Result<Answer, ApiError> {
    let malformed = |reason: &str| ApiError::Refused { reason: reason.to_owned() };
    let asked =
        RestoreTenant::decode(body).map_err(|_| malformed("the body is no tenant of a backup"))?;
    let id = asked.tenant.as_ref().map(|tenant| tenant.id.clone());
    let id = id.ok_or_else(|| malformed("the body names no tenant"))?;
    check_version(call)?;
    let what = What::RestoreTenant(asked);
    let tenant = decide_tenant(call, what, ("begin to restore tenant", &id)).await?;
    let begun = Begun {
        tenant_id: &id,
        status: status(&tenant),
        shard: tenant.shard,
        keys: call.app.shards.directory().read().keys_of(&id).count(),
        whole: tenant.restored.is_none_or(|from| from.whole),
    };
    Ok(answer::json(StatusCode::CREATED, &begun))
}

/// Whatever else belongs to a restore is taken only for a tenant that was begun, so this is enough.
fn check_version<S: Shards>(call: &Call<'_, S>) -> Result<(), ApiError> {
    let directory = call.app.shards.directory().read();
    if directory.allows(Feature::RestoredTenants) {
        return Ok(());
    }
    let (at, from) = (directory.version(), Feature::RestoredTenants.since());
    let reason = format!(
        "tenants can be restored from cluster version {from} on, and the ranch is at {at}: \
         upgrade all its machines, see `ranch status`"
    );
    Err(ApiError::NotNow { reason })
}

/// A tenant that is being restored.
fn restoring<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<TenantRecord, ApiError> {
    let tenant = known(call, id)?;
    if tenant.purging || tenant.restored.as_ref().is_none_or(|from| from.whole) {
        return Err(ApiError::NotNow { reason: format!("tenant {id} is not being restored") });
    }
    Ok(tenant)
}

async fn scrolls<S: Shards>(
    call: &Call<'_, S>,
    id: &str,
    chunk: Bytes,
) -> Result<Answer, ApiError> {
    let tenant = restoring(call, id)?;
    let scrolls = backup::decode(chunk)
        .map_err(|error| ApiError::Refused { reason: format!("the body is no chunk: {error}") })?;
    let count = scrolls.len();
    let home = Home::from(&tenant);
    let sent = stream::iter(commands(id, scrolls)).map(|command| async move {
        let result = call.app.forward.command(home, command).await?;
        match result.results.iter().find(|result| result.status() != OpStatus::OpOk) {
            None => Ok(()),
            Some(refused) => Err(ApiError::NotNow {
                reason: format!("a scroll of tenant {id} was not taken ({:?})", refused.status()),
            }),
        }
    });
    sent.buffer_unordered(IN_FLIGHT).try_collect::<Vec<()>>().await?;
    Ok(answer::json(StatusCode::OK, &serde_json::json!({"tenant_id": id, "scrolls": count})))
}

/// The scrolls as commands, each of a size that suits the log.
fn commands(tenant: &str, scrolls: Vec<BackupScroll>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut bytes = usize::MAX;
    for scroll in scrolls {
        let size = scroll.phext.len() + scroll.coordinate.len() + scroll.text.len() + SCROLL_BYTES;
        if bytes.saturating_add(size) > COMMAND_TEXTS {
            bytes = 0;
            commands.push(Command {
                request_id: Bytes::copy_from_slice(&RequestId::random().0),
                tenant: tenant.to_owned(),
                independent: true,
                ..Command::default()
            });
        }
        bytes += size;
        // The first scroll begins the first command.
        if let Some(command) = commands.last_mut() {
            command.ops.push(op_of(scroll));
        }
    }
    commands
}

fn op_of(scroll: BackupScroll) -> Op {
    let BackupScroll { phext, coordinate, revision, created_ms, modified_ms, text, .. } = scroll;
    let restored = Some(Restored { revision, created_ms, modified_ms });
    let kind = op::Kind::Write.into();
    Op { kind, phext, coordinate, text, restored, ..Op::default() }
}

async fn finish<S: Shards>(call: &Call<'_, S>, id: &str, body: &Bytes) -> Result<Answer, ApiError> {
    let expected: Expected = input::json(body)?;
    let tenant = known(call, id)?;
    if tenant.restored.as_ref().is_some_and(|from| from.whole) && !tenant.purging {
        // Said again, by somebody whom the first answer did not reach.
        let finished = Finished { tenant_id: id, status: status(&tenant), api_key: None };
        return Ok(answer::json(StatusCode::OK, &finished));
    }
    let tenant = restoring(call, id)?;
    let totals =
        RestoredTotals { revision: expected.revision, last_write_ms: expected.last_write_ms };
    let command = Command {
        request_id: Bytes::copy_from_slice(&RequestId::random().0),
        tenant: id.to_owned(),
        totals: Some(totals),
        ..Command::default()
    };
    call.app.forward.command(Home::from(&tenant), command).await?;
    compare(id, &usage(call, &tenant).await?, &expected)?;
    let has_keys = call.app.shards.directory().read().all_keys_of(id).next().is_some();
    let secret = (expected.new_key && !has_keys).then(|| keys::secret(None)).transpose()?;
    if let Some(secret) = &secret {
        let key = keys::new_key(call, id, secret, Role::ReadWrite)?;
        decide(call, What::AddKey(key), ("add key", id)).await?;
    }
    let what = What::FinishRestore(FinishRestore { id: id.to_owned(), life: tenant.life });
    let tenant = decide_tenant(call, what, ("finish to restore tenant", id)).await?;
    let api_key = secret.map(|secret| secret.expose().to_owned());
    let finished = Finished { tenant_id: id, status: status(&tenant), api_key };
    Ok(answer::json(StatusCode::OK, &finished))
}

fn compare(id: &str, found: &Usage, expected: &Expected) -> Result<(), ApiError> {
    let found = (found.scrolls, found.storage_bytes, found.phexts, found.revision);
    let wanted = (expected.scrolls, expected.storage_bytes, expected.phexts, expected.revision);
    if found == wanted {
        return Ok(());
    }
    Err(ApiError::NotNow {
        reason: format!(
            "tenant {id} has {} scrolls of {} bytes in {} phexts at revision {} where its backup \
             has {} of {} in {} at {}: run `ranch restore` again, or purge it and begin anew",
            found.0, found.1, found.2, found.3, wanted.0, wanted.1, wanted.2, wanted.3
        ),
    })
}

async fn usage<S: Shards>(call: &Call<'_, S>, tenant: &TenantRecord) -> Result<Usage, ApiError> {
    let what = Some(read_request::What::Usage(TenantUsage {}));
    let request = ReadRequest { tenant: tenant.id.clone(), stale: false, what };
    match call.app.forward.read(Home::from(tenant), request).await?.what {
        Some(read_reply::What::Usage(usage)) => Ok(usage),
        _ => Err(ApiError::Garbled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        for (path, expected) in [
            ("tenants", Some(Endpoint::Begin)),
            ("tenants/will/scrolls", Some(Endpoint::Scrolls("will"))),
            ("tenants/will/finish", Some(Endpoint::Finish("will"))),
            ("tenants//finish", None),
            ("tenants/will", None),
            ("", None),
        ] {
            assert_eq!(Endpoint::find(path), expected, "{path}");
        }
    }

    #[test]
    fn commands_hold_every_scroll_once_and_suit_the_log() {
        let scroll = |revision: u64, bytes: usize| BackupScroll {
            phext: "p".into(),
            revision,
            text: vec![b'x'; bytes].into(),
            ..BackupScroll::default()
        };
        let sizes = (1..400).map(|n| scroll(n, n as usize * 10)).chain([scroll(400, 2 << 20)]);
        let commands = commands("will", sizes.collect());
        let revisions = commands.iter().flat_map(|command| &command.ops);
        let revisions = revisions.map(|op| op.restored.unwrap().revision);
        assert!(revisions.eq(1..=400));
        let (large, small) = commands.split_last().unwrap();
        assert_eq!(large.ops.len(), 1);
        assert!(small.len() > 2);
        assert!(small.iter().all(|command| command.encoded_len() < COMMAND_BYTES_MAX));
    }
}
