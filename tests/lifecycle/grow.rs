//! Machines that come and leave, and die while shards move.

use std::fs;
use std::time::Duration;

use ranch_chaos::Layout;
use tokio::time::sleep;

use crate::growing::{Growing, leads, loads};
use crate::support::{cli, stdout};
use crate::{LIMIT, judge, load, load_of_a_hundred};

/// State that was applied so long ago is on disk (`flush_interval_ms`).
const FLUSHED: Duration = Duration::from_secs(4);

/// R1, R2, R3, R7: a ranch that began as one machine is three-way replicated when two more have
/// come, costs no request on the way, and then outlives the machine it began on. The two are sent
/// snapshots, not all that is left of the log.
#[tokio::test]
async fn one_machine_becomes_three_and_outlives_the_first() {
    let (mut growing, key) = Growing::found(&Layout::default(), 1).await;
    let running = load(&growing.ranch, &key, 31).await;
    running.progress(2_000, LIMIT).await.expect("shards have a log");
    sleep(FLUSHED).await;
    growing.add(2);
    growing.add(3);
    let account = growing.settled(&[1, 2, 3], 3).await;
    for new in [2, 3] {
        let log = growing.ranch.node(new).unwrap().log();
        assert!(log.contains("installing a snapshot"), "it was sent the whole log: {log}");
    }
    assert!(loads(&account).values().all(|load| *load == 4), "{account:#}");
    growing
        .wait("leaders to be balanced", |account| leads(account).values().all(|led| *led <= 2))
        .await;
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    growing.ranch.node(1).unwrap().kill().unwrap();
    running.progress(100, LIMIT).await.expect("the other two are a majority");
    growing.ranch.node(1).unwrap().start().unwrap();
    judge(&growing.ranch, running).await;
}

/// R1, R2, R3, R7: three machines become five, each with its fair share, and three again, without
/// a failed request of a hundred tenants. Those that leave end by themselves and have nothing left.
#[tokio::test]
async fn three_become_five_and_three_again_without_a_failed_request() {
    let layout = Layout { nodes: 5, ..Layout::default() };
    let (mut growing, key) = Growing::found(&layout, 3).await;
    let running = load_of_a_hundred(&growing.ranch, 32).await;
    growing.add(4);
    growing.add(5);
    let account = growing.settled(&[1, 2, 3, 4, 5], 3).await;
    let loads = loads(&account);
    // Four shards of three copies on five machines.
    assert!(loads.values().all(|load| (2..=3).contains(load)), "{loads:?}");
    growing.assert_moved_once(&[4, 5], &account);
    for (leaving, stay) in [(2, &[1, 3, 4, 5][..]), (4, &[1, 3, 5])] {
        let name = format!("node{leaving}");
        let removed = cli(&growing.ranch, &key, ["node", "remove", &name, "--wait"]).await;
        assert!(stdout(&removed).contains("has left the ranch"));
        growing.settled(stay, 3).await;
        let node = growing.ranch.node(leaving).unwrap();
        node.wait_exit(LIMIT).await.expect("a node that has left ends by itself");
        assert!(node.log().contains("has left this ranch"), "{}", node.log());
        let place = growing.ranch.node_place(leaving).unwrap().data_dir.join("replicas.toml");
        let roster = fs::read_to_string(place).unwrap();
        assert!(roster.contains("gone = ") && !roster.contains("replica = "), "{roster}");
    }
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&growing.ranch, running).await;
}

/// R1, R6, R10: a machine that has been away for long is replaced by nobody's command, and is given
/// its share again when it is back.
#[tokio::test]
async fn a_machine_that_stays_away_is_replaced_and_has_its_share_again_when_it_is_back() {
    let layout = Layout { nodes: 4, replace_dead_after_s: 10, ..Layout::default() };
    let (mut growing, key) = Growing::found(&layout, 4).await;
    let running = load(&growing.ranch, &key, 35).await;
    growing.ranch.node(2).unwrap().kill().unwrap();
    let account = growing
        .wait("its copies to be on the others", |account| {
            let copies = loads(account);
            account["nodes"][1]["duty"] == "replaced"
                && copies.get(&2) == Some(&0)
                && [1, 3, 4].iter().all(|id| copies.get(id) == Some(&4))
                && account["moves"].is_null()
        })
        .await;
    assert_eq!(account["nodes"][1]["state"], "down", "{account:#}");
    let refused = growing.post("nodes/node1/remove").await;
    let said = refused.text();
    assert!(refused.status == 409 && said.contains("node2, which is replaced"), "{said}");
    assert!(said.contains("2 nodes for 3 copies") && said.contains("add a machine"), "{said}");
    running.progress(50, LIMIT).await.expect("service goes on");
    growing.ranch.node(2).unwrap().start().unwrap();
    let account = growing.settled(&[1, 2, 3, 4], 3).await;
    assert_eq!(account["nodes"][1]["duty"], "serving", "{account:#}");
    judge(&growing.ranch, running).await;
}

/// R1, R6: a dead machine is replaced on command; nobody needs it for that.
#[tokio::test]
async fn a_dead_machine_is_replaced_on_command() {
    let layout = Layout { nodes: 4, ..Layout::default() };
    let (mut growing, key) = Growing::found(&layout, 4).await;
    let running = load(&growing.ranch, &key, 34).await;
    growing.ranch.node(3).unwrap().kill().unwrap();
    assert_eq!(growing.post("nodes/node3/remove").await.status, 202);
    growing.settled(&[1, 2, 4], 3).await;
    running.progress(50, LIMIT).await.expect("service goes on");
    // Back from the dead, it is told that it is not wanted, and ends.
    growing.ranch.node(3).unwrap().start().unwrap();
    let node = growing.ranch.node(3).unwrap();
    node.wait_exit(LIMIT).await.expect("a node that was removed ends by itself");
    assert!(node.log().contains("has left this ranch"), "{}", node.log());
    judge(&growing.ranch, running).await;
}
