//! The endpoints: which there are, for whom, and what each does. A file an API; a new endpoint is
//! a variant and a function in one of them.

pub(crate) mod admin;
pub(crate) mod backup;
pub(crate) mod batch;
pub(crate) mod describe;
pub(crate) mod health;
pub(crate) mod infer;
pub(crate) mod later;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod pages;
pub(crate) mod reload;
pub(crate) mod rest;
pub(crate) mod scrolls;
pub(crate) mod source;
pub(crate) mod sq;
pub(crate) mod tenants;
pub(crate) mod verify;
pub(crate) mod whole;

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::app::App;
use crate::error::ApiError;
use crate::http::params::Query;

/// Under which all endpoints but health are found.
const BASE: &str = "/api/v2/";

/// What every endpoint is called with.
pub(crate) struct Call<'a, S> {
    /// The router.
    pub app: &'a Arc<App<S>>,
    /// Number of the connection.
    pub connection: u64,
    /// The method; one the endpoint takes.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The query, decoded.
    pub query: &'a Query<'a>,
}

/// Where a request's path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Whether the ranch is well.
    Health(health::Endpoint),
    /// Single scrolls and small answers, as SQ has them.
    Sq(sq::Endpoint),
    /// A phext as a whole.
    Whole(whole::Endpoint),
    /// A scroll or a pattern named in the path.
    Rest(rest::Endpoint, &'a str),
    /// Many operations at once.
    Batch,
    /// Reading the tenants file again.
    Reload,
    /// Running the ranch.
    Admin(admin::Endpoint<'a>),
    /// The description of all endpoints.
    OpenApi,
    /// Documented, but not built yet.
    Later(&'static later::Endpoint),
    /// Nowhere.
    Nothing,
}

/// Whose keys open an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Tenants', and administrators' that name a tenant.
    Tenants,
    /// Administrators' only.
    Administrators,
    /// All.
    Anyone,
    /// Administrators' from anywhere, and any valid one from this machine.
    Local,
    /// None: there is no such endpoint.
    Nobody,
}

/// What a method does to the data of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Looks at it.
    Read,
    /// May change it.
    Write,
}

/// The methods an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Methods {
    /// Ways to look.
    pub read: &'static [Method],
    /// Ways to change.
    pub write: &'static [Method],
    /// All of them, for the Allow header.
    pub names: &'static str,
}

impl Methods {
    /// GET, and HEAD with it.
    pub const READ: Self =
        Self { read: &[Method::GET, Method::HEAD], write: &[], names: "GET, HEAD" };
    /// Questions that may be too long for a query, and so may come in a body.
    pub const ASK: Self = Self {
        read: &[Method::GET, Method::HEAD, Method::POST],
        write: &[],
        names: "GET, HEAD, POST",
    };
    /// Questions that always come in a body.
    pub const ASK_BY_POST: Self = Self { read: &[Method::POST], write: &[], names: "POST" };
    /// SQ's writes. HEAD must not change anything, so they have none.
    pub const SQ_WRITE: Self =
        Self { read: &[], write: &[Method::GET, Method::POST], names: "GET, POST" };
    /// SQ's delete.
    pub const SQ_DELETE: Self = Self {
        read: &[],
        write: &[Method::GET, Method::POST, Method::DELETE],
        names: "GET, POST, DELETE",
    };
    /// Replacing what the path names.
    pub const PUT: Self =
        Self { read: &[], write: &[Method::POST, Method::PUT], names: "POST, PUT" };
    /// Making something.
    pub const POST: Self = Self { read: &[], write: &[Method::POST], names: "POST" };
    /// Listing, and adding to the list.
    pub const READ_AND_POST: Self = Self {
        read: &[Method::GET, Method::HEAD],
        write: &[Method::POST],
        names: "GET, HEAD, POST",
    };
    /// Showing, changing or removing what the path names.
    pub const ONE: Self = Self {
        read: &[Method::GET, Method::HEAD],
        write: &[Method::PATCH, Method::DELETE],
        names: "GET, HEAD, PATCH, DELETE",
    };
    /// Removing what the path names.
    pub const DELETE: Self = Self { read: &[], write: &[Method::DELETE], names: "DELETE" };

    /// What `method` does here.
    ///
    /// # Errors
    /// [`ApiError::MethodNotAllowed`].
    pub fn usage(&self, method: &Method) -> Result<Use, ApiError> {
        match () {
            () if self.read.contains(method) => Ok(Use::Read),
            () if self.write.contains(method) => Ok(Use::Write),
            () => Err(ApiError::MethodNotAllowed { allowed: self.names }),
        }
    }
}

/// The verb of an endpoint's path: `insert` of `/api/v2/insert`, `read` of `/api/v2/read/1.1.1/…`;
/// empty for paths outside the API.
pub(crate) fn verb(path: &str) -> &str {
    let rest = path.strip_prefix(BASE).unwrap_or_default();
    rest.split('/').next().unwrap_or_default()
}

