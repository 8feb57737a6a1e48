//! What a certificate says, and reading certificates and keys from PEM.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::error::TlsError;
use super::identity::{Identity, SCHEME};
use super::now_s;

/// A certificate and what we need of its content.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its bytes.
    pub der: CertificateDer<'static>,
    /// Its subject, as `CN=…`.
    pub subject: String,
    /// Its common name, where it has one.
    pub common_name: Option<String>,
    /// Who signed it, as its subject.
    pub issuer: String,
    /// The process it stands for; a certificate from elsewhere has none.
    pub identity: Option<Identity>,
    /// Its other names: hosts and addresses.
    pub names: Vec<String>,
    /// Valid from, in seconds since the Unix epoch.
    pub not_before_s: u64,
    /// Valid to, likewise.
    pub not_after_s: u64,
}

impl Certificate {
    /// Reads a certificate's bytes.
    ///
    /// # Errors
    /// A sentence on what is wrong with it.
    pub fn parse(der: CertificateDer<'static>) -> Result<Self, String> {
        let parsed = x509_cert::Certificate::from_der(&der);
        let tbs = parsed.map_err(|error| format!("no certificate: {error}"))?.tbs_certificate;
        let names = tbs.get::<SubjectAltName>();
        let names = names.map_err(|error| format!("unreadable alternative names: {error}"))?;
        let (mut identities, mut hosts) = (Vec::new(), Vec::new());
        for name in names.map(|(_, names)| names.0).unwrap_or_default() {
            match name {
                GeneralName::UniformResourceIdentifier(uri) if uri.as_str().starts_with(SCHEME) => {
                    identities.push(uri.as_str().to_owned());
                }
                GeneralName::DnsName(name) => hosts.push(name.as_str().to_owned()),
                GeneralName::IpAddress(bytes) => hosts.extend(address(bytes.as_bytes())),
                _ => {}
            }
        }
        let identity = match identities.as_slice() {
            [] => None,
            [uri] => Some(uri.parse().map_err(|error| format!("{error}"))?),
            _ => return Err(format!("it has several identities: {}", identities.join(", "))),
        };
        Ok(Self {
            common_name: common_name(&tbs.subject),
            subject: tbs.subject.to_string(),
            issuer: tbs.issuer.to_string(),
            identity,
            names: hosts,
            not_before_s: tbs.validity.not_before.to_unix_duration().as_secs(),
            not_after_s: tbs.validity.not_after.to_unix_duration().as_secs(),
            der,
        })
    }

    /// Refuses a certificate that is not valid now; `path` is where it is from.
    ///
    /// # Errors
    /// [`TlsError::Time`].
    pub fn check_time(&self, path: &Path) -> Result<(), TlsError> {
        let now = now_s();
        let path = || path.to_owned();
        if self.not_after_s < now {
            let when = format!("expired {} ago", span(now - self.not_after_s));
            let remedy = "make another one with `ranch certs rotate`, or set the clock right";
            return Err(TlsError::Time { path: path(), when, remedy });
        }
        if self.not_before_s > now {
            let when = format!("is valid only in {}", span(self.not_before_s - now));
            let remedy = "set the clock of this machine right";
            return Err(TlsError::Time { path: path(), when, remedy });
        }
        Ok(())
    }

    /// Who it is for, in words.
    #[must_use]
    pub fn whose(&self) -> String {
        match &self.identity {
            Some(identity) => identity.to_string(),
            None => format!("no process of a ranch (its subject is {})", self.subject),
        }
    }
}

/// A time in the largest unit that fits.
pub(super) fn span(seconds: u64) -> String {
    let seconds = Duration::from_secs(seconds).as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The first common name, as UTF-8 or plainer.
fn common_name(name: &x509_cert::name::Name) -> Option<String> {
    /// id-at-commonName of X.520.
    const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

    let mut attributes = name.0.iter().flat_map(|part| part.0.iter());
    let value = &attributes.find(|attribute| attribute.oid == COMMON_NAME)?.value;
    Some(std::str::from_utf8(value.value()).ok()?.to_owned())
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    v4.or_else(|_| v6()).ok().map(|ip| ip.to_string())
}

/// The certificates in the PEM text of `path`, in order; at least one.
///
/// # Errors
/// [`TlsError::Malformed`].
pub fn certificates(path: &Path, text: &[u8]) -> Result<Vec<Certificate>, TlsError> {
    let malformed = |detail: String| TlsError::Malformed { path: path.to_owned(), detail };
    let certificates = CertificateDer::pem_slice_iter(text)
        .map(|der| {
            let der = der.map_err(|error| malformed(pem_fault(&error)))?;
            Certificate::parse(der).map_err(malformed)
        })
        .collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        return Err(malformed("there is no certificate in it, in PEM form".to_owned()));
    }
    Ok(certificates)
}

/// The private key in the PEM text of `path`.
///
/// # Errors
/// [`TlsError::Malformed`].
pub fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| TlsError::Malformed {
        path: path.to_owned(),
        detail: match error {
            pem::Error::NoItemsFound => "there is no private key in it, in PEM form".to_owned(),
            error => pem_fault(&error),
        },
    })
}

/// The fault without the bytes around it, which may be a key's.
fn pem_fault(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section has no proper start".to_owned(),
        pem::Error::Base64Decode(_) => "it has characters that are no base64".to_owned(),
        _ => "it is no PEM".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_their_unit() {
        for (seconds, said) in [
            (1, "1 second"),
            (119, "119 seconds"),
            (7_199, "119 minutes"),
            (7_200, "2 hours"),
            (86_400 * 400, "400 days"),
        ] {
            assert_eq!(span(seconds), said);
        }
    }

    #[test]
    fn what_is_no_pem_is_told_without_its_bytes() {
        let path = Path::new("x.key");
        for text in [
            "",
            "secret",
            "-----BEGIN PRIVATE KEY-----\nsecret\n",
            "-----BEGIN PRIVATE KEY-----\n!secret!\n-----END PRIVATE KEY-----\n",
        ] {
            let error = private_key(path, text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("x.key") && !error.contains("secret"), "{error}");
            assert!(certificates(path, text.as_bytes()).is_err(), "{text}");
        }
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = certificates(path, junk.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("no certificate"), "{error}");
    }

    #[test]
    fn names_and_identity_are_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let make = |uris: &[&str]| {
            let names = ["h.example".to_owned(), "10.0.0.1".to_owned(), "::1".to_owned()];
            let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
            for uri in uris {
                let uri = rcgen::string::Ia5String::try_from(*uri).unwrap();
                params.subject_alt_names.push(rcgen::SanType::URI(uri));
            }
            Certificate::parse(params.self_signed(&key).unwrap().der().clone())
        };
        let read = make(&["https://x", "ranch://r/node/3"]).unwrap();
        assert_eq!(read.identity, Some(Identity::node("r", crate::NodeId(3))));
        assert_eq!(read.names, ["h.example", "10.0.0.1", "::1"]);
        assert_eq!(make(&[]).unwrap().identity, None);
        assert!(make(&["ranch://r/node/3", "ranch://r/router"]).unwrap_err().contains("several"));
        assert!(make(&["ranch://r/node/x"]).unwrap_err().contains("no identity"));
    }
}
