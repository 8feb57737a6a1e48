//! The CA: makes certificates, and in time a successor of its own.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use ranch_proto::config::Config;
use ranch_proto::tls::{CA_STEM, CertFiles, Certificate, Material, TlsError, certificates};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, string::Ia5String,
};
use time::{Duration, OffsetDateTime};

use super::super::error::CliError;
use super::CertsError;
use super::files::{self, CERT_MODE, KEY_MODE};
use super::kinds::Kind;

/// Certificates are valid from a little before they were made, for clocks that are behind.
const BEFORE: Duration = Duration::hours(1);
/// Longest part of a ranch's name in the name of its CA.
const NAME_MAX: usize = 40;

/// The CA of a ranch, with its key.
pub struct Authority<'a> {
    certs: &'a CertFiles,
    issuer: Issuer<'static, KeyPair>,
    /// `ca.crt`: the CA itself, then older ones.
    trusted: Vec<Certificate>,
}

/// What a certificate is to be like.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Days it lasts.
    pub days: u32,
    /// Hosts it is for beside those that are known.
    pub sans: Vec<String>,
}

impl<'a> Authority<'a> {
    /// Makes a CA. There must be none.
    pub fn make(certs: &'a CertFiles, cluster: &str, days: u32) -> Result<Self, CliError> {
        let (params, key, pem) = new_ca(cluster, days)?;
        files::write(&certs.key(CA_STEM), &key.serialize_pem(), KEY_MODE)?;
        files::write(&certs.cert(CA_STEM), &pem, CERT_MODE)?;
        let trusted = read(&certs.cert(CA_STEM))?;
        Ok(Self { certs, issuer: Issuer::new(params, key), trusted })
    }

    /// The CA in a directory.
    pub fn open(certs: &'a CertFiles) -> Result<Self, CliError> {
        let path = certs.key(CA_STEM);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => CertsError::NoCaKey { path: path.clone() }.into(),
            _ => CliError::file("read", &path)(error),
        })?;
        // What the parser says may hold parts of the key.
        let key = KeyPair::from_pem(&text).map_err(|_| {
            let detail = "there is no private key in it, in PEM form".to_owned();
            CertsError::from(TlsError::Malformed { path, detail })
        })?;
        let trusted = read(&certs.cert(CA_STEM))?;
        // A file with certificates has at least one.
        let name = trusted.first().and_then(|ca| ca.common_name.clone()).unwrap_or_default();
        Ok(Self { certs, issuer: Issuer::new(ca_params(&name), key), trusted })
    }

    /// Makes a certificate and its key, in place of those there are, and tries them out.
    pub fn issue(&self, config: &Config, kind: &Kind, wish: &Wish) -> Result<(), CliError> {
        let stem = kind.stem();
        let params = leaf_params(config, kind, wish)?;
        let failed =
            |error: rcgen::Error| make_error(&format!("the certificate of {stem}"), &error);
        let key = KeyPair::generate().map_err(failed)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        self.try_out(config, kind, (&cert, &key))?;
        files::write(&self.certs.key(stem), &key.serialize_pem(), KEY_MODE)?;
        files::write(&self.certs.cert(stem), &cert, CERT_MODE)
    }

    /// Has a new certificate checked as the process it is for will check it.
    fn try_out(
        &self,
        config: &Config,
        kind: &Kind,
        (cert, key): (&str, &KeyPair),
    ) -> Result<(), CliError> {
        let draft = self.certs.dir().join(format!(".draft.{}", std::process::id()));
        let draft = CertFiles::new(draft);
        files::make_dir(&draft)?;
        let tried = || -> Result<(), CliError> {
            let ca = fs::read_to_string(self.certs.cert(CA_STEM));
            let ca = ca.map_err(CliError::file("read", &self.certs.cert(CA_STEM)))?;
            files::write(&draft.cert(CA_STEM), &ca, CERT_MODE)?;
            files::write(&draft.cert(kind.stem()), cert, CERT_MODE)?;
            files::write(&draft.key(kind.stem()), &key.serialize_pem(), KEY_MODE)?;
            let tried = Material::open(&draft, kind.stem(), &kind.identity(config));
            tried.map(drop).map_err(|error| match error {
                TlsError::Untrusted { .. } => {
                    let path = self.certs.key(CA_STEM);
                    let detail = "it is not the key of the first CA in ca.crt".to_owned();
                    CertsError::from(TlsError::Unusable { path, detail }).into()
                }
                error => CertsError::from(error).into(),
            })
        };
        let tried = tried();
        // What is left is no harm, and is not mistaken for anything.
        let _ = fs::remove_dir_all(draft.dir());
        tried
    }

    /// Makes a new CA that is trusted beside this one and the older ones.
    pub fn succeed(&self, cluster: &str, days: u32) -> Result<(), CliError> {
        let (_, key, pem) = new_ca(cluster, days)?;
        let path = self.certs.cert(CA_STEM);
        let old = fs::read_to_string(&path).map_err(CliError::file("read", &path))?;
        // In this order: a CA that is trusted and has no key can be replaced, one that has a key
        // and is not trusted would make certificates nobody believes.
        files::write(&path, &format!("{pem}{old}"), CERT_MODE)?;
        files::write(&self.certs.key(CA_STEM), &key.serialize_pem(), KEY_MODE)
    }

    /// Trusts the newest CA alone, if all certificates here are of it.
    pub fn drop_older(&self, kinds: &[Kind]) -> Result<(), CliError> {
        let Some(newest) = self.trusted.first() else { return Ok(()) };
        for kind in kinds {
            let path = self.certs.cert(kind.stem());
            if path.exists() && read(&path)?[0].issuer != newest.subject {
                return Err(CertsError::StillNeeded { path }.into());
            }
        }
        let path = self.certs.cert(CA_STEM);
        let text = fs::read_to_string(&path).map_err(CliError::file("read", &path))?;
        let end = "-----END CERTIFICATE-----";
        let first = text.split_inclusive(end).next().unwrap_or_default();
        files::write(&path, &format!("{first}\n"), CERT_MODE)
    }
}

