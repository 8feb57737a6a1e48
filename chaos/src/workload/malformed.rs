//! Requests that are wrong in themselves, each of which must be refused and change nothing. Each
//! carries a token, which is therefore never to be seen.

use http::Method;

use super::PHEXT;
use super::outcome;
use super::worker::Worker;
use crate::client::{Client, endpoint, resource};
use crate::history::{Action, Operation, Outcome};
use crate::token;

/// A request.
struct Wrong {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// How many ways there are.
const WAYS: u32 = 18;

impl Worker {
    /// One of many ways to be wrong, on a scroll that may be there.
    pub async fn malformed(&mut self, scroll: &str) -> Operation {
        let token = token::token(self.number, self.next_number(), None);
        let way = self.rng.u32(0..WAYS);
        let Wrong { method, target, headers, body } = wrong(way, scroll, &token);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut stranger = (way < 2).then(|| self.stranger(way));
        let invoked_us = self.elapsed_us();
        let client = stranger.as_mut().unwrap_or(&mut self.client);
        let answer = client.send(method, &target, &headers, body).await;
        let returned_us = answer.is_ok().then(|| self.elapsed_us());
        let outcome = match answer {
            Ok(answer) if answer.status < 400 => Outcome::Acked { revision: 0 },
            Ok(answer) => outcome::refused(&answer),
            Err(error) => outcome::without_answer(&error),
        };
        self.operation(scroll, Action::Malformed(token), (invoked_us, returned_us), outcome)
    }

    /// A client nobody knows: without a key, or with one that was never given out.
    fn stranger(&self, way: u32) -> Client {
        let router = self.workload.routers[self.number as usize % self.workload.routers.len()];
        let key = (way > 0).then_some("pmb-v1-00000000000000000000000000000000");
        Client::new(router, key)
    }
}

/// The first two are right but for who asks.
fn wrong(way: u32, scroll: &str, token: &str) -> Wrong {
    let line = token::line(token);
    let insert = |at: &str| endpoint("insert", PHEXT, at);
    let write = || resource("write", PHEXT, scroll);
    let post = |target: String, body: Vec<u8>| Wrong {
        method: Method::POST,
        target,
        headers: Vec::new(),
        body,
    };
    let with = |name, value: String| Wrong {
        headers: vec![(name, value)],
        ..post(write(), line.clone().into())
    };
    let batch =
        |ops: String| post("/api/v2/batch".to_owned(), format!("{{\"ops\":[{ops}]}}").into());
    let good = format!(r#"{{"op":"append","p":"{PHEXT}","c":"{scroll}","text":"{token}\n"}}"#);
    match way {
        0..2 => post(insert(scroll), line.into()),
        2 => post(insert("abc"), line.into()),
        3 => post(insert("0.1.1/1.1.1/1.1.1"), line.into()),
        4 => post(insert("1.1.1/1.1.1/1.1.4294967296"), line.into()),
        5 => post(insert("1.1.1/1.1.1"), line.into()),
        6 => post(insert(scroll), format!("{token}\u{17}\n").into()),
        7 => post(insert(scroll), [token.as_bytes(), b"\xff\n"].concat()),
        8 => post(endpoint("insert", "../etc", scroll), line.into()),
        9 => post(endpoint("insert", "a\u{0}b", scroll), line.into()),
        10 => with("if-match", "yesterday".to_owned()),
        11 => with("if-none-match", "\"5\"".to_owned()),
        12 => with("idempotency-key", "k".repeat(300)),
        13 => Wrong { method: Method::PATCH, ..post(write(), line.into()) },
        14 => batch(format!(r#"{good},{{"op":"append","p":"{PHEXT}","c":"abc","text":"x"}}"#)),
        15 => batch(format!(r#"{good},{{"op":"shout","p":"{PHEXT}","c":"{scroll}"}}"#)),
        16 => batch(format!("{good},")),
        _ => {
            post(format!("{}&consistency=sometimes", resource("read", PHEXT, scroll)), line.into())
        }
    }
}
