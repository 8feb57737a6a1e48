//! What clients see while shards fail: nothing, if it can be helped, and the truth if it cannot.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ranch_proto::{GroupId, NodeId, Shards};
use ranch_router::Options;

use crate::support::{ADMIN, Fault, Router, WILL};

/// The request ids and nodes of the writes that reached the shards.
fn writes(router: &Router) -> (Vec<Bytes>, Vec<u32>) {
    let calls = router.shards.take_calls();
    let mut ids: Vec<_> = calls.iter().map(|call| call.request_id.clone()).collect();
    ids.dedup();
    (ids, calls.iter().map(|call| call.node).collect())
}

#[tokio::test]
async fn every_kind_of_failure_is_ridden_out_under_one_request_id() {
    for faults in [
        &[Fault::NotLeader(None)][..],
        &[Fault::NotLeader(Some(2)), Fault::NotLeader(Some(1))],
        &[Fault::Unavailable],
        &[Fault::NoReplica, Fault::NoReplica],
        &[Fault::LostRequest],
        &[Fault::LostAnswer],
        &[Fault::LostAnswer, Fault::Unavailable, Fault::NotLeader(None), Fault::LostAnswer],
        &[Fault::Unavailable; 20],
    ] {
        let router = Router::start().await;
        router.shards.routes().learn(GroupId(1), 1, Some(NodeId(1)));
        router.shards.fail_next(faults);
        let client = router.client(WILL);
        client.post("/api/v2/insert", "once").await.is(200, "Inserted 4 bytes");
        let (ids, nodes) = writes(&router);
        assert_eq!(ids.len(), 1, "{faults:?}: one request id");
        assert_eq!(ids[0].len(), 16);
        assert!(nodes.len() > faults.len(), "{faults:?}");
        client.get("/api/v2/select").await.is(200, "once");
        assert_eq!(router.shards.state.lock().applied, 1, "{faults:?}: applied once");
    }
}

#[tokio::test]
async fn a_redirection_is_followed_at_once_and_remembered() {
    let router = Router::start().await;
    router.shards.routes().learn(GroupId(1), 0, Some(NodeId(2)));
    let client = router.client(WILL);
    client.post("/api/v2/update", "a").await.is(200, "Updated 1 bytes");
    assert_eq!(writes(&router).1, [2, 1]);
    client.post("/api/v2/update", "b").await.is(200, "Updated 1 bytes");
    assert_eq!(writes(&router).1, [1]);
}

