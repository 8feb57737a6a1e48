//! `joined.toml` of a data directory: what a machine that no `ranch.toml` lists needs to start
//! again. It has the form of `ranch.toml` and may be edited like one.
//!
//! It says where the other machines are, and follows the directory in that: after those it joined
//! with are gone, it must still find the ranch.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ranch_proto::config::NodeConfig;
use ranch_proto::schema::{NodeRecord, RanchSettings};
use toml::{Table, Value};

use crate::error::NodeError;
use crate::identity::{file, replace_file};
use crate::replicas::Replicas;

/// Its name.
pub const JOINED_FILE: &str = "joined.toml";

const HEAD: &str = "\
# Made by `ranch node join`: what this machine needs to start again. It has the form of
# ranch.toml, and what a ranch.toml given with --config says goes before it. Where the other
# machines are ([[node]]) is kept up to date by the node as long as it runs.

";
/// Least time between two changes of it.
const PAUSE: Duration = Duration::from_secs(5);

/// What a machine is told that was taken in.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its number.
    pub id: u32,
    /// What it must have as the others have it.
    pub settings: RanchSettings,
    /// The other machines.
    pub peers: Vec<NodeRecord>,
}

impl Joined {
    /// What is to be in the file of the machine `own`, whose certificate is in `tls_dir`.
    #[must_use]
    pub fn to_toml(&self, own: &NodeConfig, tls_dir: Option<&Path>) -> String {
        let settings = &self.settings;
        let cluster = table([
            ("name", settings.name.clone().into()),
            ("shards", settings.shards.into()),
            ("replicas", settings.replicas.into()),
            ("heartbeat_ms", number(settings.heartbeat_ms)),
            ("election_min_ms", number(settings.election_min_ms)),
            ("election_max_ms", number(settings.election_max_ms)),
        ]);
        let mut tls = table([("allow_plaintext", settings.allow_plaintext.into())]);
        tls.extend(tls_dir.map(|dir| ("dir".to_owned(), path(dir))));
        let own = table([
            ("id", self.id.into()),
            ("name", own.name.clone().into()),
            ("addr", own.addr.clone().into()),
            ("data_dir", path(&own.data_dir)),
            ("zone", own.zone.clone().into()),
        ]);
        let nodes = std::iter::once(Value::Table(own)).chain(self.peers.iter().map(entry));
        let all = table([
            ("cluster", cluster.into()),
            ("tls", tls.into()),
            ("node", Value::Array(nodes.collect())),
        ]);
        HEAD.to_owned() + &text(&all)
    }
}

