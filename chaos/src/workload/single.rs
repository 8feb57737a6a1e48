//! Requests about one scroll, in SQ's words and by path, and about a tenant.

use http::Method;
use serde::Deserialize;

use super::PHEXT;
use super::worker::Worker;
use crate::client::{Answer, ClientError, endpoint, escape, resource};
use crate::history::{Action, Operation, Outcome};
use crate::token;

/// What an administrator is told of a tenant, as far as it matters here.
#[derive(Deserialize)]
struct Stats {
    storage_used_bytes: u64,
    quota_mb: Option<f64>,
}

impl Worker {
    /// Sends one request, once.
    pub async fn ask(
        &mut self,
        scroll: &str,
        action: &Action,
        key: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let at = |verb| endpoint(verb, PHEXT, scroll);
        let path = |verb| resource(verb, PHEXT, scroll);
        let mut condition = None;
        let (method, target, body) = match action {
            Action::Append(token) => (Method::POST, at("insert"), token::line(token)),
            Action::Write(token) => (Method::PUT, path("write"), token::line(token)),
            Action::Swap { token, expected: 0 } => {
                condition = Some(("if-none-match", "*".to_owned()));
                (Method::PUT, path("write"), token::line(token))
            }
            Action::Swap { token, expected } => {
                condition = Some(("if-match", format!("\"{expected}\"")));
                (Method::PUT, path("write"), token::line(token))
            }
            Action::Delete => (Method::DELETE, path("delete"), String::new()),
            Action::Glance => (Method::GET, at("select"), String::new()),
            Action::StaleRead => (Method::GET, path("read") + "&consistency=stale", String::new()),
            _ => (Method::GET, path("read"), String::new()),
        };
        let condition = condition.as_ref().map(|(name, value)| (*name, value.as_str()));
        let key = key.map(|key| ("idempotency-key", key));
        let headers: Vec<_> = condition.into_iter().chain(key).collect();
        self.client.send(method, &target, &headers, body).await
    }

    /// Asks how much the tenant has stored.
    pub async fn measure(&mut self) -> Option<Operation> {
        let admin = self.admin.as_mut()?;
        let target = format!("/api/v2/admin/tenants/{}/stats", escape(&self.tenant));
        let invoked_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let answer = admin.get(&target).await;
        let returned_us = answer.is_ok().then(|| self.elapsed_us());
        let outcome = match answer {
            Ok(answer) => match serde_json::from_slice::<Stats>(&answer.body) {
                Ok(stats) if answer.status == 200 => Outcome::Measured {
                    used_bytes: stats.storage_used_bytes,
                    quota_bytes: stats.quota_mb.map(bytes_of_mb),
                },
                _ => Outcome::Refused { status: answer.status },
            },
            Err(error) => super::outcome::without_answer(&error),
        };
        Some(self.operation("", Action::Measure, (invoked_us, returned_us), outcome))
    }
}

/// Bytes of so many MB of 2^20 bytes.
#[allow(clippy::cast_sign_loss)] // a quota
fn bytes_of_mb(mb: f64) -> u64 {
    (mb * f64::from(1 << 20)).round() as u64
}
