//! A ranch whose processes talk by TLS: it serves, loses a leader, and all its certificates, its
//! CA too, are made anew under load.

use std::time::Duration;

use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::wait::until;
use ranch_chaos::{Layout, Ranch};

use crate::growing::Growing;
use crate::support::{cli, refusal, stdout};
use crate::{LIMIT, judge, load};

/// A layout with TLS.
pub fn secure() -> Layout {
    Layout { tls: true, ..Layout::default() }
}

/// Runs `ranch certs` on the ranch's certificates.
pub async fn certs(ranch: &Ranch, args: &[&str]) -> std::process::Output {
    let config = ranch.config().to_string_lossy().into_owned();
    let all = ["certs"].iter().chain(args).copied().chain(["--config", &config]);
    cli(ranch, "", all).await
}

/// Waits until all processes, four as there are, have taken up new certificates so many times.
async fn taken_up(ranch: &Ranch, times: usize) {
    let what = format!("four processes to take up new certificates {times} times");
    let probe = async || (ranch.renewed() >= 4 * times).then_some(());
    until(&what, LIMIT, probe).await.unwrap();
}

/// R1, R2, R3, R7: new certificates, a new CA in three steps, and none of it costs a request;
/// then a leader falls, and comes back with what it finds.
#[tokio::test]
async fn certificates_and_the_ca_are_changed_under_load() {
    let (mut growing, key) = Growing::found(&secure(), 3).await;
    let running = load(&growing.ranch, &key, 61).await;
    let steps: [&[&str]; 4] =
        [&["rotate"], &["rotate", "--ca"], &["rotate"], &["rotate", "--drop-old-ca"]];
    for (done, step) in steps.into_iter().enumerate() {
        if done == 1 {
            let early = certs(&growing.ranch, &["rotate", "--ca"]).await;
            assert!(stdout(&early).contains("the new CA and the old one"));
            let early = certs(&growing.ranch, &["rotate", "--drop-old-ca"]).await;
            assert!(refusal(&early).contains("is of an older CA still"));
        } else {
            stdout(&certs(&growing.ranch, step).await);
        }
        taken_up(&growing.ranch, done + 1).await;
        // New connections are made with what is there now: whoever restarts makes only such.
        let id = 1 + done as u32 % 3;
        growing.ranch.node(id).unwrap().stop(LIMIT).await.unwrap();
        growing.ranch.node(id).unwrap().start().unwrap();
        growing.settled(&[1, 2, 3], 3).await;
        running.progress(50, LIMIT).await.expect("service goes on");
    }
    assert_eq!(running.failed(), 0, "no request failed");
    let account = growing.account().await.unwrap();
    assert_eq!(account["problems"].as_array().unwrap().len(), 0, "{account:#}");
    let leader = account["shards"][0]["leader"].as_u64().unwrap() as u32;
    growing.ranch.node(leader).unwrap().kill().unwrap();
    running.progress(100, LIMIT).await.expect("the other two are a majority");
    growing.ranch.node(leader).unwrap().start().unwrap();
    growing.settled(&[1, 2, 3], 3).await;
    running.progress(50, LIMIT).await.expect("service goes on");
    judge(&growing.ranch, running).await;
}

/// Files that cannot be used change nothing, and `status` says so; so it does of an end that is
/// near.
#[tokio::test]
async fn bad_files_change_nothing_and_a_near_end_is_told() {
    let (growing, key) = Growing::found(&secure(), 3).await;
    let ranch = &growing.ranch;
    let dir = ranch.certs().unwrap();
    std::fs::write(dir.join("node1.crt"), "no certificate").unwrap();
    std::fs::copy(dir.join("node3.crt"), dir.join("node2.crt")).unwrap();
    let says = |account: &serde_json::Value, node: &str, what: &str| {
        let problems = account["problems"].as_array().into_iter().flatten();
        problems.filter_map(|one| one.as_str()).any(|one| one.contains(node) && one.contains(what))
    };
    growing
        .wait("status to name both", |account| {
            says(account, "(node1)", "there is no certificate in it")
                && says(account, "(node2)", "ranch://test/node/3, but ranch://test/node/2 is")
        })
        .await;
    let mut client = ranch.client(Some(&key));
    assert_eq!(client.write("p", "1.1.1/1.1.1/1.1.1", "still").await.unwrap().status, 200);
    stdout(&certs(ranch, &["rotate", "--days", "7"]).await);
    growing
        .wait("status to tell the end of each", |account| {
            (1..=3).all(|id| says(account, &format!("(node{id})"), "expires in 6 days"))
                && says(account, "this router", "expires in 6 days")
        })
        .await;
    let metrics = ranch.client(Some(ADMIN_KEY)).get("/api/v2/metrics").await.unwrap().text();
    let of = |labels: &str| {
        let name = format!("ranch_tls_certificate_expiry_seconds{{{labels}}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse::<f64>().unwrap()
    };
    let week = Duration::from_hours(7 * 24).as_secs_f64();
    for labels in ["node=\"2\",certificate=\"links\"", "certificate=\"links\""] {
        assert!((week - 3_600.0..=week).contains(&of(labels)), "{labels}: {}", of(labels));
    }
    assert!(of("node=\"1\",certificate=\"ca\"") > 3_000.0 * 86_400.0);
    assert!(metrics.contains("ranch_tls_reload_errors_total{node=\"1\",certificate=\"links\"} 1"));
}
