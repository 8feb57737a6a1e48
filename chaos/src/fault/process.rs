//! Faults of processes: killed, paused, restarted, or without the disk they had.

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
                FaultKind::Restart => {
                    ranch.node(node)?.stop(STOP_MAX).await?;
                }
                FaultKind::LostDisk => {
                    ranch.node(node)?.kill()?;
                    let dir = ranch.node_place(node)?.data_dir.clone();
                    std::fs::remove_dir_all(&dir).map_err(HarnessError::io("losing a disk"))?;
                }
                _ => ranch.node(node)?.kill()?,
            }
        }
        Ok(Self { kind: spec.kind, nodes: nodes.to_vec() })
    }

    /// Has them run again.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn heal(self, ranch: &mut Ranch) -> Result<(), HarnessError> {
        self.nodes.iter().try_for_each(|node| match self.kind {
            FaultKind::Pause => ranch.node(*node)?.resume(),
            _ => ranch.node(*node)?.start(),
        })
    }
}
