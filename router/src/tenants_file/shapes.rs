//! The three shapes of a tenants file, read into one form. Pure. An error names the element by its
//! place in the file and says what to do; no message ever holds a key.
//!
//! ```text
//! {"tenants": [{"id", "api_key", "data_dir"?, "quota_mb"?, "enabled"?} …], "admin_key"?}
//! {"tenants": {KEY: {"name", "data_dir"}}}                                       SQ 0.6
//! [{"token", "port"?, "data_dir"}]   also as the list of the first shape         SQ's router
//! ```
//!
//! Wherever a key stands, its hash may stand as `blake3:` and 64 hex digits; in the first shape it
//! is mostly called `api_key_hash`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use ranch_proto::api_key::{KeyHash, Secret};
use ranch_proto::hex;
use ranch_proto::ids::is_tenant_id;
use serde_json::{Map, Value};

use super::{FileContents, FileKey, FileTenant, HASH_PREFIX, Quota};
use crate::api::tenants::MB;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {fault}")]
pub struct FileError {
    /// The element, like `tenants[3].quota_mb`.
    pub at: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not JSON.
    Syntax {
        /// Where the parser stopped, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
    },
    /// It is JSON of another shape.
    Shape,
    /// A field is missing.
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A field is of another type.
    Type {
        /// What it may be.
        expected: &'static str,
    },
    /// No tenant can have this id.
    Id {
        /// The id as given.
        given: String,
    },
    /// The id was given before.
    Twice {
        /// The id.
        id: String,
    },
    /// The key was given before, to another tenant.
    KeyTwice,
    /// What should be the hash of a key is none.
    Hash,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column } => {
                write!(f, "this is not JSON; see line {line}, column {column}")
            }
            Self::Shape => f.write_str(
                "expected {\"tenants\": [{\"id\": …, \"api_key\": …}]}, SQ's \
                 {\"tenants\": {KEY: {\"name\": …}}}, or SQ router's [{\"token\": …}]",
            ),
            Self::Missing { field } => write!(f, "{field} is missing; add it"),
            Self::Type { expected } => write!(f, "this must be {expected}"),
            Self::Id { given } => write!(
                f,
                "{given:?} cannot be an id; use 1 to 63 of a-z, 0-9, _ and -, beginning with a \
                 letter or digit"
            ),
            Self::Twice { id } => write!(f, "the id {id:?} is given twice; remove one"),
            Self::Hash => write!(
                f,
                "the hash of a key is {HASH_PREFIX} and 64 hex digits; give a key as api_key"
            ),
            Self::KeyTwice => f.write_str("another tenant has the same key; give it its own"),
        }
    }
}

/// Reads a file of any shape.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(text: &[u8]) -> Result<FileContents, FileError> {
    let value: Value = serde_json::from_slice(text).map_err(|error| {
        let fault = Fault::Syntax { line: error.line(), column: error.column() };
        FileError { at: "the file".to_owned(), fault }
    })?;
    let mut reader = Reader::default();
    match value {
        Value::Array(list) => reader.list(&list, "")?,
        Value::Object(object) => reader.object(&object)?,
        _ => return Err(error("the file", Fault::Shape)),
    }
    Ok(reader.contents)
}

fn error(at: impl Into<String>, fault: Fault) -> FileError {
    FileError { at: at.into(), fault }
}

#[derive(Default)]
struct Reader {
    contents: FileContents,
    /// Which tenant has a key, to find keys given to two.
    owners: HashMap<String, String>,
    ids: HashSet<String>,
}

impl Reader {
    fn object(&mut self, object: &Map<String, Value>) -> Result<(), FileError> {
        for (name, value) in object {
            match name.as_str() {
                "tenants" => {}
                "reload_on_change" => self.contents.by_hand = !boolean(value, name)?,
                "confirm_removals" => self.contents.confirmed = boolean(value, name)?,
                "admin_key" => {
                    let key = text(object, "", "admin_key")?;
                    self.contents.admin_key = key.map(|key| file_key(key, name)).transpose()?;
                }
                _ => self.contents.warnings.push(format!("{name:?} is not known and ignored")),
            }
        }
        match object.get("tenants") {
            Some(Value::Array(list)) => self.list(list, "tenants"),
            Some(Value::Object(by_key)) => self.by_key(by_key),
            _ => Err(error("the file", Fault::Shape)),
        }
    }

    fn list(&mut self, list: &[Value], name: &str) -> Result<(), FileError> {
        for (index, element) in list.iter().enumerate() {
            let at = format!("{name}[{index}]");
            let Value::Object(element) = element else {
                return Err(error(at, Fault::Type { expected: "an object" }));
            };
            let tenant = self.element(element, &at)?;
            if !self.ids.insert(tenant.id.clone()) {
                return Err(error(at, Fault::Twice { id: tenant.id }));
            }
            self.own(&tenant.keys, &tenant.id, &at)?;
            self.contents.tenants.push(tenant);
        }
        Ok(())
    }

