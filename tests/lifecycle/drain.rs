//! Leaderships moved away by an operator.

use ranch_chaos::Layout;

use crate::growing::{Growing, leads, shards};
use crate::support::{cli, refusal, stdout};
use crate::{LIMIT, judge, load};

/// R7: drained, restarted and undrained one after the other, no node costs a request.
#[tokio::test]
async fn a_rolling_restart_by_drain_costs_no_request() {
    let (mut growing, key) = Growing::found(&Layout::default(), 3).await;
    let running = load(&growing.ranch, &key, 41).await;
    for id in 1..=3_u32 {
        let name = format!("node{id}");
        let drained = cli(&growing.ranch, &key, ["node", "drain", &name]).await;
        assert_eq!(stdout(&drained), format!("{name} leads nothing\n"));
        let account = growing.account().await.unwrap();
        assert!(!leads(&account).contains_key(&id.into()), "{account:#}");
        assert_eq!(account["nodes"][id as usize - 1]["duty"], "draining");
        let stopped = growing.ranch.node(id).unwrap().stop(LIMIT).await.unwrap();
        assert!(stopped.success(), "{stopped}");
        running.progress(30, LIMIT).await.expect("service goes on");
        growing.ranch.node(id).unwrap().start().unwrap();
        growing
            .wait("no copy to be behind", |account| {
                let current =
                    |shard: &serde_json::Value| shard["lag"].as_u64().is_some_and(|lag| lag < 64);
                let up = |node: &serde_json::Value| node["state"] == "up";
                account["nodes"].as_array().unwrap().iter().all(up)
                    && shards(account).iter().all(current)
            })
            .await;
        let undrained = cli(&growing.ranch, &key, ["node", "undrain", &name]).await;
        assert_eq!(stdout(&undrained), format!("{name} may lead again\n"));
    }
    growing.wait("all to lead again", |account| leads(account).len() == 3).await;
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&growing.ranch, running).await;
}

/// R1, R2, R3, R7: a shard is handed round and round under load; nobody notices but `status`.
#[tokio::test]
async fn a_storm_of_transfers_costs_no_request() {
    let (growing, key) = Growing::found(&Layout::default(), 3).await;
    let running = load(&growing.ranch, &key, 42).await;
    let mut refused = 0;
    for turn in 0..30_u32 {
        let (shard, to) = (1 + turn % 4, 1 + turn % 3);
        let answer = growing.post(&format!("shards/{shard}/transfer?to={to}")).await;
        match answer.status {
            200 => {
                let leader = format!("\"leader\":{to}");
                assert!(answer.text().contains(&leader), "{}", answer.text());
            }
            // It may be changing, or behind, this moment; the reason is said.
            409 => refused += 1,
            status => panic!("{status}: {}", answer.text()),
        }
    }
    assert!(refused < 15, "{refused} of 30 were refused");
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&growing.ranch, running).await;
}

/// With nobody to take over, a drain says so.
#[tokio::test]
async fn what_cannot_be_handed_over_is_said() {
    let (growing, key) = Growing::found(&Layout::default(), 1).await;
    let refused = growing.post("shards/1/transfer").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("no other node"), "{}", refused.text());
    let refused = growing.post("shards/1/transfer?to=node2").await;
    assert_eq!(refused.status, 404, "{}", refused.text());
    let drained = cli(&growing.ranch, &key, ["node", "drain", "node1"]).await;
    let said = refusal(&drained);
    assert!(said.contains("still leads 5 groups") && said.contains("ranch status"), "{said}");
}
