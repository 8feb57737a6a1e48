//! Joining a ranch by token: for a machine that no `ranch.toml` lists.
//!
//! The nonce of the data directory is on disk before anybody is asked, so a machine that is cut
//! off from the answer gets the same number when it asks again. The identity is complete only when
//! everything else that a later start needs has been written down.

use std::path::Path;
use std::time::{Duration, Instant};

use ranch_proto::api_key::Secret;
use ranch_proto::config::NodeConfig;
use ranch_proto::link::connect;
use ranch_proto::schema::{JoinReply, JoinRequest, NodeRecord, RanchSettings};
use ranch_proto::versions::Support;

use crate::announce::record_of;
use crate::error::NodeError;
use crate::identity::{Identity, replace_file};

/// Longest a ranch without a leader is asked again.
const ASK_MAX: Duration = Duration::from_secs(20);
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Longest one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(8);

/// A machine that wants to join.
#[derive(Clone, Debug)]
pub struct Joiner {
    /// A node of the ranch.
    pub at: String,
    /// What lets it in.
    pub token: Secret,
    /// Name, address, zone and data directory; its id is given.
    pub node: NodeConfig,
    /// Version of the binary.
    pub version: String,
}

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

/// File of a data directory with a configuration for a machine that no `ranch.toml` lists.
pub const JOINED_FILE: &str = "joined.toml";

/// Has a ranch take this machine in. What `configuration` makes of the answer is kept in the data
/// directory before anything is final there.
///
/// # Errors
/// [`NodeError::Refused`] with the ranch's reason; [`NodeError::Settled`] when the data directory
/// has a place in a ranch already; others when files cannot be written or nobody answers.
pub async fn join(
    joiner: &Joiner,
    configuration: impl FnOnce(&Joined) -> String,
) -> Result<Joined, NodeError> {
    let (dir, addr) = (&joiner.node.data_dir, joiner.node.addr.clone());
    // Found out before anybody is asked, and before anything is made here.
    let listening = tokio::net::TcpListener::bind(&addr).await;
    drop(listening.map_err(|source| NodeError::Listen { addr, source })?);
    let mut identity = Identity::open_unnumbered(dir)?;
    let record = record_of(&joiner.node, 0, identity.boot_nonce.clone(), &joiner.version);
    let reply = match ask(joiner, record).await {
        Ok(reply) => reply,
        Err(error) => {
            // Nothing is to be left of a machine that was not let in; one that was not answered
            // may have been.
            if matches!(error, NodeError::Refused { .. }) {
                forget(dir, &identity);
            }
            return Err(error);
        }
    };
    let (Some(node), Some(settings)) = (reply.node, reply.settings) else {
        return Err(NodeError::Refused { reason: "the answer lacks what it must have".into() });
    };
    let taken_in = Joined { id: node.id, settings, peers: reply.peers };
    replace_file(&dir.join(JOINED_FILE), configuration(&taken_in).as_bytes())?;
    identity.node = node.id;
    identity.incarnation = node.incarnation;
    identity.cluster_id = reply.cluster_id;
    identity.save()?;
    Ok(taken_in)
}

async fn ask(joiner: &Joiner, node: NodeRecord) -> Result<JoinReply, NodeError> {
    let request = JoinRequest {
        token: joiner.token.expose().to_owned(),
        node: Some(node),
        versions: Some(Support::ours().to_wire()),
    };
    let give_up = Instant::now() + ASK_MAX;
    loop {
        let asked = async {
            let mut client = connect(&joiner.at).await.map_err(|error| error.to_string())?;
            let reply = client.join(request.clone()).await;
            reply.map_err(|status| status.message().to_owned())
        };
        let answered = tokio::time::timeout(ANSWER_MAX, asked).await;
        let why = match answered.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
            Ok(reply) => {
                let reply = reply.into_inner();
                return match reply.refused.as_str() {
                    "" => Ok(reply),
                    reason => Err(NodeError::Refused { reason: reason.to_owned() }),
                };
            }
            Err(why) => why,
        };
        if Instant::now() >= give_up {
            return Err(NodeError::Unanswered { addr: joiner.at.clone(), detail: why });
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Removes the identity of a machine that has none, and the directory if nothing else is in it.
fn forget(dir: &Path, identity: &Identity) {
    // What is left does no harm: the next attempt takes it up.
    let _ = std::fs::remove_file(identity.file());
    let _ = std::fs::remove_dir(dir);
}
