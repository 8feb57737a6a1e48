//! What a history can show a ranch to have done wrong, and which promise that broke.

use crate::scenario::Promise;

/// A broken promise, with the operation or scroll that shows it. Scrolls are named
/// `tenant.coordinate`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two writes of the history carry one token: the workload is at fault, not the ranch.
    #[error("the workload used token {token} twice: nothing can be told from this history")]
    TokenReused {
        /// The token.
        token: String,
    },
    /// A scroll that was written to was not read after the last answer.
    #[error("{scroll} was not read in the end: what is left of it is unknown")]
    NotReadInTheEnd {
        /// The scroll.
        scroll: String,
    },
    /// Two writes were given one revision.
    #[error("R3: revision {revision} of tenant {tenant} was given to {first} and to {second}")]
    RevisionShared {
        /// Whose revision.
        tenant: String,
        /// The revision.
        revision: u64,
        /// A write that has it.
        first: String,
        /// Another write that has it.
        second: String,
    },
    /// A write was given a revision no higher than one answered before it was asked for.
    #[error("R2: {write} got revision {revision}, but {floor} had been answered before it")]
    OutOfOrder {
        /// The write.
        write: String,
        /// Its revision.
        revision: u64,
        /// The revision known before.
        floor: u64,
    },
    /// A read showed less than had been answered before it was asked.
    #[error("R2: a read of {scroll} showed revision {revision}, but {floor} had been answered")]
    StaleRead {
        /// The scroll.
        scroll: String,
        /// The revision shown.
        revision: u64,
        /// The revision known before.
        floor: u64,
    },
    /// A read found nothing where, since revision `floor`, something must have been.
    #[error("R1: a read of {scroll} found nothing, though nothing removed it since {floor}")]
    Vanished {
        /// The scroll.
        scroll: String,
        /// The revision known before the read.
        floor: u64,
    },
    /// A read with a revision showed no line at all.
    #[error("R1: a read of {scroll} at revision {revision} showed an empty text")]
    Emptied {
        /// The scroll.
        scroll: String,
        /// The revision shown.
        revision: u64,
    },
    /// A read lacks a write acknowledged under a revision it covers.
    #[error("R1: a read of {scroll} at revision {revision} lacks the acknowledged {token}")]
    Lost {
        /// The scroll.
        scroll: String,
        /// The revision shown.
        revision: u64,
        /// The token missing.
        token: String,
    },
    /// A read shows one write twice.
    #[error("R3: a read of {scroll} shows {token} twice")]
    Doubled {
        /// The scroll.
        scroll: String,
        /// The token.
        token: String,
    },
    /// A read shows a write the ranch said it had not carried out.
    #[error("R3: a read of {scroll} shows {token}, which had been refused")]
    RefusedYetApplied {
        /// The scroll.
        scroll: String,
        /// The token.
        token: String,
    },
    /// A read shows a text nobody wrote, or part of one.
    #[error("R1: a read of {scroll} shows {token:?}, which nobody wrote")]
    Phantom {
        /// The scroll.
        scroll: String,
        /// What was shown.
        token: String,
    },
    /// A read shows what was written to another scroll.
    #[error("R4: a read of {scroll} shows {token}, which was written to {owner}")]
    Foreign {
        /// The scroll.
        scroll: String,
        /// The token.
        token: String,
        /// Where it belongs.
        owner: String,
    },
    /// A read was answered with a write that had not been asked for yet.
    #[error("R2: a read of {scroll} shows {token} before it was sent")]
    FromTheFuture {
        /// The scroll.
        scroll: String,
        /// The token.
        token: String,
    },
    /// The revision of a read is not that of the last write it shows.
    #[error("R2: a read of {scroll} at revision {revision} ends with {token} of revision {owner}")]
    WrongRevision {
        /// The scroll.
        scroll: String,
        /// The revision shown.
        revision: u64,
        /// The last token shown.
        token: String,
        /// That token's revision.
        owner: u64,
    },
    /// A read shows a write that a later one had removed or replaced.
    #[error("R2: a read of {scroll} at revision {revision} shows {token}, which was gone by then")]
    Resurrected {
        /// The scroll.
        scroll: String,
        /// The revision shown.
        revision: u64,
        /// The token.
        token: String,
    },
    /// Writes appear in an order that contradicts their revisions or another read.
    #[error("R2: a read of {scroll} shows {token} out of order")]
    Reordered {
        /// The scroll.
        scroll: String,
        /// The first token out of place.
        token: String,
    },
}

impl Violation {
    /// Whether it breaks this promise. A history nothing can be told from breaks all of them.
    #[must_use]
    pub fn concerns(&self, promise: Promise) -> bool {
        let broken = match self {
            Self::TokenReused { .. } | Self::NotReadInTheEnd { .. } => return true,
            Self::Vanished { .. }
            | Self::Emptied { .. }
            | Self::Lost { .. }
            | Self::Phantom { .. } => Promise::R1,
            Self::OutOfOrder { .. }
            | Self::StaleRead { .. }
            | Self::FromTheFuture { .. }
            | Self::WrongRevision { .. }
            | Self::Resurrected { .. }
            | Self::Reordered { .. } => Promise::R2,
            Self::RevisionShared { .. } | Self::Doubled { .. } | Self::RefusedYetApplied { .. } => {
                Promise::R3
            }
            Self::Foreign { .. } => Promise::R4,
        };
        broken == promise
    }
}
