//! Linearizable reads: what they wait for, and when they are refused.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ranch_proto::schema::Vote;
use ranch_proto::{ReplicaId, RequestId};

use crate::ledger::{Writers, until};
use crate::partitions::with_tenant;
use crate::ranch::{NODES, Ranch, SOON, other_than};

/// R2: a leader that hears no more heartbeats, but reaches followers who follow another by now,
/// is told so by their promises and answers nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_that_may_only_ask_answers_nothing() {
    let (ranch, tenant, leader) = with_tenant("only-asks").await;
    let others = other_than(leader);
    let (alone, majority) = (ranch.client(leader), ranch.client(others[0]));
    alone.read_at(leader, &tenant, false, SOON).await.expect("it leads");
    let asked = ranch.wires.questions();
    alone.read_at(leader, &tenant, false, SOON).await.expect("it leads");
    assert!(ranch.wires.questions() > asked, "the followers were not asked");

    ranch.wires.only_questions(leader);
    ranch.led_among(&others, tenant.group).await;
    majority.append(&tenant, RequestId::random(), "second;", SOON).await.expect("two are enough");
    let asked = ranch.wires.questions();
    let stale = alone.read_at(leader, &tenant, false, Duration::from_secs(2)).await;
    assert!(stale.is_err(), "a deposed leader answered {stale:?}");
    assert!(ranch.wires.questions() > asked, "it knew already");
    ranch.wires.heal();
    assert_eq!(ranch.same_text(&tenant).await, "first;second;");
    ranch.end().await;
}

/// R2: what a follower has shown to whoever takes stale answers, a later read at the leader shows,
/// too, although the leader applies it late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_shows_what_a_follower_has_shown() {
    /// Before the leader applies anything.
    const LATE: Duration = Duration::from_millis(300);
    const APPLY: &str = "state-before-apply-write";

    let (ranch, tenant, leader) = with_tenant("late-leader").await;
    let follower = other_than(leader)[0];
    let client = ranch.client(leader);
    client.read_at(leader, &tenant, false, SOON).await.expect("it leads");
    let threads = format!("node{leader}");
    let delay = move || {
        if std::thread::current().name() == Some(&threads) {
            std::thread::park_timeout(LATE);
        }
    };
    fail::cfg_callback(APPLY, delay).expect("tests have the fail points");
    let (writer, to) = (ranch.client(leader), tenant.clone());
    let writing =
        tokio::spawn(async move { writer.append(&to, RequestId::random(), "second;", SOON).await });
    let shown = async || {
        let stale = client.read_at(follower, &tenant, true, SOON).await;
        stale.is_ok_and(|text| text == "first;second;")
    };
    until(SOON, shown, || "the follower does not apply it".into()).await;
    let read = client.read_at(leader, &tenant, false, SOON).await;
    assert_eq!(read, Ok("first;second;".to_owned()));
    fail::remove(APPLY);
    writing.await.expect("it does not panic").expect("a quiet ranch writes");
    ranch.end().await;
}

/// R2: a node that has just started may have lost votes it gave, as one that was put back from a
/// copy has. It promises nothing before it has found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_just_started_promises_nothing() {
    let (mut ranch, tenant, leader) = with_tenant("just-started").await;
    let leads = ranch.status(leader, tenant.group).await.expect("it leads");
    let vote = Vote { term: leads.term, replica: leads.replica, committed: true };
    let follower = other_than(leader)[0];
    let follows = ranch.status(follower, tenant.group).await.expect("it follows");
    let asks = async |ranch: &Ranch| {
        let at = ReplicaId(follows.replica);
        ranch.client(follower).is_kept_to(at, tenant.group, vote).await
    };
    assert_eq!(asks(&ranch).await, Ok(true));
    ranch.kill(follower).await;
    ranch.boot(follower).await;
    let refused = Cell::new(0);
    let kept = async || {
        let kept = asks(&ranch).await;
        // Asked after it, since this ends once.
        let starting = ranch.is_starting(follower).await;
        assert!(!(starting && kept == Ok(true)), "it had just started");
        refused.set(refused.get() + u32::from(kept == Ok(false)));
        kept == Ok(true)
    };
    until(SOON, kept, || "it follows no more".into()).await;
    assert!(refused.get() > 0, "it was never asked in time");
    ranch.end().await;
}

/// Reads ask followers nothing that would wait for their disks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_do_not_wait_for_the_disks_of_followers() {
    const READS: u32 = 20;
    /// Of each batch of a log.
    const SLOW: Duration = Duration::from_millis(500);

    let (ranch, tenant, leader) = with_tenant("slow-disks").await;
    let client = ranch.client(leader);
    client.read_at(leader, &tenant, false, SOON).await.expect("it leads");
    let slow = format!("sleep({})", SLOW.as_millis());
    fail::cfg("log_before_write", &slow).expect("tests have the fail points");
    let writers = Writers::start(NODES.map(|node| ranch.client(node)).into(), &tenant, SOON);
    let began = Instant::now();
    for _ in 0..READS {
        client.read_at(leader, &tenant, false, SOON).await.expect("it leads");
    }
    let took = began.elapsed();
    let ledger = writers.stop().await;
    fail::remove("log_before_write");
    assert!(ledger.acknowledged() > 0, "nothing was written meanwhile");
    assert!(took < SLOW * READS / 4, "{READS} reads took {took:?}");
    ranch.end().await;
}
