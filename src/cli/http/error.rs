//! What went wrong between this program and the ranch, as sentences for the person who called it.

use http::StatusCode;

/// Why the ranch gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("{url} is not an address of a router: {reason}, as in http://127.0.0.1:1337")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody can be believed.
    #[error("cannot check a certificate by {by}: {reason}")]
    Ca {
        /// By what it was to be checked.
        by: String,
        /// Why it cannot.
        reason: String,
    },
    /// Whoever answers there is not to be believed.
    #[error("{url} is not trusted: {reason}")]
    Untrusted {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tenant's key is needed.
    #[error("no key: give a tenant's API key with --key or RANCH_KEY")]
    NoKey,
    /// Nobody answers there.
    #[error(
        "no ranch answers at {url} ({reason}): start one with `ranch up`, or give its address \
         with --url or RANCH_URL"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to {url} broke during {what}: {reason}")]
    Broken {
        /// The address.
        url: String,
        /// What was being done.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// No answer came.
    #[error("{url} gave no answer to {what} in {seconds} s")]
    TimedOut {
        /// The address.
        url: String,
        /// What was being done.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The ranch said no.
    #[error("{what}: {}{}", Said(*.status, .detail), remedy(*.status))]
    Refused {
        /// What was asked for.
        what: String,
        /// Its status.
        status: StatusCode,
        /// What it said.
        detail: String,
    },
    /// The answer is not of the form agreed upon.
    #[error(
        "{what}: the answer cannot be understood ({reason}): is {url} a ranch of this version?"
    )]
    Unexpected {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
        /// The address.
        url: String,
    },
}

struct Said<'a>(StatusCode, &'a str);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(status, detail) = self;
        let reason = status.canonical_reason().unwrap_or("refused");
        match detail.trim() {
            "" => write!(f, "{} {reason}", status.as_u16()),
            detail if detail == reason => write!(f, "{} {detail}", status.as_u16()),
            detail => write!(f, "{} {detail}", status.as_u16()),
        }
    }
}

fn remedy(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => ": the key is not valid here, check --key, --admin-key or their variables",
        429 | 503 => ": try again in a moment",
        _ => "",
    }
}
