//! A network that is slow or loses things, under writers that do not stop.

use std::time::{Duration, Instant};

use crate::ledger::{Writers, until};
use crate::ranch::{NODES, Ranch, SOON};

/// Writers enter at every node.
fn clients(ranch: &Ranch) -> Vec<crate::client::Client> {
    NODES.into_iter().chain(NODES).map(|node| ranch.client(node)).collect()
}

/// Comes true `wait` after it was made: lets a fault act for a while.
async fn for_a_while(wait: Duration) {
    let began = Instant::now();
    until(wait * 2 + SOON, async || began.elapsed() >= wait, || "time stands still".into()).await;
}

/// R1, R3: 50 ms on every message change nothing but the pace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_loses_and_doubles_nothing() {
    let ranch = Ranch::found("slow-network", |_| ()).await;
    let tenant = ranch.client(NODES[0]).add_tenant("will", SOON).await;
    ranch.wires.delay(Duration::from_millis(50));
    let writers = Writers::start(clients(&ranch), &tenant, SOON);
    for_a_while(Duration::from_secs(4)).await;
    let ledger = writers.stop().await;
    ranch.wires.heal();
    let text = ranch.same_text(&tenant).await;
    ledger.check(&text);
    assert!(ledger.acknowledged() > 20, "only {} appends got through", ledger.acknowledged());
    ranch.end().await;
}

/// R1, R3, R10: with a tenth of all requests lost, of clients, votes, heartbeats and log entries
/// alike, each acknowledged token is there exactly once and in order, and unknown ones at most
/// once; afterwards the ranch serves and converges by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lossy_network_loses_and_doubles_nothing() {
    let ranch = Ranch::found("lossy-network", |_| ()).await;
    let tenant = ranch.client(NODES[0]).add_tenant("will", SOON).await;
    let writers = Writers::start(clients(&ranch), &tenant, Duration::from_secs(3));
    for_a_while(Duration::from_millis(500)).await;
    ranch.wires.lose_percent(10);
    for_a_while(Duration::from_secs(8)).await;
    ranch.wires.heal();
    for_a_while(Duration::from_secs(1)).await;
    let ledger = writers.stop().await;
    let text = ranch.same_text(&tenant).await;
    ledger.check(&text);
    assert!(ledger.acknowledged() > 20, "only {} appends got through", ledger.acknowledged());
    ranch.end().await;
}