#[tokio::test]
async fn a_leader_that_does_not_answer_is_left_for_the_others() {
    let router = Router::start().await;
    router.shards.routes().learn(GroupId(1), 1, Some(NodeId(3)));
    router.shards.fail_next(&[Fault::Unavailable]);
    router.client(WILL).post("/api/v2/update", "a").await.is(200, "Updated 1 bytes");
    let nodes = writes(&router).1;
    assert_eq!(nodes[0], 3);
    assert!(nodes[1..].iter().all(|node| *node != 3), "{nodes:?}");
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_from_here_is_reached_through_another_node() {
    let router = Router::start().await;
    router.shards.routes().learn(GroupId(1), 1, Some(NodeId(1)));
    router.shards.fail_next(&[Fault::Unavailable, Fault::NotLeader(Some(1))]);
    router.client(WILL).post("/api/v2/insert", "a").await.is(200, "Inserted 1 bytes");
    let calls = router.shards.take_calls();
    let ways: Vec<_> = calls.iter().map(|call| (call.node == 1, call.relay)).collect();
    assert_eq!(ways, [(true, false), (false, false), (false, true)]);
    assert_eq!(calls[1].node, calls[2].node, "who knows the leader is asked to send it on");
}

#[tokio::test]
async fn a_leader_that_hangs_is_left_before_the_deadline() {
    let router = Router::start().await;
    router.shards.fail_next(&[Fault::Hang]);
    let started = Instant::now();
    router.client(WILL).post("/api/v2/insert", "a").await.is(200, "Inserted 1 bytes");
    assert!(started.elapsed() < Duration::from_millis(2_500), "{:?}", started.elapsed());
    assert_eq!(writes(&router).0.len(), 1);
}

#[tokio::test]
async fn an_election_is_not_seen() {
    let router = Router::start().await;
    *router.shards.leader.lock() = None;
    let client = router.client(WILL);
    let write = client.post("/api/v2/insert", "x");
    let shards = std::sync::Arc::clone(&router.shards);
    let election = async move {
        // Only once the write has been turned down by every replica is there a new leader.
        while shards.calls.lock().len() < 6 {
            tokio::task::yield_now().await;
        }
        *shards.leader.lock() = Some(2);
    };
    let (reply, ()) = tokio::join!(write, election);
    reply.is(200, "Inserted 1 bytes");
}

fn impatient() -> Options {
    Options { request_deadline: Duration::from_millis(300), ..Router::options() }
}

#[tokio::test]
async fn an_unknown_outcome_is_never_success() {
    let router = Router::with(impatient()).await;
    router.shards.routes().learn(GroupId(1), 1, Some(NodeId(1)));
    router.shards.fail_next(&[Fault::LostAnswer]);
    router.shards.fail_next(&[Fault::Unavailable; 1_000]);
    let client = router.client(WILL);
    let reply = client.post("/api/v2/insert", "maybe").await;
    assert_eq!(reply.status.as_u16(), 503);
    assert_eq!(reply.header("retry-after"), "1");
    assert!(reply.text().contains("outcome: unknown"), "{}", reply.text());
    assert_eq!(router.shards.state.lock().applied, 1, "it had taken effect");

    let json = client.with("accept", "application/json").with("idempotency-key", "k");
    router.shards.script.lock().clear();
    router.shards.routes().learn(GroupId(1), 9, Some(NodeId(1)));
    router.shards.fail_next(&[Fault::LostAnswer, Fault::Overloaded]);
    let reply = json.post("/api/v2/insert", "again").await;
    assert_eq!(reply.status.as_u16(), 503, "refusing a retry says nothing of the first attempt");
    assert_eq!(reply.json()["outcome"], "unknown");
    assert!(reply.json()["detail"].as_str().unwrap().contains("outcome: unknown"));
    // The client's own retry finds out.
    json.post("/api/v2/insert", "again").await.is(200, "Inserted 5 bytes");
    client.get("/api/v2/select").await.is(200, "maybeagain");
}

#[tokio::test]
async fn what_was_certainly_not_done_says_so() {
    let router = Router::with(impatient()).await;
    let client = router.client(WILL);
    let unavailable = "the ranch cannot answer at the moment; nothing was done, try again";
    for (faults, status, text) in [
        (
            &[Fault::Overloaded][..],
            503,
            "too many requests are waiting; nothing was done, try again in a moment",
        ),
        (
            &[Fault::DiskFull],
            507,
            "the disk of node 2 is full; nothing was stored, try again when there is room",
        ),
        (&[Fault::NotLeader(None); 1_000], 503, unavailable),
        (&[Fault::Unavailable; 1_000], 503, unavailable),
    ] {
        router.shards.fail_next(faults);
        let reply = client.post("/api/v2/insert", "x").await;
        router.shards.script.lock().clear();
        reply.is(status, text);
        assert_eq!(reply.header("retry-after"), if status == 503 { "1" } else { "5" });
    }
    assert_eq!(router.shards.state.lock().applied, 0);
    // A read that got no answer left nothing in doubt.
    router.shards.fail_next(&[Fault::LostRequest; 1_000]);
    client.get("/api/v2/select").await.is(503, unavailable);
}

#[tokio::test]
async fn meta_commands_ride_through_as_well() {
    let router = Router::start().await;
    router.shards.fail_next(&[Fault::LostRequest, Fault::NotLeader(None), Fault::Unavailable]);
    let body = r#"{"tenant_id":"new"}"#;
    let reply = router.client(ADMIN).post("/api/v2/admin/tenants/add", body).await;
    assert_eq!(reply.status.as_u16(), 201, "{}", reply.text());
    let calls = router.shards.take_calls();
    assert!(calls.iter().all(|call| call.group == 0 && call.request_id == calls[0].request_id));
}
