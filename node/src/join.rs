//! Joining a ranch by token: for a machine that no `ranch.toml` lists.
//!
//! With TLS it comes with a certificate, and has the number that this is for; else it is given one.
//!
//! The nonce of the data directory is on disk before anybody is asked, so a machine that is cut
//! off from the answer gets the same number when it asks again. The identity is complete only when
//! everything else that a later start needs has been written down.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ranch_proto::api_key::Secret;
use ranch_proto::config::NodeConfig;
use ranch_proto::link::{VisitError, ask_to_join};
use ranch_proto::schema::{JoinReply, JoinRequest, NodeRecord};
use ranch_proto::tls::Security;
use ranch_proto::versions::Support;

use crate::announce::record_of;
use crate::error::NodeError;
use crate::identity::{Identity, replace_file};
use crate::joined::{JOINED_FILE, Joined};

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
    /// Name, address, zone and data directory; its id is its certificate's, or 0: one is given.
    pub node: NodeConfig,
    /// Its certificate, if it has one.
    pub security: Security,
    /// Where that is, for later starts.
    pub tls_dir: Option<PathBuf>,
    /// Version of the binary.
    pub version: String,
}

/// Has a ranch take this machine in. What it must know later is kept in the data directory before
/// anything is final there.
///
/// # Errors
/// [`NodeError::Refused`] with the ranch's reason; [`NodeError::Settled`] when the data directory
/// has a place in a ranch already; others when files cannot be written or nobody answers.
pub async fn join(joiner: &Joiner) -> Result<Joined, NodeError> {
    let (dir, addr) = (&joiner.node.data_dir, joiner.node.addr.clone());
    // Found out before anybody is asked, and before anything is made here.
    let listening = tokio::net::TcpListener::bind(&addr).await;
    drop(listening.map_err(|source| NodeError::Listen { addr, source })?);
    let is_new = !Identity::is_in(dir);
    let mut identity = Identity::open_unnumbered(dir)?;
    let record = record_of(&joiner.node, 0, identity.boot_nonce.clone(), &joiner.version);
    let reply = match ask(joiner, record).await {
        Ok(reply) => reply,
        Err(error) => {
            // Nothing is to be left of a machine that was not let in; one that was not answered
            // may have been.
            if is_new && matches!(error, NodeError::Refused { .. }) {
                identity.forget();
            }
            return Err(error);
        }
    };
    let (Some(node), Some(settings)) = (reply.node, reply.settings) else {
        return Err(NodeError::Refused { reason: "the answer lacks what it must have".into() });
    };
    if ![0, node.id].contains(&joiner.node.id) {
        let reason = format!("the answer is for node {}, not {}", node.id, joiner.node.id);
        return Err(NodeError::Refused { reason });
    }
    let taken_in = Joined { id: node.id, settings, peers: reply.peers };
    let configuration = taken_in.to_toml(&joiner.node, joiner.tls_dir.as_deref());
    replace_file(&dir.join(JOINED_FILE), configuration.as_bytes())?;
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
    let silent = || VisitError::Unanswered { detail: "it does not answer".to_owned() };
    loop {
        let asked = ask_to_join(&joiner.at, &joiner.security, request.clone());
        let answered = tokio::time::timeout(ANSWER_MAX, asked).await;
        let why = match answered.unwrap_or_else(|_| Err(silent())) {
            Ok(reply) if reply.refused.is_empty() => return Ok(reply),
            Ok(reply) => return Err(NodeError::Refused { reason: reply.refused }),
            Err(VisitError::Mixed { .. }) => return Err(mixed(joiner)),
            Err(VisitError::Refused { reason }) => {
                return Err(NodeError::Refused { reason: format!("{}: {reason}", joiner.at) });
            }
            Err(VisitError::Unanswered { detail }) => detail,
        };
        if Instant::now() >= give_up {
            return Err(NodeError::Unanswered { addr: joiner.at.clone(), detail: why });
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// One side speaks TLS, the other does not.
fn mixed(joiner: &Joiner) -> NodeError {
    let (at, name) = (&joiner.at, &joiner.node.name);
    let reason = match joiner.security {
        Security::Plain => format!(
            "this ranch talks TLS only: have a certificate issued (`ranch certs issue {name} --id \
             N`, where its CA is, with a number N no machine of it has had), copy ca.crt, \
             {name}.crt and {name}.key here, and join with --tls-dir DIR"
        ),
        Security::Tls(_) => format!(
            "no TLS is spoken at {at}: if that is the ranch that was meant, and the network to it \
             is protected, join without --tls-dir and without [tls] dir"
        ),
    };
    NodeError::Refused { reason }
}
