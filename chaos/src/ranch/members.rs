//! Machines of a ranch that come and leave while it runs, as an operator has them do so: one more
//! `[[node]]` in `ranch.toml` and a process, or a word to the administrators' endpoint.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;

use super::{ADMIN_KEY, Ranch};
use crate::error::HarnessError;
use crate::wait::until;

/// Longest wait until the ranch agrees to let a node go: an election may be under way.
const REMOVE_MAX: Duration = Duration::from_secs(30);
/// Longest wait for one answer to that.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// What a node ends with that must not be started again.
const HAS_LEFT: i32 = 79;
const NOT_FOUND: u16 = 404;

/// Who belongs to a ranch.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The nodes that `ranch.toml` lists.
    listed: BTreeSet<u32>,
    /// Nodes that were told to leave while they ran: they are to end by themselves.
    leavers: Vec<u32>,
}

impl Members {
    /// Those a ranch begins with.
    pub(super) fn first(nodes: u32) -> Self {
        Self { listed: (1..=nodes).collect(), leavers: Vec::new() }
    }
}

impl Ranch {
    /// Ids of the nodes that belong to the ranch, running or not.
    #[must_use]
    pub fn node_ids(&self) -> Vec<u32> {
        self.members.listed.iter().copied().collect()
    }

    /// A machine that has never been in the ranch; `None` when all have.
    #[must_use]
    pub fn next_spare(&self) -> Option<u32> {
        let unused = |id: &u32| self.nodes[id].lives() == 0 && !self.members.listed.contains(id);
        self.nodes.keys().copied().find(unused)
    }

    /// Lists a spare machine and starts its node, which then joins.
    ///
    /// # Errors
    /// When `ranch.toml` cannot be written or the process not be started.
    pub fn join(&mut self, id: u32) -> Result<(), HarnessError> {
        self.members.listed.insert(id);
        self.list()?;
        self.node(id)?.start()
    }

    /// Has the ranch take a node out, dead or alive, and waits until it agrees to. What it holds
    /// goes to the others by and by.
    ///
    /// # Errors
    /// When the ranch does not agree.
    pub async fn remove(&mut self, id: u32) -> Result<(), HarnessError> {
        let target = format!("/api/v2/admin/cluster/nodes/{id}/remove");
        let mut client = self.client(Some(ADMIN_KEY)).with_limit(ANSWER_MAX);
        let json = [("content-type", "application/json")];
        let mut unanswered = false;
        until(&format!("node {id} to be removed"), REMOVE_MAX, async || {
            match client.send(Method::POST, &target, &json, "{}").await {
                Ok(answer) if (200..300).contains(&answer.status) => Some(()),
                // One that was carried out, but not answered, may be over already.
                Ok(answer) => (unanswered && answer.status == NOT_FOUND).then_some(()),
                Err(_) => {
                    unanswered = true;
                    None
                }
            }
        })
        .await?;
        self.members.listed.remove(&id);
        if self.node(id)?.is_running() {
            self.members.leavers.push(id);
        }
        self.list()
    }

    /// Whether all nodes that were told to leave have ended by themselves, with the status that
    /// tells a service manager to leave them alone.
    pub fn leavers_have_ended(&mut self) -> bool {
        let nodes = &mut self.nodes;
        self.members.leavers.iter().all(|id| {
            nodes
                .get_mut(id)
                .is_some_and(|node| !node.is_running() && node.last_status() == Some(HAS_LEFT))
        })
    }

    /// The binary that a rolling upgrade goes to and comes back from: the one given, or a copy of
    /// the one under test.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn provide_other_binary(&mut self, given: Option<&Path>) -> Result<(), HarnessError> {
        let other = if let Some(given) = given {
            given.to_owned()
        } else {
            let copy = self.dir().join("ranch-other");
            let copied = std::fs::copy(&self.binary, &copy);
            copied.map_err(HarnessError::io("copying the binary"))?;
            copy
        };
        self.other_binary = Some(other);
        Ok(())
    }

    /// Has a node run the other of the two binaries from its next start on.
    ///
    /// # Errors
    /// When there is no such node, or no other binary.
    pub fn swap_binary(&mut self, id: u32) -> Result<PathBuf, HarnessError> {
        let missing = || HarnessError::NotRunning { name: "another binary".to_owned() };
        let other = self.other_binary.clone().ok_or_else(missing)?;
        let first = self.binary.clone();
        let node = self.node(id)?;
        let next = if node.program() == other { first } else { other };
        node.set_program(&next);
        Ok(next)
    }

    /// Writes `ranch.toml` with the nodes that belong to the ranch.
    fn list(&self) -> Result<(), HarnessError> {
        let listed = |id: u32| self.members.listed.contains(&id);
        let nodes = self.place.nodes.iter().filter(|node| listed(node.id));
        let text = self.layout.config(self.place.router, nodes);
        let config = &self.place.config;
        std::fs::write(config, text)
            .map_err(HarnessError::io(format!("writing {}", config.display())))
    }
}
