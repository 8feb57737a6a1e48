//! Calls: which are counted, by whom, and what a tenant over its limits is told.

use std::time::Duration;

use ranch_proto::Shards as _;
use ranch_proto::schema::{Record, TenantRecord, record::What};

use crate::support::{ADMIN, Fault, READER, Router, WILL};

const AT: &str = "c=1.1.1/1.1.1/1.1.1";

/// Puts limits on tenant `will`.
fn limit(router: &Router, rate_per_s: Option<f64>, calls_per_day: Option<u64>) {
    let mut directory = router.shards.directory().write();
    let will = directory.tenants["will"].clone();
    let will = TenantRecord { rate_per_s, calls_per_day, ..will };
    directory.apply(Record { what: Some(What::Tenant(will)), removed: false });
}

/// What has been counted for `will`, as `verb count`.
fn counted(router: &Router) -> Vec<String> {
    let calls = router.shards.state.lock().calls_of("will");
    calls.iter().map(|calls| format!("{} {}", calls.method().verb(), calls.count)).collect()
}

/// Waits until the counts are these: those of calls without a leader come within a second.
async fn counts(router: &Router, expected: &[&str]) {
    let wait = async {
        while counted(router) != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(5), wait).await;
    assert!(waited.is_ok(), "{:?} instead of {expected:?}", counted(router));
}

#[tokio::test]
async fn each_answered_call_is_counted_once_by_its_verb() {
    let router = Router::start().await;
    let will = router.client(WILL);
    will.post(&format!("/api/v2/insert?{AT}"), "x").await.is(200, "Inserted 1 bytes");
    will.get(&format!("/api/v2/select?{AT}")).await.is(200, "x");
    will.get("/api/v2/read/1.1.1/1.1.1/1.1.1").await.is(200, "x");
    will.get("/api/v2/read/9.1.1/1.1.1/1.1.1").await.is(404, "no scroll at 9.1.1/1.1.1/1.1.1");
    // A walk of several messages is one call.
    for nth in 2..9 {
        will.post(&format!("/api/v2/update?c=1.1.1/1.1.1/1.1.{nth}"), "x").await;
    }
    will.get("/api/v2/toc").await;
    counts(&router, &["select 1", "insert 1", "update 7", "toc 1", "read 2"]).await;
}

#[tokio::test]
async fn calls_that_ask_no_leader_are_counted_soon() {
    let router = Router::start().await;
    let will = router.client(WILL);
    will.get("/api/v2/version").await;
    will.get("/api/v2/load?p=x").await.is(200, "Loaded x.phext");
    will.get("/api/v2/select?consistency=stale").await.is(200, "");
    assert_eq!(will.get("/api/v2/select?c=nowhere").await.status.as_u16(), 400);
    let read_only = router.client(READER).post("/api/v2/insert", "x").await;
    assert_eq!(read_only.status.as_u16(), 403);
    counts(&router, &["version 1", "load 1", "select 2", "insert 1"]).await;
}

#[tokio::test]
async fn what_no_tenant_asked_or_a_key_did_not_open_is_not_counted() {
    let mut router = Router::start().await;
    assert_eq!(router.client("wrong").get("/api/v2/load").await.status.as_u16(), 401);
    router.client(ADMIN).get("/api/v2/load?tenant=will").await.is(200, "Loaded index.phext");
    assert_eq!(router.client(WILL).get("/api/v2/nothing").await.status.as_u16(), 404);
    assert_eq!(router.client(WILL).get("/api/v2/admin/tenants").await.status.as_u16(), 403);
    // The last counts are sent when the router stops.
    let shards = router.shards.clone();
    router.client(WILL).get("/api/v2/version").await;
    router.ask_to_stop();
    router.stop().await;
    assert_eq!(shards.state.lock().called("will"), 1);
}

#[tokio::test]
async fn no_calls_left_is_429_until_the_day_ends() {
    let router = Router::start().await;
    limit(&router, None, Some(3));
    let will = router.client(WILL);
    will.get("/api/v2/version").await.is(200, env!("CARGO_PKG_VERSION"));
    will.post("/api/v2/update", "x").await.is(200, "Updated 1 bytes");
    will.get("/api/v2/select?consistency=stale").await.is(200, "x");
    for path in ["load", "select", "select?consistency=stale", "select?c=bad", "toc", "update?s=y"]
    {
        let refused = will.get(&format!("/api/v2/{path}")).await;
        assert_eq!(refused.status.as_u16(), 429, "{path}: {}", refused.text());
        assert_eq!(refused.header("retry-after"), "3600", "{path}");
        assert!(refused.text().contains("no calls left today"), "{}", refused.text());
    }
    let problem = will.with("accept", "application/json").get("/api/v2/toc").await;
    assert_eq!(problem.json()["type"], "urn:ranch:error:calls-exhausted");
    counts(&router, &["version 1", "select 1", "update 1"]).await;
    let admin = router.client(ADMIN).get("/api/v2/select?tenant=will").await;
    admin.is(200, "x");
}

#[tokio::test]
async fn calling_too_fast_is_429_with_the_time_to_wait() {
    let router = Router::start().await;
    limit(&router, Some(2.0), None);
    let will = router.client(WILL);
    for _ in 0..2 {
        will.get("/api/v2/select").await.is(200, "");
    }
    router.shards.take_calls();
    let refused = will.get("/api/v2/select").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "2"));
    let calls = router.shards.take_calls();
    assert_eq!(calls.len(), 1, "a refusal is not tried elsewhere: {calls:?}");
}

#[tokio::test]
async fn a_retried_call_is_charged_once() {
    let router = Router::start().await;
    router.shards.fail_next(&[Fault::LostAnswer, Fault::NotLeader(Some(1))]);
    router.client(WILL).post("/api/v2/insert", "x").await.is(200, "Inserted 1 bytes");
    counts(&router, &["insert 1"]).await;
}

#[tokio::test]
async fn a_stale_read_of_a_limited_tenant_needs_no_leader() {
    let router = Router::start().await;
    limit(&router, Some(5.0), None);
    *router.shards.leader.lock() = None;
    router.client(WILL).get("/api/v2/select?consistency=stale").await.is(200, "");
    *router.shards.leader.lock() = Some(1);
    counts(&router, &["select 1"]).await;
}
