//! What whoever is at the other end of a connection may do, by its certificate: a node speaks for
//! itself and for no other, a router as clients' front and not as a node. On a plain connection
//! nobody can tell, and everybody may do everything; see `[tls]`.

use ranch_proto::schema::{JoinNode, MetaCommand, Request, Vote, meta_command, request};
use ranch_proto::tls::{Identity, Role};
use ranch_proto::{NodeId, ReplicaId, ShardError};

use crate::handler::invalid;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It came by a plain connection.
    Anyone,
    /// A router.
    Router,
    /// The node of this id.
    Node(NodeId),
}

impl Standing {
    /// What a certificate makes of its bearer in the ranch `cluster`.
    pub(crate) fn of(identity: Option<&Identity>, cluster: &str) -> Result<Self, String> {
        let Some(identity) = identity else { return Ok(Self::Anyone) };
        if identity.cluster != cluster {
            return Err(format!(
                "the certificate is for {identity}, but this ranch is called {cluster}: check \
                 [cluster] name and the addresses in ranch.toml"
            ));
        }
        Ok(match identity.role {
            Role::Node(id) => Self::Node(id),
            Role::Router => Self::Router,
        })
    }

    /// Checks who the caller says it is: a node's id, or 0 for a router.
    pub(crate) fn check_claim(self, node: u32) -> Result<(), String> {
        let own = match self {
            Self::Anyone => return Ok(()),
            Self::Router => 0,
            Self::Node(id) => id.0,
        };
        if own == node {
            return Ok(());
        }
        Err(format!(
            "the certificate is for {}, but its bearer says that it is {}: give each process its \
             own certificate",
            named(own),
            named(node)
        ))
    }

    /// Checks that a message of a replica, sent under a vote for it, comes from its node.
    pub(crate) fn check_replica(self, from: u64, vote: Option<&Vote>) -> Result<(), String> {
        self.check_claim(ReplicaId(from).node().0)?;
        let voted = vote.map_or(from, |vote| vote.replica);
        self.check_claim(ReplicaId(voted).node().0)
    }

    /// Checks that a request is one this caller may make.
    pub(crate) fn check(self, request: &Request) -> Result<(), ShardError> {
        let claim = match (self, &request.body) {
            (Self::Anyone, _) | (_, None) => return Ok(()),
            (_, Some(request::Body::Tidings(tidings))) => self.check_claim(tidings.node),
            (_, Some(request::Body::Meta(command))) => self.check_meta(command),
            (Self::Router, Some(body)) if is_of_nodes(body) => {
                Err("only nodes of the ranch ask for this, and the certificate is a router's"
                    .to_owned())
            }
            (_, Some(request::Body::Append(append))) => {
                self.check_replica(request.from, append.vote.as_ref())
            }
            (_, Some(request::Body::Vote(vote))) => {
                self.check_replica(request.from, vote.vote.as_ref())
            }
            (_, Some(request::Body::IsKeptTo(leader))) => {
                self.check_replica(request.from, Some(leader))
            }
            (_, Some(request::Body::Transfer(transfer))) => {
                self.check_replica(request.from, transfer.from.as_ref())
            }
            _ => Ok(()),
        };
        claim.map_err(|why| invalid(&why))
    }

    fn check_meta(self, command: &MetaCommand) -> Result<(), String> {
        use meta_command::What;

        match &command.what {
            Some(What::Join(JoinNode { node: Some(node), .. })) if node.id == 0 => {
                Err("with TLS a machine has the id its certificate is for, before it joins".into())
            }
            // Passed on by the node that was asked, which has seen the certificate. It takes
            // nobody's place: with a token that is refused.
            Some(What::Join(JoinNode { node: Some(_), token }))
                if !token.is_empty() && matches!(self, Self::Node(_)) =>
            {
                Ok(())
            }
            Some(What::Join(JoinNode { node: Some(node), .. })) => self.check_claim(node.id),
            Some(
                What::Bootstrap(_)
                | What::Join(_)
                | What::ShardInitialized(_)
                | What::PlanShards(_)
                | What::StartMove(_)
                | What::EndMove(_)
                | What::ForgetNode(_)
                | What::LoseNode(_),
            ) if self == Self::Router => {
                Err("only nodes of the ranch decide this, and the certificate is a router's".into())
            }
            _ => Ok(()),
        }
    }
}

/// What replicas and nodes say to each other.
fn is_of_nodes(body: &request::Body) -> bool {
    matches!(
        body,
        request::Body::Append(_)
            | request::Body::Vote(_)
            | request::Body::Transfer(_)
            | request::Body::Members(_)
            | request::Body::Confirm(_)
            | request::Body::IsKeptTo(_)
            | request::Body::HashRows(_)
            | request::Body::OddRows(_)
            | request::Body::MayLeave(_)
    )
}

