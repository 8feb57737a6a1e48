//! Who is kept out of a ranch that talks by TLS, with the reason in both logs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ranch_chaos::wait::until;
use ranch_chaos::{Layout, Ranch};
use ranch_proto::link::{Lane, LinkOptions, Links};
use ranch_proto::schema::{Request, Vote, VoteRequest, request};
use ranch_proto::tls::{CertFiles, Identity, Material, Security};
use ranch_proto::{NodeId, ReplicaId, ShardError};

use crate::LIMIT;
use crate::growing::Growing;
use crate::refusals::facts;
use crate::support::{BINARY, cli, stdout};
use crate::tls::{certs, secure};

/// What the process `stem` shows, by the certificates in `dir`.
pub fn shown(dir: &Path, stem: &str, identity: &Identity) -> Security {
    Security::Tls(Material::open(&CertFiles::new(dir), stem, identity).expect("good files"))
}

pub fn node(id: u32) -> Identity {
    Identity::node("test", NodeId(id))
}

/// Links of a process that says it is the node `claimed`, to node 1 at `addr`.
fn links(claimed: u32, security: Security, addr: SocketAddr) -> Links {
    let links = Links::new(LinkOptions {
        node: claimed,
        version: "test".to_owned(),
        boot: 1,
        cluster_id: Arc::default(),
        security,
    });
    links.set_peer(NodeId(1), &addr.to_string());
    links
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Waits until the log of a node has this.
async fn logged(ranch: &mut Ranch, id: u32, what: &str) {
    let node = ranch.node(id).unwrap();
    let probe = async || node.log().contains(what).then_some(());
    let found = until(&format!("node {id} to say {what:?}"), LIMIT, probe).await;
    found.unwrap_or_else(|error| panic!("{error}: {}", node.log()));
}

/// Waits until a link to node 1 stands.
async fn linked(links: &Links, lane: Lane) -> Arc<ranch_proto::link::Link> {
    let link = links.get(NodeId(1), lane).unwrap();
    let probe = async || link.is_connected().then_some(());
    until("a link", LIMIT, probe).await.unwrap();
    link
}

/// A node's certificate is good for nothing but being that node, a router's for being a router,
/// and who connects makes sure of whom it meets.
#[tokio::test]
async fn nobody_is_taken_for_somebody_else() {
    let (mut growing, _key) = Growing::found(&secure(), 3).await;
    let ranch = &mut growing.ranch;
    let dir = ranch.certs().unwrap().to_owned();
    let addr = |id: u32| ranch.node_place(id).unwrap().addr;
    let (one, two) = (addr(1), addr(2));

    // As node 3, by the certificate of node 2.
    let false_three = links(3, shown(&dir, "node2", &node(2)), one);
    let _keeps_trying = false_three.get(NodeId(1), Lane::Control);
    let said = "the certificate is for node 2, but its bearer says that it is node 3";
    logged(ranch, 1, said).await;
    assert!(!false_three.get(NodeId(1), Lane::Control).unwrap().is_connected());

    // As node 2, which it is, with a vote for node 3; and as a router with a vote.
    let vote = |from: u64, replica: u64| {
        let vote = Some(Vote { term: 1_000, replica, committed: false });
        let body = request::Body::Vote(VoteRequest { vote, ..VoteRequest::default() });
        let target = ReplicaId::new(NodeId(1), 1).0;
        Request { from, target, body: Some(body), ..Request::default() }
    };
    let of = |node| ReplicaId::new(NodeId(node), 1).0;
    let true_two = links(2, shown(&dir, "node2", &node(2)), one);
    let link = linked(&true_two, Lane::Control).await;
    for (from, replica) in [(of(3), of(3)), (of(2), of(3)), (0, of(3)), (0, 0)] {
        let answer = link.call(vote(from, replica), soon()).await;
        assert!(matches!(answer, Err(ShardError::Invalid { .. })), "{answer:?}");
    }
    let router = links(0, shown(&dir, "router", &Identity::router("test")), one);
    let link = linked(&router, Lane::Data).await;
    let answer = link.call(vote(0, 0), soon()).await.unwrap_err().to_string();
    assert!(answer.contains("the certificate is a router's"), "{answer}");
    let status = router.node_status(NodeId(1), soon()).await.unwrap();
    assert_eq!(status.node, 1, "what a router may ask it is told");

    // Node 2 where node 1 was meant.
    let astray = links(0, shown(&dir, "router", &Identity::router("test")), two);
    let error = astray.client(NodeId(1)).await.unwrap_err().to_string();
    assert!(error.contains("ranch://test/node/2, but ranch://test/node/1 was meant"), "{error}");
    logged(ranch, 2, "it refuses our certificate, since it meant another process").await;

    // Plain.
    let plain = links(2, Security::Plain, one);
    assert!(plain.node_status(NodeId(1), soon()).await.is_err());
    logged(ranch, 1, "it speaks plain, but TLS is on here").await;
    assert!(growing.account().await.unwrap()["problems"].as_array().unwrap().is_empty());
}

/// Runs node 3 with the certificates in `dir`, and gives what it says until it ends or says `what`.
async fn third(ranch: &Ranch, dir: &Path, what: &str) {
    let path = ranch.dir().join("third.log");
    let log = fs::File::create(&path).unwrap();
    let mut process = tokio::process::Command::new(BINARY)
        .args(["node", "--name", "node3", "--config"])
        .arg(ranch.config())
        .env("RANCH_TLS_DIR", dir)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&path).unwrap();
    let probe = async || said().contains(what).then_some(());
    let found = until(&format!("node 3 to say {what:?}"), LIMIT, probe).await;
    found.unwrap_or_else(|error| panic!("{error}: {}", said()));
    process.kill().await.unwrap();
}

