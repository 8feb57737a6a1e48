//! Writing what administrators changed into a tenants file, in its own shape, order and extra
//! fields kept. Pure. Only to be used on a file whose own changes are in force: then what differs
//! from the directory was changed by the API.

use std::collections::{HashMap, HashSet};

use ranch_proto::Directory;
use ranch_proto::api_key::KeyHash;
use ranch_proto::schema::{Role, TenantRecord};
use serde_json::{Map, Value, json};

use super::shapes::{KEYS, file_key, last_component, sq_id};
use super::{FileKey, written};
use crate::api::tenants::MB;

/// What the directory and a file knew of each other when they last agreed: lives of tenants.
pub(super) type Lives = HashMap<String, u64>;

/// Changes a parsed file such that it agrees with the directory; says whether anything differed.
pub(super) fn render(file: &mut Value, directory: &Directory, before: &Lives) -> bool {
    let mut render = Render { directory, before, listed: HashSet::new(), changed: false };
    match file {
        Value::Array(list) => render.list(list, true),
        Value::Object(object) => {
            // It was for one change, which is made.
            render.changed |= object.shift_remove("confirm_removals").is_some();
            match object.get_mut("tenants") {
                Some(Value::Array(list)) => {
                    let of_router = !list.is_empty() && list.iter().all(is_of_router);
                    render.list(list, of_router);
                }
                Some(Value::Object(by_key)) => render.by_key(by_key),
                _ => {}
            }
        }
        _ => {}
    }
    render.changed
}

fn is_of_router(element: &Value) -> bool {
    element.get("token").is_some() && element.get("api_key").is_none()
}

struct Render<'a> {
    directory: &'a Directory,
    before: &'a Lives,
    /// Tenants the file has.
    listed: HashSet<String>,
    changed: bool,
}

impl<'a> Render<'a> {
    fn list(&mut self, list: &mut Vec<Value>, of_router: bool) {
        let length = list.len();
        list.retain_mut(|element| match element {
            Value::Object(element) => {
                let directory = text(element, "data_dir").and_then(last_component);
                let id = text(element, "id").or(directory).unwrap_or_default().to_owned();
                self.keeps(&id, || keys_of(element)) && {
                    self.element(element, &id);
                    true
                }
            }
            _ => true,
        });
        self.changed |= list.len() != length;
        for tenant in self.missing() {
            let hash = self.live_keys(&tenant.id).first().map(written);
            let mut element = if of_router {
                json!({"token": hash, "data_dir": data_dir(tenant)})
            } else {
                json!({"id": tenant.id, "api_key_hash": hash})
            };
            if let Some(bytes) = tenant.quota_bytes {
                element["quota_mb"] = mb(bytes);
            }
            list.push(element);
            self.changed = true;
        }
    }

    fn by_key(&mut self, by_key: &mut Map<String, Value>) {
        let old = std::mem::take(by_key);
        for (key, mut value) in old {
            let Value::Object(element) = &mut value else {
                by_key.insert(key, value);
                continue;
            };
            let directory = text(element, "data_dir").and_then(last_component);
            let id = sq_id(text(element, "name"), directory).unwrap_or_default().to_owned();
            let given = file_key(&key, "").ok();
            if !self.keeps(&id, || given.clone().into_iter().collect()) {
                self.changed = true;
                continue;
            }
            self.settings(element, &id);
            match given.filter(|given| self.is_dead(given, &id)).and(self.substitute(&id, by_key)) {
                Some(hash) => {
                    by_key.insert(hash, value);
                    self.changed = true;
                }
                None => {
                    by_key.insert(key, value);
                }
            }
        }
        for tenant in self.missing() {
            // In this shape a tenant without a key cannot be written down.
            let Some(hash) = self.substitute(&tenant.id, by_key) else { continue };
            let mut element = json!({"name": tenant.id, "data_dir": data_dir(tenant)});
            if let Some(bytes) = tenant.quota_bytes {
                element["quota_mb"] = mb(bytes);
            }
            by_key.insert(hash, element);
            self.changed = true;
        }
    }

