//! The description and the router say the same: what is described is there, and what is there is
//! described.

use std::collections::BTreeSet;

use http::Method;

use super::*;
use crate::api::Target;
use crate::api::tenants::restore;

/// Every endpoint. One that is missing here is missing in [`template`], too, which does not compile
/// then: add it to both.
const ALL: &[Target<'static>] = &[
    Target::Health(health::Endpoint::Summary),
    Target::Health(health::Endpoint::Live),
    Target::Health(health::Endpoint::Ready),
    Target::Sq(sq::Endpoint::Version),
    Target::Sq(sq::Endpoint::Load),
    Target::Sq(sq::Endpoint::Select),
    Target::Sq(sq::Endpoint::Insert),
    Target::Sq(sq::Endpoint::Update),
    Target::Sq(sq::Endpoint::Delete),
    Target::Sq(sq::Endpoint::Where),
    Target::Whole(whole::Endpoint::Get),
    Target::Whole(whole::Endpoint::Toc),
    Target::Whole(whole::Endpoint::Checksum),
    Target::Whole(whole::Endpoint::Status),
    Target::Whole(whole::Endpoint::JsonExport),
    Target::Whole(whole::Endpoint::Delta),
    Target::Whole(whole::Endpoint::Query),
    Target::Rest(rest::Endpoint::Read, "x"),
    Target::Rest(rest::Endpoint::Write, "x"),
    Target::Rest(rest::Endpoint::List, "x"),
    Target::Rest(rest::Endpoint::List, ""),
    Target::Rest(rest::Endpoint::Delete, "x"),
    Target::Batch,
    Target::Admin(admin::Endpoint::Cluster),
    Target::Admin(admin::Endpoint::Lifecycle(lifecycle::Endpoint::Drain("x"))),
    Target::Admin(admin::Endpoint::Lifecycle(lifecycle::Endpoint::Undrain("x"))),
    Target::Admin(admin::Endpoint::Lifecycle(lifecycle::Endpoint::Remove("x"))),
    Target::Admin(admin::Endpoint::Lifecycle(lifecycle::Endpoint::Transfer("x"))),
    Target::Admin(admin::Endpoint::Lifecycle(lifecycle::Endpoint::FinishUpgrade)),
    Target::Admin(admin::Endpoint::Lifecycle(lifecycle::Endpoint::Token)),
    Target::Admin(admin::Endpoint::Metrics),
    Target::Admin(admin::Endpoint::Tenants),
    Target::Admin(admin::Endpoint::AddTenant),
    Target::Admin(admin::Endpoint::Tenant("x")),
    Target::Admin(admin::Endpoint::RestoreTenant("x")),
    Target::Admin(admin::Endpoint::TenantStats("x")),
    Target::Admin(admin::Endpoint::Keys("x")),
    Target::Admin(admin::Endpoint::Key("x", "x")),
    Target::Admin(admin::Endpoint::Archive("x")),
    Target::Admin(admin::Endpoint::Verify),
    Target::Admin(admin::Endpoint::Backup(backup::Endpoint::About)),
    Target::Admin(admin::Endpoint::Backup(backup::Endpoint::Records)),
    Target::Admin(admin::Endpoint::Backup(backup::Endpoint::Open)),
    Target::Admin(admin::Endpoint::Backup(backup::Endpoint::Close("x"))),
    Target::Admin(admin::Endpoint::Backup(backup::Endpoint::Piece("x", "x"))),
    Target::Admin(admin::Endpoint::Backup(backup::Endpoint::Bytes("x", "x"))),
    Target::Admin(admin::Endpoint::Restore(restore::Endpoint::List)),
    Target::Admin(admin::Endpoint::Restore(restore::Endpoint::Begin)),
    Target::Admin(admin::Endpoint::Restore(restore::Endpoint::Scrolls("x"))),
    Target::Admin(admin::Endpoint::Restore(restore::Endpoint::Finish("x"))),
    Target::Reload,
    Target::OpenApi,
];

