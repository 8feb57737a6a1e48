//! API keys: made, hashed, compared. A key itself is only ever held in a [`Secret`].

use std::fmt;

use subtle::ConstantTimeEq;

/// Text that must not be printed: its `Debug` is redacted and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that must show or send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Fewest characters of a key an operator chose (SPEC 7).
pub const CHOSEN_KEY_MIN: usize = 16;

/// Makes a key from 160 bits of the system's randomness: `pmb-v1-` and 40 hex digits.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0_u8; 20];
    getrandom::fill(&mut bytes)?;
    Ok(Secret(format!("pmb-v1-{}", crate::hex::encode(&bytes))))
}

/// A key as it is stored: BLAKE3 keyed with the ranch's own salt.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Hashes a presented key under the ranch's salt.
    #[must_use]
    pub fn of(salt: &[u8; 32], key: &str) -> Self {
        Self(*blake3::keyed_hash(salt, key.as_bytes()).as_bytes())
    }

    /// Reads a stored hash; `None` unless it is 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl Eq for KeyHash {}

impl std::hash::Hash for KeyHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_have_the_documented_form() {
        let key = generate().unwrap();
        let hex = key.expose().strip_prefix("pmb-v1-").unwrap();
        assert_eq!(hex.len(), 40);
        assert!(hex.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(key, generate().unwrap());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("pmb-v1-abc")), "Secret(…)");
    }

    #[test]
    fn hashes_depend_on_key_and_salt() {
        let hash = KeyHash::of(&[1; 32], "key");
        assert_eq!(hash, KeyHash::of(&[1; 32], "key"));
        assert_ne!(hash, KeyHash::of(&[1; 32], "kez"));
        assert_ne!(hash, KeyHash::of(&[2; 32], "key"));
    }
}
