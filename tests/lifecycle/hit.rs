//! Whoever has a part in a move is killed in the middle of it: who plans it, who sends the copy,
//! who receives it, who gives it up.

use std::collections::BTreeSet;

use bytes::Bytes;
use ranch_chaos::Layout;
use serde_json::Value;

use crate::growing::{Growing, loads, shards};
use crate::{LIMIT, judge, load};

/// Of the texts that make copies large.
const TEXT_BYTES: usize = 40 << 10;
/// Texts in each shard: enough for its log not to be sent instead, and at two MiB a second a copy
/// takes two seconds, or eight while it gives way.
const TEXTS: u32 = 100;
const RATE_MB_S: u32 = 2;
const SHARDS: u32 = 8;

/// R1, R2, R3, R10: moves end by themselves, whoever is killed meanwhile.
#[tokio::test]
async fn moves_end_although_all_who_have_a_part_in_them_are_killed() {
    let snapshot_rate_mb_s = Some(RATE_MB_S);
    let layout = Layout { nodes: 4, shards: SHARDS, snapshot_rate_mb_s, ..Layout::default() };
    let (mut growing, key) = Growing::found(&layout, 3).await;
    fill(&growing).await;
    let running = load(&growing.ranch, &key, 33).await;

    // One joins.
    growing.add(4);
    for part in [leader as fn(&Value, &Value) -> Option<u32>, planner, target] {
        hit(&mut growing, |shard| shard["moving"]["to"] == 4, part).await;
    }
    let account = growing.settled(&[1, 2, 3, 4], 3).await;
    assert!(loads(&account).values().all(|load| *load == 6), "{account:#}");

    // One leaves.
    assert_eq!(growing.post("nodes/node1/remove").await.status, 202);
    for part in [source as fn(&Value, &Value) -> Option<u32>, planner, target] {
        hit(&mut growing, |shard| shard["moving"]["from"] == 1, part).await;
    }
    growing.settled(&[2, 3, 4], 3).await;
    let left = growing.ranch.node(1).unwrap();
    left.wait_exit(LIMIT).await.expect("a node that has left ends by itself");
    running.progress(50, LIMIT).await.expect("service goes on");
    judge(&growing.ranch, running).await;
}

/// Gives every shard texts, in tenants of their own.
async fn fill(growing: &Growing) {
    let text = Bytes::from(vec![b'x'; TEXT_BYTES]);
    let mut filled = BTreeSet::new();
    for number in 1.. {
        if filled.len() == SHARDS as usize {
            break;
        }
        let id = format!("large-{number}");
        let key = growing.ranch.add_tenant(&id).await.unwrap();
        let account = growing.account().await.unwrap();
        let tenants = account["tenants"].as_array().unwrap();
        let tenant = tenants.iter().find(|tenant| tenant["id"] == id.as_str()).unwrap();
        if !filled.insert(tenant["shard"].as_u64().unwrap()) {
            continue;
        }
        let mut client = growing.ranch.client(Some(&key));
        for scroll in 1..=TEXTS {
            let at = format!("1.1.1/1.1.1/1.1.{scroll}");
            let answer = client.write("p", &at, text.clone()).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
}

/// Kills the node that plays a part in a move of this kind while its copy is under way, and starts
/// it again.
async fn hit(
    growing: &mut Growing,
    of_kind: impl Fn(&Value) -> bool,
    part: fn(&Value, &Value) -> Option<u32>,
) {
    let struck = |account: &Value| {
        let mut under_way = shards(account).iter().filter(|shard| {
            let moving = &shard["moving"];
            let (sent, total) = (moving["sent_bytes"].as_u64(), moving["total_bytes"].as_u64());
            of_kind(shard) && sent > Some(0) && sent < total
        });
        under_way.find_map(|shard| part(account, shard))
    };
    let account = growing.wait("a copy under way", |account| struck(account).is_some()).await;
    let id = struck(&account).unwrap();
    let node = growing.ranch.node(id).unwrap();
    node.kill().unwrap();
    node.start().unwrap();
}

fn planner(account: &Value, _: &Value) -> Option<u32> {
    number(&account["meta"]["leader"])
}

/// Who sends the copy.
fn leader(_: &Value, shard: &Value) -> Option<u32> {
    number(&shard["leader"])
}

fn target(_: &Value, shard: &Value) -> Option<u32> {
    number(&shard["moving"]["to"])
}

fn source(_: &Value, shard: &Value) -> Option<u32> {
    number(&shard["moving"]["from"])
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().map(|number| number as u32)
}
