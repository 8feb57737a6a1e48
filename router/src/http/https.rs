//! HTTPS: the certificate clients are shown, and what is said to those that come without TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ranch_proto::tls::{
    Expires, Expiry, Reloaded, Stream, TlsError, certificates, private_key, provider,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::rustls::server::ServerConfig;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{Error, InconsistentKeys};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::http::linger::Linger;

/// What may be spoken, the better first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The type of the first record of a client that speaks TLS.
const TLS_HANDSHAKE: u8 = 0x16;
/// Said to one that does not.
const PLAIN_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 44\r\n\r\n\
    this is HTTPS: use https:// instead of http:";
/// Longest it is waited for that client to end.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// A certificate for clients, ready for use.
pub struct Https {
    config: Arc<ServerConfig>,
    expiries: [Expiry; 1],
}

/// A router's certificate, as it is at the moment.
pub type HttpsFiles = Reloaded<Https>;

impl Https {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// When one is missing or wrong, or they do not belong together.
    pub fn open(cert: &Path, key: &Path) -> Result<Arc<HttpsFiles>, TlsError> {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        let paths = vec![cert.clone(), key.clone()];
        Reloaded::open(paths, move |texts| Self::make(&cert, &key, texts)).map(Arc::new)
    }

    fn make(cert: &PathBuf, key: &PathBuf, texts: &[Vec<u8>]) -> Result<Self, TlsError> {
        let text = |index: usize| texts.get(index).map(Vec::as_slice).unwrap_or_default();
        let chain = certificates(cert, text(0))?;
        let private = private_key(key, text(1))?;
        chain[0].check_time(cert)?;
        let not_after_s = chain[0].not_after_s;
        let provider = provider();
        let unusable =
            |error: &Error| TlsError::Unusable { path: key.clone(), detail: error.to_string() };
        let ders = chain.into_iter().map(|certificate| certificate.der).collect();
        let own =
            CertifiedKey::from_der(ders, private, &provider).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsError::KeyMismatch { cert: cert.clone(), key: key.clone() }
                }
                error => unusable(&error),
            })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        let expiries = [Expiry { of: "https", not_after_s }];
        Ok(Self { config: Arc::new(config), expiries })
    }

    /// Agrees on TLS with a client.
    ///
    /// # Errors
    /// When that fails. A client that speaks plain HTTP has been told so.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
            turn_to_https(stream).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks plain HTTP"));
        }
        let agreed = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await?;
        Ok(TlsStream::from(agreed).into())
    }
}

impl Expires for Https {
    fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

/// Best effort: a client that is gone needs no answer.
async fn turn_to_https(mut stream: TcpStream) {
    if stream.write_all(PLAIN_REFUSED).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut linger = Linger::new();
    let rest = std::future::poll_fn(|cx| linger.poll(&mut stream, cx));
    let _ = tokio::time::timeout(FAREWELL_MAX, rest).await;
}
