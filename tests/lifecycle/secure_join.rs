//! Machines that no `ranch.toml` lists, where all talk by TLS: they come with a certificate and a
//! token, and have the number that the certificate is for.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ranch_chaos::process::Process;
use ranch_chaos::wait::until;
use ranch_proto::link::{VisitError, ask_to_join};
use ranch_proto::schema::{JoinRequest, NodeRecord};
use ranch_proto::tls::Security;
use ranch_proto::versions::Support;

use crate::growing::{Growing, leads, loads};
use crate::join::{Newcomer, refused, token};
use crate::refusals::facts;
use crate::strangers::{expire, node, shown};
use crate::support::{cli, refusal, stdout};
use crate::tls::{certs, secure};
use crate::{LIMIT, judge, load};

impl Newcomer {
    /// Where its certificates are.
    fn certs(&self) -> PathBuf {
        self.dir.join("certs")
    }

    /// Gives it `ca.crt`, and the certificate and key `stem` of `dir` as those of `name`.
    fn equip(&self, dir: &Path, stem: &str, name: &str) {
        let own = self.certs();
        fs::create_dir_all(&own).unwrap();
        fs::copy(dir.join("ca.crt"), own.join("ca.crt")).unwrap();
        for end in ["crt", "key"] {
            fs::copy(dir.join(format!("{stem}.{end}")), own.join(format!("{name}.{end}"))).unwrap();
        }
    }

    /// Has it ask with its certificate, named from where it is started.
    fn joining_by_tls(&self, at: SocketAddr, token: &str, name: &str) -> Process {
        self.joining_as(at, token, (name, &self.addr.to_string()), &["--tls-dir", "certs"])
    }

    fn remembers(&self, name: &str) -> String {
        fs::read_to_string(self.data().join(name).join("joined.toml")).unwrap_or_default()
    }
}

/// R1, R2, R3, R7: two machines join by certificate and token under load, each through another
/// node, and have their share; one starts again from its data directory alone, and has learned
/// where the other is, that came after it.
#[tokio::test]
async fn machines_join_by_certificate_and_token_and_start_again_by_what_they_remember() {
    let (growing, key) = Growing::found(&secure(), 3).await;
    let running = load(&growing.ranch, &key, 72).await;
    let made = token(&growing, &key, &["--uses", "2"]).await;
    let token = made["token"].as_str().unwrap();
    let dir = growing.ranch.certs().unwrap().to_owned();
    let issued = stdout(&certs(&growing.ranch, &["issue", "late", "--id", "7"]).await);
    assert!(issued.contains("ranch://test/node/7"), "{issued}");
    assert!(issued.contains("--name late --tls-dir DIR"), "{issued}");
    let again = certs(&growing.ranch, &["issue", "later", "--id", "7"]).await;
    assert!(refusal(&again).contains("late.crt is for node 7 already"));

    let newcomer = Newcomer::new(&growing, "late");
    newcomer.equip(&dir, "late", "late");
    let mut late =
        newcomer.joining_by_tls(growing.ranch.node_place(2).unwrap().addr, token, "late");
    late.start().unwrap();
    let account = growing.settled(&[1, 2, 3, 7], 3).await;
    assert_eq!(loads(&account)[&7], 3, "{account:#}");
    assert!(late.log().contains("late is node 7 of test"), "{}", late.log());
    let place = newcomer.certs().to_string_lossy().into_owned();
    assert!(newcomer.remembers("late").contains(&place), "{}", newcomer.remembers("late"));
    assert!(late.stop(LIMIT).await.unwrap().success(), "{}", late.log());
    assert!(!late.log().contains(&token[20..]), "tokens are not written down");

    let data = newcomer.data().to_string_lossy().into_owned();
    let mut late = newcomer.process(&["node", "--data-dir", &data]);
    late.start().unwrap();
    growing
        .wait("it to be back", |account| {
            account["nodes"][3]["state"] == "up"
                && account["problems"] == serde_json::json!([])
                && leads(account).contains_key(&7)
        })
        .await;
    stdout(&certs(&growing.ranch, &["issue", "later", "--id", "12"]).await);
    let second = Newcomer::new(&growing, "later");
    second.equip(&dir, "later", "later");
    // A node that came by token itself lets others in like any other.
    let mut later = second.joining_by_tls(newcomer.addr, token, "later");
    later.start().unwrap();
    growing.settled(&[1, 2, 3, 7, 12], 3).await;
    let listed = second.addr.to_string();
    let probe = async || newcomer.remembers("late").contains(&listed).then_some(());
    let learned = until("it to note where the other is", LIMIT, probe).await;
    learned.unwrap_or_else(|error| panic!("{error}: {}", newcomer.remembers("late")));
    assert!(late.stop(LIMIT).await.unwrap().success(), "{}", late.log());
    late.start().unwrap();
    growing.wait("all to be well", |account| account["problems"] == serde_json::json!([])).await;
    assert_eq!(running.failed(), 0, "no request failed");
    judge(&growing.ranch, running).await;
}

/// Makes the certificate of node 9 of another ranch, `other`, by the CA in `dir`.
async fn of_other_ranch(growing: &Growing, newcomer: &Newcomer, dir: &Path) {
    let config = newcomer.dir.join("other.toml");
    fs::write(&config, "[cluster]\nname = \"other\"\n").unwrap();
    let (config, dir) = (config.to_string_lossy(), dir.to_string_lossy());
    let words = ["certs", "issue", "foreign", "--id", "9", "--config", &config, "--dir", &dir];
    stdout(&cli(&growing.ranch, "", words).await);
}