impl<'a> Target<'a> {
    /// Where a path leads; whole segments count.
    pub fn find(path: &'a str) -> Self {
        let Some(rest) = path.strip_prefix(BASE) else {
            return health::Endpoint::find(path).map_or(Self::Nothing, Self::Health);
        };
        let (name, argument) = match rest.split_once('/') {
            Some((name, argument)) => (name, Some(argument)),
            None => (rest, None),
        };
        let found = match argument {
            Some(argument) if name == "admin" => admin::Endpoint::find(argument).map(Self::Admin),
            Some(argument) => {
                rest::Endpoint::find(name).map(|endpoint| Self::Rest(endpoint, argument))
            }
            None => sq::Endpoint::find(name)
                .map(Self::Sq)
                .or_else(|| whole::Endpoint::find(name).map(Self::Whole))
                .or_else(|| (name == "metrics").then_some(Self::Admin(admin::Endpoint::Metrics)))
                .or_else(|| (name == "batch").then_some(Self::Batch))
                .or_else(|| (name == "list").then_some(Self::Rest(rest::Endpoint::List, "")))
                .or_else(|| (name == "openapi.json").then_some(Self::OpenApi))
                .or_else(|| (name == "reload").then_some(Self::Reload)),
        };
        found.or_else(|| later::find(rest).map(Self::Later)).unwrap_or(Self::Nothing)
    }

    /// Whose keys open it.
    pub fn audience(&self) -> Audience {
        match self {
            Self::Health(_) | Self::Nothing => Audience::Nobody,
            Self::Sq(_) | Self::Whole(_) | Self::Rest(..) | Self::Batch => Audience::Tenants,
            Self::Admin(_) => Audience::Administrators,
            Self::OpenApi => Audience::Anyone,
            Self::Reload => Audience::Local,
            Self::Later(endpoint) => endpoint.audience,
        }
    }

    /// What `method` does here.
    ///
    /// # Errors
    /// [`ApiError::MethodNotAllowed`].
    pub fn usage(&self, method: &Method) -> Result<Use, ApiError> {
        match self {
            Self::Health(_) | Self::OpenApi => Methods::READ.usage(method),
            Self::Whole(endpoint) => endpoint.methods().usage(method),
            Self::Sq(endpoint) => endpoint.methods().usage(method),
            Self::Rest(endpoint, _) => endpoint.methods().usage(method),
            Self::Batch => batch::METHODS.usage(method),
            Self::Admin(endpoint) => endpoint.methods().usage(method),
            Self::Reload => Methods::POST.usage(method),
            // Whatever the method, the answer is that it is not built.
            Self::Later(_) => Ok(Use::Read),
            Self::Nothing => Err(ApiError::NotFound),
        }
    }

    /// Whether the endpoint answers in JSON, so that its errors do too.
    pub fn speaks_json(&self) -> bool {
        match self {
            Self::Health(_) | Self::Admin(_) | Self::Batch | Self::OpenApi | Self::Reload => true,
            Self::Whole(endpoint) => endpoint.speaks_json(),
            Self::Later(endpoint) => endpoint.json,
            Self::Sq(_) | Self::Rest(..) | Self::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_say_by_whole_segments() {
        for (path, expected) in [
            ("/api/v2/select", Target::Sq(sq::Endpoint::Select)),
            ("/api/v2/delete", Target::Sq(sq::Endpoint::Delete)),
            ("/api/v2/delete/a/b", Target::Rest(rest::Endpoint::Delete, "a/b")),
            (
                "/api/v2/read/1.1.1/1.1.1/1.1.1",
                Target::Rest(rest::Endpoint::Read, "1.1.1/1.1.1/1.1.1"),
            ),
            ("/api/v2/list", Target::Rest(rest::Endpoint::List, "")),
            ("/api/v2/list/", Target::Rest(rest::Endpoint::List, "")),
            ("/api/v2/batch", Target::Batch),
            ("/api/v2/batch/", Target::Nothing),
            ("/api/v2/toc", Target::Whole(whole::Endpoint::Toc)),
            ("/health/ready", Target::Health(health::Endpoint::Ready)),
            ("/api/v2/selects", Target::Nothing),
            ("/api/v2/select/", Target::Nothing),
            ("/api/v2/Select", Target::Nothing),
            ("/api/v2", Target::Nothing),
            ("/api/v2/", Target::Nothing),
            ("/api/v2/admin", Target::Nothing),
            ("/api/v2/admin/tenants/", Target::Nothing),
            ("/healthy", Target::Nothing),
            ("/", Target::Nothing),
            ("", Target::Nothing),
        ] {
            assert_eq!(Target::find(path), expected, "{path}");
        }
    }

    #[test]
    fn methods_are_told_apart() {
        assert_eq!(Methods::READ.usage(&Method::HEAD), Ok(Use::Read));
        assert_eq!(Methods::SQ_WRITE.usage(&Method::GET), Ok(Use::Write));
        assert!(Methods::SQ_WRITE.usage(&Method::HEAD).is_err());
        assert!(Methods::PUT.usage(&Method::PATCH).is_err());
    }
}
