//! TLS between the processes of a ranch: who a certificate stands for ([`Identity`]), the files a
//! process has ([`CertFiles`]), what it makes of them ([`Material`]), and how it follows them
//! while it runs ([`Reloaded`]).
//!
//! What must hold: both sides of a connection show a certificate of this ranch's own CA; the side
//! that connects makes sure that it reached the node it meant; TLS 1.3 and nothing older; no
//! session is resumed, since that would outlive the certificates it was made with; files that
//! cannot be used change nothing.

mod certificate;
mod complaints;
mod error;
mod explain;
mod files;
mod identity;
mod material;
mod reloaded;
mod stream;
mod verifier;

pub use certificate::{Certificate, certificates, private_key};
pub use complaints::Complaints;
pub use error::TlsError;
pub use explain::{explain, explain_io, is_plain};
pub use files::{CA_STEM, CertFiles, ROUTER_STEM};
pub use identity::{Identity, Role};
pub use material::{Material, provider};
pub use reloaded::{Certified, Expires, Expiry, Reloaded};
pub use stream::Stream;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The certificates of one process, as they are at the moment.
pub type Credentials = Reloaded<Material>;

/// A certificate with less time left than this is called a problem.
pub const EXPIRY_NEAR: Duration = Duration::from_hours(14 * 24);

/// How the connections of a process are protected.
#[derive(Clone, Default)]
pub enum Security {
    /// Not at all.
    #[default]
    Plain,
    /// Each side shows a certificate of the ranch.
    Tls(Arc<Credentials>),
}

impl Security {
    /// The certificates, if there are any.
    #[must_use]
    pub fn credentials(&self) -> Option<&Arc<Credentials>> {
        match self {
            Self::Plain => None,
            Self::Tls(credentials) => Some(credentials),
        }
    }

    /// What is wrong with the certificates, in words.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.credentials().map(|credentials| credentials.problems()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
