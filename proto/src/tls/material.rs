//! The certificates of one process, checked and ready for use: what it shows, and what it trusts.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig};

use super::certificate::{Certificate, certificates, private_key};
use super::error::TlsError;
use super::files::{CA_STEM, CertFiles};
use super::identity::{Identity, Role};
use super::reloaded::{Expires, Expiry, Reloaded, read};
use super::verifier::{Expecting, Meant};
use crate::ids::NodeId;

/// What is spoken on links.
const ALPN: &[u8] = b"h2";

/// The cryptography of this house: ring.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What one process shows to the others, and whom it believes.
pub struct Material {
    identity: Identity,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    own: Arc<CertifiedKey>,
    server: Arc<ServerConfig>,
    expiries: [Expiry; 2],
}

/// Where a process's files are.
struct Paths {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Material {
    /// Reads the certificates of the process `identity`, whose files are named `stem`, and follows
    /// them from then on, once [`Reloaded::follow`] is called.
    ///
    /// # Errors
    /// When a file is missing or wrong, or one does not go with the others.
    pub fn open(
        files: &CertFiles,
        stem: &str,
        identity: &Identity,
    ) -> Result<Arc<Reloaded<Self>>, TlsError> {
        let paths = Paths { ca: files.cert(CA_STEM), cert: files.cert(stem), key: files.key(stem) };
        let list = vec![paths.ca.clone(), paths.cert.clone(), paths.key.clone()];
        let identity = identity.clone();
        Reloaded::open(list, move |texts| Self::make(&paths, &identity, texts)).map(Arc::new)
    }

    /// As [`Material::open`], for a machine that takes its id from its certificate.
    ///
    /// # Errors
    /// As [`Material::open`], and when the certificate is not a node's.
    pub fn open_as_named(
        files: &CertFiles,
        stem: &str,
    ) -> Result<(Arc<Reloaded<Self>>, NodeId), TlsError> {
        let path = files.cert(stem);
        let leaf = certificates(&path, &read(&path)?)?.swap_remove(0);
        match &leaf.identity {
            Some(identity @ Identity { role: Role::Node(id), .. }) => {
                Ok((Self::open(files, stem, identity)?, *id))
            }
            _ => Err(TlsError::NoNode { path, found: leaf.whose() }),
        }
    }

    /// From the contents of the three files.
    fn make(paths: &Paths, identity: &Identity, texts: &[Vec<u8>]) -> Result<Self, TlsError> {
        let [ca, cert, key] = texts else {
            let detail = "three files were to be read".to_owned();
            return Err(TlsError::Unusable { path: paths.cert.clone(), detail });
        };
        let cas = certificates(&paths.ca, ca)?;
        let chain = certificates(&paths.cert, cert)?;
        let key = private_key(&paths.key, key)?;
        let leaf = &chain[0];
        if leaf.identity.as_ref() != Some(identity) {
            let (expected, found) = (identity.clone(), leaf.whose());
            return Err(TlsError::WrongIdentity { path: paths.cert.clone(), expected, found });
        }
        leaf.check_time(&paths.cert)?;
        let (roots, ca_not_after_s) = roots(paths, &cas)?;
        let provider = provider();
        let ders = chain.iter().map(|certificate| certificate.der.clone()).collect();
        let own = CertifiedKey::from_der(ders, key, &provider);
        let own = Arc::new(own.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::KeyMismatch { cert: paths.cert.clone(), key: paths.key.clone() }
            }
            error => unusable(&paths.key, error),
        })?);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|error| unusable(&paths.ca, error))?;
        check_chain(paths, &chain, &verifier)?;
        let server = server_config(&provider, &own, verifier);
        let server = Arc::new(server.map_err(|error| unusable(&paths.cert, error))?);
        let expiries = [
            Expiry { of: "links", not_after_s: leaf.not_after_s },
            Expiry { of: "ca", not_after_s: ca_not_after_s },
        ];
        Ok(Self { identity: identity.clone(), provider, roots, own, server, expiries })
    }

    /// Who this process is to the others.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// For connections that others make.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For a connection to the process `expected` and no other.
    ///
    /// # Errors
    /// When this build of TLS lacks what is needed, which it does not.
    pub fn client(&self, expected: Identity) -> Result<Arc<ClientConfig>, Error> {
        self.client_of(Meant::Process(expected))
    }

    /// For a connection to any node of this process's ranch: for a machine that knows none yet.
    ///
    /// # Errors
    /// As [`Material::client`].
    pub fn client_of_any_node(&self) -> Result<Arc<ClientConfig>, Error> {
        self.client_of(Meant::AnyNode(self.identity.cluster.clone()))
    }

    fn client_of(&self, expected: Meant) -> Result<Arc<ClientConfig>, Error> {
        let verifier = Expecting::new(expected, Arc::clone(&self.roots), &self.provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let mut config = builder
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.own))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        // Who is meant is no host name.
        config.enable_sni = false;
        Ok(Arc::new(config))
    }
}

impl Expires for Material {
    fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

fn unusable(path: &std::path::Path, error: impl std::fmt::Display) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), detail: error.to_string() }
}

/// The CAs to trust, and when the last of them expires. An expired one is left out: checking a
/// chain does not look at its end.
fn roots(paths: &Paths, cas: &[Certificate]) -> Result<(Arc<RootCertStore>, u64), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut last = 0;
    for ca in cas.iter().filter(|ca| ca.check_time(&paths.ca).is_ok()) {
        roots.add(ca.der.clone()).map_err(|error| unusable(&paths.ca, error))?;
        last = last.max(ca.not_after_s);
    }
    match cas.first() {
        Some(first) if roots.is_empty() => first.check_time(&paths.ca).map(|()| (roots, last)),
        _ => Ok((roots, last)),
    }
    .map(|(roots, last)| (Arc::new(roots), last))
}

/// That the others, who trust the same CAs, will believe what this process shows.
fn check_chain(
    paths: &Paths,
    chain: &[Certificate],
    verifier: &Arc<dyn ClientCertVerifier>,
) -> Result<(), TlsError> {
    let more: Vec<_> = chain[1..].iter().map(|certificate| certificate.der.clone()).collect();
    let checked = verifier.verify_client_cert(&chain[0].der, &more, UnixTime::now());
    checked.map(drop).map_err(|error| TlsError::Untrusted {
        path: paths.cert.clone(),
        ca: paths.ca.clone(),
        detail: error.to_string(),
    })
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    own: &Arc<CertifiedKey>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(own))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests;