fn named(node: u32) -> String {
    if node == 0 { "a router".to_owned() } else { format!("node {node}") }
}

#[cfg(test)]
mod tests {
    use ranch_proto::schema::{AppendRequest, Command, NodeRecord, Tidings, VoteRequest};

    use super::*;

    const TWO: Standing = Standing::Node(NodeId(2));

    fn request(from: u64, body: request::Body) -> Request {
        Request { from, body: Some(body), ..Request::default() }
    }

    fn join(id: u32) -> Request {
        join_with(id, &[])
    }

    fn by_token(id: u32) -> Request {
        join_with(id, &[7; 32])
    }

    fn join_with(id: u32, token: &'static [u8]) -> Request {
        let node = Some(NodeRecord { id, ..NodeRecord::default() });
        let join = JoinNode { node, token: token.into() };
        let what = Some(meta_command::What::Join(join));
        request(0, request::Body::Meta(MetaCommand { what, ..MetaCommand::default() }))
    }

    #[test]
    fn a_certificate_of_another_ranch_has_no_standing() {
        let two = Identity::node("r", NodeId(2));
        assert_eq!(Standing::of(Some(&two), "r"), Ok(TWO));
        assert_eq!(Standing::of(Some(&Identity::router("r")), "r"), Ok(Standing::Router));
        assert_eq!(Standing::of(None, "r"), Ok(Standing::Anyone));
        let said = Standing::of(Some(&two), "other").unwrap_err();
        assert!(said.contains("ranch://r/node/2") && said.contains("called other"), "{said}");
    }

    #[test]
    fn nobody_speaks_as_somebody_else() {
        assert_eq!(TWO.check_claim(2), Ok(()));
        assert_eq!(Standing::Router.check_claim(0), Ok(()));
        assert_eq!(Standing::Anyone.check_claim(9), Ok(()));
        for (standing, claimed) in [(TWO, 1), (TWO, 0), (Standing::Router, 2)] {
            let said = standing.check_claim(claimed).unwrap_err();
            assert!(said.contains("own certificate"), "{said}");
        }
        let of = |node| ReplicaId::new(NodeId(node), 7).0;
        let ballot = |node| Some(Vote { term: 1, replica: of(node), committed: true });
        let append = |node| {
            request::Body::Append(AppendRequest { vote: ballot(node), ..AppendRequest::default() })
        };
        let vote = |node| {
            request::Body::Vote(VoteRequest { vote: ballot(node), ..VoteRequest::default() })
        };
        let tidings = |node| request::Body::Tidings(Tidings { node, ..Tidings::default() });
        assert!(TWO.check(&request(of(2), append(2))).is_ok());
        assert!(TWO.check(&request(of(2), append(1))).is_err());
        assert!(TWO.check(&request(of(1), append(1))).is_err());
        assert!(TWO.check(&request(0, append(2))).is_err());
        assert!(TWO.check(&request(of(2), vote(2))).is_ok());
        assert!(TWO.check(&request(of(3), vote(3))).is_err());
        assert!(TWO.check(&request(0, tidings(2))).is_ok());
        assert!(TWO.check(&request(0, tidings(1))).is_err());
        assert!(TWO.check(&join(2)).is_ok());
        assert!(TWO.check(&join(3)).is_err(), "nor takes its place");
        assert!(TWO.check(&join(0)).is_err(), "nor a place that is nobody's yet");
        assert!(TWO.check(&by_token(3)).is_ok(), "but it passes on who shows a token");
        assert!(TWO.check(&by_token(0)).is_err(), "and has a certificate");
    }

    #[test]
    fn a_router_is_no_node() {
        let command = request::Body::Command(Command::default());
        assert!(Standing::Router.check(&request(0, command)).is_ok());
        for body in [
            request::Body::Append(AppendRequest::default()),
            request::Body::Vote(VoteRequest::default()),
            request::Body::Members(true),
            request::Body::Tidings(Tidings { node: 2, ..Tidings::default() }),
        ] {
            assert!(Standing::Router.check(&request(0, body)).is_err());
        }
        assert!(Standing::Router.check(&join(2)).is_err());
        assert!(Standing::Router.check(&by_token(2)).is_err());
        let forget = Some(meta_command::What::ForgetNode(2));
        let meta = request::Body::Meta(MetaCommand { what: forget, ..MetaCommand::default() });
        assert!(Standing::Router.check(&request(0, meta)).is_err());
    }
}
