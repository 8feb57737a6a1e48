//! What is made of some files, and made anew when they change while the process runs.
//!
//! What must hold: files that cannot be used change nothing, and are complained of once. Files
//! are taken up when two looks found them alike, since one that is being copied, or has not yet
//! been joined by its key, is none.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::certificate::span;
use super::error::TlsError;
use super::{EXPIRY_NEAR, now_s};
use crate::schema::MetricFamily;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// When a certificate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Which one of the process's: `links`, `ca`, `https`.
    pub of: &'static str,
    /// In seconds since the Unix epoch.
    pub not_after_s: u64,
}

/// What has certificates in it.
pub trait Expires: Send + Sync + 'static {
    /// The end of each.
    fn expiries(&self) -> &[Expiry];
}

type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, TlsError> + Send + Sync>;

/// A value made of files.
pub struct Reloaded<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    current: RwLock<Arc<T>>,
    look: Mutex<Look>,
    failures: AtomicU64,
}

struct Look {
    /// What the present value was made of.
    used: blake3::Hash,
    /// What the last look found.
    last: blake3::Hash,
    /// What was found and cannot be used, with the reason.
    refused: Option<(blake3::Hash, String)>,
}

impl<T: Expires> Reloaded<T> {
    /// Reads the files and makes the first value.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn open(
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let texts = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        let current = RwLock::new(Arc::new(make(&texts)?));
        let used = fingerprint(&texts);
        let look = Mutex::new(Look { used, last: used, refused: None });
        Ok(Self { paths, make: Box::new(make), current, look, failures: AtomicU64::new(0) })
    }

    /// The value as it is now.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read())
    }

    /// Looks at the files from now on, until this value is dropped.
    pub fn follow(self: &Arc<Self>) {
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(this) = Weak::upgrade(&this) else { return };
                // Fails only when the process ends.
                let _ = tokio::task::spawn_blocking(move || this.look()).await;
            }
        });
    }

    /// One look at the files.
    fn look(&self) {
        let texts = self.paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>();
        let found = match &texts {
            Ok(texts) => fingerprint(texts),
            Err(error) => blake3::hash(error.to_string().as_bytes()),
        };
        let mut look = self.look.lock();
        let settled = std::mem::replace(&mut look.last, found) == found;
        if found == look.used {
            look.refused = None;
            return;
        }
        if !settled || look.refused.as_ref().is_some_and(|(refused, _)| *refused == found) {
            return;
        }
        let first = self.paths.first().map(|path| path.display().to_string()).unwrap_or_default();
        match texts.and_then(|texts| (self.make)(&texts)) {
            Ok(made) => {
                let ends = made.expiries().iter().map(|expiry| expiry.not_after_s).min();
                let left = span(ends.unwrap_or_default().saturating_sub(now_s()));
                *self.current.write() = Arc::new(made);
                look.used = found;
                look.refused = None;
                tracing::info!("new certificates beside {first} are in use; {left} are left");
            }
            Err(error) => {
                self.failures.fetch_add(1, Relaxed);
                tracing::warn!("new certificates are not used, the old ones are kept: {error}");
                look.refused = Some((found, error.to_string()));
            }
        }
    }
}

/// What a process says of certificates it has.
pub trait Certified: Send + Sync {
    /// What is wrong with them, in words.
    fn problems(&self) -> Vec<String>;

    /// How long they last, and how often new ones could not be used.
    fn metrics(&self) -> Vec<MetricFamily>;
}

impl<T: Expires> Certified for Reloaded<T> {
    fn metrics(&self) -> Vec<MetricFamily> {
        let help = "Seconds until a certificate expires.";
        let mut ends = MetricFamily::gauge("ranch_tls_certificate_expiry_seconds", help);
        let help = "Times that new certificates were found and could not be used.";
        let mut failures = MetricFamily::counter("ranch_tls_reload_errors_total", help);
        let current = self.current();
        for expiry in current.expiries() {
            let left = expiry.not_after_s as f64 - now_s() as f64;
            ends.push(&[("certificate", expiry.of)], left);
        }
        if let Some(first) = current.expiries().first() {
            failures.push(&[("certificate", first.of)], self.failures.load(Relaxed) as f64);
        }
        vec![ends, failures]
    }

