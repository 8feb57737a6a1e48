//! Finds sections and keys that do not exist, before types are looked at, so that the answer can
//! name the line and the nearest key that does exist.

use toml::de::{DeTable, DeValue};

use super::SECTIONS;
use super::error::{ConfigError, Place};

/// Refuses the first unknown section or key of `text`, or text that is not TOML.
pub(super) fn check(text: &str) -> Result<(), ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::from_toml(text, &error))?;
    for (name, value) in table.get_ref() {
        let place = || Place::at(text, Some(name.span().start));
        let known = SECTIONS.iter().find(|(section, _)| section == name.get_ref());
        let Some((section, keys)) = known else {
            return Err(unknown_section(place(), name.get_ref()));
        };
        for table in tables_of(value.get_ref()) {
            let stranger = table.keys().find(|key| !keys.contains(&key.get_ref().as_ref()));
            if let Some(key) = stranger {
                let place = Place::at(text, Some(key.span().start));
                return Err(unknown_key(place, section, keys, key.get_ref()));
            }
        }
    }
    Ok(())
}

fn tables_of<'a, 'i>(value: &'a DeValue<'i>) -> Vec<&'a DeTable<'i>> {
    match value {
        DeValue::Table(table) => vec![table],
        DeValue::Array(items) => items
            .iter()
            .filter_map(|item| match item.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The heading of a section as the file writes it.
pub(super) fn heading(section: &str) -> String {
    if section == "node" { "[[node]]".to_owned() } else { format!("[{section}]") }
}

fn unknown_section(place: Place, name: &str) -> ConfigError {
    let at_home = SECTIONS.iter().find(|(_, keys)| keys.contains(&name));
    let remedy = if let Some((section, _)) = at_home {
        format!("`{name}` is a key of {}", heading(section))
    } else {
        let nearest = nearest(name, SECTIONS.iter().map(|(section, _)| *section));
        format!("did you mean {}?", heading(nearest))
    };
    ConfigError::Unknown { place, kind: "the section".to_owned(), name: name.to_owned(), remedy }
}

fn unknown_key(place: Place, section: &str, keys: &[&'static str], name: &str) -> ConfigError {
    let at_home = SECTIONS.iter().find(|(_, others)| others.contains(&name));
    let remedy = if let Some((other, _)) = at_home {
        format!("`{name}` is a key of {}", heading(other))
    } else {
        format!("did you mean `{}`?", nearest(name, keys.iter().copied()))
    };
    let kind = format!("in {} the key", heading(section));
    ConfigError::Unknown { place, kind, name: name.to_owned(), remedy }
}

/// The known word most like `word`. There is always one, as no section is empty.
fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> &'static str {
    let likeness = |candidate: &str| strsim::jaro_winkler(word, candidate);
    known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}
