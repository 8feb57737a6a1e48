//! Taking in a machine that no `ranch.toml` lists and that shows a token, at whichever node it
//! asks. With TLS it shows a certificate, too, and is the node that it is for.

use ranch_proto::ShardError;
use ranch_proto::config::Config;
use ranch_proto::directory::Directory;
use ranch_proto::join_token;
use ranch_proto::schema::{
    JoinNode, JoinReply, JoinRequest, MetaStatus, NodeRecord, RanchSettings, meta_command::What,
    record,
};
use ranch_proto::versions::{Feature, Support};
use tonic::Status;

use crate::replicas::Replicas;
use crate::standing::Standing;

/// What of a configuration a machine that joins must have, too.
pub(crate) fn settings_of(config: &Config) -> RanchSettings {
    let cluster = &config.cluster;
    RanchSettings {
        name: cluster.name.clone(),
        shards: cluster.shards,
        replicas: cluster.replicas,
        heartbeat_ms: cluster.heartbeat_ms,
        election_min_ms: cluster.election_min_ms,
        election_max_ms: cluster.election_max_ms,
        allow_plaintext: config.tls.allow_plaintext,
    }
}

/// Takes a machine in, or says why not. An error means that it may ask again.
pub(crate) async fn admit(
    replicas: &Replicas,
    settings: &RanchSettings,
    (standing, asked): (Standing, JoinRequest),
) -> Result<JoinReply, Status> {
    let (cluster_id, what) = match command(replicas, standing, asked) {
        Ok(command) => command,
        Err(refused) => return Ok(JoinReply { refused, ..JoinReply::default() }),
    };
    let result = match replicas.propose_meta_anywhere(what).await {
        Ok(result) => result,
        Err(ShardError::Invalid { detail }) => {
            return Ok(JoinReply { refused: detail, ..JoinReply::default() });
        }
        Err(error) => return Err(Status::unavailable(error.to_string())),
    };
    match (result.status(), result.record.and_then(|record| record.what)) {
        (MetaStatus::MetaOk, Some(record::What::Node(node))) => {
            let (id, name, addr) = (node.id, &node.name, &node.addr);
            tracing::info!(node = id, %name, %addr, "a machine joined");
            let directory = replicas.shared.feed.directory().read();
            let others = directory.nodes.values().filter(|other| other.id != node.id);
            Ok(JoinReply {
                refused: String::new(),
                peers: others.cloned().collect(),
                node: Some(node),
                cluster_id,
                settings: Some(settings.clone()),
            })
        }
        (MetaStatus::MetaNotBootstrapped, _) => Err(Status::unavailable(result.reason)),
        _ => Ok(JoinReply { refused: result.reason, ..JoinReply::default() }),
    }
}

/// What to propose for a machine that asks, with the id of the ranch.
fn command(
    replicas: &Replicas,
    standing: Standing,
    asked: JoinRequest,
) -> Result<(bytes::Bytes, What), String> {
    let theirs = Support::from_wire(asked.versions.as_ref());
    let node = asked.node.ok_or("a machine that does not say who it is")?;
    Support::ours().agree(theirs, &node.version).map_err(|error| error.to_string())?;
    let directory = replicas.shared.feed.directory().read();
    let hash = directory.hash_key(&asked.token);
    let (Some(cluster), Some(hash)) = (&directory.cluster, hash) else {
        return Err("the ranch is not there yet: try again when `ranch status` shows it".into());
    };
    let cluster_id = cluster.cluster_id.clone();
    join_token::check(&asked.token, &cluster_id).map_err(|error| error.to_string())?;
    let token = hash.0.to_vec().into();
    // The number is its certificate's, or else given by the ranch, and it is a new life.
    let id = match standing {
        Standing::Anyone => 0,
        Standing::Router => {
            return Err("the certificate is a router's: a machine joins with that of a node".into());
        }
        Standing::Node(id) => id.0,
    };
    let node = NodeRecord { id, incarnation: 0, ..node };
    let join = JoinNode { node: Some(node), token };
    check_version(&directory, &join)?;
    Ok((cluster_id, What::Join(join)))
}

/// Refuses a token beside an id as long as machines of an older version may apply it: they would
/// take whoever comes in, and into another's place, whatever the token.
pub(crate) fn check_version(directory: &Directory, join: &JoinNode) -> Result<(), String> {
    let chosen = join.node.as_ref().is_some_and(|node| node.id != 0);
    if !chosen || join.token.is_empty() || directory.allows(Feature::JoinTokens) {
        return Ok(());
    }
    Err(format!(
        "this ranch is at cluster version {}, and machines with a certificate join by token from \
         {} on: finish the upgrade first, or list the machine in ranch.toml",
        directory.version(),
        Feature::JoinTokens.since()
    ))
}

#[cfg(test)]
mod tests {
    use ranch_proto::schema::ClusterRecord;

    use super::*;

    #[test]
    fn a_token_beside_an_id_waits_for_the_version_that_knows_it() {
        let at = |version| {
            let mut directory = Directory::default();
            directory.cluster = Some(ClusterRecord { version, ..ClusterRecord::default() });
            directory
        };
        let join = |id, token: &'static [u8]| JoinNode {
            node: Some(NodeRecord { id, ..NodeRecord::default() }),
            token: token.into(),
        };
        let since = Feature::JoinTokens.since();
        let said = check_version(&at(since - 1), &join(4, &[7])).unwrap_err();
        assert!(said.contains("finish the upgrade first"), "{said}");
        assert_eq!(check_version(&at(since), &join(4, &[7])), Ok(()));
        for join in [join(0, &[7]), join(4, &[])] {
            assert_eq!(check_version(&at(since - 1), &join), Ok(()));
        }
    }
}
