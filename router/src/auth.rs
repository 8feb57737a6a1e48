//! Whose request it is. The key decides, and only the key; names in the request can refuse access
//! but never give it.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use ranch_proto::Directory;
use ranch_proto::schema::{KeyRecord, Profile, Role, TenantRecord};

use crate::error::ApiError;
use crate::forward::{ForwardError, Home};
use crate::http::date;

const SQ_KEY: HeaderName = HeaderName::from_static("x-sq-api-key");

/// A tenant acting through one of its keys, or an administrator acting for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant's id.
    pub tenant: String,
    /// Where its scrolls live.
    pub shard: Home,
    /// How `insert` and `select` behave for it.
    pub profile: Profile,
    /// Whether it may change anything.
    pub may_write: bool,
    /// Whether its calls are counted: those with its own keys are, an administrator's are not.
    pub counted: bool,
    /// Whether its calls are limited.
    pub limited: bool,
}

/// Who a valid key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A tenant.
    Tenant(Caller),
    /// An administrator of the ranch.
    Admin,
}

/// Finds whose key a request carries.
///
/// # Errors
/// [`ApiError::Unauthorized`] without a valid key, [`ApiError::TenantDisabled`] for a valid one of
/// a tenant that is switched off. Before the directory has arrived nobody can be recognised, which
/// is no reason to turn a valid key away: that is [`ForwardError::Unavailable`].
pub fn identify(directory: &Directory, headers: &HeaderMap) -> Result<Identity, ApiError> {
    if directory.cluster.is_none() {
        return Err(ForwardError::Unavailable.into());
    }
    let record = presented(headers).find_map(|key| directory.find_key(key));
    let record = record.filter(|record| !is_expired(record)).ok_or(ApiError::Unauthorized)?;
    let may_write = match record.role() {
        Role::Admin => return Ok(Identity::Admin),
        Role::ReadWrite => true,
        Role::ReadOnly => false,
        Role::Unspecified => return Err(ApiError::Unauthorized),
    };
    let tenant = directory.tenants.get(&record.tenant).ok_or(ApiError::Unauthorized)?;
    let own = caller(tenant, may_write)?;
    Ok(Identity::Tenant(Caller { counted: true, ..own }))
}

/// The public name of the key a request carries, for the record of what administrators do.
pub fn key_name(directory: &Directory, headers: &HeaderMap) -> Option<String> {
    let record = presented(headers).find_map(|key| directory.find_key(key));
    record.map(|record| record.key_id.clone())
}

/// An administrator acting for the tenant it names.
///
/// # Errors
/// [`ApiError::NoTenant`], [`ApiError::TenantDisabled`].
pub fn on_behalf_of(directory: &Directory, tenant: &str) -> Result<Caller, ApiError> {
    let record = directory.tenants.get(tenant);
    let record = record.ok_or_else(|| ApiError::NoTenant { tenant: tenant.to_owned() })?;
    caller(record, true)
}

fn caller(tenant: &TenantRecord, may_write: bool) -> Result<Caller, ApiError> {
    if !tenant.enabled {
        return Err(ApiError::TenantDisabled);
    }
    Ok(Caller {
        tenant: tenant.id.clone(),
        shard: Home::from(tenant),
        profile: tenant.profile(),
        may_write,
        counted: false,
        limited: tenant.rate_per_s.is_some() || tenant.calls_per_day.is_some(),
    })
}

fn is_expired(record: &KeyRecord) -> bool {
    record.expires_ms.is_some_and(|expires| expires <= date::now_ms())
}

/// The keys a request presents, in the places they may be.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(&AUTHORIZATION).map(without_scheme);
    let sq = text(&SQ_KEY).map(str::trim);
    bearer.into_iter().chain(sq).filter(|key| !key.is_empty())
}

fn without_scheme(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ranch_proto::schema::{ClusterRecord, Record, record::What};

    fn directory() -> Directory {
        let mut directory = Directory::default();
        let mut put = |what| directory.apply(Record { what: Some(what), removed: false });
        let salt = vec![7; 32].into();
        put(What::Cluster(ClusterRecord { key_salt: salt, ..Default::default() }));
        for (id, enabled) in [("will", true), ("gone", false)] {
            put(What::Tenant(TenantRecord {
                id: id.into(),
                shard: 3,
                enabled,
                ..Default::default()
            }));
        }
        for (key, tenant, role, expires_ms) in [
            ("key-will", "will", Role::ReadWrite, None),
            ("key-read", "will", Role::ReadOnly, Some(u64::MAX)),
            ("key-late", "will", Role::ReadWrite, Some(1)),
            ("key-gone", "gone", Role::ReadWrite, None),
            ("key-lost", "nobody", Role::ReadWrite, None),
            ("key-none", "will", Role::Unspecified, None),
            ("key-admin", "", Role::Admin, None),
        ] {
            let hash = ranch_proto::api_key::KeyHash::of(&[7; 32], key);
            let mut record = KeyRecord {
                hash: hash.0.to_vec().into(),
                tenant: tenant.into(),
                expires_ms,
                ..Default::default()
            };
            record.set_role(role);
            put(What::Key(record));
        }
        directory
    }

    fn with(pairs: &[(&'static str, &str)]) -> Result<Identity, ApiError> {
        let headers =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        identify(&directory(), &headers.collect())
    }

    #[test]
    fn every_place_and_spelling_of_a_key() {
        for pairs in [
            &[("authorization", "Bearer key-will")][..],
            &[("authorization", "bearer   key-will ")],
            &[("authorization", "BEARER key-will")],
            &[("authorization", "key-will")],
            &[("x-sq-api-key", "key-will")],
            &[("authorization", "Basic abc"), ("x-sq-api-key", "key-will")],
        ] {
            let Ok(Identity::Tenant(caller)) = with(pairs) else { panic!("{pairs:?}") };
            assert_eq!((caller.tenant.as_str(), caller.may_write), ("will", true));
            assert_eq!(caller.shard.shard.0, 3);
        }
    }

    #[test]
    fn roles_and_states() {
        let one = |key| with(&[("authorization", key)]);
        assert_eq!(one("key-admin"), Ok(Identity::Admin));
        assert!(matches!(one("key-read"), Ok(Identity::Tenant(c)) if !c.may_write));
        assert_eq!(one("key-gone"), Err(ApiError::TenantDisabled));
        for refused in ["key-late", "key-lost", "key-none", "key-wrong", "Bearer", "", "Bearer "] {
            assert_eq!(one(refused), Err(ApiError::Unauthorized), "{refused}");
        }
        assert_eq!(with(&[]), Err(ApiError::Unauthorized));
    }

    #[test]
    fn before_the_directory_arrives_nobody_is_turned_away() {
        let answer = identify(&Directory::default(), &HeaderMap::new());
        assert_eq!(answer, Err(ForwardError::Unavailable.into()));
    }

    #[test]
    fn an_administrator_may_act_for_an_enabled_tenant() {
        let directory = directory();
        assert_eq!(on_behalf_of(&directory, "will").unwrap().tenant, "will");
        assert_eq!(on_behalf_of(&directory, "gone"), Err(ApiError::TenantDisabled));
        assert!(matches!(on_behalf_of(&directory, "x"), Err(ApiError::NoTenant { .. })));
    }
}
