//! A refusal as an answer: one plain line, or a problem as RFC 9457 has it.

use bytes::Bytes;
use http::StatusCode;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use crate::api::scrolls;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer};

impl ApiError {
    /// The HTTP status of this refusal.
    pub fn status(&self) -> StatusCode {
        self.row().0
    }

    /// The refusal as an answer: one plain line, or problem+json when `json`. 401 is always plain.
    pub fn answer(&self, json: bool) -> Answer {
        let (status, name, field) = self.row();
        let mut answer = if json && status != StatusCode::UNAUTHORIZED {
            let mut answer = answer::json(status, &self.problem(status, name, field));
            answer.headers_mut().insert(http::header::CONTENT_TYPE, answer::PROBLEM);
            answer
        } else {
            answer::text(Bytes::from(self.to_string()))
        };
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        match self {
            Self::MethodNotAllowed { allowed } => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::NoScroll { applied, .. } => scrolls::mark_stale(&mut answer, *applied),
            Self::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Forward(error) if error.retry_after_s().is_some() => {
                let seconds = error.retry_after_s().unwrap_or(1);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }

    fn problem(&self, status: StatusCode, name: &str, field: Option<&'static str>) -> Problem {
        let unknown = matches!(self, Self::Forward(ForwardError::OutcomeUnknown));
        Problem {
            kind: format!("urn:ranch:error:{name}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            field,
            failed: if let Self::Op { index, .. } = self { Some(*index) } else { None },
            outcome: unknown.then_some("unknown"),
        }
    }
}

/// An error as RFC 9457 writes it.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    /// The operation of a batch that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use ranch_proto::phext::PhextNameError;

    use super::*;

    #[test]
    fn texts_other_programs_rely_on() {
        for (error, status, text) in [
            (ApiError::Unauthorized, 401, "Unauthorized"),
            (ApiError::NotFound, 404, "Not Found"),
            (ApiError::PhextName(PhextNameError::Traversal), 403, "Forbidden: Invalid phext path"),
        ] {
            assert_eq!(error.status().as_u16(), status);
            assert_eq!(error.to_string(), text);
        }
        let unknown = ApiError::Forward(ForwardError::OutcomeUnknown);
        assert_eq!(unknown.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(unknown.to_string().contains("outcome: unknown"));
    }

    #[test]
    fn an_unauthorized_request_is_answered_plainly_even_in_json() {
        let answer = ApiError::Unauthorized.answer(true);
        assert_eq!(answer.headers()[http::header::CONTENT_TYPE], answer::TEXT);
    }

    #[test]
    fn every_503_says_when_to_come_back() {
        for error in [
            ApiError::Forward(ForwardError::Unavailable),
            ApiError::Forward(ForwardError::Overloaded),
            ApiError::Forward(ForwardError::OutcomeUnknown),
            ApiError::TooManyConnections,
        ] {
            assert_eq!(error.answer(false).headers()[RETRY_AFTER], "1", "{error}");
        }
    }
}
