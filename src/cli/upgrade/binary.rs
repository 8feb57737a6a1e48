//! The binary to upgrade to: looked at before anything is touched.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ranch_proto::versions::{Span, Support};
use serde::{Deserialize, Serialize};

use super::UpgradeError;
use super::account::Account;

/// Longest the binary may take to say what it can.
const SAY_MAX: Duration = Duration::from_secs(20);

/// What `ranch versions` prints.
#[derive(Debug, Deserialize, Serialize)]
pub struct Said {
    /// Version of the binary.
    pub version: String,
    /// Cluster versions it can do.
    pub formats: Range,
    /// Protocols it speaks.
    pub protocols: Range,
}

/// From the oldest to the newest.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Range {
    min: u32,
    max: u32,
}

impl From<Span> for Range {
    fn from(Span { min, max }: Span) -> Self {
        Self { min, max }
    }
}

impl From<Range> for Span {
    fn from(Range { min, max }: Range) -> Self {
        Self { min, max }
    }
}

impl Said {
    /// What this binary can.
    pub fn ours() -> Self {
        let Support { formats, protocols } = Support::ours();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, formats: formats.into(), protocols: protocols.into() }
    }
}

/// A binary that can be started in the place of another.
#[derive(Debug)]
pub struct Binary {
    /// Its absolute path.
    pub path: PathBuf,
    /// What it says of itself.
    pub said: Said,
}

impl Binary {
    /// Asks the binary what it is.
    pub async fn inspect(path: &Path) -> Result<Self, UpgradeError> {
        let shown = path.to_owned();
        let unusable = |reason: String| UpgradeError::Unusable { path: shown.clone(), reason };
        let path = path.canonicalize().map_err(|error| unusable(error.to_string()))?;
        let asked = tokio::process::Command::new(&path)
            .arg("versions")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(SAY_MAX, asked)
            .await
            .map_err(|_| unusable("it does not say what it is".to_owned()))?
            .map_err(|error| unusable(error.to_string()))?;
        let said = serde_json::from_slice(&output.stdout)
            .map_err(|_| unusable("it does not say which versions it can do".to_owned()))?;
        Ok(Self { path, said })
    }

    /// Refuses a binary that could not take part in the ranch as it is.
    pub fn check(&self, account: &Account) -> Result<(), UpgradeError> {
        let (formats, at) = (Span::from(self.said.formats), account.cluster_version);
        let version = self.said.version.clone();
        if !formats.contains(at) {
            return Err(UpgradeError::ClusterVersion { version, formats, at });
        }
        for node in &account.nodes {
            let Some(theirs) = node.protocols else { continue };
            let (ours, theirs) = (Span::from(self.said.protocols), Span::from(theirs));
            if ours.common(theirs).is_none() {
                let name = node.name.clone();
                return Err(UpgradeError::Protocol { version, ours, name, theirs });
            }
        }
        Ok(())
    }
}
