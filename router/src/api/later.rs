//! The endpoints that are documented and not built yet, in one table. Each is answered with 501
//! and what it will do, so that nobody takes it for a mistyped path.

use crate::api::Audience;
use crate::error::ApiError;

/// One endpoint to come.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its path below the base; `:x` stands for one segment, `*` for the rest.
    path: &'static str,
    meaning: &'static str,
    /// Who will use it.
    pub audience: Audience,
    /// Whether it will answer in JSON.
    pub json: bool,
}

const fn tenants(path: &'static str, json: bool, meaning: &'static str) -> Endpoint {
    Endpoint { path, meaning, audience: Audience::Tenants, json }
}

static ENDPOINTS: &[Endpoint] = &[
    tenants("search", true, "finds scrolls by their text"),
    tenants("watch", false, "streams changes as they happen"),
    tenants("history/*", true, "lists earlier revisions of a scroll"),
];

impl Endpoint {
    /// What a request for it is answered with.
    pub fn refusal(&self) -> ApiError {
        ApiError::NotBuilt { endpoint: self.path, meaning: self.meaning }
    }

    fn is_at(&self, path: &str) -> bool {
        let mut given = path.split('/');
        for expected in self.path.split('/') {
            match (expected, given.next()) {
                ("*", Some(_)) => return true,
                (_, Some("") | None) => return false,
                (expected, Some(_)) if expected.starts_with(':') => {}
                (expected, Some(segment)) if expected == segment => {}
                _ => return false,
            }
        }
        given.next().is_none()
    }
}

/// The endpoint to come at a path below the base.
pub fn find(path: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.is_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_segments() {
        for (path, expected) in [
            ("search", Some("search")),
            ("history/1.1.1/1.1.1/1.1.1", Some("history/*")),
            ("history", None),
            ("searches", None),
            ("", None),
        ] {
            assert_eq!(find(path).map(|endpoint| endpoint.path), expected, "{path}");
        }
    }
}
