//! What becomes of a node whose data is damaged or lost. While the others do without it, it sets
//! its data aside, and comes back empty under a new incarnation, to be refilled. While they do
//! not, it may hold the last good copy of something: then it keeps everything and waits.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ranch_proto::directory::Directory;
use ranch_proto::link::{Lane, Links};
use ranch_proto::schema::{Request, WatchRequest, reply, request};
use ranch_proto::{GroupId, NodeId, ReplicaId};
use ranch_raft::DamageNote;

use crate::disk::Disk;
use crate::error::NodeError;

/// The file that says what was found damaged while the node ran.
const NOTE: &str = "damaged.txt";
/// Where damaged data is kept, and in it what had happened. One set, the newest.
const ASIDE: &str = "damaged";
const REASON: &str = "reason.txt";
/// What a data directory holds of a node's life, in the order in which it is set aside: the
/// identity last, since it says that there must be a log.
const LIFE: [&str; 4] = ["log", "state", "replicas.toml", "identity.toml"];
/// Between two looks at the others.
const LOOK: Duration = Duration::from_millis(300);
/// Between two lines in the log about waiting.
const SAY: Duration = Duration::from_secs(10);
/// Longest a leader may take to confirm itself, and a directory to come.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The way back of one node.
pub(crate) struct Rescue<'a> {
    pub(crate) me: NodeId,
    pub(crate) dir: &'a Path,
    pub(crate) links: &'a Links,
    pub(crate) disk: &'a Disk,
}

impl Rescue<'_> {
    /// Where damage is noted.
    pub(crate) fn note(&self) -> DamageNote {
        DamageNote::at(self.dir.join(NOTE))
    }

    /// What an earlier run found damaged.
    pub(crate) fn noted(&self) -> Result<(), NodeError> {
        match self.note().read().map_err(|source| self.failed("read", source))? {
            Some(what) => Err(NodeError::Damaged { dir: self.dir.to_owned(), what }),
            None => Ok(()),
        }
    }

    /// Sets aside what could not be opened, as soon as that is safe.
    ///
    /// # Errors
    /// The one given, when nothing is lost by it, or nobody else has what is.
    pub(crate) async fn recover(&self, error: NodeError) -> Result<(), NodeError> {
        let alone = self.links.peers().is_empty();
        let Some(loss) = error.loss().filter(|_| !alone) else { return Err(error) };
        tracing::error!("{error}");
        self.wait_for_majorities(&loss).await;
        self.set_aside(&loss).map_err(|source| self.failed("set aside", source))?;
        tracing::warn!(
            "this node comes back empty under a new incarnation, because {loss}; what it had is \
             kept in `{ASIDE}` of its data directory while there is room"
        );
        Ok(())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> NodeError {
        NodeError::File { action, path: self.dir.to_owned(), source }
    }

    async fn wait_for_majorities(&self, loss: &str) {
        let mut said: Option<Instant> = None;
        while let Some(why) = self.doubt().await {
            if said.is_none_or(|said| said.elapsed() > SAY) {
                said = Some(Instant::now());
                tracing::error!(
                    "this node's data is not used, because {loss}, and not set aside either, \
                     because {why}: it may be the last good copy. It waits until the others \
                     serve without it; start them, or restore a backup"
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Why the others may need what this node has; `None` when every group it is in has a leader
    /// that a majority follows, and so all that was ever acknowledged.
    async fn doubt(&self) -> Option<String> {
        let Some(leader) = self.confirmed(GroupId::META).await else {
            return Some("the meta group has no leader without it".to_owned());
        };
        let Some(directory) = self.directory_at(leader).await else {
            return Some("the directory cannot be read".to_owned());
        };
        let holds =
            |replicas: &[u64]| replicas.iter().any(|replica| ReplicaId(*replica).node() == self.me);
        let shards = directory.shards.iter().filter(|(_, shard)| holds(&shard.replicas));
        let groups: Vec<GroupId> = shards.map(|(group, _)| *group).collect();
        let confirmed = join_all(groups.iter().map(|group| self.confirmed(*group))).await;
        let mut answers = groups.iter().zip(confirmed);
        let without = answers.find(|(_, leader)| leader.is_none())?.0;
        Some(format!("shard {without} has no leader without it"))
    }

    /// The node that leads a group and has just made sure that a majority follows it.
    async fn confirmed(&self, group: GroupId) -> Option<NodeId> {
        let deadline = Instant::now() + ANSWER_MAX;
        let asked = self.links.peers().into_iter().map(|(node, _)| async move {
            let body = Some(request::Body::Confirm(true));
            let request = Request { group: group.0, body, ..Request::default() };
            let reply = self.links.get(node, Lane::Control)?.call(request, deadline).await.ok()?;
            matches!(reply.body, Some(reply::Body::Pong(_))).then_some(node)
        });
        join_all(asked).await.into_iter().flatten().next()
    }

    async fn directory_at(&self, node: NodeId) -> Option<Directory> {
        let cluster_id = self.links.options().cluster_id.read().clone();
        let asked = async {
            let mut client = self.links.client(node).await.ok()?;
            let request = WatchRequest { epoch: 0, cluster_id };
            let mut events = client.watch(request).await.ok()?.into_inner();
            loop {
                let event = events.message().await.ok()??;
                if event.full {
                    let mut directory = Directory::default();
                    event.records.into_iter().for_each(|record| directory.apply(record));
                    return Some(directory);
                }
            }
        };
        tokio::time::timeout(ANSWER_MAX, asked).await.ok().flatten()
    }

    /// Moves what the node had out of the way; after a crash on the way it begins again.
    fn set_aside(&self, loss: &str) -> io::Result<()> {
        let (note, aside) = (self.note(), self.dir.join(ASIDE));
        note.leave(loss)?;
        // With an identity the set there is an older one; without, it was half made.
        if self.dir.join(LIFE[3]).exists() && self.dir.join(LIFE[0]).exists() {
            remove(&aside)?;
        }
        fs::create_dir_all(&aside)?;
        fs::write(aside.join(REASON), loss)?;
        for name in LIFE {
            let (from, to) = (self.dir.join(name), aside.join(name));
            if !from.exists() {
                continue;
            }
            if self.disk.is_full() {
                remove(&from)?;
            } else {
                remove(&to)?;
                fs::rename(&from, &to)?;
            }
        }
        fs::File::open(self.dir)?.sync_all()?;
        note.remove()
    }

    /// Gives up what was set aside where its room is needed.
    pub(crate) fn make_room(&self) -> io::Result<()> {
        if !self.disk.is_full() {
            return Ok(());
        }
        LIFE.iter().try_for_each(|name| remove(&self.dir.join(ASIDE).join(name)))
    }
}

/// What became of the data set aside in `dir`, as "its log was …"; empty when nothing is known.
pub(crate) fn reason(dir: &Path) -> String {
    fs::read_to_string(dir.join(ASIDE).join(REASON)).unwrap_or_default()
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
