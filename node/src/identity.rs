//! Who a data directory belongs to: written before anything else, replaced atomically.
//!
//! The incarnation is 0 until the ranch has assigned one; without it no replica may run.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ranch_proto::{NodeId, hex};
use serde::{Deserialize, Serialize};

use crate::error::NodeError;

const FILE: &str = "identity.toml";
const VERSION: u32 = 1;

/// The identity file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    node: u32,
    incarnation: u32,
    boot_nonce: String,
    cluster_id: String,
    settled: bool,
}

/// A node's identity, and where it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    /// Number of the node.
    pub(crate) node: u32,
    /// Which life of the node this directory holds; 0 until assigned.
    pub(crate) incarnation: u32,
    /// 16 bytes, chosen when the directory was made.
    pub(crate) boot_nonce: Bytes,
    /// 16 bytes; empty until known.
    pub(crate) cluster_id: Bytes,
    /// The ranch's directory has been seen here: from then on the directory must hold Raft logs.
    pub(crate) settled: bool,
}

impl Identity {
    /// Reads the identity in `dir`, or makes one for `node`.
    pub(crate) fn open(dir: &Path, node: u32) -> Result<Self, NodeError> {
        fs::create_dir_all(dir).map_err(file("create", dir))?;
        let path = dir.join(FILE);
        if path.exists() {
            let identity = Self::read(path)?;
            return if identity.node == node {
                Ok(identity)
            } else {
                let (path, found) = (identity.path, identity.node);
                Err(NodeError::WrongNode { path, found, expected: node })
            };
        }
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|source| NodeError::Randomness { source })?;
        let boot_nonce = Bytes::copy_from_slice(&nonce);
        let identity = Self {
            path,
            node,
            incarnation: 0,
            boot_nonce,
            cluster_id: Bytes::new(),
            settled: false,
        };
        identity.save()?;
        Ok(identity)
    }

    /// Whether there is one in `dir`.
    pub(crate) fn is_in(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// Reads the identity in `dir` of a machine that was not given a number yet, or makes one.
    pub(crate) fn open_unnumbered(dir: &Path) -> Result<Self, NodeError> {
        match Self::open(dir, 0) {
            Err(NodeError::WrongNode { path, found, .. }) => {
                Err(NodeError::Settled { path, node: NodeId(found) })
            }
            opened => opened,
        }
    }

    /// Removes it, as that of a machine that was not let in, and the directory if nothing else is
    /// in it: the number it was made for would stand in the way of the one it is given instead.
    pub(crate) fn forget(&self) {
        // A machine that is refused must say why, whatever can be removed.
        let _ = fs::remove_file(&self.path);
        let _ = self.path.parent().map(fs::remove_dir);
    }

    fn read(path: PathBuf) -> Result<Self, NodeError> {
        let text = fs::read(&path).map_err(file("read", &path))?;
        let damaged = |detail: String| NodeError::Identity { path: path.clone(), detail };
        // The parser's message alone: its full text shows the place over several lines.
        let parsed = toml::from_slice::<Stored>(&text);
        let stored = parsed.map_err(|error| damaged(error.message().to_owned()))?;
        if stored.version != VERSION {
            let found = stored.version;
            return Err(NodeError::IdentityVersion { path, found, known: VERSION });
        }
        let bytes = |text: &str| {
            hex::decode(text).map(Bytes::from).ok_or_else(|| damaged("bad hex digits".to_owned()))
        };
        let (boot_nonce, cluster_id) = (bytes(&stored.boot_nonce)?, bytes(&stored.cluster_id)?);
        let (node, incarnation) = (stored.node, stored.incarnation);
        let settled = stored.settled;
        Ok(Self { path, node, incarnation, boot_nonce, cluster_id, settled })
    }

    /// Writes the file anew: to a temporary one, synced, then renamed over.
    pub(crate) fn save(&self) -> Result<(), NodeError> {
        let stored = Stored {
            version: VERSION,
            node: self.node,
            incarnation: self.incarnation,
            boot_nonce: hex::encode(&self.boot_nonce),
            cluster_id: hex::encode(&self.cluster_id),
            settled: self.settled,
        };
        // A struct of numbers and strings always has a TOML form.
        let text = toml::to_string(&stored).unwrap_or_default();
        replace_file(&self.path, text.as_bytes())
    }
}

/// Writes a file anew, durably: after a crash there is the old one or the new one.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), NodeError> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut out = fs::File::create(&temporary)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    };
    write().map_err(file("write", path))
}

pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> NodeError {
    let path = path.to_owned();
    move |source| NodeError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("ranch-identity-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let dir = scratch("kept");
        let mut made = Identity::open(&dir, 3).unwrap();
        assert_eq!((made.incarnation, made.boot_nonce.len()), (0, 16));
        made.incarnation = 2;
        made.cluster_id = Bytes::from_static(&[9; 16]);
        made.save().unwrap();
        let read = Identity::open(&dir, 3).unwrap();
        assert_eq!((read.incarnation, read.boot_nonce), (2, made.boot_nonce));
        assert_eq!(read.cluster_id, made.cluster_id);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_foreign_or_damaged_identity_is_refused() {
        let dir = scratch("foreign");
        Identity::open(&dir, 3).unwrap();
        assert!(matches!(
            Identity::open(&dir, 4),
            Err(NodeError::WrongNode { found: 3, expected: 4, .. })
        ));
        for damage in [
            "",
            "\0\0\0",
            "node = 3",
            "version = 1\nnode = 3\nincarnation = 1\nboot_nonce = \"0g\"\ncluster_id = \"\"\n",
        ] {
            fs::write(dir.join(FILE), damage).unwrap();
            let error = Identity::open(&dir, 3).unwrap_err();
            assert!(matches!(error, NodeError::Identity { .. }), "{damage}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
