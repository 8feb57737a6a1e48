//! Machines whose addresses change.

use std::fs;

use ranch_chaos::Layout;
use ranch_chaos::layout::free_ports;

use crate::growing::{Growing, shards};
use crate::{LIMIT, judge, load};

/// R7: a node that starts at another address says so, and the others follow it there, although
/// their own `ranch.toml` was read before.
#[tokio::test]
async fn a_node_announces_its_new_address_and_the_others_follow() {
    let (mut growing, key) = Growing::found(&Layout::default(), 3).await;
    let running = load(&growing.ranch, &key, 51).await;
    let before = growing.ranch.node_place(3).unwrap().addr.to_string();
    let new = free_ports(1).unwrap()[0].to_string();
    let stopped = growing.ranch.node(3).unwrap().stop(LIMIT).await.unwrap();
    assert!(stopped.success(), "{stopped}");
    let config = fs::read_to_string(growing.ranch.config()).unwrap();
    fs::write(growing.ranch.config(), config.replace(&before, &new)).unwrap();
    growing.ranch.node(3).unwrap().start().unwrap();
    growing
        .wait("node 3 to be well at its new address", |account| {
            account["nodes"][2]["addr"] == new.as_str()
                && account["nodes"][2]["state"] == "up"
                && shards(account)
                    .iter()
                    .all(|shard| shard["lag"].as_u64().is_some_and(|lag| lag < 64))
        })
        .await;
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&growing.ranch, running).await;
}

/// R10: all machines have moved at once, as to another network; `ranch.toml` says where to.
#[tokio::test]
async fn a_ranch_that_moves_as_a_whole_finds_itself_again() {
    let (mut growing, key) = Growing::found(&Layout::default(), 3).await;
    let mut client = growing.ranch.client(Some(&key));
    assert_eq!(client.write("p", "1.1.1/1.1.1/1.1.1", "here").await.unwrap().status, 200);
    growing.ranch.router().stop(LIMIT).await.unwrap();
    let mut config = fs::read_to_string(growing.ranch.config()).unwrap();
    for (id, new) in (1..=3).zip(free_ports(3).unwrap()) {
        growing.ranch.node(id).unwrap().stop(LIMIT).await.unwrap();
        let before = growing.ranch.node_place(id).unwrap().addr.to_string();
        config = config.replace(&before, &new.to_string());
    }
    fs::write(growing.ranch.config(), config).unwrap();
    growing.ranch.start_all().unwrap();
    growing.settled(&[1, 2, 3], 3).await;
    let mut client = growing.ranch.client(Some(&key));
    assert_eq!(client.read("p", "1.1.1/1.1.1/1.1.1").await.unwrap().text(), "here");
}