/// The hosts and addresses a certificate is for; none where there is none that can be read.
pub fn names_of(certs: &CertFiles, kind: &Kind) -> Vec<String> {
    let read = read(&certs.cert(kind.stem()));
    read.ok().and_then(|all| all.into_iter().next()).map(|leaf| leaf.names).unwrap_or_default()
}

fn read(path: &Path) -> Result<Vec<Certificate>, CertsError> {
    let text = fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => TlsError::Missing { path: path.to_owned() },
        _ => TlsError::Read { path: path.to_owned(), source },
    })?;
    Ok(certificates(path, &text)?)
}

fn make_error(what: &str, reason: &dyn std::fmt::Display) -> CertsError {
    CertsError::Make { what: what.to_owned(), reason: reason.to_string() }
}

/// A CA of its own name, so that old and new ones are told apart.
fn new_ca(cluster: &str, days: u32) -> Result<(CertificateParams, KeyPair, String), CliError> {
    let cluster: String = cluster.chars().take(NAME_MAX).collect();
    let now = OffsetDateTime::now_utc();
    let name = format!("Ranch CA of {cluster}, {} {:08x}", now.date(), fastrand::u32(..));
    let mut params = ca_params(&name);
    params.not_before = now - BEFORE;
    params.not_after = now + Duration::days(days.into());
    let failed = |error: rcgen::Error| make_error("a CA", &error);
    let key = KeyPair::generate().map_err(failed)?;
    let pem = params.self_signed(&key).map_err(failed)?.pem();
    Ok((params, key, pem))
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    // It makes certificates of processes, and no further CAs.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(config: &Config, kind: &Kind, wish: &Wish) -> Result<CertificateParams, CertsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, kind.stem());
    let identity = kind.identity(config).to_string();
    // An identity is ASCII by its encoding.
    let uri = Ia5String::try_from(identity).map_err(|error| make_error(kind.stem(), &error))?;
    params.subject_alt_names.push(SanType::URI(uri));
    let mut hosts = kind.hosts(config);
    hosts.extend(wish.sans.iter().cloned());
    hosts.sort();
    hosts.dedup();
    for host in hosts {
        params.subject_alt_names.push(host_name(&host)?);
    }
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BEFORE;
    params.not_after = now + Duration::days(wish.days.into());
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn host_name(host: &str) -> Result<SanType, CertsError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let refused = || CertsError::Name { name: host.to_owned() };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
        return Err(refused());
    }
    Ia5String::try_from(host.to_owned()).map(SanType::DnsName).map_err(|_| refused())
}
