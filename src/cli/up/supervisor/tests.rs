//! Processes of a few lines of shell stand for nodes and the router.

use std::path::Path;

use super::*;

fn shell(dir: &Path, name: &str, script: &str) -> ChildSpec {
    ChildSpec {
        name: name.to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        admin_key: None,
        log: dir.join(format!("{name}.log")),
        listener: None,
    }
}

#[tokio::test]
async fn a_failure_at_the_start_is_final_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let spec = shell(dir.path(), "node1", "echo 'ranch: the port is in use' >&2; exit 1");
    let mut children = Supervisor::start(vec![spec.clone()]);
    let event = children.next().await.unwrap();
    let reason = "the port is in use".to_owned();
    assert_eq!(event, Event::Failed { name: "node1".into(), reason, log: spec.log });
    assert_eq!(children.next().await, None);
}

#[tokio::test]
async fn a_process_that_was_killed_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    // Kills itself the first time and fails in words the second.
    let script = format!(
        "if [ -e {mark} ]; then echo again; exit 1; fi; : > {mark}; kill -9 $$",
        mark = mark.display()
    );
    let mut children = Supervisor::start(vec![shell(dir.path(), "node1", &script)]);
    let first = children.next().await.unwrap();
    assert!(matches!(&first, Event::Restarting { reason, .. } if reason.contains('9')), "{first}");
    let second = children.next().await.unwrap();
    assert!(matches!(&second, Event::Failed { reason, .. } if reason == "again"), "{second}");
}

#[tokio::test]
async fn the_router_stops_first_then_the_nodes_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let order = dir.path().join("order");
    let spec = |name: &str| {
        let script = format!(
            "trap 'echo {name} >> {order}; exit 0' TERM; echo ready; while true; do read x; done",
            order = order.display()
        );
        shell(dir.path(), name, &script)
    };
    let specs = vec![spec("node1"), spec("node2"), spec("router")];
    let logs: Vec<_> = specs.iter().map(|spec| spec.log.clone()).collect();
    let mut children = Supervisor::start(specs);
    let ready =
        |log: &std::path::PathBuf| std::fs::read_to_string(log).is_ok_and(|t| t == "ready\n");
    while !logs.iter().all(ready) {
        tokio::task::yield_now().await;
    }
    children.stop().await;
    assert_eq!(std::fs::read_to_string(&order).unwrap(), "router\nnode1\nnode2\n");
}

#[tokio::test]
async fn processes_that_do_not_listen_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo ready; while true; do read x; done";
    let spec = shell(dir.path(), "node1", script);
    let log = spec.log.clone();
    let mut children = Supervisor::start(vec![spec]);
    while !std::fs::read_to_string(&log).is_ok_and(|text| text == "ready\n") {
        tokio::task::yield_now().await;
    }
    children.kill().await;
    assert_eq!(children.next().await, None);
}

#[test]
fn pauses_grow_to_a_bound() {
    assert_eq!(pause(1), PAUSE_MIN);
    assert_eq!(pause(2), PAUSE_MIN * 2);
    assert_eq!(pause(TRIES_MAX), PAUSE_MAX);
}
