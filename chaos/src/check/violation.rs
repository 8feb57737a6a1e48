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
    /// A conditional write took effect where the scroll had another revision.
    #[error("R2: {write} was carried out when the scroll was at revision {found}")]
    SwappedAtAnother {
        /// The write.
        write: String,
        /// The revision the scroll had; 0 for none.
        found: u64,
    },
    /// A conditional write was refused while its condition held.
    #[error("R2: {write} was refused, though the scroll had that revision all the time")]
    SwapRefused {
        /// The write.
        write: String,
    },
    /// A request repeated under its key was answered as another one.
    #[error("R3: {write} has revision {first}, but its repetition was told {second}")]
    RepeatedDifferently {
        /// The write.
        write: String,
        /// Its revision.
        first: u64,
        /// What the repetition was told.
        second: u64,
    },
    /// An atomic batch was carried out in part.
    #[error("R3: of batch {id}, {done} took effect and {undone} was refused")]
    HalfABatch {
        /// The batch.
        id: u64,
        /// What was carried out.
        done: String,
        /// What was not.
        undone: String,
    },
    /// Another write came between those of an atomic batch.
    #[error("R2: revision {revision} came between {first} and {last} of batch {id}")]
    Interrupted {
        /// The batch.
        id: u64,
        /// Its lowest revision.
        first: u64,
        /// Its highest revision.
        last: u64,
        /// The other one.
        revision: u64,
    },
    /// The reads of one batch are of different moments.
    #[error(
        "R2: batch {id} shows {scroll} at revision {shown}, and something else as it was at \
         {moment}, when that scroll had changed"
    )]
    TornRead {
        /// The batch.
        id: u64,
        /// The scroll shown as it had been.
        scroll: String,
        /// The revision shown; 0 for none.
        shown: u64,
        /// The revision another read of the batch reflects.
        moment: u64,
    },
    /// A read that may be stale does not say so.
    #[error("R2: a stale read of {scroll} does not say how far it goes")]
    StaleUnsaid {
        /// The scroll.
        scroll: String,
    },
    /// No order of the operations on a scroll explains what was answered.
    #[error("R2: no order explains what was answered of {scroll} up to {at_us} us, such as {what}")]
    NotLinearizable {
        /// The scroll.
        scroll: String,
        /// When the answer that cannot be explained was complete.
        at_us: u64,
        /// That answer.
        what: String,
    },
    /// The search for an order was given up.
    #[error("R2: the search for an order of what was answered of {scroll} grew too large")]
    Undecided {
        /// The scroll.
        scroll: String,
    },
    /// A tenant had more than it may.
    #[error("R5: tenant {tenant} stored {used} bytes, {quota} are allowed")]
    QuotaExceeded {
        /// The tenant.
        tenant: String,
        /// What was stored.
        used: u64,
        /// What may be.
        quota: u64,
    },
    /// A write that fitted was refused for the quota.
    #[error(
        "R5: {write} was refused for the quota, though {tenant} had at most {used} bytes, it \
         needed {needed}, and {quota} are allowed"
    )]
    QuotaRefused {
        /// The tenant.
        tenant: String,
        /// The write.
        write: String,
        /// The most that can have been stored.
        used: u64,
        /// The most the write can have added.
        needed: u64,
        /// What may be stored.
        quota: u64,
    },
    /// What is told of a tenant's storage is not what its scrolls add up to.
    #[error("R5: tenant {tenant} is said to store {told} bytes, its scrolls add up to {used}")]
    UsageDrift {
        /// The tenant.
        tenant: String,
        /// What an administrator is told.
        told: u64,
        /// What the last reads add up to.
        used: u64,
    },
    /// What is wrong in itself was not refused.
    #[error("R11: {request} was not refused")]
    MalformedAccepted {
        /// The request.
        request: String,
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
            | Self::Reordered { .. }
            | Self::SwappedAtAnother { .. }
            | Self::SwapRefused { .. }
            | Self::Interrupted { .. }
            | Self::TornRead { .. }
            | Self::StaleUnsaid { .. }
            | Self::NotLinearizable { .. }
            | Self::Undecided { .. } => Promise::R2,
            Self::RevisionShared { .. }
            | Self::Doubled { .. }
            | Self::RefusedYetApplied { .. }
            | Self::RepeatedDifferently { .. }
            | Self::HalfABatch { .. } => Promise::R3,
            Self::Foreign { .. } => Promise::R4,
            Self::QuotaExceeded { .. } | Self::QuotaRefused { .. } | Self::UsageDrift { .. } => {
                Promise::R5
            }
            Self::MalformedAccepted { .. } => Promise::R11,
        };
        broken == promise
    }
}
