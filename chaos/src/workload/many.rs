//! Requests about several scrolls: batches of writes and of reads, imports, and whole phexts.

use std::collections::HashMap;

use http::Method;
use ranch_proto::phext::PhextReader;
use serde::Deserialize;
use serde_json::{Value, json};

use super::PHEXT;
use super::outcome;
use super::worker::Worker;
use crate::check::CONDITION_FAILED;
use crate::client::{Answer, ClientError, escape};
use crate::history::{Action, Batch, Operation, Outcome};
use crate::token;

/// Most operations in one batch.
const PARTS_MAX: usize = 4;
/// What stands in for the status of a write that was not carried out because another one failed
/// ("Failed Dependency").
const BECAUSE_OF_ANOTHER: u16 = 424;

#[derive(Deserialize)]
struct Results {
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    revision: u64,
    text: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    failed: Option<usize>,
}

impl Worker {
    /// Several writes, on different scrolls.
    pub async fn write_many(&mut self) -> Vec<Operation> {
        let atomic = self.rng.u8(0..3) > 0;
        let parts = self.some_scrolls().into_iter().map(|scroll| {
            let action = match self.rng.u8(0..10) {
                0..6 => Action::Append(self.short_token()),
                6..8 => Action::Write(self.short_token()),
                _ => self.swap(&scroll),
            };
            (scroll, action)
        });
        let parts = parts.collect();
        self.batch(parts, atomic).await
    }

    /// Several scrolls replaced by large texts.
    pub async fn import(&mut self) -> Vec<Operation> {
        let parts = self.some_scrolls().into_iter().map(|scroll| {
            let bytes = self.rng.u64(1_000..=self.workload.large_bytes.max(1_000));
            let token = token::token(self.number, self.next_number(), Some(bytes));
            (scroll, Action::Write(token))
        });
        let parts = parts.collect();
        self.batch(parts, true).await
    }

    /// Several reads, which are of one moment.
    pub async fn read_many(&mut self) -> Vec<Operation> {
        let scrolls = self.some_scrolls().into_iter();
        self.batch(scrolls.map(|scroll| (scroll, Action::Read)).collect(), true).await
    }

    async fn batch(&mut self, parts: Vec<(String, Action)>, atomic: bool) -> Vec<Operation> {
        let ops: Vec<Value> = parts.iter().map(|(scroll, action)| op(scroll, action)).collect();
        let body = json!({ "ops": ops, "atomic": atomic }).to_string();
        let json = [("content-type", "application/json")];
        let invoked_us = self.elapsed_us();
        let answer = self.client.send(Method::POST, "/api/v2/batch", &json, body).await;
        let returned_us = answer.is_ok().then(|| self.elapsed_us());
        let outcomes = outcomes(&parts, atomic, &answer);
        let id = u64::from(self.number) << 40 | self.next_number();
        let operations = parts.into_iter().zip(outcomes).map(|((scroll, action), outcome)| {
            let operation = self.operation(&scroll, action, (invoked_us, returned_us), outcome);
            Operation { batch: Some(Batch { id, atomic }), ..operation }
        });
        operations.collect()
    }

    /// The whole phext; of it, the scrolls this client knows about.
    pub async fn glance_at_all(&mut self) -> Vec<Operation> {
        let invoked_us = self.elapsed_us();
        let answer = self.client.get(&format!("/api/v2/get?p={}", escape(PHEXT))).await;
        let times = (invoked_us, answer.is_ok().then(|| self.elapsed_us()));
        let found = answer.map_err(|error| outcome::without_answer(&error)).and_then(|answer| {
            let refused = Outcome::Refused { status: answer.status };
            if answer.status == 200 {
                scrolls_of(&answer.body).ok_or(refused)
            } else {
                Err(refused)
            }
        });
        let mut found = match found {
            Ok(found) => found,
            Err(outcome) => {
                let scroll = self.scroll(1);
                return vec![self.operation(&scroll, Action::Glance, times, outcome)];
            }
        };
        let scrolls = (1..=self.workload.scrolls).map(|number| self.scroll(number));
        let seen = scrolls.map(|scroll| {
            let tokens = token::tokens(&found.remove(&scroll).unwrap_or_default());
            let outcome = Outcome::Seen { revision: None, tokens, applied: None };
            self.operation(&scroll, Action::Glance, times, outcome)
        });
        seen.collect()
    }

    /// Different scrolls, at least two where there are so many.
    fn some_scrolls(&mut self) -> Vec<String> {
        let mut numbers: Vec<u32> = (1..=self.workload.scrolls).collect();
        self.rng.shuffle(&mut numbers);
        let most = numbers.len().min(PARTS_MAX);
        numbers.truncate(self.rng.usize(most.min(2)..=most));
        numbers.into_iter().map(|number| self.scroll(number)).collect()
    }
}

