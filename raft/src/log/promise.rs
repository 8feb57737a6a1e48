//! Whom a replica has promised to follow, as of this moment.

use std::sync::Arc;

use super::group_state::GroupState;
use crate::types::Vote;

/// The latest vote of a replica. It is noted before it is stored, and a vote is answered for only
/// when it is stored: so whoever was given one that is later than a leader's, it is known here.
#[derive(Clone)]
pub struct Promise(Arc<GroupState>);

impl Promise {
    pub(super) fn of(state: &Arc<GroupState>) -> Self {
        Self(Arc::clone(state))
    }

    /// The latest vote, the replica's own included; `None` when it never voted.
    #[must_use]
    pub fn latest(&self) -> Option<Vote> {
        self.0.promised()
    }

    /// Whether the replica has voted for nobody who came after this leader, and follows no such.
    #[must_use]
    pub fn is_kept_to(&self, leader: &Vote) -> bool {
        self.latest().is_none_or(|latest| *leader >= latest)
    }
}