    /// Whether an element stays: not that of a tenant that was deleted for good. One that never
    /// was in this ranch stays, as the operator may still do something about it.
    fn keeps(&mut self, id: &str, keys: impl Fn() -> Vec<FileKey>) -> bool {
        let known = self.directory.tenants.get(id).filter(|known| !known.purging);
        let life = known.map(|known| known.life);
        let before = self.before.get(id).copied();
        let was_here =
            before.is_some() || keys().iter().any(|key| matches!(key, FileKey::Plain(_)));
        let stays = match (life, before) {
            (Some(life), Some(before)) => life == before,
            (Some(_), None) => true,
            (None, _) => !was_here,
        };
        if stays {
            self.listed.insert(id.to_owned());
        }
        stays
    }

    fn element(&mut self, element: &mut Map<String, Value>, id: &str) {
        self.settings(element, id);
        let keys = keys_of(element);
        if keys.is_empty() || !keys.iter().all(|key| self.is_dead(key, id)) {
            return;
        }
        if !self.directory.tenants.contains_key(id) {
            return;
        }
        // None of its keys opens anything any more: show one that does.
        let hash = self.live_keys(id).first().map(written);
        let name = if element.contains_key("token") { "token" } else { "api_key_hash" };
        for name in KEYS {
            element.shift_remove(name);
        }
        element.insert(name.to_owned(), json!(hash));
        self.changed = true;
    }

    /// Brings what an element says of quota and access up to date; what it leaves out stays out.
    fn settings(&mut self, element: &mut Map<String, Value>, id: &str) {
        let Some(known) = self.directory.tenants.get(id) else { return };
        if let Some(given) = element.get_mut("quota_mb") {
            #[allow(clippy::cast_sign_loss)] // it was read as a quota before
            let bytes = given.as_f64().map(|mb| (mb * MB).round() as u64);
            if bytes != known.quota_bytes {
                *given = known.quota_bytes.map_or(Value::Null, mb);
                self.changed = true;
            }
        }
        if let Some(given) = element.get_mut("enabled")
            && given.as_bool().is_some_and(|given| given != known.enabled)
        {
            *given = Value::Bool(known.enabled);
            self.changed = true;
        }
    }

    /// Tenants made by the API, or given access again by it, that the file does not have.
    fn missing(&self) -> Vec<&'a TenantRecord> {
        let tenants = self.directory.tenants.values();
        let missing = tenants.filter(|tenant| {
            tenant.enabled && !tenant.purging && !self.listed.contains(&tenant.id)
        });
        missing.collect()
    }

    fn is_dead(&self, key: &FileKey, id: &str) -> bool {
        let Some(hash) = key.hash(self.directory) else { return false };
        let known = self.directory.key_of(&hash);
        known.is_none_or(|known| known.revoked || known.tenant != id)
    }

    /// Hashes of a tenant's keys that are not revoked: those that write first, the oldest first.
    fn live_keys(&self, id: &str) -> Vec<KeyHash> {
        let mut keys: Vec<_> = self.directory.keys_of(id).collect();
        keys.sort_unstable_by_key(|key| {
            (key.role() != Role::ReadWrite, key.expires_ms.is_some(), key.created_ms, &key.key_id)
        });
        keys.iter().filter_map(|key| KeyHash::from_slice(&key.hash)).collect()
    }

    /// A live key of a tenant that is not in the file so far.
    fn substitute(&self, id: &str, by_key: &Map<String, Value>) -> Option<String> {
        let keys = self.live_keys(id).into_iter().map(|hash| written(&hash));
        keys.into_iter().find(|hash| !by_key.contains_key(hash))
    }
}

fn text<'a>(element: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    element.get(name).and_then(Value::as_str)
}

fn keys_of(element: &Map<String, Value>) -> Vec<FileKey> {
    let keys = KEYS.iter().filter_map(|name| text(element, name));
    keys.filter_map(|key| file_key(key, "").ok()).collect()
}

fn data_dir(tenant: &TenantRecord) -> String {
    format!("shard-{}/{}", tenant.shard, tenant.id)
}

/// Whole megabytes without a point.
#[allow(clippy::cast_precision_loss)]
fn mb(bytes: u64) -> Value {
    if bytes.is_multiple_of(1 << 20) { json!(bytes >> 20) } else { json!(bytes as f64 / MB) }
}

#[cfg(test)]
mod tests;
