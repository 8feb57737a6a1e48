//! What a node and a router have in common when they run as processes of this machine.

use std::io;
use std::path::PathBuf;

use tokio::net::TcpListener;

/// Why a node or router could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Somebody else listens there.
    #[error(
        "{addr} is in use by another process: stop it, or change {key}{}",
        if key.starts_with('[') { " in ranch.toml" } else { "" }
    )]
    PortInUse {
        /// The address.
        addr: String,
        /// The key or flag that sets it.
        key: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}, which is {key}: {source}")]
    Listen {
        /// The address.
        addr: String,
        /// The key or flag that sets it.
        key: String,
        /// What the system said.
        source: io::Error,
    },
    /// The tenants file cannot be used.
    #[error("the tenants file {} cannot be used: {reason}", path.display())]
    Tenants {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No such node.
    #[error(
        "no [[node]] is named {name}: choose one of {known} with --name, or add it to ranch.toml"
    )]
    UnknownNode {
        /// The name asked for, or the host's.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Signals cannot be listened for.
    #[error("cannot listen for signals: {source}")]
    Signals {
        /// What the system said.
        source: io::Error,
    },
    /// The node could not start, or must not go on.
    #[error(transparent)]
    Node(#[from] ranch_node::NodeError),
    /// A part of the process ended in a way it never should.
    #[error("the embedded router ended: {reason}")]
    Task {
        /// How.
        reason: String,
    },
    /// The router stopped.
    #[error(transparent)]
    Router(#[from] ranch_router::RouterError),
}

impl MachineError {
    /// Whether starting again would end the same way until an operator has changed something.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Tenants { .. } | Self::UnknownNode { .. } => true,
            Self::Node(error) => error.is_final(),
            _ => false,
        }
    }
}

/// Begins listening on `addr`, which is set by `key`.
pub async fn listen(addr: &str, key: &str) -> Result<TcpListener, MachineError> {
    TcpListener::bind(addr).await.map_err(|source| refusal(addr, key, source))
}

/// The error for an address that could not be listened on.
pub fn refusal(addr: &str, key: &str, source: io::Error) -> MachineError {
    let (addr, key) = (addr.to_owned(), key.to_owned());
    if source.kind() == io::ErrorKind::AddrInUse {
        MachineError::PortInUse { addr, key }
    } else {
        MachineError::Listen { addr, key, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_a_sentence() {
        let first = listen("127.0.0.1:0", "--listen").await.unwrap();
        let addr = first.local_addr().unwrap().to_string();
        let error = listen(&addr, "[router] listen").await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{addr} is in use")), "{error}");
        assert!(error.ends_with("change [router] listen in ranch.toml"), "{error}");
    }
}
