//! Bringing a tenants file into force through the meta group, many tenants at a time, so that a
//! file of hundreds takes a moment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use ranch_proto::schema::{MetaCommand, MetaStatus, meta_command::What};
use ranch_proto::{Directory, RequestId, Shards};

use super::plan::{Change, Kind, Plan, plan};
use super::{FileContents, Summary, TenantsFileError};
use crate::forward::Forward;
use crate::shown::until_shown;

/// Changes under way at once; the meta group's leader puts them into few log entries.
const AT_ONCE: usize = 64;
/// Times the file is compared with the directory before a clash is given up on.
const PASSES_MAX: u32 = 3;
/// Longest wait for the directory to show all changes.
const SHOW_ALL_MAX: Duration = Duration::from_secs(10);

/// Makes the directory agree with the file. Others may change the same things meanwhile, so what
/// turns out to exist already is looked at again.
pub(super) async fn apply<S: Shards>(
    shards: &Arc<S>,
    forward: &Forward<S>,
    contents: &FileContents,
) -> Result<Summary, TenantsFileError> {
    let mut summary = None;
    let mut passes_left = PASSES_MAX;
    loop {
        let plan = plan(&shards.directory().read(), contents)?;
        let summary = summary.get_or_insert_with(|| summarize(&plan)).clone();
        let clash = carry_out_all(shards, forward, plan.changes).await?;
        passes_left -= 1;
        match clash {
            None => return Ok(summary),
            Some(clash) if passes_left == 0 => return Err(clash),
            Some(_) => {}
        }
    }
}

fn summarize(plan: &Plan) -> Summary {
    let count = |kind| plan.changes.iter().filter(|change| change.kind == kind).count();
    Summary {
        added: count(Kind::Adds),
        changed: count(Kind::Changes),
        disabled: count(Kind::Disables),
        unchanged: plan.unchanged,
        warnings: plan.warnings.clone(),
        ..Summary::default()
    }
}

/// Carries out changes, many at a time, and waits until this router's directory shows them. What
/// exists already is no failure yet, but returned.
pub(super) async fn carry_out_all<S: Shards>(
    shards: &Arc<S>,
    forward: &Forward<S>,
    changes: Vec<Change>,
) -> Result<Option<TenantsFileError>, TenantsFileError> {
    let results = stream::iter(changes).map(|change| carry_out(forward, change));
    let results: Vec<Carried> = results.buffer_unordered(AT_ONCE).try_collect().await?;
    let epoch = results.iter().map(|carried| carried.epoch).max().unwrap_or(0);
    let shows = |directory: &Directory| directory.epoch >= epoch;
    if !until_shown(&**shards, SHOW_ALL_MAX, shows).await {
        // The changes are in force; only whoever asks this router next would notice.
        tracing::warn!("the directory is slow to show the tenants of the file");
    }
    Ok(results.into_iter().find_map(|carried| carried.clash))
}

/// What became of a change.
#[derive(Default)]
struct Carried {
    epoch: u64,
    clash: Option<TenantsFileError>,
}

async fn carry_out<S: Shards>(
    forward: &Forward<S>,
    change: Change,
) -> Result<Carried, TenantsFileError> {
    let mut carried = Carried::default();
    for what in change.commands {
        let action = action(&what);
        let request_id = Bytes::copy_from_slice(&RequestId::random().0);
        let command = MetaCommand { request_id, what: Some(what) };
        let result = forward.meta(command).await;
        let result = result.map_err(|source| TenantsFileError::Forward { source })?;
        carried.epoch = carried.epoch.max(result.epoch);
        let status = result.status();
        let tenant = change.tenant.clone();
        let refused = TenantsFileError::Refused { tenant, reason: result.reason };
        match status {
            MetaStatus::MetaOk => {
                let tenant = change.tenant.as_str();
                tracing::info!(
                    target: "audit",
                    admin = "tenants file",
                    action,
                    tenant,
                    "a change by the tenants file"
                );
            }
            // Others were faster: that is for the next pass to see.
            MetaStatus::MetaExists | MetaStatus::MetaNotFound => carried.clash = Some(refused),
            _ => return Err(refused),
        }
    }
    Ok(carried)
}

fn action(what: &What) -> &'static str {
    match what {
        What::AddTenant(_) => "add tenant",
        What::AddKey(_) => "add key",
        What::RemoveKey(_) => "revoke key",
        _ => "change tenant",
    }
}
