//! What the endpoints of tenants take and answer, as JSON schemas. A running ranch is held to them
//! by the tests, so a member that is added to an answer is added here.

/// Forms that several answers share, by name.
pub const COMPONENTS: &[(&str, &str)] = &[("Tenant", TENANT_FORM), ("Key", KEY_FORM)];

/// A reference to a tenant's form.
pub const TENANT: &str = r##"{"$ref": "#/components/schemas/Tenant"}"##;
const TENANT_FORM: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "required": [
        "tenant_id", "status", "shard", "data_dir", "quota_mb", "rate_per_s", "calls_per_day",
        "profile", "admin_email", "created", "keys"
    ],
    "properties": {
        "tenant_id": {"type": "string"},
        "status": {"type": "string", "enum": ["active", "disabled", "restoring", "purging"]},
        "shard": {"type": "integer", "minimum": 1},
        "data_dir": {"type": "string"},
        "quota_mb": {"type": ["number", "null"]},
        "rate_per_s": {"type": ["number", "null"]},
        "calls_per_day": {"type": ["integer", "null"]},
        "profile": {"type": "string", "enum": ["sq", "memory"]},
        "admin_email": {"type": ["string", "null"]},
        "created": {"type": "string", "format": "date-time"},
        "keys": {"type": "integer", "minimum": 0}
    }
}"#;
const KEY_FORM: &str = r#"{
    "type": "object",
    "required": ["key_id", "role", "label", "status", "expires_at", "created"],
    "properties": {
        "key_id": {"type": "string"},
        "role": {"type": "string", "enum": ["rw", "ro"]},
        "label": {"type": ["string", "null"]},
        "status": {"type": "string", "enum": ["active", "expired"]},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
        "created": {"type": "string", "format": "date-time"}
    }
}"#;

/// All tenants.
pub const TENANTS: &str = r##"{
    "type": "object",
    "additionalProperties": false,
    "required": ["tenants"],
    "properties": {
        "tenants": {"type": "array", "items": {"$ref": "#/components/schemas/Tenant"}}
    }
}"##;

/// A tenant just made.
pub const ADDED: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "required": ["tenant_id", "api_key", "data_dir", "status"],
    "properties": {
        "tenant_id": {"type": "string"},
        "api_key": {"type": "string"},
        "data_dir": {"type": "string"},
        "status": {"type": "string", "enum": ["active"]}
    }
}"#;

/// Which state a tenant is in now.
pub const STATE: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "required": ["tenant_id", "status"],
    "properties": {
        "tenant_id": {"type": "string"},
        "status": {"type": "string", "enum": ["active", "disabled", "purging", "purged"]}
    }
}"#;

/// What a tenant has stored, and how it calls.
pub const STATS: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "required": [
        "tenant_id", "storage_used_mb", "storage_used_bytes", "quota_mb", "scrolls", "phexts",
        "api_calls_today", "last_active", "shard"
    ],
    "properties": {
        "tenant_id": {"type": "string"},
        "storage_used_mb": {"type": "number", "minimum": 0},
        "storage_used_bytes": {"type": "integer", "minimum": 0},
        "quota_mb": {"type": ["number", "null"]},
        "scrolls": {"type": "integer", "minimum": 0},
        "phexts": {"type": "integer", "minimum": 0},
        "api_calls_today": {"type": "integer", "minimum": 0},
        "last_active": {"type": ["string", "null"], "format": "date-time"},
        "shard": {"type": "integer", "minimum": 1}
    }
}"#;

/// The keys of a tenant.
pub const KEYS: &str = r##"{
    "type": "object",
    "additionalProperties": false,
    "required": ["tenant_id", "keys"],
    "properties": {
        "tenant_id": {"type": "string"},
        "keys": {"type": "array", "items": {"$ref": "#/components/schemas/Key"}}
    }
}"##;

/// A key just made.
pub const ADDED_KEY: &str = r##"{
    "allOf": [
        {"$ref": "#/components/schemas/Key"},
        {
            "type": "object",
            "required": ["tenant_id", "api_key"],
            "properties": {"tenant_id": {"type": "string"}, "api_key": {"type": "string"}}
        }
    ]
}"##;

/// A key that opens nothing any more.
pub const REVOKED: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "required": ["tenant_id", "key_id", "status"],
    "properties": {
        "tenant_id": {"type": "string"},
        "key_id": {"type": "string"},
        "status": {"type": "string", "enum": ["revoked"]}
    }
}"#;

/// What a new tenant may be given.
pub const NEW: &str = r#"{
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

/// What of a tenant may be changed.
pub const CHANGES: &str = r#"{
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

/// What a new key may be given.
pub const NEW_KEY: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "properties": {
        "role": {"type": "string", "enum": ["rw", "ro"]},
        "label": {"type": ["string", "null"], "maxLength": 100},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
        "key": {"type": ["string", "null"], "minLength": 16}
    }
}"#;
