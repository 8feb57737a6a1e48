//! Tenants on their way out. The leader of the meta group has their shards delete what they have,
//! and then has the meta group forget them. Each step may be taken twice, so whoever leads after
//! a crash just begins again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ranch_proto::schema::{
    Command, MetaCommand, Request, TenantLife, TenantPurged, TenantRecord, meta_command::What,
    reply, request,
};
use ranch_proto::{GroupId, RequestId, ShardError, Shards as _};
use ranch_raft::group::MetaGroup;

use crate::local::LocalShards;
use crate::replicas::Replicas;

/// A shard that takes longer is asked again in the next turn.
const SHARD_LIMIT: Duration = Duration::from_secs(2);
/// Tenants deleted in one turn.
const AT_ONCE: usize = 16;

/// Takes every tenant being deleted as far as possible, where this node leads the meta group.
pub(super) async fn finish_all(replicas: &Arc<Replicas>) {
    let Some(meta) = replicas.meta().filter(|meta| meta.core().is_leader()) else { return };
    let purging: Vec<TenantRecord> = {
        let directory = replicas.shared.feed.directory().read();
        let tenants = directory.tenants.values();
        tenants.filter(|tenant| tenant.purging).take(AT_ONCE).cloned().collect()
    };
    join_all(purging.iter().map(|tenant| async move {
        match finish(replicas, meta, tenant).await {
            Ok(()) => tracing::info!(tenant = %tenant.id, "the tenant is deleted for good"),
            Err(error) => tracing::debug!(tenant = %tenant.id, %error, "cannot delete it yet"),
        }
    }))
    .await;
}

async fn finish(
    replicas: &Arc<Replicas>,
    meta: &MetaGroup,
    tenant: &TenantRecord,
) -> Result<(), ShardError> {
    let request_id = || RequestId::random().0.to_vec().into();
    let group = GroupId(tenant.shard);
    let leader = replicas.shared.board.routes().leader(group);
    let leader = leader.ok_or_else(|| ShardError::Unavailable {
        detail: format!("shard {group} has no leader"),
    })?;
    let command = Command {
        request_id: request_id(),
        tenant: tenant.id.clone(),
        life: Some(TenantLife { number: tenant.life, purge: true }),
        ..Command::default()
    };
    let body = Some(request::Body::Command(command));
    let request = Request { group: group.0, body, ..Request::default() };
    let deadline = std::time::Instant::now() + SHARD_LIMIT;
    let shards = LocalShards::new(Arc::clone(replicas));
    let reply = shards.call(leader, request, deadline).await?;
    let Some(reply::Body::Command(_)) = reply.body else {
        return Err(ShardError::Unknown { detail: "a reply of another kind".to_owned() });
    };
    // Only when a majority has it in its log may the id be given again.
    let purged = TenantPurged { id: tenant.id.clone(), life: tenant.life };
    let what = Some(What::TenantPurged(purged));
    meta.propose(MetaCommand { request_id: request_id(), what }).await.map(drop)
}
