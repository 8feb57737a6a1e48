//! Tokens by which machines join that no `ranch.toml` lists: made, and told apart by their ranch.
//!
//! Like keys they are held in a [`Secret`] and kept by the ranch as a hash only. Which ranch one is
//! of can be read from it, so that a token shown to another ranch is refused for what it is.

use std::fmt;

use crate::api_key::Secret;
use crate::hex;
use crate::schema::JoinRequest;

const PREFIX: &str = "ranch-join-";
/// Bytes of the cluster id that a token names.
const NAMED: usize = 4;
/// Bytes of randomness.
const RANDOM: usize = 20;

/// Why a text lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has not the form of a token.
    #[error("this is no join token: they are made by `ranch node token`")]
    Malformed,
    /// It was made by another ranch.
    #[error(
        "the token is of another ranch: make one with `ranch node token` in this one, or correct \
         the address"
    )]
    OtherRanch,
}

/// Makes a token of a ranch from 160 bits of the system's randomness.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate(cluster_id: &[u8]) -> Result<Secret, getrandom::Error> {
    let mut random = [0_u8; RANDOM];
    getrandom::fill(&mut random)?;
    Ok(Secret::new(format!("{PREFIX}{}-{}", named(cluster_id), hex::encode(&random))))
}

/// Checks that a text is a token and of this ranch; whether it lets anybody in only its hash says.
///
/// # Errors
/// When it is not.
pub fn check(token: &str, cluster_id: &[u8]) -> Result<(), TokenError> {
    let rest = token.strip_prefix(PREFIX).ok_or(TokenError::Malformed)?;
    let (ranch, random) = rest.split_once('-').ok_or(TokenError::Malformed)?;
    let of_bytes = |text: &str, bytes| hex::decode(text).is_some_and(|found| found.len() == bytes);
    if !of_bytes(ranch, NAMED) || !of_bytes(random, RANDOM) {
        return Err(TokenError::Malformed);
    }
    if ranch == named(cluster_id) { Ok(()) } else { Err(TokenError::OtherRanch) }
}

impl fmt::Debug for JoinRequest {
    /// All but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest").field("node", &self.node).finish_non_exhaustive()
    }
}

fn named(cluster_id: &[u8]) -> String {
    hex::encode(&cluster_id[..NAMED.min(cluster_id.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_no_token() {
        let token = "ranch-join-abababab-secret".to_owned();
        let shown = format!("{:?}", JoinRequest { token, ..JoinRequest::default() });
        assert!(shown.starts_with("JoinRequest") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn tokens_name_their_ranch() {
        let token = generate(&[0xab; 16]).unwrap();
        assert!(token.expose().starts_with("ranch-join-abababab-"));
        assert_eq!(check(token.expose(), &[0xab; 16]), Ok(()));
        assert_eq!(check(token.expose(), &[0xac; 16]), Err(TokenError::OtherRanch));
        assert_ne!(token, generate(&[0xab; 16]).unwrap());
        for text in ["", "ranch-join-", "ranch-join-abababab-12", "pmb-v1-0123456789abcdef"] {
            assert_eq!(check(text, &[0xab; 16]), Err(TokenError::Malformed), "{text}");
        }
    }
}
