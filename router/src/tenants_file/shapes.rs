//! The three shapes of a tenants file, read into one form. Pure. An error names the element by its
//! place in the file and says what to do; no message ever holds a key.
//!
//! ```text
//! {"tenants": [{"id", "api_key", "data_dir"?, "quota_mb"?, "enabled"?} …], "admin_key"?}
//! {"tenants": {KEY: {"name", "data_dir"}}}                                       SQ 0.6
//! [{"token", "port"?, "data_dir"}]   also as the list of the first shape         SQ's router
//! ```

use std::collections::HashMap;
use std::fmt;

use ranch_proto::api_key::Secret;
use ranch_proto::ids::is_tenant_id;
use serde_json::{Map, Value};

use super::{FileContents, FileTenant, Quota};
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
}

impl Reader {
    fn object(&mut self, object: &Map<String, Value>) -> Result<(), FileError> {
        for (name, value) in object {
            match name.as_str() {
                "tenants" => {}
                "reload_on_change" if value.is_boolean() => {}
                "reload_on_change" => {
                    return Err(error(name, Fault::Type { expected: "true or false" }));
                }
                "admin_key" => {
                    self.contents.admin_key = text(object, "", "admin_key")?.map(Secret::new);
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
            if self.contents.tenants.iter().any(|known| known.id == tenant.id) {
                return Err(error(at, Fault::Twice { id: tenant.id }));
            }
            self.own(&tenant.keys, &tenant.id, &at)?;
            self.contents.tenants.push(tenant);
        }
        Ok(())
    }

    fn element(&mut self, element: &Map<String, Value>, at: &str) -> Result<FileTenant, FileError> {
        const KNOWN: [&str; 7] =
            ["id", "api_key", "token", "port", "data_dir", "quota_mb", "enabled"];
        for name in element.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            self.contents.warnings.push(format!("{at}.{name} is not known and ignored"));
        }
        let key = match text(element, at, "api_key")? {
            Some(key) => key,
            None => text(element, at, "token")?
                .ok_or_else(|| error(at, Fault::Missing { field: "api_key" }))?,
        };
        let id = match text(element, at, "id")? {
            Some(id) => id,
            None => text(element, at, "data_dir")?
                .and_then(last_component)
                .ok_or_else(|| error(at, Fault::Missing { field: "id" }))?,
        };
        if !is_tenant_id(id) {
            return Err(error(at, Fault::Id { given: id.to_owned() }));
        }
        let enabled = match element.get("enabled") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(enabled)) => Some(*enabled),
            Some(_) => {
                let fault = Fault::Type { expected: "true or false" };
                return Err(error(format!("{at}.enabled"), fault));
            }
        };
        Ok(FileTenant {
            id: id.to_owned(),
            keys: vec![Secret::new(key)],
            quota: quota(element, at)?,
            enabled,
            data_dir: text(element, at, "data_dir")?.map(str::to_owned),
        })
    }

    /// SQ 0.6: keys are the names of the object's fields, so elements are named by their `name`.
    /// Several keys may name one tenant.
    fn by_key(&mut self, by_key: &Map<String, Value>) -> Result<(), FileError> {
        for (key, element) in by_key {
            let Value::Object(element) = element else {
                return Err(error("tenants", Fault::Type { expected: "objects under keys" }));
            };
            let name = text(element, "a tenant", "name")?;
            let at = format!("the tenant named {:?}", name.unwrap_or("nothing"));
            let data_dir = text(element, &at, "data_dir")?;
            let directory = data_dir.and_then(last_component);
            let id = [name, directory].into_iter().flatten().find(|id| is_tenant_id(id));
            let id = id.ok_or_else(|| match name.or(directory) {
                Some(given) => error(&at, Fault::Id { given: given.to_owned() }),
                None => error("a tenant", Fault::Missing { field: "name" }),
            })?;
            let keys = vec![Secret::new(key)];
            self.own(&keys, id, &at)?;
            match self.contents.tenants.iter_mut().find(|known| known.id == id) {
                Some(known) => known.keys.extend(keys),
                None => self.contents.tenants.push(FileTenant {
                    id: id.to_owned(),
                    keys,
                    quota: None,
                    enabled: None,
                    data_dir: data_dir.map(str::to_owned),
                }),
            }
        }
        self.contents.tenants.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(())
    }

    fn own(&mut self, keys: &[Secret], id: &str, at: &str) -> Result<(), FileError> {
        for key in keys {
            let before = self.owners.insert(key.expose().to_owned(), id.to_owned());
            if before.is_some_and(|owner| owner != id) {
                return Err(error(at, Fault::KeyTwice));
            }
        }
        Ok(())
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

fn last_component(path: &str) -> Option<&str> {
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
