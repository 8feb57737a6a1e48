//! Bringing a tenants file into force through the meta group, many tenants at a time, so that a
//! file of hundreds takes a moment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use ranch_proto::api_key::Secret;
use ranch_proto::schema::{
    KeyRecord, MetaCommand, MetaStatus, PutTenant, Role, TenantRecord, meta_command::What,
};
use ranch_proto::{Directory, RequestId, Shards};

use super::{FileContents, FileTenant, Quota, TenantsFileError};
use crate::api::tenants::key_record;
use crate::forward::Forward;
use crate::http::date;

/// Changes under way at once; the meta group's leader puts them into few log entries.
const AT_ONCE: usize = 64;
/// Times the file is compared with the directory before a clash is given up on.
const PASSES_MAX: u32 = 3;
/// Longest wait for the ranch to be there at all.
const RANCH_MAX: Duration = Duration::from_mins(1);
/// Longest wait for one change.
const CHANGE_MAX: Duration = Duration::from_secs(30);
/// Longest wait for the directory to show all changes.
const SHOW_MAX: Duration = Duration::from_secs(10);

/// What a tenants file brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The file was missing and has been made.
    pub made: bool,
    /// Tenants added.
    pub added: usize,
    /// Tenants with a quota, access or key changed.
    pub changed: usize,
    /// Tenants that were as the file has them.
    pub unchanged: usize,
}

/// What has to be done for one tenant, or for the administrators.
struct Change {
    tenant: String,
    commands: Vec<What>,
    adds: bool,
}

/// Makes the directory agree with the file. Another router may be bringing the same file into
/// force, so what turns out to exist already is looked at again.
pub(super) async fn apply<S: Shards>(
    shards: &Arc<S>,
    contents: FileContents,
) -> Result<Summary, TenantsFileError> {
    until(shards, RANCH_MAX, |directory| directory.cluster.is_some())
        .await
        .map_err(|()| TenantsFileError::NoRanch)?;
    let forward = Forward::new(Arc::clone(shards), CHANGE_MAX, Arc::default());
    let mut summary = None;
    let mut passes_left = PASSES_MAX;
    loop {
        let (changes, unchanged) = {
            let directory = shards.directory().read();
            plan(&directory, &contents)?
        };
        let summary = *summary.get_or_insert_with(|| summarize(&changes, unchanged));
        let added = changes.iter().filter(|change| change.adds);
        let added: Vec<_> = added.map(|change| change.tenant.clone()).collect();
        let clash = carry_out_all(&forward, changes).await?;
        let there =
            |directory: &Directory| added.iter().all(|id| directory.tenants.contains_key(id));
        if until(shards, SHOW_MAX, there).await.is_err() {
            // The changes are in force; only whoever asks this router next would notice.
            tracing::warn!("the directory is slow to show the tenants of the file");
        }
        passes_left -= 1;
        match clash {
            None => return Ok(summary),
            Some(clash) if passes_left == 0 => return Err(clash),
            Some(_) => {}
        }
    }
}

fn summarize(changes: &[Change], unchanged: usize) -> Summary {
    let added = changes.iter().filter(|change| change.adds).count();
    let tenants = changes.iter().filter(|change| !change.tenant.is_empty()).count();
    Summary { made: false, added, changed: tenants - added, unchanged }
}

/// What differs between file and directory, and how many tenants do not.
fn plan(
    directory: &Directory,
    contents: &FileContents,
) -> Result<(Vec<Change>, usize), TenantsFileError> {
    let mut changes = Vec::new();
    let mut unchanged = 0;
    if let Some(secret) = &contents.admin_key {
        let missing = missing_keys(directory, "", std::slice::from_ref(secret), Role::Admin)?;
        let commands = missing.into_iter().map(What::AddKey).collect();
        changes.push(Change { tenant: String::new(), commands, adds: false });
    }
    for tenant in &contents.tenants {
        let change = plan_tenant(directory, tenant)?;
        if change.commands.is_empty() {
            unchanged += 1;
        } else {
            changes.push(change);
        }
    }
    Ok((changes, unchanged))
}

fn plan_tenant(directory: &Directory, wanted: &FileTenant) -> Result<Change, TenantsFileError> {
    let keys = missing_keys(directory, &wanted.id, &wanted.keys, Role::ReadWrite)?;
    let known = directory.tenants.get(&wanted.id);
    let mut record = known.cloned().unwrap_or_else(|| TenantRecord {
        id: wanted.id.clone(),
        enabled: true,
        created_ms: date::now_ms(),
        from_file: true,
        ..TenantRecord::default()
    });
    record.enabled = wanted.enabled.unwrap_or(record.enabled);
    record.quota_bytes = match wanted.quota {
        None => record.quota_bytes,
        Some(Quota::Unlimited) => None,
        Some(Quota::Bytes(bytes)) => Some(bytes),
    };
    let commands = match known {
        None => vec![What::AddTenant(PutTenant { tenant: Some(record), keys })],
        Some(known) => {
            let set = (*known != record)
                .then(|| What::SetTenant(PutTenant { tenant: Some(record), keys: Vec::new() }));
            set.into_iter().chain(keys.into_iter().map(What::AddKey)).collect()
        }
    };
    Ok(Change { tenant: wanted.id.clone(), commands, adds: known.is_none() })
}

/// Records of the keys that the directory does not have.
fn missing_keys(
    directory: &Directory,
    tenant: &str,
    secrets: &[Secret],
    role: Role,
) -> Result<Vec<KeyRecord>, TenantsFileError> {
    let mut missing = Vec::new();
    for secret in secrets {
        let hash = directory.hash_key(secret.expose()).ok_or(TenantsFileError::NoRanch)?;
        match directory.find_key(secret.expose()) {
            None => missing.push(key_record(hash, tenant, role)),
            Some(known) if known.tenant == tenant => {}
            Some(_) => return Err(TenantsFileError::KeyTaken { tenant: tenant.to_owned() }),
        }
    }
    Ok(missing)
}

/// Carries out changes, many at a time. What exists already is no failure yet, but returned.
async fn carry_out_all<S: Shards>(
    forward: &Forward<S>,
    changes: Vec<Change>,
) -> Result<Option<TenantsFileError>, TenantsFileError> {
    let results = stream::iter(changes).map(|change| carry_out(forward, change));
    let results: Vec<_> = results.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(results.into_iter().flatten().next())
}

async fn carry_out<S: Shards>(
    forward: &Forward<S>,
    change: Change,
) -> Result<Option<TenantsFileError>, TenantsFileError> {
    let mut clash = None;
    for what in change.commands {
        let request_id = Bytes::copy_from_slice(&RequestId::random().0);
        let command = MetaCommand { request_id, what: Some(what) };
        let result = forward.meta(command).await;
        let result = result.map_err(|source| TenantsFileError::Forward { source })?;
        let status = result.status();
        let tenant = change.tenant.clone();
        let refused = TenantsFileError::Refused { tenant, reason: result.reason };
        match status {
            MetaStatus::MetaOk => {}
            MetaStatus::MetaExists => clash = Some(refused),
            _ => return Err(refused),
        }
    }
    Ok(clash)
}

/// Waits until the directory shows something.
async fn until<S: Shards>(
    shards: &Arc<S>,
    longest: Duration,
    shows: impl Fn(&Directory) -> bool,
) -> Result<(), ()> {
    let mut epochs = shards.epochs();
    let wait = async {
        while !shows(&shards.directory().read()) {
            if epochs.changed().await.is_err() {
                return Err(());
            }
        }
        Ok(())
    };
    tokio::time::timeout(longest, wait).await.unwrap_or(Err(()))
}
