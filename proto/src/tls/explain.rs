//! What went wrong with a connection, in words an operator can act on: seen from this side, with
//! the other side as "it".

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// What an error of TLS on a link means, and the remedy.
#[must_use]
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(fault) => refused(fault),
        Error::AlertReceived(alert) => told(*alert),
        Error::NoCertificatesPresented => {
            "it shows no certificate: set `dir` in [tls] of its ranch.toml".to_owned()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it speaks plain, but TLS is on here: set `dir` in [tls] of its ranch.toml, too"
                .to_owned()
        }
        Error::PeerIncompatible(why) => {
            format!("its TLS does not go together with ours, which is 1.3 only ({why:?})")
        }
        other => format!("TLS failed: {other}"),
    }
}

/// As [`explain`], for an error of reading or writing; `None` where TLS has no part in it.
#[must_use]
pub fn explain_io(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<Error>().map(explain)
}

/// Whether TLS failed since the other side speaks none.
#[must_use]
pub fn is_plain(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Why we refuse its certificate.
fn refused(fault: &CertificateError) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: make another one with `ranch certs rotate`".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: set the clocks of both machines right".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not of a CA in our ca.crt: both machines need the ca.crt and \
             certificates of one ranch"
                .to_owned()
        }
        CertificateError::Other(other) => other.to_string(),
        other => format!("its certificate is not taken: {other}"),
    }
}

/// Why it refuses ours.
fn told(alert: AlertDescription) -> String {
    match alert {
        // The second where the CAs have one name.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it refuses our certificate, which is not of a CA in its \
             ca.crt: both machines need the ca.crt and certificates of one ranch"
                .to_owned()
        }
        AlertDescription::CertificateExpired => "it refuses our certificate, which has expired by \
             its clock: `ranch certs show` tells, `ranch certs rotate` makes another one"
            .to_owned(),
        AlertDescription::CertificateUnknown
        | AlertDescription::BadCertificate
        | AlertDescription::AccessDenied => "it refuses our certificate, since it meant another \
             process: its log says which; check the addresses in ranch.toml"
            .to_owned(),
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "it wants a certificate and got none".to_owned()
        }
        AlertDescription::NoApplicationProtocol => {
            "it speaks TLS, but not as a node does: is that the address of a router?".to_owned()
        }
        AlertDescription::ProtocolVersion => "it speaks no TLS 1.3".to_owned(),
        other => format!("it ended the connection ({other:?}): its log says why"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_the_remedy() {
        for (error, said) in [
            (Error::InvalidCertificate(CertificateError::Expired), "rotate"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "ca.crt"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "[tls]"),
            (Error::NoCertificatesPresented, "[tls]"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "ca.crt"),
            (Error::AlertReceived(AlertDescription::CertificateExpired), "expired"),
            (Error::AlertReceived(AlertDescription::CertificateUnknown), "ranch.toml"),
        ] {
            let io = io::Error::new(io::ErrorKind::InvalidData, error.clone());
            let words = explain_io(&io).unwrap();
            assert_eq!(words, explain(&error));
            assert!(words.contains(said) && words.lines().count() == 1, "{words}");
        }
        assert_eq!(explain_io(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
