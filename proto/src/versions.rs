//! Versions: what a binary can write and speak, and what a ranch has agreed to write.
//!
//! Two numbers, each with a range in every binary ([`Support`]). The **format** is that of
//! everything that outlives a process or is the same on all replicas: commands and entries of the
//! logs, rows, files. The **protocol** is that of the links, and is agreed on by each pair of
//! processes: the highest that both speak.
//!
//! The format that is written is the **cluster version**, kept by the meta group. It is raised only
//! when every machine can write the next one, so until then each of them can go back to the version
//! it came from. What is new is a [`Feature`], and the code that would write it asks
//! [`ClusterVersion::allows`] first. **To add one**: a variant of [`Feature`] and its line in
//! [`Feature::since`], which is the newest of [`FORMATS`], or one more once that one was released
//! (then raise [`FORMATS`] with it); ask where the first byte of it would be written, on disk or to
//! another process. Whatever is applied from a log goes by the version of its entry and never by
//! what this process knows, since all replicas must do the same: `Feature::since` is what to
//! compare the entry's version with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::schema::{Hello, Versions};

/// Formats this binary can write. A ranch below the oldest must first run the version between.
pub const FORMATS: Span = Span { min: 1, max: 2 };
/// Protocols this binary speaks on links.
pub const PROTOCOLS: Span = Span { min: 1, max: 2 };
/// The protocol from which on a replica says whether it has voted for nobody after a leader.
pub const KEPT_TO_SINCE: u32 = 2;

/// What a ranch does only from some cluster version on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Calls of tenants are noted in the logs of their shards.
    CallsInLog,
    /// Tokens by which machines join, and which count how many did.
    JoinTokens,
    /// Tenants come back from backups, with scrolls as they once were.
    RestoredTenants,
}

impl Feature {
    /// The cluster version from which on it may be used.
    #[must_use]
    pub const fn since(self) -> u32 {
        match self {
            Self::CallsInLog | Self::JoinTokens | Self::RestoredTenants => 2,
        }
    }
}

/// Versions from the oldest to the newest, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl Span {
    /// Whether a version is one of these.
    #[must_use]
    pub const fn contains(self, version: u32) -> bool {
        self.min <= version && version <= self.max
    }

    /// The newest version of both.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, max) => write!(f, "{min} to {max}"),
        }
    }
}

/// What a binary can write and speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Formats it can write.
    pub formats: Span,
    /// Protocols it speaks.
    pub protocols: Span,
}

impl Support {
    /// What this binary can.
    #[must_use]
    pub fn ours() -> Self {
        imposed().unwrap_or(Self { formats: FORMATS, protocols: PROTOCOLS })
    }

    /// As it is sent.
    #[must_use]
    pub fn to_wire(self) -> Versions {
        Versions {
            protocol_min: self.protocols.min,
            protocol_max: self.protocols.max,
            format_min: self.formats.min,
            format_max: self.formats.max,
        }
    }

    /// What a process says of itself. One that says nothing is of the first version.
    #[must_use]
    pub fn from_wire(versions: Option<&Versions>) -> Self {
        let Some(versions) = versions else {
            let first = Span { min: 1, max: 1 };
            return Self { formats: first, protocols: first };
        };
        Self {
            formats: Span { min: versions.format_min, max: versions.format_max },
            protocols: Span { min: versions.protocol_min, max: versions.protocol_max },
        }
    }

    /// What the sender of a hello can.
    #[must_use]
    pub fn of_hello(hello: &Hello) -> Self {
        if hello.versions.is_some() {
            return Self::from_wire(hello.versions.as_ref());
        }
        let protocols = Span { min: hello.protocol, max: hello.protocol };
        Self { protocols, ..Self::from_wire(None) }
    }

    /// The protocol to speak with another process, which runs `version`.
    ///
    /// # Errors
    /// When there is none, in a sentence with the remedy.
    pub fn agree(self, other: Self, version: &str) -> Result<u32, NoCommonProtocol> {
        let (ours, theirs) = (self.protocols, other.protocols);
        let none = || NoCommonProtocol { version: version.to_owned(), theirs, ours };
        ours.common(theirs).ok_or_else(none)
    }
}

