//! Comparing the copies of all shards, now: whether each has the same rows at the same entry.
//!
//! The leaders compare; this asks each until it is done. A large shard takes long, so the answer
//! may say `running` of some, and the same question, with its `id`, goes on from there.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::StatusCode;
use ranch_proto::schema::{Verified, VerifiedReplica, verified::Verdict};
use ranch_proto::{GroupId, ReplicaId, Shards, hex};
use serde::Serialize;

use crate::api::Call;
use crate::api::describe::{HttpMethod, NUMBER, Operation, Parameter, operation, query, reply};
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer};
use crate::http::date;

/// Longest wait unless asked otherwise, and at most, in seconds.
const WAIT_S: u64 = 30;
const WAIT_S_MAX: u64 = 600;
/// Between two questions to a leader that has not answered yet.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct VerifyAnswer {
    /// To ask on with.
    id: u64,
    /// The worst of all.
    verdict: &'static str,
    meta: ShardAnswer,
    shards: Vec<ShardAnswer>,
}

#[derive(Serialize)]
struct ShardAnswer {
    id: u32,
    verdict: &'static str,
    /// The log entry as of which rows were compared.
    index: Option<u64>,
    at: Option<String>,
    /// What all have, or most; absent where there is no such.
    hash: Option<String>,
    replicas: Vec<ReplicaAnswer>,
    /// Kinds of rows that differ.
    kinds: Vec<String>,
    /// Why nothing is known.
    error: Option<String>,
}

#[derive(Serialize)]
struct ReplicaAnswer {
    node: u32,
    replica: String,
    hash: Option<String>,
    /// Why there is none.
    missing: Option<String>,
}

/// Has all shards compared and answers for each.
pub async fn answer<S: Shards>(call: &Call<'_, S>) -> Result<Answer, ApiError> {
    let id = call.query.number("id")?.unwrap_or_else(|| fastrand::u64(1..1 << 53));
    let wait_s = call.query.number("wait_s")?.unwrap_or(WAIT_S);
    if wait_s > WAIT_S_MAX {
        return Err(ApiError::BadParameter { field: "wait_s", expected: "0 to 600" });
    }
    let until = Instant::now() + Duration::from_secs(wait_s);
    let groups: Vec<GroupId> = {
        let directory = call.app.shards.directory().read();
        [GroupId::META].into_iter().chain(directory.shards.keys().copied()).collect()
    };
    let asked = groups.into_iter().map(|group| async move {
        loop {
            let error = match call.app.forward.verify(group, id).await {
                Ok(Some(verified)) => return shown(group, &verified),
                Ok(None) => None,
                Err(error) => Some(error),
            };
            // A leader of an older version does not know the question.
            if Instant::now() >= until || error == Some(ForwardError::Invalid) {
                return unknown(group, error.map(ApiError::from));
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    let mut shards = join_all(asked).await;
    let verdict = worst(shards.iter().map(|shard| shard.verdict));
    // The first is the meta group's: it was asked about first.
    let meta = shards.remove(0);
    let answer = VerifyAnswer { id, verdict, meta, shards };
    Ok(answer::json(StatusCode::OK, &answer))
}

/// What is worst first.
const VERDICTS: [&str; 5] = ["differ", "unknown", "running", "partly", "alike"];

fn worst(verdicts: impl Iterator<Item = &'static str>) -> &'static str {
    let rank = |verdict: &str| VERDICTS.iter().position(|one| *one == verdict).unwrap_or(1);
    let worst = verdicts.map(rank).min();
    worst.and_then(|rank| VERDICTS.get(rank).copied()).unwrap_or("unknown")
}

fn verdict(verified: &Verified) -> &'static str {
    match verified.verdict() {
        Verdict::Alike => "alike",
        Verdict::Partly => "partly",
        Verdict::Differ => "differ",
        Verdict::Unknown | Verdict::Unspecified => "unknown",
    }
}

fn shown(group: GroupId, verified: &Verified) -> ShardAnswer {
    let text = |bytes: &[u8]| (!bytes.is_empty()).then(|| hex::encode(bytes));
    let replica = |one: &VerifiedReplica| ReplicaAnswer {
        node: ReplicaId(one.replica).node().0,
        replica: ReplicaId(one.replica).to_string(),
        hash: text(&one.hash),
        missing: (!one.missing.is_empty()).then(|| one.missing.clone()),
    };
    ShardAnswer {
        id: group.0,
        verdict: verdict(verified),
        index: Some(verified.index),
        at: Some(date::rfc3339(verified.at_ms)),
        hash: text(&verified.majority),
        replicas: verified.replicas.iter().map(replica).collect(),
        kinds: verified.kinds.clone(),
        error: None,
    }
}

/// One of which nothing is known yet, or cannot be.
fn unknown(group: GroupId, error: Option<ApiError>) -> ShardAnswer {
    ShardAnswer {
        id: group.0,
        verdict: if error.is_some() { "unknown" } else { "running" },
        index: None,
        at: None,
        hash: None,
        replicas: Vec::new(),
        kinds: Vec::new(),
        error: error.map(|error| error.to_string()),
    }
}

const OBJECT: &str = r#"{"type":"object"}"#;
const ID: Parameter =
    query("id", NUMBER, "The `id` of an earlier answer, to go on waiting for what it began.");
const WAIT: Parameter = query("wait_s", NUMBER, "Longest wait in seconds, at most 600; 30 if not.");

/// The endpoint, described.
pub static OPERATIONS: &[Operation] = &[operation(
    HttpMethod::Post,
    "admin/cluster/verify",
    "Compares the rows of all copies of all shards",
    &[WAIT, ID],
    &[reply(200, &[("application/json", OBJECT)], "A verdict on each shard.")],
)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_counts() {
        for (verdicts, expected) in [
            (&["alike", "alike"][..], "alike"),
            (&["alike", "partly"], "partly"),
            (&["partly", "running"], "running"),
            (&["unknown", "running"], "unknown"),
            (&["alike", "differ", "unknown"], "differ"),
            (&[], "unknown"),
        ] {
            assert_eq!(worst(verdicts.iter().copied()), expected, "{verdicts:?}");
        }
    }

    #[test]
    fn replicas_and_their_hashes_are_shown() {
        let replica = ReplicaId::new(ranch_proto::NodeId(2), 3).0;
        let one = VerifiedReplica { replica, hash: vec![10; 2].into(), ..Default::default() };
        let away = VerifiedReplica { replica, missing: "is behind".into(), ..Default::default() };
        let verified = Verified {
            verdict: Verdict::Partly.into(),
            index: 7,
            at_ms: 1_000,
            replicas: vec![one, away],
            majority: vec![10; 2].into(),
            ..Verified::default()
        };
        let shown = serde_json::to_value(shown(GroupId(4), &verified)).unwrap();
        assert_eq!(shown["id"], 4);
        assert_eq!((&shown["verdict"], &shown["index"]), (&"partly".into(), &7.into()));
        assert_eq!(
            (&shown["hash"], &shown["at"]),
            (&"0a0a".into(), &"1970-01-01T00:00:01.000Z".into())
        );
        let replicas = shown["replicas"].as_array().unwrap();
        assert_eq!(replicas[0]["replica"], "2.3");
        assert_eq!(replicas[1]["missing"], "is behind");
        assert!(replicas[1]["hash"].is_null());
    }
}
