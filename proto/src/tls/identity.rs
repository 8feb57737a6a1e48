//! Who a certificate stands for: a node or a router of one ranch, as a URI among its alternative
//! names, `ranch://CLUSTER/node/3` or `ranch://CLUSTER/router`.
//!
//! The name of the ranch is percent-encoded, all but the unreserved characters of RFC 3986. There
//! is one spelling of each identity, and no other is understood.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::ids::NodeId;

/// How an identity begins; other URIs in a certificate are none of ours.
pub(super) const SCHEME: &str = "ranch://";
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A process of a ranch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Name of the ranch, as in `[cluster] name`.
    pub cluster: String,
    /// What the process is there.
    pub role: Role,
}

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The node of this id.
    Node(NodeId),
    /// Any router.
    Router,
}

impl Identity {
    /// The node `id` of the ranch `cluster`.
    #[must_use]
    pub fn node(cluster: &str, id: NodeId) -> Self {
        Self { cluster: cluster.to_owned(), role: Role::Node(id) }
    }

    /// A router of the ranch `cluster`.
    #[must_use]
    pub fn router(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), role: Role::Router }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node {id}"),
            Self::Router => f.write_str("a router"),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = utf8_percent_encode(&self.cluster, PLAIN);
        match self.role {
            Role::Node(id) => write!(f, "{SCHEME}{cluster}/node/{id}"),
            Role::Router => write!(f, "{SCHEME}{cluster}/router"),
        }
    }
}

/// A URI that is no identity.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{uri}` is no identity, as ranch://CLUSTER/node/ID or ranch://CLUSTER/router is")]
pub struct NoIdentity {
    /// What was found.
    pub uri: String,
}

impl FromStr for Identity {
    type Err = NoIdentity;

    fn from_str(uri: &str) -> Result<Self, NoIdentity> {
        let parsed = parse(uri);
        // Only the one spelling that is written counts.
        let parsed = parsed.filter(|identity| identity.to_string() == uri);
        parsed.ok_or_else(|| NoIdentity { uri: uri.to_owned() })
    }
}

fn parse(uri: &str) -> Option<Identity> {
    let (cluster, role) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let cluster = percent_decode_str(cluster).decode_utf8().ok()?.into_owned();
    let role = match role.split_once('/') {
        None if role == "router" => Role::Router,
        Some(("node", id)) => Role::Node(NodeId(id.parse().ok().filter(|id| *id != 0)?)),
        _ => return None,
    };
    (!cluster.is_empty()).then_some(Identity { cluster, role })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identity_has_one_spelling() {
        for (identity, uri) in [
            (Identity::node("ranch", NodeId(3)), "ranch://ranch/node/3"),
            (Identity::node("a.b-c_d~", NodeId(u32::MAX)), "ranch://a.b-c_d~/node/4294967295"),
            (Identity::router("ranch"), "ranch://ranch/router"),
            (Identity::router("the old/ranch%"), "ranch://the%20old%2Franch%25/router"),
            (Identity::router("Höfe"), "ranch://H%C3%B6fe/router"),
        ] {
            assert_eq!(identity.to_string(), uri);
            assert_eq!(uri.parse(), Ok(identity));
        }
    }

    #[test]
    fn nothing_else_is_an_identity() {
        for uri in [
            "",
            "ranch",
            "ranch://",
            "ranch:///node/1",
            "ranch://r",
            "ranch://r/",
            "ranch://r/node",
            "ranch://r/node/",
            "ranch://r/node/0",
            "ranch://r/node/01",
            "ranch://r/node/+1",
            "ranch://r/node/1/",
            "ranch://r/node/1/router",
            "ranch://r/node/4294967296",
            "ranch://r/router/",
            "ranch://r/router/1",
            "ranch://r/Router",
            "ranch://r/x/router",
            "RANCH://r/router",
            "ranch://%72/router",
            "ranch://a%2fb/router",
            "ranch://%FF/router",
            "ranch://a b/router",
            "spiffe://r/node/1",
            " ranch://r/router",
            "ranch://r/router?x",
        ] {
            assert_eq!(uri.parse::<Identity>(), Err(NoIdentity { uri: uri.to_owned() }), "{uri}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_parsed_is_printed_alike(
            uri in "ranch://[a-c%2F0-9]{0,8}/(node/[0-9]{0,3}|router)",
        ) {
            if let Ok(identity) = uri.parse::<Identity>() {
                assert_eq!(identity.to_string(), uri);
            }
        }

        #[test]
        fn every_name_survives(cluster in "\\PC{1,20}", id in 1..u32::MAX) {
            let identity = Identity::node(&cluster, NodeId(id));
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
    }
}
