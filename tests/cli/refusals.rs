//! Starting what cannot be started: one sentence that names the thing and the remedy, a non-zero
//! exit, and nothing lost.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use ranch_chaos::layout::{Layout, free_ports};
use ranch_chaos::wait::until;
use ranch_chaos::{Cluster, Ranch};

use crate::support::{BINARY, ranch_with, refusal};

const LIMIT: Duration = Duration::from_mins(1);

/// Runs a command that must end by itself.
async fn run(args: &[&str]) -> Output {
    let command = tokio::process::Command::new(BINARY)
        .args(args)
        .env("RANCH_ADMIN_KEY", ranch_chaos::ranch::ADMIN_KEY)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, command).await;
    output.unwrap_or_else(|_| panic!("{args:?} goes on")).expect("the binary runs")
}

async fn node(name: &str, config: &Path) -> String {
    refusal(&run(&["node", "--name", name, "--config", config.to_str().unwrap()]).await)
}

/// A copy of a configuration with one text replaced.
fn altered(config: &Path, name: &str, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    let path = config.with_file_name(name);
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    path
}

#[tokio::test]
async fn a_configuration_that_is_wrong() {
    let place = Layout::default().place().unwrap();
    let misspelt = altered(&place.config, "misspelt.toml", "shards =", "shard =");
    let error = node("node1", &misspelt).await;
    assert!(error.contains("shard") && error.contains("shards"), "{error}");
    let impossible = altered(&place.config, "impossible.toml", "shards = 4", "shards = 0");
    let error = node("node1", &impossible).await;
    assert!(error.contains("[cluster] shards"), "{error}");
    let error = node("node9", &place.config).await;
    assert!(error.contains("node9") && error.contains("node1"), "{error}");
    let error = node("node1", &place.dir.path().join("none.toml")).await;
    assert!(error.contains("none.toml"), "{error}");
    let twice = altered(&place.config, "twice.toml", "name = \"node2\"", "name = \"node1\"");
    let error = node("node1", &twice).await;
    assert!(error.contains("name") && error.contains("node1"), "{error}");
}

#[tokio::test]
async fn a_port_in_use() {
    let place = Layout::default().place().unwrap();
    let config = place.config.to_str().unwrap();
    let _taken = TcpListener::bind(place.nodes[0].addr).unwrap();
    let error = node("node1", &place.config).await;
    let addr = place.nodes[0].addr.to_string();
    assert!(error.contains(&addr) && error.contains("in use"), "{error}");
    let data = place.dir.path().join("data");
    let up = run(&["up", "--config", config, "--data-dir", data.to_str().unwrap()]).await;
    let error = refusal(&up);
    assert!(error.contains(&addr) && error.contains("in use"), "{error}");
    let _router = TcpListener::bind(place.router).unwrap();
    let error = refusal(&run(&["router", "--config", config]).await);
    assert!(error.contains(&place.router.to_string()), "{error}");
    assert!(error.contains("in use"), "{error}");
}

#[tokio::test]
async fn a_data_directory_of_somebody_else() {
    let (mut ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key));
    client.write("p", "1.1.1/1.1.1/1.1.1", "kept").await.unwrap();

    // A second process on the directory of one that runs, at another address.
    let place = ranch.node_place(1).unwrap().clone();
    let elsewhere = free_ports(1).unwrap()[0].to_string();
    let config = altered(ranch.config(), "second.toml", &place.addr.to_string(), &elsewhere);
    let error = node("node1", &config).await;
    assert!(error.contains("in use"), "{error}");
    assert!(ranch.node(1).unwrap().is_running(), "the first process goes on");

    // The directory of another node.
    ranch.node(1).unwrap().kill().unwrap();
    ranch.node(2).unwrap().kill().unwrap();
    let other = ranch.node_place(2).unwrap().data_dir.clone();
    let aside = other.with_extension("aside");
    fs::rename(&place.data_dir, &aside).unwrap();
    fs::rename(&other, &place.data_dir).unwrap();
    let error = node("node1", ranch.config()).await;
    assert!(error.contains("node 2") && error.contains("node 1"), "{error}");
    fs::rename(&place.data_dir, &other).unwrap();
    fs::rename(&aside, &place.data_dir).unwrap();
    ranch.start_all().unwrap();
    ranch.wait_ready().await.unwrap();
    assert_eq!(client.read("p", "1.1.1/1.1.1/1.1.1").await.unwrap().text(), "kept");
}

/// What is done to a data directory.
type Damage = fn(&Path);

