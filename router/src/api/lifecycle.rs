//! What an operator does to machines and leaders: draining a node before it is stopped, and handing
//! a shard to another leader.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use ranch_proto::schema::{
    DrainNode, MetaCommand, MetaStatus, NodeRecord, Record, meta_command::What, record,
};
use ranch_proto::{GroupId, NodeId, RequestId, Shards};
use serde::{Deserialize, Serialize};

use crate::api::describe::{
    HttpMethod, NUMBER, Operation, Parameter, Reply, STRING, argument, json_body, operation, query,
    reply,
};
use crate::api::tenants::{audit, input};
use crate::api::{Call, Methods};
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer};
use crate::http::params::path_argument;

/// Longest wait for a node being drained to lead nothing.
const DRAINED_MAX: Duration = Duration::from_secs(8);
/// Between looks at who leads.
const LOOK: Duration = Duration::from_millis(20);

mod token;
mod upgrade;

/// The endpoints below `admin/cluster/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// Has a node lead nothing.
    Drain(&'a str),
    /// Lets a node lead again.
    Undrain(&'a str),
    /// Takes a node out of the ranch.
    Remove(&'a str),
    /// Hands a shard to another leader.
    Transfer(&'a str),
    /// Has the ranch write what all its machines can by now.
    FinishUpgrade,
    /// Makes a token by which machines join.
    Token,
}

impl<'a> Endpoint<'a> {
    /// The endpoint at a path below `admin/cluster/`.
    pub fn find(path: &'a str) -> Option<Self> {
        match path {
            "upgrade/finish" => return Some(Self::FinishUpgrade),
            "tokens" => return Some(Self::Token),
            _ => {}
        }
        let (kind, rest) = path.split_once('/')?;
        let (id, action) = rest.split_once('/')?;
        if id.is_empty() {
            return None;
        }
        match (kind, action) {
            ("nodes", "drain") => Some(Self::Drain(id)),
            ("nodes", "undrain") => Some(Self::Undrain(id)),
            ("nodes", "remove") => Some(Self::Remove(id)),
            ("shards", "transfer") => Some(Self::Transfer(id)),
            _ => None,
        }
    }

    /// The methods all of them take.
    pub const METHODS: Methods = Methods::POST;
}

/// A node, as it is after what was asked.
#[derive(Serialize)]
struct NodeAnswer {
    id: u32,
    name: String,
    draining: bool,
    /// What it holds goes to others, and then it is forgotten.
    leaving: bool,
    /// Groups it leads, the meta group among them.
    leads: usize,
}

#[derive(Serialize)]
struct TransferAnswer {
    shard: u32,
    leader: u32,
}

/// Whom to hand over to, where it is not said in the query: a node's id or name.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Target {
    to: Option<IdOrName>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IdOrName {
    Id(u32),
    Name(String),
}

/// Carries it out.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    endpoint: Endpoint<'_>,
    body: &Bytes,
) -> Result<Answer, ApiError> {
    match endpoint {
        Endpoint::Drain(id) => drain(call, id, true).await,
        Endpoint::Undrain(id) => drain(call, id, false).await,
        Endpoint::Remove(id) => remove(call, id).await,
        Endpoint::Transfer(id) => transfer(call, id, body).await,
        Endpoint::FinishUpgrade => upgrade::finish(call).await,
        Endpoint::Token => token::make(call, body).await,
    }
}

async fn drain<S: Shards>(
    call: &Call<'_, S>,
    id: &str,
    draining: bool,
) -> Result<Answer, ApiError> {
    let id = find_node(call, &path_argument(id)?)?.0;
    let action = if draining { "drain node" } else { "undrain node" };
    let what = What::DrainNode(DrainNode { id, draining });
    let node = decide_node(call, what, (action, id)).await?;
    if draining {
        let led = tokio::time::timeout(DRAINED_MAX, async {
            while leads(call, id) > 0 {
                tokio::time::sleep(LOOK).await;
            }
        });
        // What is left is in the answer.
        let _ = led.await;
    }
    Ok(answer::json(StatusCode::OK, &shown(call, node)))
}

/// Begins to take a node out; the moves go on by themselves.
async fn remove<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<Answer, ApiError> {
    let id = find_node(call, &path_argument(id)?)?.0;
    let node = decide_node(call, What::RemoveNode(id), ("remove node", id)).await?;
    Ok(answer::json(StatusCode::ACCEPTED, &shown(call, node)))
}

fn shown<S: Shards>(call: &Call<'_, S>, node: NodeRecord) -> NodeAnswer {
    let NodeRecord { id, name, draining, leaving, .. } = node;
    NodeAnswer { id, name, draining, leaving, leads: leads(call, id) }
}

/// Groups that a node leads, as far as this router has heard.
fn leads<S: Shards>(call: &Call<'_, S>, id: u32) -> usize {
    let shards: Vec<GroupId> = call.app.shards.directory().read().shards.keys().copied().collect();
    let routes = call.app.shards.routes();
    let groups = shards.into_iter().chain([GroupId::META]);
    groups.filter(|group| routes.leader(*group) == Some(NodeId(id))).count()
}

async fn transfer<S: Shards>(
    call: &Call<'_, S>,
    id: &str,
    body: &Bytes,
) -> Result<Answer, ApiError> {
    let not_one = ApiError::BadParameter { field: "shard", expected: "the number of a shard" };
    let shard: u32 = id.parse().map_err(|_| not_one)?;
    if !call.app.shards.directory().read().shards.contains_key(&GroupId(shard)) {
        return Err(ApiError::NoShard { shard });
    }
    let target: Target = input::json(body)?;
    let named = match (call.query.get("to"), target.to) {
        (Some(text), _) => Some(text.to_owned()),
        (None, Some(IdOrName::Id(id))) => Some(id.to_string()),
        (None, Some(IdOrName::Name(name))) => Some(name),
        (None, None) => None,
    };
    let to = named.map(|name| find_node(call, &name)).transpose()?;
    let reply = call.app.forward.hand_over(GroupId(shard), to).await?;
    if !reply.refused.is_empty() {
        return Err(ApiError::NotNow { reason: reply.refused });
    }
    audit(call, "transfer shard", &shard.to_string());
    let answer = TransferAnswer { shard, leader: reply.leader };
    Ok(answer::json(StatusCode::OK, &answer))
}

/// The node of this id or name.
fn find_node<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<NodeId, ApiError> {
    let directory = call.app.shards.directory().read();
    let nodes = directory.nodes.values();
    let mut found = nodes.filter(|node| node.name == id || node.id.to_string() == id);
    let node = found.next().map(|node| NodeId(node.id));
    node.ok_or_else(|| ApiError::NoNode { node: id.to_owned() })
}

/// Has the meta group carry out a change of a node, and writes down who asked for it.
async fn decide_node<S: Shards>(
    call: &Call<'_, S>,
    what: What,
    (action, id): (&'static str, u32),
) -> Result<NodeRecord, ApiError> {
    let decided = decide(call, what, (action, &id.to_string())).await;
    match decided.map_err(|error| match error {
        ApiError::NotFound => ApiError::NoNode { node: id.to_string() },
        error => error,
    })? {
        record::What::Node(node) => Ok(node),
        _ => Err(ApiError::Garbled),
    }
}

/// Has the meta group carry something out, and writes down who asked for it. Answers with the
/// record it was about.
async fn decide<S: Shards>(
    call: &Call<'_, S>,
    what: What,
    (action, about): (&'static str, &str),
) -> Result<record::What, ApiError> {
    let request_id = Bytes::copy_from_slice(&RequestId::random().0);
    let result = call.app.forward.meta(MetaCommand { request_id, what: Some(what) }).await?;
    match result.status() {
        MetaStatus::MetaOk => audit(call, action, about),
        MetaStatus::MetaExists => return Err(ApiError::NotNow { reason: result.reason }),
        MetaStatus::MetaNotFound => return Err(ApiError::NotFound),
        MetaStatus::MetaInvalid => return Err(ApiError::Refused { reason: result.reason }),
        MetaStatus::MetaNotBootstrapped => return Err(ForwardError::Unavailable.into()),
        MetaStatus::MetaUnspecified => return Err(ApiError::Garbled),
    }
    let record: Option<Record> = result.record;
    record.and_then(|record| record.what).ok_or(ApiError::Garbled)
}

const OBJECT: &str = r#"{"type":"object"}"#;
const NODE: Parameter = argument("id", STRING, "The node's number or name.");
const SHARD: Parameter = argument("id", NUMBER, "The shard's number.");
const TO: Parameter = query("to", STRING, "The node that is to lead; without it any that can.");
const DONE: &[Reply] = &[reply(200, &[("application/json", OBJECT)], "As it is now.")];

const LATER: &[Reply] =
    &[reply(202, &[("application/json", OBJECT)], "It has begun; `admin/cluster` shows how far.")];

const WANTED: &str = r#"{"type":"object","properties":{"lifetime_s":{"type":"integer"},
    "uses":{"type":"integer"}}}"#;
const MADE: &[Reply] =
    &[reply(201, &[("application/json", OBJECT)], "The token, shown this once.")];

/// The endpoints, described.
pub static OPERATIONS: &[Operation] = &[
    operation(
        HttpMethod::Post,
        "admin/cluster/nodes/{id}/drain",
        "Moves leadership away from a node, and keeps it away",
        &[NODE],
        DONE,
    ),
    operation(
        HttpMethod::Post,
        "admin/cluster/nodes/{id}/undrain",
        "Lets a node lead again",
        &[NODE],
        DONE,
    ),
    operation(
        HttpMethod::Post,
        "admin/cluster/nodes/{id}/remove",
        "Moves everything off a node, and then forgets it; undrain calls it off",
        &[NODE],
        LATER,
    ),
    operation(
        HttpMethod::Post,
        "admin/cluster/shards/{id}/transfer",
        "Hands a shard to another leader",
        &[SHARD, TO],
        DONE,
    ),
    operation(
        HttpMethod::Post,
        "admin/cluster/upgrade/finish",
        "Has the ranch write what all its machines can by now; there is no way back",
        &[],
        DONE,
    ),
    operation(
        HttpMethod::Post,
        "admin/cluster/tokens",
        "Makes a token by which machines join; `uses` and `lifetime_s` bound it",
        &[],
        MADE,
    )
    .with_body(json_body(WANTED)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        for (path, expected) in [
            ("nodes/1/drain", Some(Endpoint::Drain("1"))),
            ("nodes/node1/undrain", Some(Endpoint::Undrain("node1"))),
            ("shards/7/transfer", Some(Endpoint::Transfer("7"))),
            ("upgrade/finish", Some(Endpoint::FinishUpgrade)),
            ("tokens", Some(Endpoint::Token)),
            ("nodes//drain", None),
            ("nodes/1/drain/x", None),
            ("nodes/1", None),
            ("shards/7/drain", None),
        ] {
            assert_eq!(Endpoint::find(path), expected, "{path}");
        }
    }
}