    fn element(&mut self, element: &Map<String, Value>, at: &str) -> Result<FileTenant, FileError> {
        const KNOWN: [&str; 8] =
            ["id", "api_key", "api_key_hash", "token", "port", "data_dir", "quota_mb", "enabled"];
        for name in element.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            self.contents.warnings.push(format!("{at}.{name} is not known and ignored"));
        }
        let mut keys = Vec::new();
        for name in KEYS {
            let Some(key) = text(element, at, name)? else { continue };
            let key = file_key(key, &format!("{at}.{name}"))?;
            if name == "api_key_hash" && matches!(key, FileKey::Plain(_)) {
                return Err(error(format!("{at}.{name}"), Fault::Hash));
            }
            keys.push(key);
        }
        // An entry written for a tenant without any key has null there.
        if keys.is_empty() && !KEYS.iter().any(|name| element.contains_key(*name)) {
            return Err(error(at, Fault::Missing { field: "api_key" }));
        }
        let id = match text(element, at, "id")? {
            Some(id) => id,
            None => text(element, at, "data_dir")?
                .and_then(last_component)
                .ok_or_else(|| error(at, Fault::Missing { field: "id" }))?,
        };
        if !is_tenant_id(id) {
            return Err(error(at, Fault::Id { given: id.to_owned() }));
        }
        let (quota, enabled) = (quota(element, at)?, enabled(element, at)?);
        let data_dir = text(element, at, "data_dir")?.map(str::to_owned);
        Ok(FileTenant { id: id.to_owned(), keys, quota, enabled, data_dir })
    }

    /// SQ 0.6: keys are the names of the object's fields, so elements are named by their `name`.
    /// Several keys may name one tenant.
    fn by_key(&mut self, by_key: &Map<String, Value>) -> Result<(), FileError> {
        let mut tenants = BTreeMap::<String, FileTenant>::new();
        for (key, element) in by_key {
            let Value::Object(element) = element else {
                return Err(error("tenants", Fault::Type { expected: "objects under keys" }));
            };
            let name = text(element, "a tenant", "name")?;
            let at = format!("the tenant named {:?}", name.unwrap_or("nothing"));
            let data_dir = text(element, &at, "data_dir")?;
            let directory = data_dir.and_then(last_component);
            let id = sq_id(name, directory);
            let id = id.ok_or_else(|| match name.or(directory) {
                Some(given) => error(&at, Fault::Id { given: given.to_owned() }),
                None => error("a tenant", Fault::Missing { field: "name" }),
            })?;
            let keys = vec![file_key(key, &at)?];
            self.own(&keys, id, &at)?;
            let (quota, enabled) = (quota(element, &at)?, enabled(element, &at)?);
            if let Some(known) = tenants.get_mut(id) {
                known.keys.extend(keys);
                known.quota = known.quota.or(quota);
                known.enabled = known.enabled.or(enabled);
                continue;
            }
            let (id, data_dir) = (id.to_owned(), data_dir.map(str::to_owned));
            tenants.insert(id.clone(), FileTenant { id, keys, quota, enabled, data_dir });
        }
        self.contents.tenants = tenants.into_values().collect();
        Ok(())
    }

    fn own(&mut self, keys: &[FileKey], id: &str, at: &str) -> Result<(), FileError> {
        for key in keys {
            let before = self.owners.insert(key.as_written(), id.to_owned());
            if before.is_some_and(|owner| owner != id) {
                return Err(error(at, Fault::KeyTwice));
            }
        }
        Ok(())
    }
}

/// The fields of an element that may hold its key, the first of them first.
pub(super) const KEYS: [&str; 3] = ["api_key", "api_key_hash", "token"];

/// The id of an element of SQ's shape: its name, or else the last part of its directory.
pub(super) fn sq_id<'a>(name: Option<&'a str>, directory: Option<&'a str>) -> Option<&'a str> {
    [name, directory].into_iter().flatten().find(|id| is_tenant_id(id))
}

/// A key or its hash.
pub(super) fn file_key(text: &str, at: &str) -> Result<FileKey, FileError> {
    let Some(digits) = text.strip_prefix(HASH_PREFIX) else {
        return Ok(FileKey::Plain(Secret::new(text)));
    };
    let hash = hex::decode(digits).and_then(|bytes| KeyHash::from_slice(&bytes));
    hash.map(FileKey::Hash).ok_or_else(|| error(at, Fault::Hash))
}

fn boolean(value: &Value, at: &str) -> Result<bool, FileError> {
    value.as_bool().ok_or_else(|| error(at, Fault::Type { expected: "true or false" }))
}

fn enabled(element: &Map<String, Value>, at: &str) -> Result<Option<bool>, FileError> {
    match element.get("enabled") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => boolean(value, &format!("{at}.enabled")).map(Some),
    }
}

/// A text field that may be missing; an empty one is a mistake.
fn text<'a>(
    element: &'a Map<String, Value>,
    at: &str,
    name: &str,
) -> Result<Option<&'a str>, FileError> {
    match element.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => {
            let at = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
            Err(error(at, Fault::Type { expected: "a text that is not empty" }))
        }
    }
}

#[allow(clippy::cast_sign_loss)] // the range is checked first
fn quota(element: &Map<String, Value>, at: &str) -> Result<Option<Quota>, FileError> {
    let bytes = match element.get("quota_mb") {
        None => return Ok(None),
        Some(Value::Null) => return Ok(Some(Quota::Unlimited)),
        Some(value) => value.as_f64().map(|mb| (mb * MB).round()),
    };
    match bytes {
        Some(bytes) if (0.0..9.2e18).contains(&bytes) => Ok(Some(Quota::Bytes(bytes as u64))),
        _ => Err(error(
            format!("{at}.quota_mb"),
            Fault::Type { expected: "a number of megabytes, 0 or more" },
        )),
    }
}

pub(super) fn last_component(path: &str) -> Option<&str> {
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
