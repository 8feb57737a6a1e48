//! Whom a client believes behind https://: the CAs of this system, those of a file, or exactly
//! the certificate in a file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ranch_proto::tls::{Certificate, certificates, provider};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore,
    SignatureScheme,
};

use super::http::ClientError;

/// See the module.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The CAs of this system.
    #[default]
    System,
    /// Those in a file.
    Ca(PathBuf),
    /// The first certificate in a file, whatever name it is for: this machine's own.
    Own(PathBuf),
}

impl Trust {
    /// What TLS connections are made with.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn config(&self) -> Result<ClientConfig, ClientError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::Own(path) => Arc::new(Own { path: path.clone(), algorithms }),
            Self::System | Self::Ca(_) => {
                let roots = Arc::new(self.roots()?);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(|error| no_ca(self, error))?
            }
        };
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| no_ca(self, error))?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        Ok(builder.with_no_client_auth())
    }

    fn roots(&self) -> Result<RootCertStore, ClientError> {
        let mut roots = RootCertStore::empty();
        if let Self::Ca(path) = self {
            for ca in read(path)? {
                roots.add(ca.der).map_err(|error| no_ca(self, error))?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        // Systems have odd ones among theirs; the others do.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(no_ca(self, "this system has none"));
        }
        Ok(roots)
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the CAs of this system"),
            Self::Ca(path) | Self::Own(path) => path.display().fmt(f),
        }
    }
}

fn no_ca(trust: &Trust, reason: impl fmt::Display) -> ClientError {
    ClientError::Ca { by: trust.to_string(), reason: reason.to_string() }
}

fn read(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let trust = || Trust::Ca(path.to_owned());
    let text = std::fs::read(path).map_err(|error| no_ca(&trust(), error))?;
    certificates(path, &text).map_err(|error| no_ca(&trust(), error))
}

/// Believes one certificate, read anew each time: it may have been renewed.
struct Own {
    path: PathBuf,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Own({})", self.path.display())
    }
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let own = read(&self.path).map_err(|error| rustls::Error::General(error.to_string()))?;
        if own.first().is_some_and(|own| own.der.as_ref() == leaf.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why TLS with a router failed, in words; `None` when that was not the reason.
pub fn fault(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(error) = inner.or_else(|| error.downcast_ref()) {
            return Some(words(error));
        }
        next = error.source();
    }
    None
}

fn words(error: &rustls::Error) -> String {
    use rustls::Error as Tls;

    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is not of a CA known here: give that CA's certificate with --ca or \
             RANCH_CA, a ranch's own is its ca.crt"
                .to_owned()
        }
        Tls::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired".to_owned(),
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("its certificate is for another name ({error})"),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "no TLS is spoken there: use http://".to_owned()
        }
        other => other.to_string(),
    }
}
