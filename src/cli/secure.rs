//! What protects the connections of a process: certificates for links and for HTTPS, followed
//! from here on, or a loud word where there are none.

use std::path::Path;
use std::sync::Arc;

use ranch_proto::NodeId;
use ranch_proto::config::{Config, NodeConfig};
use ranch_proto::tls::{CertFiles, Certified, Identity, Material, ROUTER_STEM, Security};
use ranch_router::{Https, HttpsKey, Watched};

use super::machine::MachineError;

/// What protects a router, and what it says of it.
#[derive(Default)]
pub struct Protection {
    /// The certificate for HTTPS.
    pub https: Option<HttpsKey>,
    /// Certificates whose end it tells.
    pub certificates: Vec<Watched>,
}

/// How a node's connections to others are protected, or those of a router where there is none.
/// The files are read this once.
pub fn of(config: &Config, node: Option<&NodeConfig>) -> Result<Security, MachineError> {
    let cluster = &config.cluster.name;
    let (stem, identity) = match node {
        Some(node) => (node.name.as_str(), Identity::node(cluster, NodeId(node.id))),
        None => (ROUTER_STEM, Identity::router(cluster)),
    };
    let Some(dir) = &config.tls.dir else { return Ok(Security::Plain) };
    Ok(Security::Tls(Material::open(&CertFiles::new(dir), stem, &identity)?))
}

/// As [`of`], for a machine that takes its id from the certificate `name` in `dir`.
pub fn as_named(dir: &Path, name: &str) -> Result<(Security, NodeId), MachineError> {
    let (material, id) = Material::open_as_named(&CertFiles::new(dir), name)?;
    Ok((Security::Tls(material), id))
}

/// As [`of`], and the files are followed from then on. To be called in a runtime.
pub fn followed(config: &Config, node: Option<&NodeConfig>) -> Result<Security, MachineError> {
    let security = of(config, node)?;
    if let Some(credentials) = security.credentials() {
        credentials.follow();
    }
    Ok(security)
}

/// What protects clients' connections, and what of `links` the router is to speak of: nodes speak
/// of their own. To be called in a runtime.
pub fn front(config: &Config, links: &Security) -> Result<Protection, MachineError> {
    let links = links.credentials().map(|links| Arc::clone(links) as Arc<dyn Certified>);
    let mut protection =
        Protection { https: None, certificates: links.map(Watched).into_iter().collect() };
    if let (Some(cert), Some(key)) = (&config.router.tls_cert, &config.router.tls_key) {
        let https = Https::open(cert, key)?;
        https.follow();
        protection.certificates.push(Watched(Arc::clone(&https) as Arc<dyn Certified>));
        protection.https = Some(HttpsKey(https));
    }
    Ok(protection)
}

/// Warns of addresses that can be listened in on from elsewhere, which was asked for.
pub fn warn_if_open(config: &Config) {
    let open = config.unprotected();
    if !open.is_empty() {
        tracing::warn!(
            "UNPROTECTED, as [tls] allow_plaintext says: {}. Whoever is on the network there can \
             read and change everything, keys included. `ranch certs init` makes certificates",
            open.join(", ")
        );
    }
}
