//! The endpoints of tenants, described.

use crate::api::describe::{
    self, HttpMethod, Operation, Parameter, Reply, argument, json_body, operation, query, reply,
};
use crate::api::tenants::schemas::{
    ADDED, ADDED_KEY, CHANGES, KEYS, NEW, NEW_KEY, REVOKED, STATE, STATS, TENANT, TENANTS,
};

const TAR: &str = r#"{"type":"string","format":"binary"}"#;
const ID: Parameter = argument("id", describe::STRING, "The tenant.");
const KEY_ID: Parameter = argument("key_id", describe::STRING, "The key's public name.");
const PURGE: Parameter =
    query("purge", describe::FLAG, "Delete it and everything it has, for good.");
const JSON: &str = "application/json";
const SHOWN: &[Reply] = &[reply(200, &[(JSON, TENANT)], "As it is now.")];
const LISTED: &[Reply] = &[reply(200, &[(JSON, TENANTS)], "All of them.")];
const MADE: &[Reply] = &[reply(201, &[(JSON, ADDED)], "The tenant and its key, shown this once.")];
const ENABLED: &[Reply] = &[reply(200, &[(JSON, STATE)], "Enabled.")];
const STORED: &[Reply] = &[reply(200, &[(JSON, STATS)], "What it has stored, and its calls.")];
const ITS_KEYS: &[Reply] = &[reply(200, &[(JSON, KEYS)], "Its keys, without the secrets.")];
const MADE_KEY: &[Reply] = &[reply(201, &[(JSON, ADDED_KEY)], "The key, shown this once.")];
const REVOKED_KEY: &[Reply] = &[reply(200, &[(JSON, REVOKED)], "It opens nothing any more.")];
const REMOVED: &[Reply] = &[
    reply(200, &[(JSON, STATE)], "Disabled, or with `purge` gone."),
    reply(202, &[(JSON, STATE)], "Being deleted, which goes on by itself."),
];
const ARCHIVE: &[Reply] = &[reply(200, &[("application/x-tar", TAR)], "Everything, as a tar.")];

/// See the file.
pub static OPERATIONS: &[Operation] = &[
    operation(HttpMethod::Get, "admin/tenants", "All tenants", &[], LISTED),
    operation(HttpMethod::Post, "admin/tenants/add", "Makes a tenant and its first key", &[], MADE)
        .with_body(json_body(NEW)),
    operation(HttpMethod::Get, "admin/tenants/{id}", "Shows a tenant", &[ID], SHOWN),
    operation(HttpMethod::Patch, "admin/tenants/{id}", "Changes what is named", &[ID], SHOWN)
        .with_body(json_body(CHANGES)),
    operation(
        HttpMethod::Delete,
        "admin/tenants/{id}",
        "Disables a tenant, or deletes it for good",
        &[ID, PURGE],
        REMOVED,
    ),
    operation(HttpMethod::Post, "admin/tenants/{id}/restore", "Enables a tenant", &[ID], ENABLED),
    operation(
        HttpMethod::Get,
        "admin/tenants/{id}/stats",
        "What a tenant has stored",
        &[ID],
        STORED,
    ),
    operation(HttpMethod::Get, "admin/tenants/{id}/keys", "The keys of a tenant", &[ID], ITS_KEYS),
    operation(HttpMethod::Post, "admin/tenants/{id}/keys", "Makes another key", &[ID], MADE_KEY)
        .with_body(json_body(NEW_KEY)),
    operation(
        HttpMethod::Delete,
        "admin/tenants/{id}/keys/{key_id}",
        "Revokes a key",
        &[ID, KEY_ID],
        REVOKED_KEY,
    ),
    operation(
        HttpMethod::Get,
        "admin/tenants/{id}/archive",
        "Everything a tenant has",
        &[ID],
        ARCHIVE,
    ),
];
