//! What administrators write in JSON bodies, checked. No message quotes a value: one of them may
//! be a key.

use ranch_proto::schema::Profile;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ApiError;

/// Bytes of a megabyte, here as in every quota.
pub(crate) const MB: f64 = 1_048_576.0;

/// How a tenant's `insert` and `select` behave, by name.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProfileName {
    Sq,
    Memory,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Sq => Self::Sq,
            ProfileName::Memory => Self::Memory,
        }
    }
}

impl From<Profile> for ProfileName {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Sq => Self::Sq,
            Profile::Memory => Self::Memory,
        }
    }
}

/// Reads a JSON body; an empty one is an object without fields.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    // A list of values without names would be understood, too, and is never meant.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::BadJson { detail: "an object {…} is expected".to_owned() });
    }
    serde_json::from_slice(body).map_err(|error| ApiError::BadJson { detail: described(&error) })
}

/// A field of a change: one that is absent leaves things as they are, null clears them.
#[derive(Default)]
pub(super) enum Given<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?;
        Ok(value.map_or(Self::Null, Self::Value))
    }
}

impl<T> Given<T> {
    /// Whether there is something to change.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// What to set; `None` to clear.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

/// A quota as bytes; fractions of a megabyte count.
pub(super) fn quota_bytes(mb: f64) -> Result<u64, ApiError> {
    let bytes = (mb * MB).round();
    // 2^63 is far beyond any disk, and exact as a float.
    if !bytes.is_finite() || !(0.0..9.2e18).contains(&bytes) {
        return Err(ApiError::BadParameter {
            field: "quota_mb",
            expected: "a number of megabytes, 0 or more",
        });
    }
    #[allow(clippy::cast_sign_loss)] // checked just above
    Ok(bytes as u64)
}

/// A rate that can be kept to.
pub(super) fn rate(per_s: f64) -> Result<f64, ApiError> {
    if per_s.is_finite() && per_s > 0.0 {
        return Ok(per_s);
    }
    Err(ApiError::BadParameter { field: "rate_per_s", expected: "a number above 0" })
}

/// Bytes as megabytes.
#[allow(clippy::cast_precision_loss)]
pub(super) fn mb(bytes: u64) -> f64 {
    bytes as f64 / MB
}

/// What is wrong with a JSON body.
fn described(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    if reason.starts_with("missing field") || reason.starts_with("unknown field") {
        return format!("{reason} (line {line}, column {column})");
    }
    let what = match error.classify() {
        serde_json::error::Category::Data => "a value of the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "a syntax error",
    };
    format!("{what} at line {line}, column {column}")
}