fn table<const N: usize>(pairs: [(&str, Value); N]) -> Table {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn number(number: u64) -> Value {
    Value::Integer(number.cast_signed())
}

fn path(path: &Path) -> Value {
    path.to_string_lossy().into_owned().into()
}

/// Words and numbers always have a TOML form.
fn text(all: &Table) -> String {
    toml::to_string(all).unwrap_or_default()
}

/// Another machine: nothing of it is here.
fn entry(peer: &NodeRecord) -> Value {
    Value::Table(table([
        ("id", peer.id.into()),
        ("name", peer.name.clone().into()),
        ("addr", peer.addr.clone().into()),
        ("data_dir", path(&Path::new("elsewhere").join(&peer.name))),
        ("zone", peer.zone.clone().into()),
    ]))
}

/// Keeps the file of the data directory `dir`, if there is one. Does not end.
pub(crate) async fn follow(replicas: Arc<Replicas>, dir: PathBuf) {
    let (path, me) = (dir.join(JOINED_FILE), replicas.shared.node.0);
    if !path.exists() {
        return std::future::pending().await;
    }
    let mut epochs = replicas.shared.feed.epochs();
    let mut written = None;
    loop {
        epochs.mark_unchanged();
        let peers: Vec<Value> = {
            let directory = replicas.shared.feed.directory().read();
            directory.nodes.values().filter(|node| node.id != me).map(entry).collect()
        };
        // A ranch of this machine alone has nobody to be found, nor has one that is not known yet.
        if !peers.is_empty() && written.as_ref() != Some(&peers) {
            let (path, wanted) = (path.clone(), peers.clone());
            let done = tokio::task::spawn_blocking(move || update(&path, me, &wanted)).await;
            match done {
                Ok(Ok(())) => written = Some(peers),
                // As on a disk that is full. It is tried again with the next change.
                Ok(Err(error)) => tracing::warn!("what this machine starts by is behind: {error}"),
                Err(error) => tracing::error!(%error, "keeping joined.toml failed"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        // The feed lives as long as the node.
        let _ = epochs.changed().await;
    }
}

/// Has the file list these other machines, and leaves it alone if it does.
fn update(path: &Path, me: u32, peers: &[Value]) -> Result<(), NodeError> {
    let old = std::fs::read_to_string(path).map_err(file("read", path))?;
    let unreadable = |detail: String| NodeError::Joined { path: path.to_owned(), detail };
    let parsed = old.parse::<Table>();
    let mut all = parsed.map_err(|error| unreadable(error.message().to_owned()))?;
    let nodes = all.get("node").and_then(Value::as_array).cloned().unwrap_or_default();
    let id = |node: &Value| node.get("id").and_then(Value::as_integer);
    let own = nodes.iter().find(|node| id(node) == Some(me.into()));
    let own = own.ok_or_else(|| unreadable(format!("it does not list node {me}")))?;
    let wanted: Vec<Value> = std::iter::once(own).chain(peers).cloned().collect();
    if wanted == nodes {
        return Ok(());
    }
    all.insert("node".to_owned(), Value::Array(wanted));
    replace_file(path, (HEAD.to_owned() + &text(&all)).as_bytes())?;
    let file = path.display();
    tracing::info!(%file, others = peers.len(), "where the others are has changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use ranch_proto::config::Config;

    use super::*;

    fn peer(id: u32, port: u16) -> NodeRecord {
        let (name, addr) = (format!("node{id}"), format!("127.0.0.1:{port}"));
        NodeRecord { id, name, addr, zone: "z\"1".into(), ..NodeRecord::default() }
    }

    fn entries(peers: &[NodeRecord]) -> Vec<Value> {
        peers.iter().map(entry).collect()
    }

    #[test]
    fn the_others_are_followed_and_the_rest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(JOINED_FILE);
        let own = NodeConfig { zone: "west".into(), ..NodeConfig::local(7) };
        let settings = RanchSettings {
            name: "farm".into(),
            shards: 4,
            replicas: 3,
            heartbeat_ms: 50,
            election_min_ms: 150,
            election_max_ms: 300,
            allow_plaintext: false,
        };
        let joined = Joined { id: 7, settings, peers: vec![peer(1, 7_001), peer(2, 7_002)] };
        let first = joined.to_toml(&own, Some(Path::new("certs")));
        std::fs::write(&file, &first).unwrap();
        let read = || Config::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(read().tls.dir.as_deref(), Some(Path::new("certs")));
        assert_eq!(read().nodes[0], NodeConfig { id: 7, ..own });

        update(&file, 7, &entries(&joined.peers)).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), first, "nothing has changed");

        // What was edited here stays.
        std::fs::write(&file, first.replace("heartbeat_ms = 50", "heartbeat_ms = 60")).unwrap();
        update(&file, 7, &entries(&[peer(2, 7_009), peer(5, 7_005)])).unwrap();
        let config = read();
        assert_eq!(config.cluster.heartbeat_ms, 60);
        let listed = config.nodes.iter().map(|node| (node.id, node.addr.as_str()));
        let own_addr = config.nodes[0].addr.as_str();
        let wanted = [(7, own_addr), (2, "127.0.0.1:7009"), (5, "127.0.0.1:7005")];
        assert_eq!(listed.collect::<Vec<_>>(), wanted);
        assert_eq!(config.nodes[0].zone, "west");
    }

    #[test]
    fn a_file_that_is_none_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(JOINED_FILE);
        for text in ["[cluster\n", "", "[[node]]\nid = 3\n"] {
            std::fs::write(&file, text).unwrap();
            let said = update(&file, 7, &entries(&[peer(1, 7_001)])).unwrap_err().to_string();
            assert!(said.contains("joined.toml") && said.lines().count() == 1, "{said}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }
}
