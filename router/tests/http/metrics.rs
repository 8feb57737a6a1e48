//! Metrics: their names and form, what they count, and what is in neither them nor the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use ranch_router::Options;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{ADMIN, Router, TINY, WILL};

const AT: &str = "c=1.1.1/1.1.1/1.1.1";

/// The value of a metric, by name and labels as they are written.
fn value(text: &str, metric: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn tenants_storage_and_calls_under_the_names_of_sq() {
    let router = Router::start().await;
    let will = router.client(WILL);
    for _ in 0..3 {
        will.post(&format!("/api/v2/insert?{AT}"), "x").await.is(200, "Inserted 1 bytes");
    }
    will.get(&format!("/api/v2/select?{AT}")).await.is(200, "xxx");
    router.client(TINY).post("/api/v2/update", "y".repeat(126)).await.is(200, "Updated 126 bytes");
    let reply = router.client(ADMIN).get("/api/v2/metrics").await;
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.text();
    for (metric, expected) in [
        ("sq_storage_bytes{tenant=\"will\"}", 67.0),
        ("sq_storage_bytes{tenant=\"ann\"}", 0.0),
        ("sq_api_calls_total{tenant=\"will\",method=\"insert\"}", 3.0),
        ("sq_api_calls_total{tenant=\"will\",method=\"select\"}", 1.0),
        ("sq_tenants_active", 3.0),
        ("ranch_tenant_quota_ratio{tenant=\"tiny\"}", 0.95),
        ("ranch_up{node=\"1\"}", 1.0),
        ("ranch_raft_term{node=\"2\",group=\"1\"}", 1.0),
        ("ranch_http_request_seconds_count{endpoint=\"insert\",status=\"2xx\"}", 3.0),
        ("ranch_metrics_shards_missing", 0.0),
    ] {
        assert_eq!(value(text, metric), Some(expected), "{metric} in\n{text}");
    }
    assert_eq!(value(text, "ranch_tenant_quota_ratio{tenant=\"will\"}"), None);
}

#[tokio::test]
async fn every_family_has_help_and_type_and_every_line_a_number() {
    let router = Router::start().await;
    router.client(WILL).get("/api/v2/select?c=bad").await;
    let reply = router.client(ADMIN).get("/api/v2/metrics").await;
    let (mut families, mut current) = (Vec::new(), "");
    for line in reply.text().lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap();
            assert!(!families.contains(&current), "{current} is there twice");
            families.push(current);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest.split(' ').next(), Some(current));
        } else {
            assert!(line.starts_with(current), "{line} is not of {current}");
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
    assert!(families.contains(&"ranch_http_errors_total"), "{families:?}");
}

#[tokio::test]
async fn only_so_many_tenants_have_lines_of_their_own() {
    let options = Options { metrics_max_tenants: 1, ..Router::options() };
    let router = Router::with(options).await;
    router.client(WILL).post("/api/v2/update", "big").await;
    let text = router.client(ADMIN).get("/api/v2/metrics").await;
    let lines: Vec<_> = text.text().lines().filter(|l| l.starts_with("sq_storage")).collect();
    assert_eq!(
        lines,
        ["sq_storage_bytes{tenant=\"will\"} 67", "sq_storage_bytes{tenant=\"_other\"} 0"]
    );
}

#[tokio::test]
async fn a_node_that_is_down_is_shown_and_keeps_nobody_waiting() {
    let router = Router::start().await;
    router.shards.down.lock().insert(3);
    let text = router.client(ADMIN).get("/api/v2/metrics").await;
    assert_eq!(value(text.text(), "ranch_up{node=\"3\"}"), Some(0.0));
    assert_eq!(value(text.text(), "ranch_up{node=\"2\"}"), Some(1.0));
}

#[tokio::test]
async fn only_administrators_see_metrics() {
    let router = Router::start().await;
    router.client(WILL).get("/api/v2/metrics").await.is(
        403,
        "{\"type\":\"urn:ranch:error:admin-key-needed\",\"title\":\"Forbidden\",\"status\":403,\
         \"detail\":\"Forbidden: this needs the admin key\"}",
    );
    router.client("").get("/api/v2/metrics").await.is(401, "Unauthorized");
}

#[tokio::test]
async fn the_id_of_a_request_goes_back() {
    let router = Router::start().await;
    let given = router.client(WILL).with("x-request-id", "trace-1").get("/api/v2/select").await;
    assert_eq!(given.header("x-request-id"), "trace-1");
    let made = router.client("").with("x-request-id", "not plain").get("/api/v2/select").await;
    assert_eq!(made.header("x-request-id").len(), 32);
}

/// What is logged, for a test to look at.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Neither the log nor metrics ever show a key or a text, wherever a client puts one.
#[tokio::test]
async fn keys_and_texts_are_in_neither_log_nor_metrics() {
    const TEXT: &str = "canary-text-7f3a";
    let log = Log::default();
    let lines = tracing_subscriber::fmt().json().with_writer(log.clone());
    // The tests of this crate run in processes of their own.
    let _guard =
        tracing::subscriber::set_default(lines.with_max_level(tracing::Level::TRACE).finish());
    let router = Router::with(Options { log_requests: true, ..Router::options() }).await;
    let will = router.client(WILL);
    will.post(&format!("/api/v2/insert?{AT}"), TEXT).await.is(200, "Inserted 16 bytes");
    will.get(&format!("/api/v2/insert?{AT}&s={TEXT}&key={WILL}")).await;
    will.get(&format!("/api/v2/select?c={TEXT}&p={WILL}")).await;
    will.get(&format!("/api/v2/read/{WILL}")).await;
    will.get(&format!("/{WILL}")).await;
    will.with("x-request-id", WILL).get("/api/v2/toc").await;
    will.with("idempotency-key", WILL).post("/api/v2/update", TEXT).await;
    router.client("pmb-v1-wrong-canary").get("/api/v2/select").await;
    let admin = router.client(ADMIN);
    let body = format!(r#"{{"tenant_id":"x","key":"{TEXT}-long-enough"}}"#);
    assert_eq!(admin.post("/api/v2/admin/tenants/add", body).await.status.as_u16(), 201);
    let metrics = admin.get("/api/v2/metrics").await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.lines().count() >= 10, "requests are logged:\n{logged}");
    assert!(logged.contains("\"tenant\":\"will\"") && logged.contains("\"path\":\"/api/v2/toc\""));
    for secret in [TEXT, WILL, ADMIN, "wrong-canary"] {
        assert!(!logged.contains(secret), "{secret} is in the log:\n{logged}");
        assert!(!metrics.text().contains(secret), "{secret} is in the metrics");
    }
}
