//! The endpoints of tenants, described.

use crate::api::describe::{
    self, HttpMethod, Operation, Parameter, Reply, argument, json_body, operation, query, reply,
};

const OBJECT: &str = r#"{"type":"object"}"#;
const NEW: &str = r#"{
    "type": "object",
    "required": ["tenant_id"],
    "additionalProperties": false,
    "properties": {
        "tenant_id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"},
        "quota_mb": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "admin_email": {"type": ["string", "null"]},
        "key": {"type": ["string", "null"], "minLength": 16},
        "rate_per_s": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "calls_per_day": {"type": ["integer", "null"], "minimum": 1},
        "profile": {"type": ["string", "null"], "enum": ["sq", "memory", null]}
    }
}"#;
const CHANGES: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "properties": {
        "quota_mb": {"type": ["number", "null"], "minimum": 0},
        "rate_per_s": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "calls_per_day": {"type": ["integer", "null"], "minimum": 0},
        "profile": {"type": ["string", "null"], "enum": ["sq", "memory", null]},
        "enabled": {"type": "boolean"},
        "admin_email": {"type": ["string", "null"]}
    }
}"#;
const NEW_KEY: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "properties": {
        "role": {"type": "string", "enum": ["rw", "ro"]},
        "label": {"type": ["string", "null"], "maxLength": 100},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
        "key": {"type": ["string", "null"], "minLength": 16}
    }
}"#;
const TAR: &str = r#"{"type":"string","format":"binary"}"#;
const ID: Parameter = argument("id", describe::STRING, "The tenant.");
const KEY_ID: Parameter = argument("key_id", describe::STRING, "The key's public name.");
const PURGE: Parameter =
    query("purge", describe::FLAG, "Delete it and everything it has, for good.");
const TOLD: &[Reply] = &[reply(200, &[("application/json", OBJECT)], "As it is now.")];
const REMOVED: &[Reply] = &[
    reply(200, &[("application/json", OBJECT)], "Disabled, or with `purge` gone."),
    reply(202, &[("application/json", OBJECT)], "Being deleted, which goes on by itself."),
];
const ARCHIVE: &[Reply] = &[reply(200, &[("application/x-tar", TAR)], "Everything, as a tar.")];

/// See the file.
pub static OPERATIONS: &[Operation] = &[
    operation(HttpMethod::Get, "admin/tenants", "All tenants", &[], TOLD),
    operation(
        HttpMethod::Post,
        "admin/tenants/add",
        "Makes a tenant and its first key",
        &[],
        &[reply(201, &[("application/json", OBJECT)], "The tenant and its key, shown this once.")],
    )
    .with_body(json_body(NEW)),
    operation(HttpMethod::Get, "admin/tenants/{id}", "Shows a tenant", &[ID], TOLD),
    operation(HttpMethod::Patch, "admin/tenants/{id}", "Changes what is named", &[ID], TOLD)
        .with_body(json_body(CHANGES)),
    operation(
        HttpMethod::Delete,
        "admin/tenants/{id}",
        "Disables a tenant, or deletes it for good",
        &[ID, PURGE],
        REMOVED,
    ),
    operation(HttpMethod::Post, "admin/tenants/{id}/restore", "Enables a tenant", &[ID], TOLD),
    operation(HttpMethod::Get, "admin/tenants/{id}/stats", "What a tenant has stored", &[ID], TOLD),
    operation(HttpMethod::Get, "admin/tenants/{id}/keys", "The keys of a tenant", &[ID], TOLD),
    operation(
        HttpMethod::Post,
        "admin/tenants/{id}/keys",
        "Makes another key",
        &[ID],
        &[reply(201, &[("application/json", OBJECT)], "The key, shown this once.")],
    )
    .with_body(json_body(NEW_KEY)),
    operation(
        HttpMethod::Delete,
        "admin/tenants/{id}/keys/{key_id}",
        "Revokes a key",
        &[ID, KEY_ID],
        TOLD,
    ),
    operation(
        HttpMethod::Get,
        "admin/tenants/{id}/archive",
        "Everything a tenant has",
        &[ID],
        ARCHIVE,
    ),
];
