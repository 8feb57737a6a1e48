//! What an answer says about the fate of an operation. Anything that is not clearly a success or
//! a refusal counts as unknown, which is what the checker trusts least.

use crate::client::{Answer, ClientError};
use crate::history::{Action, Outcome};
use crate::token;

/// The outcome of an operation on one scroll.
pub(super) fn of(action: &Action, answer: Result<Answer, ClientError>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return without_answer(&error),
    };
    let status = answer.status;
    match (action, status) {
        (Action::Read | Action::StaleRead | Action::Glance, 200) => {
            let revision = answer.etag().filter(|_| *action != Action::Glance);
            Outcome::Seen {
                revision,
                tokens: token::tokens(&answer.text()),
                applied: applied(&answer),
            }
        }
        (Action::Read | Action::StaleRead, 404) => nothing(applied(&answer)),
        // Nothing changed, so it has no revision of its own: it tells what a read would have.
        (Action::Delete, 200) if answer.text() == "Removed 0 bytes" => nothing(None),
        (Action::Read | Action::StaleRead | Action::Glance, _) => Outcome::Refused { status },
        (_, 200..300) => {
            answer.revision().map_or(Outcome::Unknown { status: Some(status) }, |revision| {
                Outcome::Acked { revision }
            })
        }
        _ => refused(&answer),
    }
}

/// The outcome of whatever was answered with other than success.
pub(super) fn refused(answer: &Answer) -> Outcome {
    let status = answer.status;
    match status {
        400..500 | 507 => Outcome::Refused { status },
        503 if !answer.text().contains("unknown") => Outcome::Refused { status },
        _ => Outcome::Unknown { status: Some(status) },
    }
}

/// The outcome of what was not answered.
pub(super) fn without_answer(error: &ClientError) -> Outcome {
    match error {
        ClientError::NotSent { .. } => Outcome::Refused { status: 0 },
        ClientError::Unanswered { .. } => Outcome::Unknown { status: None },
    }
}

fn nothing(applied: Option<u64>) -> Outcome {
    Outcome::Seen { revision: None, tokens: Vec::new(), applied }
}

fn applied(answer: &Answer) -> Option<u64> {
    answer.header("x-ranch-applied").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Answer { status, headers, body: body.to_owned().into() }
    }

    #[test]
    fn answers_are_taken_for_no_more_than_they_say() {
        let append = Action::Append("t".to_owned());
        let outcome = |answer| of(&append, Ok(answer));
        let revision = [("x-ranch-revision", "7")];
        assert_eq!(outcome(answer(200, &revision, "")), Outcome::Acked { revision: 7 });
        assert_eq!(outcome(answer(200, &[], "")), Outcome::Unknown { status: Some(200) });
        assert_eq!(outcome(answer(507, &[], "")), Outcome::Refused { status: 507 });
        assert_eq!(outcome(answer(503, &[], "no leader")), Outcome::Refused { status: 503 });
        let unknown = answer(503, &[], "outcome: unknown");
        assert_eq!(outcome(unknown), Outcome::Unknown { status: Some(503) });
        assert_eq!(outcome(answer(500, &[], "")), Outcome::Unknown { status: Some(500) });

        let tokens = vec!["a".to_owned(), "b".to_owned()];
        let seen = |revision, applied| Outcome::Seen { revision, tokens: tokens.clone(), applied };
        let of_read = |action, headers| of(&action, Ok(answer(200, headers, "a\nb\n")));
        assert_eq!(of_read(Action::Read, &[("etag", "\"9\"")]), seen(Some(9), None));
        assert_eq!(of_read(Action::Glance, &[]), seen(None, None));
        let headers = [("etag", "\"9\""), ("x-ranch-applied", "88")];
        assert_eq!(of_read(Action::StaleRead, &headers), seen(Some(9), Some(88)));
        assert_eq!(of(&Action::Read, Ok(answer(404, &[], ""))), nothing(None));
        let removed = |bytes: &str| {
            let text = format!("Removed {bytes} bytes");
            of(&Action::Delete, Ok(answer(200, &revision, &text)))
        };
        assert_eq!(removed("0"), nothing(None));
        assert_eq!(removed("10"), Outcome::Acked { revision: 7 });
    }
}
