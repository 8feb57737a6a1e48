//! What a process checks of the one it connects to: a certificate of the ranch's CA, valid now,
//! for exactly the node that was meant. Under which address it was found does not matter.

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
use super::identity::Identity;

/// Believes one process.
pub(super) struct Expecting {
    expected: Identity,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The certificate is genuine, but somebody else's.
#[derive(Debug, thiserror::Error)]
#[error(
    "its certificate is for {found}, but {expected} was meant: check the addresses in ranch.toml, \
     and that each machine has its own certificate"
)]
pub(super) struct Stranger {
    expected: String,
    found: String,
}

impl Expecting {
    pub(super) fn new(
        expected: Identity,
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
        let found = read.map_or_else(|fault| fault, |certificate| certificate.whose());
        if found == self.expected.to_string() {
            return Ok(ServerCertVerified::assertion());
        }
        let stranger = Stranger { expected: self.expected.to_string(), found };
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
