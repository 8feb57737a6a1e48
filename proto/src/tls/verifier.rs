//! What a process checks of the one it connects to: a certificate of the ranch's CA, valid now,
//! for exactly the node that was meant; for any node of the ranch where a machine knows none yet.
//! Under which address it was found does not matter.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::Certificate;
use super::identity::{Identity, Role};

/// Who is meant by a connection.
#[derive(Clone, Debug)]
pub(super) enum Meant {
    /// One process.
    Process(Identity),
    /// Any node of the ranch of this name.
    AnyNode(String),
}

/// Believes whom it expects.
pub(super) struct Expecting {
    expected: Meant,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The certificate is genuine, but somebody else's.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is for {found}, but {expected} was meant: {remedy}")]
pub(super) struct Stranger {
    expected: String,
    found: String,
    remedy: &'static str,
}

impl Meant {
    fn is(&self, found: &Identity) -> bool {
        match self {
            Self::Process(expected) => found == expected,
            Self::AnyNode(cluster) => {
                found.cluster == *cluster && matches!(found.role, Role::Node(_))
            }
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Process(_) => {
                "check the addresses in ranch.toml, and that each machine has its own certificate"
            }
            Self::AnyNode(_) => "check the address, and that the certificates here are its ranch's",
        }
    }
}

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(expected) => expected.fmt(f),
            Self::AnyNode(cluster) => write!(f, "a node of {cluster}"),
        }
    }
}

impl Expecting {
    pub(super) fn new(
        expected: Meant,
        roots: Arc<RootCertStore>,
        provider: &CryptoProvider,
    ) -> Self {
        Self { expected, roots, algorithms: provider.signature_verification_algorithms }
    }
}

impl fmt::Debug for Expecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expecting({})", self.expected)
    }
}

impl ServerCertVerifier for Expecting {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, more, now, algorithms)?;
        let read = Certificate::parse(leaf.clone().into_owned());
        let known = read.as_ref().ok().and_then(|certificate| certificate.identity.as_ref());
        if known.is_some_and(|found| self.expected.is(found)) {
            return Ok(ServerCertVerified::assertion());
        }
        let found = read.map_or_else(|fault| fault, |certificate| certificate.whose());
        let (expected, remedy) = (self.expected.to_string(), self.expected.remedy());
        let stranger = Stranger { expected, found, remedy };
        Err(CertificateError::Other(OtherError(Arc::new(stranger))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
