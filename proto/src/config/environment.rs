//! The environment over the file: `RANCH_<SECTION>_<KEY>` for every key of a section and
//! `RANCH_NODE_<ID>_<KEY>` for those of a `[[node]]`.
//!
//! Variables that name no key are left alone: others, container platforms for one, put variables
//! of their own under any prefix.

use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use super::error::ConfigError;
use super::sections::NodeConfig;
use super::{Config, SECTIONS};

impl Config {
    /// This configuration with the variables that `lookup` finds laid over it; not validated.
    ///
    /// # Errors
    /// [`ConfigError::Environment`] for a value that does not fit its key.
    pub fn overridden_by(
        self,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let Self { cluster, storage, placement, router, limits, tls, log, nodes } = self;
        let over = Overrides { lookup };
        Ok(Self {
            cluster: over.section("CLUSTER", SECTIONS[0].1, cluster)?,
            storage: over.section("STORAGE", SECTIONS[1].1, storage)?,
            placement: over.section("PLACEMENT", SECTIONS[2].1, placement)?,
            router: over.section("ROUTER", SECTIONS[3].1, router)?,
            limits: over.section("LIMITS", SECTIONS[4].1, limits)?,
            tls: over.section("TLS", SECTIONS[5].1, tls)?,
            log: over.section("LOG", SECTIONS[6].1, log)?,
            nodes: nodes
                .into_iter()
                .map(|node| over.section(&format!("NODE_{}", node.id), NodeConfig::KEYS, node))
                .collect::<Result<_, _>>()?,
        })
    }
}

struct Overrides<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Overrides<'_> {
    fn section<T>(&self, prefix: &str, keys: &[&str], section: T) -> Result<T, ConfigError>
    where
        T: Serialize + DeserializeOwned,
    {
        let mut section = section;
        for key in keys {
            let variable = format!("RANCH_{prefix}_{}", key.to_uppercase());
            let Some(value) = (self.lookup)(&variable) else { continue };
            section = with_key(section, key, &value)
                .map_err(|detail| ConfigError::Environment { variable, value, detail })?;
        }
        Ok(section)
    }
}

/// `section` with one key read from text, in the way the key's present value is written.
fn with_key<T>(section: T, key: &str, text: &str) -> Result<T, String>
where
    T: Serialize + DeserializeOwned,
{
    let mut table = Table::try_from(section).map_err(|error| error.to_string())?;
    let value = match table.get(key) {
        Some(Value::Integer(_)) => {
            text.trim().parse().map(Value::Integer).map_err(|_| "a whole number is needed")?
        }
        Some(Value::Boolean(_)) => {
            text.trim().parse().map(Value::Boolean).map_err(|_| "`true` or `false` is needed")?
        }
        Some(Value::Array(_)) => {
            let item = |item: &str| Value::String(item.trim().to_owned());
            Value::Array(text.split(',').map(item).collect())
        }
        // A text, or an optional one that is not set.
        _ => Value::String(text.to_owned()),
    };
    table.insert(key.to_owned(), value);
    table.try_into().map_err(|error| error.message().trim().to_owned())
}
