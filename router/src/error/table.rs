//! The one table of refusals: to each its status, its name and the field at fault.

use http::StatusCode;
use ranch_proto::phext::PhextNameError;

use crate::error::ApiError;
use crate::forward::ForwardError;

/// One line of the table: status, the name in problem+json's `type`, and the field at fault.
pub(super) type Row = (StatusCode, &'static str, Option<&'static str>);

impl ApiError {
    /// The name of this refusal, as in the type of problem+json.
    pub fn kind(&self) -> &'static str {
        self.row().1
    }

    /// The refusal's line of the table.
    pub(super) fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", None),
            Self::TenantDisabled => (S::FORBIDDEN, "tenant-disabled", None),
            Self::ReadOnlyKey => (S::FORBIDDEN, "read-only-key", None),
            Self::AdminKeyNeeded => (S::FORBIDDEN, "admin-key-needed", None),
            Self::TenantNeeded => (S::FORBIDDEN, "tenant-needed", Some("tenant")),
            Self::OtherTenant => (S::FORBIDDEN, "other-tenant", Some("tenant")),
            Self::PhextName(PhextNameError::Traversal) => (S::FORBIDDEN, "phext-path", Some("p")),
            Self::PhextName(PhextNameError::Invalid { .. }) => {
                (S::BAD_REQUEST, "phext-name", Some("p"))
            }
            Self::Coordinate(_) => (S::BAD_REQUEST, "coordinate", Some("c")),
            Self::Pattern(_) => (S::BAD_REQUEST, "pattern", Some("prefix")),
            Self::BadEncoding { .. } => (S::BAD_REQUEST, "encoding", None),
            Self::BadParameter { field, .. } => (S::BAD_REQUEST, "parameter", Some(field)),
            Self::BadLine { .. } => (S::BAD_REQUEST, "line", Some("body")),
            Self::BadQuery { .. } => (S::BAD_REQUEST, "query", None),
            Self::BadJson { .. } => (S::BAD_REQUEST, "json", Some("body")),
            Self::NotUtf8 { .. } => (S::BAD_REQUEST, "not-utf8", Some("s")),
            Self::Delimiter { .. } => (S::BAD_REQUEST, "delimiter", Some("s")),
            Self::BrokenBody => (S::BAD_REQUEST, "broken-body", Some("body")),
            Self::SlowBody => (S::REQUEST_TIMEOUT, "slow-body", Some("body")),
            Self::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body-too-large", Some("body")),
            Self::TooManyOps { .. } => (S::PAYLOAD_TOO_LARGE, "too-many-ops", Some("ops")),
            Self::BatchReadsTooMuch { .. } => {
                (S::PAYLOAD_TOO_LARGE, "batch-reads-too-much", Some("ops"))
            }
            Self::ChangedSince => (S::CONFLICT, "changed-since", Some("c")),
            Self::Op { error, .. } => error.row_in_a_batch(),
            Self::ScrollTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "scroll-too-large", Some("s")),
            Self::ScrollFull => (S::PAYLOAD_TOO_LARGE, "scroll-full", Some("s")),
            Self::ExportTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "export-too-large", Some("p")),
            Self::NotFound => (S::NOT_FOUND, "not-found", None),
            Self::NoScroll { .. } => (S::NOT_FOUND, "no-scroll", Some("c")),
            Self::NoTenant { .. } => (S::NOT_FOUND, "no-tenant", Some("tenant")),
            Self::NoNode { .. } => (S::NOT_FOUND, "no-node", Some("node")),
            Self::NoShard { .. } => (S::NOT_FOUND, "no-shard", Some("shard")),
            Self::NotNow { .. } => (S::CONFLICT, "not-now", None),
            Self::MethodNotAllowed { .. } => (S::METHOD_NOT_ALLOWED, "method", None),
            Self::Changed { .. } => (S::PRECONDITION_FAILED, "changed", Some("If-Match")),
            Self::KeyReused => {
                (S::UNPROCESSABLE_ENTITY, "idempotency-key", Some("Idempotency-Key"))
            }
            Self::TenantTaken { .. } => (S::CONFLICT, "tenant-taken", Some("tenant_id")),
            Self::KeyTaken => (S::CONFLICT, "key-taken", Some("key")),
            Self::NoKey => (S::NOT_FOUND, "no-key", Some("key_id")),
            Self::NoTenantsFile => (S::CONFLICT, "no-tenants-file", None),
            Self::TenantsFile { .. } => (S::UNPROCESSABLE_ENTITY, "tenants-file", None),
            Self::Exists { .. } => (S::CONFLICT, "exists", None),
            Self::Refused { .. } => (S::BAD_REQUEST, "refused", None),
            Self::QuotaExceeded => (S::INSUFFICIENT_STORAGE, "quota-exceeded", None),
            Self::NotBuilt { .. } => (S::NOT_IMPLEMENTED, "not-built", None),
            Self::Forward(error) => forward_row(*error),
            Self::NoRandomness => (S::SERVICE_UNAVAILABLE, "no-randomness", None),
            Self::TooManyConnections => (S::SERVICE_UNAVAILABLE, "overloaded", None),
            Self::Garbled => (S::INTERNAL_SERVER_ERROR, "garbled", None),
        }
    }

    /// The line of what is wrong with one op, whose fields are those of the batch's JSON.
    fn row_in_a_batch(&self) -> Row {
        let (status, name, field) = self.row();
        let field = match field {
            Some("s") => Some("text"),
            Some("If-Match") => Some("if_rev"),
            other => other,
        };
        (status, name, field)
    }
}

fn forward_row(error: ForwardError) -> Row {
    use StatusCode as S;
    match error {
        ForwardError::Unavailable => (S::SERVICE_UNAVAILABLE, "unavailable", None),
        ForwardError::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded", None),
        ForwardError::OutcomeUnknown => (S::SERVICE_UNAVAILABLE, "outcome-unknown", None),
        ForwardError::Invalid => (S::BAD_REQUEST, "invalid", None),
        ForwardError::DiskFull { .. } => (S::INSUFFICIENT_STORAGE, "disk-full", None),
        ForwardError::Garbled => (S::INTERNAL_SERVER_ERROR, "garbled", None),
        ForwardError::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate-limited", None),
        ForwardError::CallsExhausted { .. } => (S::TOO_MANY_REQUESTS, "calls-exhausted", None),
    }
}
