//! Faults of processes: killed, paused, restarted, upgraded, or without the disk they had.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Blow, FaultKind};
use crate::error::HarnessError;
use crate::ranch::Ranch;

/// Longest a node may take to end when asked to.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Nodes whose processes do not run.
#[derive(Debug)]
pub struct Felled {
    kind: FaultKind,
    nodes: Vec<u32>,
}

impl Felled {
    /// Fells nodes, several at one moment.
    ///
    /// # Errors
    /// When one is not running, or does not end when asked to.
    pub async fn begin(blow: Blow<'_>, ranch: &mut Ranch) -> Result<Self, HarnessError> {
        let Blow { spec, nodes, .. } = blow;
        let sudden = matches!(spec.kind, FaultKind::Kill | FaultKind::LostDisk);
        if sudden && nodes.len() > 1 {
            // Stopped first, so that none sees another one fall.
            nodes.iter().try_for_each(|node| ranch.node(*node)?.pause())?;
        }
        for &node in nodes {
            match spec.kind {
                FaultKind::Pause => ranch.node(node)?.pause()?,
                FaultKind::Restart | FaultKind::Upgrade => {
                    ranch.node(node)?.stop(STOP_MAX).await?;
                }
                FaultKind::LostDisk => {
                    ranch.node(node)?.kill()?;
                    let dir = ranch.node_place(node)?.data_dir.clone();
                    fs::remove_dir_all(&dir).map_err(HarnessError::io("losing a disk"))?;
                }
                _ => ranch.node(node)?.kill()?,
            }
        }
        Ok(Self { kind: spec.kind, nodes: nodes.to_vec() })
    }

    /// Has them run again. Of upgrades it gives how many run the binary they were to.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn heal(self, ranch: &mut Ranch) -> Result<Option<u64>, HarnessError> {
        let mut upgraded = 0;
        for &node in &self.nodes {
            match self.kind {
                FaultKind::Pause => ranch.node(node)?.resume()?,
                FaultKind::Upgrade => {
                    let program = ranch.swap_binary(node)?;
                    let process = ranch.node(node)?;
                    process.start()?;
                    upgraded += u64::from(runs(process.pid(), &program));
                }
                _ => ranch.node(node)?.start()?,
            }
        }
        Ok((self.kind == FaultKind::Upgrade).then_some(upgraded))
    }
}

/// Whether a process was started from this very file.
fn runs(pid: Option<u32>, program: &Path) -> bool {
    let started = pid.and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
    started.is_some() && started == fs::canonicalize(program).ok()
}