/// A copy of the ranch's certificates, to be spoilt.
fn copied(dir: &Path, name: &str) -> PathBuf {
    let copy = dir.with_extension(name);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    copy
}

/// A machine with certificates of another CA is kept out by both sides; expired and mixed-up ones
/// do not even start.
#[tokio::test]
async fn certificates_that_are_wrong_keep_a_machine_out() {
    let (mut growing, key) = Growing::found(&secure(), 3).await;
    growing.settled(&[1, 2, 3], 3).await;
    let before = facts(&growing).await;
    let ranch = &mut growing.ranch;
    let dir = ranch.certs().unwrap().to_owned();
    ranch.node(3).unwrap().stop(LIMIT).await.unwrap();

    let other = dir.with_extension("other");
    let place = other.to_string_lossy().into_owned();
    stdout(&certs(ranch, &["init", "--dir", &place]).await);
    third(ranch, &other, "its certificate is not of a CA in our ca.crt").await;
    logged(ranch, 1, "is refused: it refuses our certificate, which is not of a CA in its").await;
    let mut client = ranch.client(Some(&key));
    assert_eq!(client.write("p", "1.1.1/1.1.1/1.1.1", "two").await.unwrap().status, 200);

    let mixed = copied(&dir, "mixed");
    fs::copy(dir.join("node2.crt"), mixed.join("node3.crt")).unwrap();
    third(ranch, &mixed, "is for ranch://test/node/2, but ranch://test/node/3 is needed").await;
    let old = copied(&dir, "old");
    expire(&old, "node3", "ranch://test/node/3");
    third(ranch, &old, "expired 3 days ago: make another one with `ranch certs rotate`").await;
    let bare = copied(&dir, "bare");
    fs::remove_file(bare.join("node3.key")).unwrap();
    third(ranch, &bare, "node3.key: `ranch certs init` makes the certificates").await;

    // Neither those who were kept out nor the one they were taken for have lost or won anything.
    assert_eq!(facts(&growing).await, before);
    growing.ranch.node(3).unwrap().start().unwrap();
    growing.settled(&[1, 2, 3], 3).await;
    assert_eq!(facts(&growing).await, before);
    growing.wait("all to be well", |account| account["problems"] == serde_json::json!([])).await;
}

/// Makes a certificate of the ranch's CA that ended three days ago.
pub fn expire(dir: &Path, stem: &str, identity: &str) {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let pem = read("ca.crt");
    let ca = ranch_proto::tls::certificates(dir, pem.as_bytes()).unwrap();
    let mut params = rcgen::CertificateParams::default();
    let name = ca[0].common_name.clone().unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let issuer = rcgen::Issuer::new(params, rcgen::KeyPair::from_pem(&read("ca.key")).unwrap());
    let mut params = rcgen::CertificateParams::default();
    let uri = rcgen::string::Ia5String::try_from(identity).unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI(uri));
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(9);
    params.not_after = now - time::Duration::days(3);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    fs::write(dir.join(format!("{stem}.crt")), cert.pem()).unwrap();
    fs::write(dir.join(format!("{stem}.key")), key.serialize_pem()).unwrap();
}

/// A machine that was removed is told so, and its certificate opens nothing any more, with its
/// data or without.
#[tokio::test]
async fn a_removed_machine_is_refused_by_its_certificate() {
    let layout = Layout { nodes: 4, ..secure() };
    let (mut growing, key) = Growing::found(&layout, 4).await;
    let removed = cli(&growing.ranch, &key, ["node", "remove", "node4", "--wait"]).await;
    assert!(stdout(&removed).contains("has left the ranch"));
    growing.settled(&[1, 2, 3], 3).await;
    let node4 = growing.ranch.node(4).unwrap();
    node4.wait_exit(LIMIT).await.expect("a node that has left ends by itself");
    let place = growing.ranch.node_place(4).unwrap().clone();
    for keep_data in [true, false] {
        if !keep_data {
            fs::remove_dir_all(&place.data_dir).unwrap();
        }
        let lives = growing.ranch.node(4).unwrap().log().matches("has left this ranch").count();
        growing.ranch.node(4).unwrap().start().unwrap();
        let node4 = growing.ranch.node(4).unwrap();
        node4.wait_exit(LIMIT).await.expect("it ends by itself");
        assert!(node4.log().matches("has left this ranch").count() > lives, "{}", node4.log());
    }
    let dir = growing.ranch.certs().unwrap().to_owned();
    let addr = growing.ranch.node_place(1).unwrap().addr;
    let outcast = links(4, shown(&dir, "node4", &node(4)), addr);
    let error = outcast.node_status(NodeId(1), soon()).await.unwrap_err().to_string();
    assert!(error.contains("node 4 has left this ranch"), "{error}");
    let _keeps_trying = outcast.get(NodeId(1), Lane::Data);
    logged(&mut growing.ranch, 1, "its certificate is worth nothing any more").await;
    assert!(!outcast.get(NodeId(1), Lane::Data).unwrap().is_connected());
}
