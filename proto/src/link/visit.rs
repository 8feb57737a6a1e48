//! A call by a machine that has no place in a ranch yet, to whichever node is at an address.

use super::connection::{LinkEnd, client_on};
use super::dial::Dialer;
use crate::schema::{JoinReply, JoinRequest};
use crate::tls::Security;

/// Why such a call was not answered.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// One side speaks TLS and the other does not.
    #[error("{reason}")]
    Mixed {
        /// Who speaks what.
        reason: String,
    },
    /// One side will not have the other: by its certificate, or by its version. Asking again does
    /// not help.
    #[error("{reason}")]
    Refused {
        /// In the words of whoever refused.
        reason: String,
    },
    /// It may be answered when it is made again.
    #[error("{detail}")]
    Unanswered {
        /// What became of it.
        detail: String,
    },
}

impl From<LinkEnd> for VisitError {
    fn from(end: LinkEnd) -> Self {
        match end {
            LinkEnd::Mixed { reason } => Self::Mixed { reason },
            LinkEnd::Refused { reason } => Self::Refused { reason },
            LinkEnd::Stream { status } => Self::Unanswered { detail: status.message().to_owned() },
            end => Self::Unanswered { detail: end.to_string() },
        }
    }
}

/// Asks the node at `addr` to have its ranch take a machine in. With TLS it must be a node of the
/// ranch that the machine's certificate is for.
///
/// # Errors
/// [`VisitError`].
pub async fn ask_to_join(
    addr: &str,
    security: &Security,
    request: JoinRequest,
) -> Result<JoinReply, VisitError> {
    let line = Dialer::new(security.clone()).dial_any(addr).await?;
    let reply = client_on(&line).join(request).await;
    Ok(reply.map_err(|status| line.end(status))?.into_inner())
}
