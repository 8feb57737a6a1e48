//! The endpoints below `admin/restore`, described.

use crate::api::describe::{
    self, Body, HttpMethod, Operation, Parameter, Reply, argument, json_body, operation, reply,
};

const OBJECT: &str = r#"{"type":"object"}"#;
const BINARY: &str = r#"{"type":"string","format":"binary"}"#;
const TOTALS: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "required": ["scrolls", "storage_bytes", "phexts", "revision", "last_write_ms"],
    "properties": {
        "scrolls": {"type": "integer", "minimum": 0},
        "storage_bytes": {"type": "integer", "minimum": 0},
        "phexts": {"type": "integer", "minimum": 0},
        "revision": {"type": "integer", "minimum": 0},
        "last_write_ms": {"type": "integer", "minimum": 0},
        "new_key": {"type": "boolean"}
    }
}"#;
const ID: Parameter = argument("id", describe::STRING, "The tenant.");
const STORED: Body =
    Body { content_type: "application/octet-stream", schema: BINARY, required: true };
const SAID: &[Reply] = &[reply(200, &[("application/json", OBJECT)], "As it is now.")];
const BEGUN: &[Reply] = &[reply(201, &[("application/json", OBJECT)], "It has begun.")];

/// See the file.
pub static OPERATIONS: &[Operation] = &[
    operation(
        HttpMethod::Get,
        "admin/restore",
        "Which tenants come from backups, and which of them are whole",
        &[],
        SAID,
    ),
    operation(
        HttpMethod::Post,
        "admin/restore/tenants",
        "Begins to restore a tenant with the keys it had",
        &[],
        BEGUN,
    )
    .with_body(STORED),
    operation(
        HttpMethod::Post,
        "admin/restore/tenants/{id}/scrolls",
        "Puts a chunk of a backup into a tenant that is being restored",
        &[ID],
        SAID,
    )
    .with_body(STORED),
    operation(
        HttpMethod::Post,
        "admin/restore/tenants/{id}/finish",
        "Puts a restored tenant into use, if it is what it was",
        &[ID],
        SAID,
    )
    .with_body(json_body(TOTALS)),
];