/// R9: damaged data is never used. The node sets it aside, comes back under a new incarnation and
/// is refilled, without an operator, and the ranch serves all the while and says what happened.
#[tokio::test]
async fn a_damaged_data_directory() {
    let (mut ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key));
    for n in 1..=200 {
        let at = format!("1.1.1/1.1.1/1.1.{n}");
        assert_eq!(client.write("p", &at, format!("text {n}")).await.unwrap().status, 200);
    }
    let place = ranch.node_place(3).unwrap().clone();
    let damages: [(Damage, &str); 5] = [
        (damage_identity, "its identity file was damaged"),
        (lose_watermark, "the watermark of its log was lost"),
        (lose_log, "its log was lost"),
        (cut_log, "its log "),
        (cut_state, "its state was damaged"),
    ];
    for (life, (damage, said)) in (2..).zip(damages) {
        // Until then there would be no state on disk to damage.
        let flushed = async || is_flushed(&place.data_dir).then_some(());
        until("node 3 to flush its state", LIMIT, flushed).await.unwrap();
        ranch.node(3).unwrap().kill().unwrap();
        damage(&place.data_dir);
        // From now on the replica that is lost is behind, until another one has taken its place.
        assert_eq!(client.write("p", "2.1.1/1.1.1/1.1.1", "new").await.unwrap().status, 200);
        ranch.node(3).unwrap().start().unwrap();
        let note = format!("came back as incarnation {life} at");
        let refilled = |cluster: &Cluster| {
            cluster.is_whole() && cluster.notes.iter().any(|found| found.contains(&note))
        };
        let refilled = ranch.wait_cluster("node 3 to be refilled", LIMIT, refilled).await.unwrap();
        assert!(refilled.notes[0].contains(said), "{:?}", refilled.notes);
        assert!(place.data_dir.join("damaged/reason.txt").exists(), "it is kept aside");
        assert_eq!(client.read("p", "1.1.1/1.1.1/1.1.7").await.unwrap().text(), "text 7");
    }
    ranch.node(1).unwrap().kill().unwrap();
    let read = client.read("p", "1.1.1/1.1.1/1.1.200").await.unwrap();
    assert_eq!(read.text(), "text 200", "node 3 makes a majority");
}

/// R9: with a majority damaged nothing is thrown away, since it may be the last good copy.
#[tokio::test]
async fn a_damaged_majority_is_kept_as_it_is() {
    let (mut ranch, key) = ranch_with("will").await;
    let mut client = ranch.client(Some(&key)).with_limit(LIMIT);
    assert_eq!(client.write("p", "1.1.1/1.1.1/1.1.1", "kept").await.unwrap().status, 200);
    let watermark =
        |ranch: &Ranch, id| ranch.node_place(id).unwrap().data_dir.join("log/watermark");
    for id in [2, 3] {
        ranch.node(id).unwrap().kill().unwrap();
        let path = watermark(&ranch, id);
        fs::rename(&path, path.with_extension("away")).unwrap();
        ranch.node(id).unwrap().start().unwrap();
    }
    for id in [2, 3] {
        let waits = async || {
            let said = ranch.node(id).unwrap().log();
            said.contains("may be the last good copy").then_some(())
        };
        until("the node to say that it waits", LIMIT, waits).await.unwrap();
        ranch.node(id).unwrap().kill().unwrap();
        let path = watermark(&ranch, id);
        fs::rename(path.with_extension("away"), &path).unwrap();
        ranch.node(id).unwrap().start().unwrap();
    }
    ranch.wait_ready().await.unwrap();
    assert_eq!(client.read("p", "1.1.1/1.1.1/1.1.1").await.unwrap().text(), "kept");
}

/// Whether the manifest was written after a table file, so that the state on disk is known to need
/// one. A table that a flush had not finished when the process ended is thrown away at the start.
fn is_flushed(dir: &Path) -> bool {
    let files = fs::read_dir(dir.join("state/db")).unwrap().map(|entry| entry.unwrap().path());
    let (mut tables, mut manifests) = (Vec::new(), Vec::new());
    for path in files {
        // A file may be gone by now.
        let Ok(written) = fs::metadata(&path).and_then(|found| found.modified()) else { continue };
        if path.extension() == Some("sst".as_ref()) {
            tables.push(written);
        } else if path.file_name().unwrap().as_encoded_bytes().starts_with(b"MANIFEST") {
            manifests.push(written);
        }
    }
    !tables.is_empty() && manifests.iter().max() > tables.iter().min()
}

fn damage_identity(dir: &Path) {
    fs::write(dir.join("identity.toml"), "node = three").unwrap();
}

fn lose_watermark(dir: &Path) {
    fs::remove_file(dir.join("log/watermark")).unwrap();
}

fn lose_log(dir: &Path) {
    fs::remove_dir_all(dir.join("log")).unwrap();
}

fn cut_log(dir: &Path) {
    cut_files(&dir.join("log/db"), &["log", "sst", "blob"]);
}

fn cut_state(dir: &Path) {
    cut_files(&dir.join("state/db"), &["sst"]);
}

/// Every file of these kinds loses the second half of its bytes.
fn cut_files(dir: &Path, kinds: &[&str]) {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_meant = |path: &PathBuf| {
        path.extension().is_some_and(|found| kinds.iter().any(|kind| found == *kind))
    };
    let meant: Vec<_> = files.filter(is_meant).collect();
    assert!(!meant.is_empty(), "no file to cut in {}", dir.display());
    for path in meant {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length / 2).unwrap();
    }
}