/// The path of an endpoint as its table writes it; `None` for what is not described.
fn template(target: &Target<'_>) -> Option<&'static str> {
    Some(match target {
        Target::Health(endpoint) => match endpoint {
            health::Endpoint::Summary => "/health",
            health::Endpoint::Live => "/health/live",
            health::Endpoint::Ready => "/health/ready",
        },
        Target::Sq(endpoint) => match endpoint {
            sq::Endpoint::Version => "version",
            sq::Endpoint::Load => "load",
            sq::Endpoint::Select => "select",
            sq::Endpoint::Insert => "insert",
            sq::Endpoint::Update => "update",
            sq::Endpoint::Delete => "delete",
            sq::Endpoint::Where => "where",
        },
        Target::Whole(endpoint) => match endpoint {
            whole::Endpoint::Get => "get",
            whole::Endpoint::Toc => "toc",
            whole::Endpoint::Checksum => "checksum",
            whole::Endpoint::Status => "status",
            whole::Endpoint::JsonExport => "json-export",
            whole::Endpoint::Delta => "delta",
            whole::Endpoint::Query => "query",
        },
        Target::Rest(endpoint, argument) => match endpoint {
            rest::Endpoint::Read => "read/{c}",
            rest::Endpoint::Write => "write/{c}",
            rest::Endpoint::List if argument.is_empty() => "list",
            rest::Endpoint::List => "list/{prefix}",
            rest::Endpoint::Delete => "delete/{c}",
        },
        Target::Batch => "batch",
        Target::Admin(endpoint) => admin_template(endpoint),
        Target::Reload => "reload",
        Target::OpenApi => "openapi.json",
        Target::Later(_) | Target::Nothing => return None,
    })
}

/// The same of an endpoint for administrators.
fn admin_template(endpoint: &admin::Endpoint<'_>) -> &'static str {
    match endpoint {
        admin::Endpoint::Cluster => "admin/cluster",
        admin::Endpoint::Lifecycle(endpoint) => match endpoint {
            lifecycle::Endpoint::Drain(_) => "admin/cluster/nodes/{id}/drain",
            lifecycle::Endpoint::Undrain(_) => "admin/cluster/nodes/{id}/undrain",
            lifecycle::Endpoint::Remove(_) => "admin/cluster/nodes/{id}/remove",
            lifecycle::Endpoint::Transfer(_) => "admin/cluster/shards/{id}/transfer",
            lifecycle::Endpoint::FinishUpgrade => "admin/cluster/upgrade/finish",
            lifecycle::Endpoint::Token => "admin/cluster/tokens",
        },
        admin::Endpoint::Metrics => "metrics",
        admin::Endpoint::Tenants => "admin/tenants",
        admin::Endpoint::AddTenant => "admin/tenants/add",
        admin::Endpoint::Tenant(_) => "admin/tenants/{id}",
        admin::Endpoint::RestoreTenant(_) => "admin/tenants/{id}/restore",
        admin::Endpoint::TenantStats(_) => "admin/tenants/{id}/stats",
        admin::Endpoint::Keys(_) => "admin/tenants/{id}/keys",
        admin::Endpoint::Key(..) => "admin/tenants/{id}/keys/{key_id}",
        admin::Endpoint::Verify => "admin/cluster/verify",
        admin::Endpoint::Archive(_) => "admin/tenants/{id}/archive",
        admin::Endpoint::Backup(endpoint) => match endpoint {
            backup::Endpoint::About => "admin/backup",
            backup::Endpoint::Records => "admin/backup/records",
            backup::Endpoint::Open => "admin/backup/copies",
            backup::Endpoint::Close(_) => "admin/backup/copies/{copy}",
            backup::Endpoint::Piece(..) => "admin/backup/copies/{copy}/{piece}",
            backup::Endpoint::Bytes(..) => "admin/backup/copies/{copy}/{piece}/bytes",
        },
        admin::Endpoint::Restore(endpoint) => match endpoint {
            restore::Endpoint::List => "admin/restore",
            restore::Endpoint::Begin => "admin/restore/tenants",
            restore::Endpoint::Scrolls(_) => "admin/restore/tenants/{id}/scrolls",
            restore::Endpoint::Finish(_) => "admin/restore/tenants/{id}/finish",
        },
    }
}

/// A path that leads to an operation.
fn sample(operation: &Operation) -> String {
    let whole = path(operation);
    let segments = whole.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    segments.collect::<Vec<_>>().join("/")
}

#[test]
fn the_router_and_its_description_agree() {
    let mut described = BTreeSet::new();
    for operation in operations() {
        let path = sample(operation);
        let target = Target::find(&path);
        assert!(ALL.contains(&target), "{path} leads to {target:?}");
        assert_eq!(template(&target), Some(operation.path), "{path}");
        let method: Method = verb(operation).parse().unwrap();
        assert!(target.usage(&method).is_ok(), "{method} {path}");
        let new = described.insert((operation.path, method.to_string()));
        assert!(new, "{method} {path} twice");
    }
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    for target in ALL {
        for method in methods.iter().filter(|method| target.usage(method).is_ok()) {
            let name = (template(target).unwrap(), method.to_string());
            assert!(described.contains(&name), "{name:?} is not described");
        }
    }
}

#[test]
fn arguments_are_those_of_the_path_and_schemas_can_be_read() {
    for operation in operations() {
        let given: Vec<_> = operation
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let told = operation.parameters.iter().filter(|p| p.place == Place::Path);
        assert_eq!(told.map(|p| p.name).collect::<Vec<_>>(), given, "{}", operation.path);
        let bodies = operation.body.iter().map(|body| body.schema);
        let answers = operation.answers.iter().flat_map(|reply| reply.content).map(|(_, s)| *s);
        let parameters = operation.parameters.iter().map(|parameter| parameter.schema);
        for text in bodies.chain(answers).chain(parameters) {
            assert!(serde_json::from_str::<RefOr<Schema>>(text).is_ok(), "{text}");
        }
    }
    assert!(serde_json::from_str::<RefOr<Schema>>(PROBLEM).is_ok());
}

#[test]
fn the_document_is_openapi_3_1() {
    let document: serde_json::Value = serde_json::from_slice(&DOCUMENT).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/v2/select"]["get"]["responses"]["200"].is_object());
    assert_eq!(document["paths"]["/health"]["get"]["security"], serde_json::json!([{}]));
}
