//! Everything an HTTP request can be refused with. The sentences are the variants' own; none of
//! them shows a path, a key or another tenant. [`table`] gives each its status, its name and the
//! field at fault, [`answer`](ApiError::answer) makes an answer of it.

mod render;
mod table;

use ranch_proto::coordinate::CoordinateError;
use ranch_proto::pattern::PatternError;
use ranch_proto::phext::PhextNameError;

use crate::forward::ForwardError;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No key, or none that is valid.
    #[error("Unauthorized")]
    Unauthorized,
    /// The key is fine, its tenant is switched off.
    #[error("Forbidden: this tenant is disabled")]
    TenantDisabled,
    /// A write with a read-only key.
    #[error("Forbidden: this key may only read")]
    ReadOnlyKey,
    /// A tenant's key where an administrator's is needed.
    #[error("Forbidden: this needs the admin key")]
    AdminKeyNeeded,
    /// An admin key on a tenant's endpoint without saying which tenant.
    #[error("Forbidden: with the admin key, name a tenant with ?tenant=ID")]
    TenantNeeded,
    /// A tenant's key with another tenant's name.
    #[error("Forbidden: this key is not of the tenant named")]
    OtherTenant,
    /// A phext name that is forbidden or malformed.
    #[error(transparent)]
    PhextName(#[from] PhextNameError),
    /// A malformed coordinate.
    #[error(transparent)]
    Coordinate(#[from] CoordinateError),
    /// A malformed pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// An escape or bytes that are no text.
    #[error("{what} is not valid percent-encoded UTF-8")]
    BadEncoding {
        /// Where it was found.
        what: &'static str,
    },
    /// A parameter or header of the wrong form.
    #[error("{field} must be {expected}")]
    BadParameter {
        /// Its name.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// A line of a list that is not of its form.
    #[error("line {line} of the list: {detail}")]
    BadLine {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// A query in no form there is, in SQ's words.
    #[error("Bad Request: {reason}")]
    BadQuery {
        /// What is wrong with it.
        reason: String,
    },
    /// A JSON body that is none, or not of the expected form.
    #[error("the body is not the JSON expected: {detail}")]
    BadJson {
        /// The parser's words: what was expected where.
        detail: String,
    },
    /// A scroll that is not UTF-8.
    #[error("the scroll is not valid UTF-8 (first wrong byte at {at})")]
    NotUtf8 {
        /// Offset of the first byte that is none.
        at: usize,
    },
    /// A scroll with a phext delimiter in it.
    #[error("the scroll holds the phext delimiter 0x{byte:02X} at byte {at}; use import to split")]
    Delimiter {
        /// The delimiter.
        byte: u8,
        /// Its offset.
        at: usize,
    },
    /// The client stopped sending in the middle of a body.
    #[error("the body ended early")]
    BrokenBody,
    /// The client did not send its body in time.
    #[error("the body arrived too slowly")]
    SlowBody,
    /// A body over its limit.
    #[error("the body is larger than the {limit} bytes allowed here")]
    BodyTooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// A batch of more operations than one may have.
    #[error("the batch has more than the {limit} operations one may have")]
    TooManyOps {
        /// Most allowed.
        limit: usize,
    },
    /// A batch that reads more text than one is answered with.
    #[error(
        "the batch reads a scroll, or scrolls together, larger than the {limit} bytes it may; \
         read large scrolls on their own"
    )]
    BatchReadsTooMuch {
        /// Most bytes allowed.
        limit: u64,
    },
    /// A read in a batch that was carried out before, of a scroll that has changed since.
    #[error("the scroll has changed since this batch was carried out; read it on its own")]
    ChangedSince,
    /// What is wrong with one operation of a batch.
    #[error("op {index}: {error}")]
    Op {
        /// Which, from 0.
        index: usize,
        /// What is wrong.
        error: Box<Self>,
    },
    /// A scroll over its limit.
    #[error("the scroll is larger than the {limit} bytes a scroll may have")]
    ScrollTooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// An append after which a scroll would be over its shard's limit.
    #[error("the scroll would grow larger than a scroll may be; nothing was stored")]
    ScrollFull,
    /// A phext whose text is over the export limit.
    #[error("the text of this phext is larger than the {limit} bytes an export may have")]
    ExportTooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// No such path.
    #[error("Not Found")]
    NotFound,
    /// No scroll where one was asked for.
    #[error("no scroll at {coordinate}")]
    NoScroll {
        /// Where, in printed form.
        coordinate: String,
        /// The log index a stale read reflects.
        applied: Option<u64>,
    },
    /// No such tenant.
    #[error("no tenant {tenant:?}")]
    NoTenant {
        /// The id asked for.
        tenant: String,
    },
    /// No such node.
    #[error("no node {node:?}; `ranch status` lists them")]
    NoNode {
        /// The id or name asked for.
        node: String,
    },
    /// No such shard.
    #[error("no shard {shard}; `ranch status` lists them")]
    NoShard {
        /// The number asked for.
        shard: u32,
    },
    /// What was asked for cannot be done as things are, in a node's or the meta group's words.
    #[error("{reason}")]
    NotNow {
        /// Why not.
        reason: String,
    },
    /// The path is right, the method is not.
    #[error("Method Not Allowed: use {allowed}")]
    MethodNotAllowed {
        /// The methods that are.
        allowed: &'static str,
    },
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("the scroll is at revision {found}, not the one asked for")]
    Changed {
        /// The revision found; 0 where there is no scroll.
        found: u64,
    },
    /// An idempotency key used before for something else.
    #[error("this Idempotency-Key was used before for another request")]
    KeyReused,
    /// A tenant id that is taken.
    #[error("the tenant id {tenant:?} is taken")]
    TenantTaken {
        /// The id.
        tenant: String,
    },
    /// An API key that is in use.
    #[error("this key is in use; choose another one or let one be made")]
    KeyTaken,
    /// No such key of the tenant.
    #[error("the tenant has no key of this name; list them to see their names")]
    NoKey,
    /// A reload where there is no tenants file.
    #[error("this router follows no tenants file; start it with --tenants FILE")]
    NoTenantsFile,
    /// The tenants file did not take effect, in its own words.
    #[error("{reason}")]
    TenantsFile {
        /// Why.
        reason: String,
    },
    /// The meta group found that something exists already, in its own words.
    #[error("{reason}")]
    Exists {
        /// What.
        reason: String,
    },
    /// The meta group refused a command, in its own words.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// Over the tenant's quota.
    #[error("the storage quota of this tenant would be exceeded; nothing was stored")]
    QuotaExceeded,
    /// Not built yet.
    #[error("{endpoint} is not available in this version: {meaning}")]
    NotBuilt {
        /// The endpoint, as in the API's documentation.
        endpoint: &'static str,
        /// What it will do.
        meaning: &'static str,
    },
    /// The ranch could not carry the request out, or cannot say whether it did.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The system gave no randomness for a key.
    #[error("no randomness to make a key from; try again")]
    NoRandomness,
    /// Too many connections.
    #[error("too many connections; try again in a moment")]
    TooManyConnections,
    /// A reply that cannot be right.
    #[error("a shard's answer made no sense; this has been logged")]
    Garbled,
}

impl ApiError {
    /// This, as what is wrong with an op of a batch.
    #[must_use]
    pub fn of_op(self, index: usize) -> Self {
        Self::Op { index, error: Box::new(self) }
    }

    /// Whether an op refused so fails the batch it is in; otherwise it is that op's own result.
    pub fn fails_a_batch(&self) -> bool {
        !matches!(self, Self::ChangedSince)
    }

    /// The revision found where another one was asked for.
    pub fn revision_found(&self) -> u64 {
        if let Self::Changed { found } = self { *found } else { 0 }
    }
}