/// R11: whoever may not join is told why at once, with the remedy, and nothing is changed by it.
#[tokio::test]
async fn who_may_not_join_by_tls_is_told_why_and_nothing_changes() {
    let (growing, key) = Growing::found(&secure(), 3).await;
    let ranch = &growing.ranch;
    let good = token(&growing, &key, &["--uses", "1"]).await;
    let good = good["token"].as_str().unwrap();
    let (of_ranch, random) = good["ranch-join-".len()..].split_once('-').unwrap();
    let wrong = format!("ranch-join-{of_ranch}-{}", "0".repeat(random.len()));
    let dir = ranch.certs().unwrap().to_owned();
    let at = ranch.node_place(1).unwrap().addr;
    let newcomer = Newcomer::new(&growing, "x");
    let own = newcomer.addr.to_string();
    growing.settled(&[1, 2, 3], 3).await;
    let before = facts(&growing).await;

    let began = Instant::now();
    let plain = newcomer.joining_as(at, good, ("x", &own), &[]);
    refused(&newcomer, plain, "this ranch talks TLS only: have a certificate issued (`ranch").await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

    let place = dir.with_extension("other");
    let other = place.to_string_lossy().into_owned();
    stdout(&certs(ranch, &["init", "--ca-only", "--dir", &other]).await);
    stdout(&certs(ranch, &["issue", "x", "--id", "9", "--dir", &other]).await);
    stdout(&certs(ranch, &["issue", "x", "--id", "9"]).await);
    of_other_ranch(&growing, &newcomer, &dir).await;
    let by_tls = |token: &str| newcomer.joining_by_tls(at, token, "x");
    refused(&newcomer, by_tls(good), "there is no … copy it here from where they are made").await;
    for (from, stem, words) in [
        (&dir, "node2", "the id 2 is taken by node node2"),
        (&dir, "router", "is for ranch://test/router, and a machine that joins needs that of a"),
        (&dir, "foreign", "its certificate is for ranch://test/node/1, but a node of other was"),
        (&place, "x", "its certificate is not of a CA in our ca.crt: both machines need"),
    ] {
        newcomer.equip(from, stem, "x");
        refused(&newcomer, by_tls(good), words).await;
    }
    // It trusts the ranch, and the ranch does not trust it.
    let both = [&dir, &place].map(|dir| fs::read_to_string(dir.join("ca.crt")).unwrap()).concat();
    fs::write(newcomer.certs().join("ca.crt"), both).unwrap();
    refused(&newcomer, by_tls(good), "it refuses our certificate, which is not of a CA").await;
    fs::copy(dir.join("ca.crt"), newcomer.certs().join("ca.crt")).unwrap();
    fs::copy(dir.join("ca.key"), newcomer.certs().join("ca.key")).unwrap();
    expire(&newcomer.certs(), "x", "ranch://test/node/9");
    refused(&newcomer, by_tls(good), "expired 3 days ago: make another one with").await;
    newcomer.equip(&dir, "x", "x");
    refused(&newcomer, by_tls(&wrong), "not one of this ranch: make a new one with").await;

    odd_numbers(&newcomer, &dir, at, good).await;
    assert_eq!(facts(&growing).await, before);

    // The token was not used up by all that; now it is, and the number is given once.
    let mut first = by_tls(good);
    first.start().unwrap();
    growing.settled(&[1, 2, 3, 9], 3).await;
    stdout(&certs(ranch, &["issue", "y", "--id", "10"]).await);
    let second = Newcomer::new(&growing, "y");
    second.equip(&dir, "y", "y");
    let late = second.joining_by_tls(at, good, "y");
    refused(&second, late, "as many machines as it may: make a new one").await;
    stdout(&cli(ranch, &key, ["node", "remove", "x", "--wait"]).await);
    first.wait_exit(LIMIT).await.expect("a node that has left ends by itself");
    let more = token(&growing, &key, &[]).await;
    second.equip(&dir, "x", "y");
    let returned = second.joining_by_tls(at, more["token"].as_str().unwrap(), "y");
    refused(&second, returned, "node 9 has left this ranch, and its certificate is worth").await;
}

/// A number beside that of the certificate, by a machine that does not go by the book.
async fn odd_numbers(newcomer: &Newcomer, dir: &Path, at: SocketAddr, token: &str) {
    let nine = shown(&newcomer.certs(), "x", &node(9));
    for (claimed, security, words) in [
        (8, &nine, "is for node 9, but its bearer says that it is node 8"),
        (0, &nine, "is for node 9, but its bearer says that it is a router"),
        (9, &shown(dir, "node2", &node(2)), "is for node 2, but its bearer says that it is"),
    ] {
        let said = ask(at, security, claimed, token).await;
        assert!(said.contains(words), "{said}");
    }
}

/// Asks to join as the node `claimed`, and gives the words of the refusal.
async fn ask(at: SocketAddr, security: &Security, claimed: u32, token: &str) -> String {
    let record = NodeRecord {
        id: claimed,
        name: "odd".to_owned(),
        addr: "127.0.0.1:1".to_owned(),
        boot_nonce: vec![7; 16].into(),
        version: "test".to_owned(),
        ..NodeRecord::default()
    };
    let request = JoinRequest {
        token: token.to_owned(),
        node: Some(record),
        versions: Some(Support::ours().to_wire()),
    };
    match ask_to_join(&at.to_string(), security, request).await {
        Err(VisitError::Refused { reason }) => reason,
        other => panic!("not a refusal: {other:?}"),
    }
}
