//! Why a request came back without an answer, in words for clients.

/// When to come back to a full disk, in seconds: it is looked at many times in between.
const DISK_FULL_S: u32 = 5;

/// Why a request came back without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// No replica could answer in time; nothing was done.
    #[error("the ranch cannot answer at the moment; nothing was done, try again")]
    Unavailable,
    /// Too much is waiting; nothing was done.
    #[error("too many requests are waiting; nothing was done, try again in a moment")]
    Overloaded,
    /// A write that may or may not have taken effect.
    #[error(
        "outcome: unknown; the write may or may not take effect: \
         read first, or retry with the Idempotency-Key it had"
    )]
    OutcomeUnknown,
    /// The shard found the request itself wrong; nothing was done.
    #[error("the shard refused this request as invalid; nothing was done")]
    Invalid,
    /// The disk of a node that is needed is full; nothing was done.
    #[error(
        "the disk of {} is full; nothing was stored, try again when there is room",
        machine(*node)
    )]
    DiskFull {
        /// The node; 0 for this router's own machine.
        node: u32,
    },
    /// The reply is of another kind than the request.
    #[error("a shard's answer made no sense; this has been logged")]
    Garbled,
    /// The tenant calls faster than it may; nothing was done.
    #[error("Too Many Requests: this tenant calls faster than it may; try again in {} s",
        seconds(*retry_after_ms))]
    RateLimited {
        /// When there will be room again.
        retry_after_ms: u32,
    },
    /// The tenant has no calls left today; nothing was done.
    #[error("Too Many Requests: this tenant has no calls left today; try again in {} s",
        seconds(*retry_after_ms))]
    CallsExhausted {
        /// When the next day begins.
        retry_after_ms: u32,
    },
}

/// Whole seconds, rounded up: whoever comes back then is not early.
fn seconds(ms: u32) -> u32 {
    ms.div_ceil(1_000).max(1)
}

fn machine(node: u32) -> String {
    if node == 0 { "this router".to_owned() } else { format!("node {node}") }
}

impl ForwardError {
    /// Whether the tenant is over its rate or its calls per day.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::CallsExhausted { .. })
    }

    /// When to come back, in seconds, where the error says so.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after_ms } | Self::CallsExhausted { retry_after_ms } => {
                Some(seconds(*retry_after_ms))
            }
            Self::DiskFull { .. } => Some(DISK_FULL_S),
            _ => None,
        }
    }
}
