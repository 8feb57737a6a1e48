//! Machines that come, leave, die for good, or stay away for so long that others take their place.

use std::time::Duration;

use super::{Blow, FaultKind};
use crate::error::HarnessError;
use crate::ranch::Ranch;

/// Longest wait until what the fault is there for shows.
const BITE_MAX: Duration = Duration::from_mins(1);
/// Longest wait for an account of the ranch.
const ACCOUNT_MAX: Duration = Duration::from_secs(30);

/// A change of who belongs to a ranch.
#[derive(Debug)]
pub struct Change {
    kind: FaultKind,
    node: u32,
    /// Shards it had a copy of.
    copies: u64,
}

impl Change {
    /// Has it come about.
    ///
    /// # Errors
    /// When a process cannot be started, or the ranch does not let a machine go.
    pub async fn begin(blow: Blow<'_>, ranch: &mut Ranch) -> Result<Self, HarnessError> {
        let (kind, node) = (blow.spec.kind, blow.nodes.first().copied().unwrap_or_default());
        let account = ranch.wait_cluster("an account", ACCOUNT_MAX, |_| true).await?;
        let copies = account.copies_on(node) as u64;
        match kind {
            FaultKind::Join => ranch.join(node)?,
            FaultKind::Leave => ranch.remove(node).await?,
            FaultKind::Replace => {
                ranch.node(node)?.kill()?;
                let spare = ranch.next_spare();
                spare.map_or(Ok(()), |spare| ranch.join(spare))?;
            }
            _ => ranch.node(node)?.kill()?,
        }
        Ok(Self { kind, node, copies })
    }

    /// What follows it: a dead machine is removed, or comes back when the others have taken over
    /// what it had. Gives the number of copies that had to move for it.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn heal(self, ranch: &mut Ranch) -> Result<u64, HarnessError> {
        let Self { kind, node, copies } = self;
        match kind {
            FaultKind::Join => {
                let filled = |account: &crate::Cluster| account.copies_on(node) > 0;
                let account = ranch.wait_cluster("a copy to come", BITE_MAX, filled).await;
                Ok(account.map_or(0, |account| account.copies_on(node) as u64))
            }
            FaultKind::Leave => Ok(copies),
            FaultKind::Replace => ranch.remove(node).await.map(|()| copies),
            _ => {
                let replaced = |account: &crate::Cluster| account.copies_on(node) == 0;
                let taken = ranch.wait_cluster("others to take over", BITE_MAX, replaced).await;
                ranch.node(node)?.start()?;
                Ok(if taken.is_ok() { copies } else { 0 })
            }
        }
    }
}
