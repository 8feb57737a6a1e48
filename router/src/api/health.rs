//! Whether the ranch is well, for load balancers and people. No key is needed, so nothing about
//! tenants is said, and asking often costs little.

use http::StatusCode;
use ranch_proto::Shards;
use serde::Serialize;

use crate::api::describe::{self, HttpMethod, Operation, operation, reply};
use crate::app::App;
use crate::http::answer::{self, Answer};
use crate::http::date;

/// The health endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An account in figures.
    Summary,
    /// Whether this process runs.
    Live,
    /// Whether every shard can be written to.
    Ready,
}

#[derive(Serialize)]
struct Summary {
    status: &'static str,
    shards: usize,
    shards_with_leader: usize,
    nodes: usize,
    nodes_up: usize,
    scrolls: u64,
    last_write: Option<String>,
    version: &'static str,
}

#[derive(Serialize)]
struct State {
    status: &'static str,
}

impl Endpoint {
    /// The endpoint at a path.
    pub fn find(path: &str) -> Option<Self> {
        match path {
            "/health" => Some(Self::Summary),
            "/health/live" => Some(Self::Live),
            "/health/ready" => Some(Self::Ready),
            _ => None,
        }
    }
}

/// Answers a health endpoint: 200, or 503 where a client had better wait.
pub async fn answer<S: Shards>(app: &App<S>, endpoint: Endpoint) -> Answer {
    if endpoint == Endpoint::Live {
        return answer::json(StatusCode::OK, &State { status: "ok" });
    }
    let cluster = app.recent_cluster().await;
    let ready = cluster.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if endpoint == Endpoint::Ready {
        return answer::json(status, &State { status: if ready { "ready" } else { "not ready" } });
    }
    let summary = Summary {
        status: cluster.status(),
        shards: cluster.shards.len(),
        shards_with_leader: cluster.shards.iter().filter(|shard| shard.leader.is_some()).count(),
        nodes: cluster.nodes.len(),
        nodes_up: cluster.nodes.iter().filter(|node| node.pid.is_some()).count(),
        scrolls: cluster.scrolls,
        last_write: (cluster.last_write_ms > 0).then(|| date::rfc3339(cluster.last_write_ms)),
        version: env!("CARGO_PKG_VERSION"),
    };
    answer::json(status, &summary)
}

const ACCOUNT: &str = r#"{
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "enum": ["ok", "degraded", "down", "ready", "not ready"]}
    }
}"#;
const WELL: describe::Reply = reply(200, &[("application/json", ACCOUNT)], "It is well.");
const UNWELL: describe::Reply = reply(503, &[("application/json", ACCOUNT)], "It is not ready.");

/// The health endpoints, described.
pub static OPERATIONS: &[Operation] = &[
    operation(HttpMethod::Get, "/health", "An account of the ranch", &[], &[WELL, UNWELL]),
    operation(HttpMethod::Get, "/health/live", "Whether this process runs", &[], &[WELL]),
    operation(
        HttpMethod::Get,
        "/health/ready",
        "Whether every shard can be written to",
        &[],
        &[WELL, UNWELL],
    ),
];
