//! Where a ranch's certificates are: one directory, the same names on every machine, each machine
//! with those it needs.

use std::path::{Path, PathBuf};

/// The certificates of the CAs that are trusted, and the key that makes new certificates.
pub const CA_STEM: &str = "ca";
/// A router's certificate and key.
pub const ROUTER_STEM: &str = "router";

/// The directory `[tls] dir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFiles {
    dir: PathBuf,
}

impl CertFiles {
    /// The files in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The certificate of the process `stem`: a node's name, or [`ROUTER_STEM`]. Of [`CA_STEM`],
    /// those of all CAs that are trusted.
    #[must_use]
    pub fn cert(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}.crt"))
    }

    /// Its key. That of [`CA_STEM`] belongs on no machine of the ranch.
    #[must_use]
    pub fn key(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}.key"))
    }
}
