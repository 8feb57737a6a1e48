//! The administrators' endpoints: which there are, and the account of the cluster.

use bytes::Bytes;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use ranch_proto::Shards;
use serde::Serialize;

use crate::api::describe::{self, HttpMethod, Operation, Reply, operation, reply};
use crate::api::tenants::restore;
use crate::api::{Call, Methods, backup, lifecycle, metrics, tenants, verify};
use crate::cluster::{self, Cluster};
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::http::body;

/// Largest body of an admin request, in bytes.
const BODY_MAX: u64 = 64 * 1024;

/// The endpoints below `admin/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// Nodes, shards, leaders, lag.
    Cluster,
    /// Whether all copies are alike.
    Verify,
    /// Machines and leaders.
    Lifecycle(lifecycle::Endpoint<'a>),
    /// Everything in numbers; not below `admin/`.
    Metrics,
    /// All tenants.
    Tenants,
    /// Makes a tenant.
    AddTenant,
    /// A tenant, to be shown, changed, switched off or deleted.
    Tenant(&'a str),
    /// Switches a tenant on again.
    RestoreTenant(&'a str),
    /// What a tenant has stored.
    TenantStats(&'a str),
    /// The keys of a tenant.
    Keys(&'a str),
    /// One key of a tenant, by its public name.
    Key(&'a str, &'a str),
    /// Everything a tenant has.
    Archive(&'a str),
    /// What goes into backups.
    Backup(backup::Endpoint<'a>),
    /// What comes from them.
    Restore(restore::Endpoint<'a>),
}

/// A tenant, as `ranch status` lists it.
#[derive(Serialize)]
struct TenantPlace {
    id: String,
    shard: u32,
}

#[derive(Serialize)]
struct ClusterAnswer {
    status: &'static str,
    #[serde(flatten)]
    cluster: Cluster,
    tenants: Vec<TenantPlace>,
}

impl<'a> Endpoint<'a> {
    /// The endpoint at a path below `admin/`.
    pub fn find(path: &'a str) -> Option<Self> {
        if let Some(below) = path.strip_prefix("cluster/") {
            if below == "verify" {
                return Some(Self::Verify);
            }
            return lifecycle::Endpoint::find(below).map(Self::Lifecycle);
        }
        if let Some(below) = path.strip_prefix("backup/") {
            return backup::Endpoint::find(below).map(Self::Backup);
        }
        if let Some(below) = path.strip_prefix("restore/") {
            return restore::Endpoint::find(below).map(Self::Restore);
        }
        match path.strip_prefix("tenants/") {
            None if path == "backup" => Some(Self::Backup(backup::Endpoint::About)),
            None if path == "restore" => Some(Self::Restore(restore::Endpoint::List)),
            None if path == "cluster" => Some(Self::Cluster),
            None if path == "tenants" => Some(Self::Tenants),
            None | Some("") => None,
            Some("add") => Some(Self::AddTenant),
            Some(tenant) => match tenant.split_once('/') {
                None => Some(Self::Tenant(tenant)),
                Some((id, "restore")) => Some(Self::RestoreTenant(id)),
                Some((id, "stats")) => Some(Self::TenantStats(id)),
                Some((id, "keys")) => Some(Self::Keys(id)),
                Some((id, "archive")) => Some(Self::Archive(id)),
                Some((id, rest)) => match rest.strip_prefix("keys/") {
                    Some(key) if !key.is_empty() && !key.contains('/') => Some(Self::Key(id, key)),
                    _ => None,
                },
            },
        }
    }

    /// The methods it takes.
    pub fn methods(self) -> Methods {
        match self {
            Self::Cluster
            | Self::Metrics
            | Self::Tenants
            | Self::TenantStats(_)
            | Self::Archive(_) => Methods::READ,
            Self::Lifecycle(_) => lifecycle::Endpoint::METHODS,
            Self::Backup(endpoint) => endpoint.methods(),
            Self::Restore(endpoint) => endpoint.methods(),
            Self::Keys(_) => Methods::READ_AND_POST,
            Self::Key(..) => Methods::DELETE,
            Self::AddTenant | Self::RestoreTenant(_) | Self::Verify => Methods::POST,
            Self::Tenant(_) => Methods::ONE,
        }
    }
}

/// Answers an administrators' endpoint.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    endpoint: &Endpoint<'_>,
    body: Incoming,
) -> Result<Answer, ApiError> {
    match *endpoint {
        Endpoint::Cluster => Ok(cluster(call).await),
        Endpoint::Verify => verify::answer(call).await,
        Endpoint::Lifecycle(endpoint) => {
            let body = read(call, body).await?;
            lifecycle::answer(call, endpoint, &body).await
        }
        Endpoint::Metrics => Ok(metrics::answer(call).await),
        Endpoint::Tenants => Ok(tenants::show::list(call)),
        Endpoint::AddTenant => {
            let body = read(call, body).await?;
            tenants::add::add(call, &body).await
        }
        Endpoint::Tenant(id) if call.method == Method::PATCH => {
            let body = read(call, body).await?;
            tenants::change::patch(call, id, &body).await
        }
        Endpoint::Tenant(id) if call.method != Method::DELETE => tenants::show::one(call, id),
        Endpoint::Tenant(id) if call.query.flag("purge")? => tenants::purge::purge(call, id).await,
        Endpoint::Tenant(id) => tenants::change::set_enabled(call, id, false).await,
        Endpoint::RestoreTenant(id) => tenants::change::set_enabled(call, id, true).await,
        Endpoint::TenantStats(id) => tenants::show::stats(call, id).await,
        Endpoint::Keys(id) if call.method == Method::POST => {
            let body = read(call, body).await?;
            tenants::keys::add(call, id, &body).await
        }
        Endpoint::Keys(id) => tenants::keys::list(call, id),
        Endpoint::Key(id, key) => tenants::keys::revoke(call, id, key).await,
        Endpoint::Archive(id) => tenants::archive::archive(call, id).await,
        Endpoint::Backup(endpoint) => backup::answer(call, endpoint).await,
        Endpoint::Restore(endpoint) => restore::answer(call, endpoint, body).await,
    }
}

async fn read<S: Shards>(call: &Call<'_, S>, body: Incoming) -> Result<Bytes, ApiError> {
    body::read(body, BODY_MAX, call.app.options.body_timeout).await
}

async fn cluster<S: Shards>(call: &Call<'_, S>) -> Answer {
    let shards = &*call.app.shards;
    let cluster = cluster::gather(shards).await;
    let tenants = {
        let directory = shards.directory().read();
        let places = directory.tenants.values();
        places.map(|tenant| TenantPlace { id: tenant.id.clone(), shard: tenant.shard }).collect()
    };
    let answer = ClusterAnswer { status: cluster.status(), cluster, tenants };
    answer::json(StatusCode::OK, &answer)
}

const OBJECT: &str = r#"{"type":"object"}"#;
const TOLD: &[Reply] = &[reply(200, &[("application/json", OBJECT)], "As it is now.")];

/// The endpoints of the ranch as a whole, described.
pub static OPERATIONS: &[Operation] = &[
    operation(
        HttpMethod::Get,
        "metrics",
        "Counters and gauges for Prometheus",
        &[],
        &[reply(200, &[("text/plain", describe::STRING)], "Prometheus text.")],
    ),
    operation(HttpMethod::Get, "admin/cluster", "Nodes, shards, leaders, lag", &[], TOLD),
];
