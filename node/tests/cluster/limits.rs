//! Limits on calls: held by whoever leads the shard, over a change of leaders too, and counts
//! that outlive their leader.

use std::cell::Cell;
use std::time::Duration;

use ranch_proto::schema::{
    CallMethod, Charge, ReadRequest, Tally, TenantCalls, TenantUsage, Usage, read_reply,
    read_request, reply, request,
};
use ranch_proto::{NodeId, ShardError};

use crate::client::{Client, Tenant};
use crate::ledger::until;
use crate::ranch::{Ranch, SOON, other_than};

/// A call that asks nothing else of its shard, at one node.
async fn call_at(client: &Client, node: NodeId, tenant: &Tenant) -> Result<(), ShardError> {
    let calls = TenantCalls { tenant: tenant.id.clone(), ..TenantCalls::default() };
    let tally = request::Body::Tally(Tally { tenants: vec![calls] });
    let charge = Some(Charge { method: CallMethod::Load.into() });
    client.charge(node, tenant.group, tally, charge).await.map(drop)
}

/// Calls at the leader, whoever that is, until it says that none are left; how many it took.
async fn exhaust(ranch: &Ranch, among: &[NodeId], tenant: &Tenant) -> u64 {
    let made = Cell::new(0);
    let call = async || {
        let leader = ranch.led_among(among, tenant.group).await;
        match call_at(&ranch.client(leader), leader, tenant).await {
            Ok(()) => made.set(made.get() + 1),
            Err(ShardError::CallsExhausted { retry_after_ms }) => {
                assert!((1..=86_400_000).contains(&retry_after_ms));
                return true;
            }
            // The node may not have heard of the tenant, or not lead any more.
            Err(_) => {}
        }
        false
    };
    until(SOON, call, || "the calls did not end".into()).await;
    made.get()
}

async fn usage(client: &Client, tenant: &Tenant) -> Usage {
    let what = Some(read_request::What::Usage(TenantUsage {}));
    let read = ReadRequest { tenant: tenant.id.clone(), stale: false, what };
    let answer = client.call(tenant.group, request::Body::Read(read), SOON).await;
    let Ok(reply::Body::Read(read)) = answer else { panic!("no reading: {answer:?}") };
    let Some(read_reply::What::Usage(usage)) = read.what else { panic!("no usage: {read:?}") };
    usage
}

/// SPEC 7: limits hold wherever the shard is led. What a killed leader had not noted yet may be
/// called again, so the test waits until it has.
#[tokio::test]
async fn a_day_has_so_many_calls_whoever_leads() {
    const PER_DAY: u64 = 30;
    let mut ranch = Ranch::found("limits", |_| {}).await;
    let nodes = ranch.running();
    let tenant = ranch.client(nodes[0]).add_limited_tenant("busy", PER_DAY, SOON).await;
    let leader = ranch.led_among(&nodes, tenant.group).await;
    let client = ranch.client(leader);
    for _ in 0..10 {
        call_at(&client, leader, &tenant).await.expect("there are calls left");
    }
    // A follower counts nothing, and says who does.
    let follower = other_than(leader)[0];
    let refused = call_at(&ranch.client(follower), follower, &tenant).await;
    assert!(matches!(refused, Err(ShardError::NotLeader { .. })), "{refused:?}");
    assert_eq!(usage(&client, &tenant).await.calls_today, 10, "seen before it is noted");
    noted(&ranch, follower, &tenant, 10).await;

    ranch.kill(leader).await;
    let left = other_than(leader);
    let made = exhaust(&ranch, &left, &tenant).await;
    assert_eq!(made, PER_DAY - 10, "the successor knows of the calls before it");
    let counted = usage(&ranch.client(left[0]), &tenant).await;
    assert_eq!(counted.calls_today, PER_DAY, "refusals are not counted");
    assert_eq!(counted.calls[0].method(), CallMethod::Load);
    ranch.boot(leader).await;
    ranch.end().await;
}

/// Waits until a replica's rows hold so many calls.
async fn noted(ranch: &Ranch, node: NodeId, tenant: &Tenant, calls: u64) {
    let there = async || {
        let what = Some(read_request::What::Usage(TenantUsage {}));
        let read = ReadRequest { tenant: tenant.id.clone(), stale: true, what };
        let client = ranch.client(node);
        let limit = Duration::from_secs(1);
        let answer = client.ask(node, tenant.group, request::Body::Read(read), limit).await;
        let Ok(reply::Body::Read(read)) = answer else { return false };
        matches!(read.what, Some(read_reply::What::Usage(usage)) if usage.calls_today == calls)
    };
    until(SOON, there, || format!("node {node} has not noted {calls} calls")).await;
}
