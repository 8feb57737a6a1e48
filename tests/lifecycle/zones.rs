//! Machines in several failure zones.

use std::collections::BTreeSet;

use ranch_chaos::Layout;
use serde_json::Value;

use crate::growing::{Growing, loads, shards};
use crate::{LIMIT, judge, load};

const ZONES: u64 = 3;

/// R1, R7: no two copies of a shard are in one zone, from the beginning and while the machines of
/// each zone become two, which share what the zone has.
#[tokio::test]
async fn copies_are_spread_over_zones_while_machines_come() {
    let layout = Layout { nodes: 6, shards: 8, zones: ZONES as u32, ..Layout::default() };
    let (mut growing, key) = Growing::found(&layout, 3).await;
    let running = load(&growing.ranch, &key, 36).await;
    for id in 4..=6 {
        growing.add(id);
    }
    let account = growing.settled(&[1, 2, 3, 4, 5, 6], 3).await;
    assert!(loads(&account).values().all(|load| *load == 4), "{account:#}");
    for shard in shards(&account) {
        assert_eq!(zones_of(shard), ZONES as usize, "{shard}");
    }
    // One leaves: what it had is taken over in its zone, and those of the others have nothing to
    // do with it.
    assert_eq!(growing.post("nodes/node1/remove").await.status, 202);
    let account = growing
        .wait("node 1 to have left", |account| {
            account["nodes"].as_array().is_some_and(|nodes| nodes.len() == 5)
                && account["moves"].is_null()
        })
        .await;
    let loads = loads(&account);
    assert!(loads.iter().all(|(id, load)| *load == if *id == 4 { 8 } else { 4 }), "{loads:?}");
    assert!(shards(&account).iter().all(|shard| zones_of(shard) == ZONES as usize), "{account:#}");
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&growing.ranch, running).await;
}

/// In how many zones a shard has copies: machines are dealt out over them by id.
fn zones_of(shard: &Value) -> usize {
    let replicas = shard["replicas"].as_array().into_iter().flatten();
    let zones = replicas.filter_map(Value::as_u64).map(|id| (id - 1) % ZONES);
    zones.collect::<BTreeSet<_>>().len()
}