/// Two processes cannot speak with each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "version {version} speaks protocol {theirs} and this one {ours}, so they cannot work together: \
     upgrade the older one, through the versions between if it is far behind"
)]
pub struct NoCommonProtocol {
    /// Of the other binary.
    pub version: String,
    /// What it speaks.
    pub theirs: Span,
    /// What this one speaks.
    pub ours: Span,
}

/// What a ranch has agreed to write, as far as this process knows. Cheap to ask and to clone; until
/// the directory is known it is the oldest, which is always right.
#[derive(Clone, Debug)]
pub struct ClusterVersion(Arc<AtomicU32>);

impl Default for ClusterVersion {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(FORMATS.min)))
    }
}

impl ClusterVersion {
    /// The version.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether something may be written or used by now. It never stops to be.
    #[must_use]
    pub fn allows(&self, feature: Feature) -> bool {
        self.get() >= feature.since()
    }

    /// Takes note of what the directory says.
    pub fn learn(&self, version: u32) {
        self.0.fetch_max(version, Ordering::Relaxed);
    }
}

/// A range that a test imposes on this process, so that it is like a binary of another version.
#[cfg(feature = "versions")]
fn imposed() -> Option<Support> {
    static IMPOSED: std::sync::OnceLock<Option<Support>> = std::sync::OnceLock::new();
    *IMPOSED.get_or_init(read_imposed)
}

#[cfg(feature = "versions")]
fn read_imposed() -> Option<Support> {
    let text = std::env::var("RANCH_TEST_VERSIONS").ok()?;
    let span = |text: &str| {
        let (min, max) = text.split_once('-')?;
        Some(Span { min: min.parse().ok()?, max: max.parse().ok()? })
    };
    let (formats, protocols) = text.split_once('/')?;
    Some(Support { formats: span(formats)?, protocols: span(protocols)? })
}

#[cfg(not(feature = "versions"))]
const fn imposed() -> Option<Support> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(min: u32, max: u32) -> Span {
        Span { min, max }
    }

    #[test]
    fn the_highest_common_version_is_found() {
        assert_eq!(span(1, 2).common(span(1, 1)), Some(1));
        assert_eq!(span(1, 3).common(span(2, 4)), Some(3));
        assert_eq!(span(1, 1).common(span(2, 3)), None);
        assert_eq!((span(1, 1).to_string(), span(1, 2).to_string()), ("1".into(), "1 to 2".into()));
    }

    #[test]
    fn without_a_common_protocol_there_is_a_sentence() {
        let support = |protocols| Support { formats: FORMATS, protocols };
        assert_eq!(support(span(1, 2)).agree(support(span(2, 3)), "9"), Ok(2));
        let error = support(span(1, 2)).agree(support(span(3, 4)), "9.0").unwrap_err().to_string();
        assert!(error.contains("version 9.0 speaks protocol 3 to 4"), "{error}");
        assert!(error.contains("this one 1 to 2") && error.contains("upgrade"), "{error}");
    }

    #[test]
    fn a_process_that_says_nothing_is_of_the_first_version() {
        let old = Hello { protocol: 1, ..Hello::default() };
        let first = Support { formats: span(1, 1), protocols: span(1, 1) };
        assert_eq!(Support::of_hello(&old), first);
        let ours = Support { formats: span(3, 4), protocols: span(5, 6) };
        let new = Hello { protocol: 5, versions: Some(ours.to_wire()), ..Hello::default() };
        assert_eq!(Support::of_hello(&new), ours);
    }

    #[test]
    fn features_come_with_the_cluster_version_and_stay() {
        let version = ClusterVersion::default();
        assert!(!version.allows(Feature::CallsInLog));
        version.learn(2);
        assert!(version.clone().allows(Feature::CallsInLog));
        version.learn(1);
        assert_eq!(version.get(), 2, "there is no way back");
        for feature in [Feature::CallsInLog, Feature::JoinTokens, Feature::RestoredTenants] {
            assert!(FORMATS.contains(feature.since()), "{feature:?}");
        }
    }
}
