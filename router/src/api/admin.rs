//! The administrators' endpoints: which there are, and the account of the cluster.

use bytes::Bytes;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use ranch_proto::Shards;
use serde::Serialize;

use crate::api::describe::{
    self, HttpMethod, Operation, Parameter, Reply, argument, json_body, operation, reply,
};
use crate::api::{Call, Methods, metrics, tenants};
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
    /// Everything in numbers; not below `admin/`.
    Metrics,
    /// All tenants.
    Tenants,
    /// Makes a tenant.
    AddTenant,
    /// A tenant, to be switched off or changed.
    Tenant(&'a str),
    /// Switches a tenant on again.
    RestoreTenant(&'a str),
    /// What a tenant has stored.
    TenantStats(&'a str),
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
        match path.strip_prefix("tenants/") {
            None if path == "cluster" => Some(Self::Cluster),
            None if path == "tenants" => Some(Self::Tenants),
            None | Some("") => None,
            Some("add") => Some(Self::AddTenant),
            Some(tenant) => match tenant.split_once('/') {
                None => Some(Self::Tenant(tenant)),
                Some((id, "restore")) => Some(Self::RestoreTenant(id)),
                Some((id, "stats")) => Some(Self::TenantStats(id)),
                Some(_) => None,
            },
        }
    }

    /// The methods it takes.
    pub fn methods(self) -> Methods {
        match self {
            Self::Cluster | Self::Metrics | Self::Tenants | Self::TenantStats(_) => Methods::READ,
            Self::AddTenant | Self::RestoreTenant(_) => Methods::POST,
            Self::Tenant(_) => Methods::CHANGE,
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
        Endpoint::Metrics => Ok(metrics::answer(call).await),
        Endpoint::Tenants => Ok(tenants::list(call)),
        Endpoint::AddTenant => {
            let body = read(call, body).await?;
            tenants::add(call, &body).await
        }
        Endpoint::Tenant(_) if call.method == Method::PATCH => Err(ApiError::NotBuilt {
            endpoint: "PATCH admin/tenants/:id",
            meaning: "changes quota, limits and profile of a tenant",
        }),
        Endpoint::Tenant(_) if call.query.flag("purge")? => Err(ApiError::NotBuilt {
            endpoint: "DELETE admin/tenants/:id?purge=true",
            meaning: "deletes a tenant and its data for good; without purge it is disabled",
        }),
        Endpoint::Tenant(id) => tenants::set_enabled(call, id, false).await,
        Endpoint::RestoreTenant(id) => tenants::set_enabled(call, id, true).await,
        Endpoint::TenantStats(id) => tenants::stats(call, id).await,
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
const NEW: &str = r#"{
    "type": "object",
    "required": ["tenant_id"],
    "additionalProperties": false,
    "properties": {
        "tenant_id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"},
        "quota_mb": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "admin_email": {"type": ["string", "null"]},
        "key": {"type": ["string", "null"], "minLength": 16},
        "rate_per_s": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "calls_per_day": {"type": ["integer", "null"], "minimum": 1},
        "profile": {"type": ["string", "null"], "enum": ["sq", "memory", null]}
    }
}"#;
const CHANGES: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "properties": {
        "quota_mb": {"type": ["number", "null"]},
        "rate_per_s": {"type": ["number", "null"]},
        "calls_per_day": {"type": ["integer", "null"]},
        "profile": {"type": "string", "enum": ["sq", "memory"]},
        "enabled": {"type": "boolean"}
    }
}"#;
const ID: Parameter = argument("id", describe::STRING, "The tenant.");
const TOLD: &[Reply] = &[reply(200, &[("application/json", OBJECT)], "As it is now.")];

/// The administrators' endpoints, described.
pub static OPERATIONS: &[Operation] = &[
    operation(
        HttpMethod::Get,
        "metrics",
        "Counters and gauges for Prometheus",
        &[],
        &[reply(200, &[("text/plain", describe::STRING)], "Prometheus text.")],
    ),
    operation(HttpMethod::Get, "admin/cluster", "Nodes, shards, leaders, lag", &[], TOLD),
    operation(HttpMethod::Get, "admin/tenants", "All tenants", &[], TOLD),
    operation(
        HttpMethod::Post,
        "admin/tenants/add",
        "Makes a tenant and its first key",
        &[],
        &[reply(201, &[("application/json", OBJECT)], "The tenant and its key, shown this once.")],
    )
    .with_body(json_body(NEW)),
    operation(HttpMethod::Patch, "admin/tenants/{id}", "Changes a tenant", &[ID], TOLD)
        .with_body(json_body(CHANGES)),
    operation(HttpMethod::Delete, "admin/tenants/{id}", "Disables a tenant", &[ID], TOLD),
    operation(HttpMethod::Post, "admin/tenants/{id}/restore", "Enables a tenant", &[ID], TOLD),
    operation(HttpMethod::Get, "admin/tenants/{id}/stats", "What a tenant has stored", &[ID], TOLD),
];
