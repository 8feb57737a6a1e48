//! Why certificates cannot be used. Every message names the file and the remedy.

use std::path::PathBuf;

use super::identity::Identity;

/// The one error of reading certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there.
    #[error(
        "there is no {}: `ranch certs init` makes the certificates of a ranch, `ranch certs \
         issue` single ones; copy it here from where they are made",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged or of another kind: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A key does not belong to its certificate.
    #[error(
        "the key in {} does not belong to the certificate in {}: copy both from the same place",
        key.display(), cert.display()
    )]
    KeyMismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A certificate is not valid now.
    #[error("the certificate in {} {when}: {remedy}", path.display())]
    Time {
        /// The file.
        path: PathBuf,
        /// "expired 3 days ago".
        when: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A certificate is somebody else's.
    #[error(
        "the certificate in {} is for {found}, but {expected} is needed: `ranch certs show` tells \
         which file is whose",
        path.display()
    )]
    WrongIdentity {
        /// The file.
        path: PathBuf,
        /// Who it must be for.
        expected: Identity,
        /// Who it is for.
        found: String,
    },
    /// A machine that wants to join has a certificate that names no node.
    #[error(
        "the certificate in {} is for {found}, and a machine that joins needs that of a node: \
         `ranch certs issue NAME --id N` makes one, with a number no machine has had",
        path.display()
    )]
    NoNode {
        /// The file.
        path: PathBuf,
        /// Who it is for.
        found: String,
    },
    /// A certificate is not of the CA that is trusted.
    #[error(
        "the certificate in {} is not of a CA in {} ({detail}): copy both from the same place",
        path.display(), ca.display()
    )]
    Untrusted {
        /// The file of the certificate.
        path: PathBuf,
        /// The file of the CAs.
        ca: PathBuf,
        /// What the check said.
        detail: String,
    },
    /// The certificates and this machine's TLS do not go together.
    #[error("{} cannot be used: {detail}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}