    fn problems(&self) -> Vec<String> {
        let refused = self.look.lock().refused.clone();
        let refused = refused.map(|(_, why)| format!("new certificates are not used: {why}"));
        let current = self.current();
        let ends = current.expiries().iter().filter_map(near_its_end);
        ends.chain(refused).collect()
    }
}

/// That a certificate ends soon, or has.
fn near_its_end(expiry: &Expiry) -> Option<String> {
    let what = match expiry.of {
        "ca" => "the CA's certificate",
        "https" => "the certificate for HTTPS",
        _ => "the certificate",
    };
    let now = now_s();
    let remedy = match expiry.of {
        "ca" => "`ranch certs rotate --ca` begins with a new one",
        "https" => "replace the files of [router] tls_cert and tls_key",
        _ => "`ranch certs rotate` makes another one",
    };
    match expiry.not_after_s.checked_sub(now) {
        None => Some(format!("{what} has expired: {remedy}")),
        Some(left) if left < EXPIRY_NEAR.as_secs() => {
            Some(format!("{what} expires in {}: {remedy}", span(left)))
        }
        Some(_) => None,
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => TlsError::Missing { path: path.to_owned() },
        _ => TlsError::Read { path: path.to_owned(), source },
    })
}

fn fingerprint(texts: &[Vec<u8>]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text([Expiry; 1], Vec<u8>);

    impl Expires for Text {
        fn expiries(&self) -> &[Expiry] {
            &self.0
        }
    }

    fn open(path: &Path, left_s: u64) -> Result<Reloaded<Text>, TlsError> {
        let name = path.to_owned();
        Reloaded::open(vec![path.to_owned()], move |texts| {
            if texts[0].starts_with(b"bad") {
                let detail = "bad".to_owned();
                return Err(TlsError::Malformed { path: name.clone(), detail });
            }
            let expiry = Expiry { of: "links", not_after_s: now_s() + left_s };
            Ok(Text([expiry], texts[0].clone()))
        })
    }

    #[test]
    fn only_what_is_settled_and_good_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.crt");
        assert!(matches!(open(&path, 0), Err(TlsError::Missing { .. })));
        std::fs::write(&path, "one").unwrap();
        let reloaded = open(&path, 1 << 30).unwrap();
        let is = |text: &str| reloaded.current().1 == text.as_bytes();
        reloaded.look();
        assert!(is("one") && reloaded.problems().is_empty());
        std::fs::write(&path, "two").unwrap();
        reloaded.look();
        assert!(is("one"), "it may still be being written");
        reloaded.look();
        assert!(is("two"));
        for wrong in ["bad", ""] {
            std::fs::write(&path, wrong).unwrap();
            if wrong.is_empty() {
                std::fs::remove_file(&path).unwrap();
            }
            (0..4).for_each(|_| reloaded.look());
            assert!(is("two"), "what cannot be used changes nothing");
            assert!(reloaded.problems()[0].contains("x.crt"), "{:?}", reloaded.problems());
        }
        assert_eq!(reloaded.failures.load(Relaxed), 2, "each is told once");
        assert!((reloaded.metrics()[1].metrics[0].value - 2.0).abs() < 0.1);
        std::fs::write(&path, "two").unwrap();
        reloaded.look();
        assert!(reloaded.problems().is_empty(), "it is as it was");
    }

    #[test]
    fn the_end_is_told_before_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.crt");
        std::fs::write(&path, "one").unwrap();
        assert_eq!(open(&path, 15 * 86_400).unwrap().problems(), [""; 0]);
        let soon = open(&path, 13 * 86_400 + 100).unwrap().problems();
        assert!(soon[0].contains("13 days") && soon[0].contains("rotate"), "{soon:?}");
    }
}