fn op(scroll: &str, action: &Action) -> Value {
    let verb = match action {
        Action::Append(_) => "append",
        Action::Write(_) | Action::Swap { .. } => "write",
        _ => "read",
    };
    let mut op = json!({ "op": verb, "p": PHEXT, "c": scroll });
    if let Some(token) = action.token() {
        op["text"] = token::line(token).into();
    }
    if let Action::Swap { expected, .. } = action {
        op["if_rev"] = (*expected).into();
    }
    op
}

fn outcomes(
    parts: &[(String, Action)],
    atomic: bool,
    answer: &Result<Answer, ClientError>,
) -> Vec<Outcome> {
    let all = |outcome: Outcome| vec![outcome; parts.len()];
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return all(outcome::without_answer(error)),
    };
    if answer.status == CONDITION_FAILED && atomic {
        let failure = serde_json::from_slice::<Failure>(&answer.body).ok();
        let failed = failure.and_then(|failure| failure.failed);
        let mut outcomes = all(Outcome::Refused { status: BECAUSE_OF_ANOTHER });
        if let Some(outcome) = failed.and_then(|failed| outcomes.get_mut(failed)) {
            *outcome = Outcome::Refused { status: CONDITION_FAILED };
        }
        return outcomes;
    }
    let results = serde_json::from_slice::<Results>(&answer.body).ok();
    match results.filter(|results| results.results.len() == parts.len()) {
        Some(Results { results }) if answer.status == 200 => {
            parts.iter().zip(results).map(|((_, action), item)| item.outcome(action)).collect()
        }
        _ => all(outcome::refused(answer)),
    }
}

impl Item {
    fn outcome(self, action: &Action) -> Outcome {
        let Self { status, revision, text } = self;
        match (action, status) {
            (Action::Read, 200) => {
                let tokens = token::tokens(&text.unwrap_or_default());
                Outcome::Seen { revision: Some(revision), tokens, applied: None }
            }
            (Action::Read, 404) => {
                Outcome::Seen { revision: None, tokens: Vec::new(), applied: None }
            }
            (_, 200) => Outcome::Acked { revision },
            (_, 400..500 | 507) => Outcome::Refused { status },
            _ => Outcome::Unknown { status: Some(status) },
        }
    }
}

/// The scrolls of a phext text, by coordinate; `None` when it is none.
fn scrolls_of(text: &[u8]) -> Option<HashMap<String, String>> {
    let mut scrolls = HashMap::new();
    let mut add = |(at, text): ([u32; 9], String)| {
        let arms = at.chunks(3).map(|arm| format!("{}.{}.{}", arm[0], arm[1], arm[2]));
        scrolls.insert(arms.collect::<Vec<_>>().join("/"), text);
    };
    let (mut reader, mut rest) = (PhextReader::new(), text);
    while let Some(scroll) = reader.read(&mut rest).ok()? {
        add(scroll);
    }
    if let Some(scroll) = reader.finish().ok()? {
        add(scroll);
    }
    Some(scrolls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: http::HeaderMap::new(), body: body.to_owned().into() }
    }

    #[test]
    fn each_part_has_its_own_outcome() {
        let parts = [
            ("s".to_owned(), Action::Append("1-1".into())),
            ("t".to_owned(), Action::Swap { token: "1-2".into(), expected: 7 }),
        ];
        let of = |atomic, answer| outcomes(&parts, atomic, &Ok(answer));
        let refused = |status| Outcome::Refused { status };
        let both =
            answer(200, r#"{"results":[{"status":200,"revision":4},{"status":200,"revision":5}]}"#);
        assert_eq!(
            of(true, both),
            [Outcome::Acked { revision: 4 }, Outcome::Acked { revision: 5 }]
        );
        let one =
            r#"{"results":[{"status":200,"revision":4},{"status":412,"revision":9,"error":"x"}]}"#;
        assert_eq!(of(false, answer(200, one)), [Outcome::Acked { revision: 4 }, refused(412)]);
        let failed = answer(412, r#"{"status":412,"failed":1}"#);
        assert_eq!(of(true, failed), [refused(424), refused(412)]);
        assert_eq!(of(true, answer(507, "full")), [refused(507), refused(507)]);
        let unknown = Outcome::Unknown { status: Some(503) };
        assert_eq!(of(true, answer(503, "outcome: unknown")), [unknown.clone(), unknown]);
        // Success that cannot be read is none.
        let unread = Outcome::Unknown { status: Some(200) };
        assert_eq!(of(true, answer(200, "{}")), [unread.clone(), unread]);
    }

    #[test]
    fn a_phext_is_taken_apart() {
        let found = scrolls_of(b"a\n\x17\x17b\n\x18c\n").unwrap();
        let expected = [
            ("1.1.1/1.1.1/1.1.1", "a\n"),
            ("1.1.1/1.1.1/1.1.3", "b\n"),
            ("1.1.1/1.1.1/1.2.1", "c\n"),
        ];
        let expected = expected.map(|(at, text)| (at.to_owned(), text.to_owned()));
        assert_eq!(found, HashMap::from(expected));
        assert_eq!(scrolls_of(&[0xff]), None);
    }
}
