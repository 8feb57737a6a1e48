//! What a router counts: requests by endpoint and status, errors by kind, retries, connections.
//! Counting is a few relaxed additions; everything else happens when somebody asks.

pub mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;
use ranch_proto::calls::METHODS;
use ranch_proto::process;
use ranch_proto::schema::{CallMethod, MetricFamily};
use ranch_proto::{ShardError, metrics::Label};

/// Upper bounds of the request histogram, in microseconds.
const BOUNDS_US: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];
const BUCKETS: usize = BOUNDS_US.len() + 1;
/// Status classes, from 1xx to 5xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Endpoints that are no tenant's calls.
const OTHERS: [&str; 3] = ["admin", "health", "metrics"];
const ENDPOINTS: usize = METHODS + OTHERS.len();

/// What a request was for, as metrics tell endpoints apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(usize);

/// The counters of one router.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    requests: Box<[[Distribution; CLASSES.len()]; ENDPOINTS]>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    retries: [AtomicU64; RETRIES.len()],
    connections: AtomicI64,
    turned_away: AtomicU64,
    without_tls: AtomicU64,
}

#[derive(Debug, Default)]
struct Distribution {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// Why an attempt failed.
const RETRIES: [&str; 4] = ["not_leader", "unavailable", "unknown", "other"];

impl Endpoint {
    /// The endpoint at a path.
    pub fn at(path: &str) -> Self {
        let verb = crate::api::verb(path);
        if let Some(other) = OTHERS.iter().position(|other| *other == verb) {
            return Self(METHODS + other);
        }
        if verb.is_empty() && path.starts_with("/health") {
            return Self(METHODS + 1);
        }
        Self(CallMethod::of_verb(verb).index())
    }

    fn name(self) -> &'static str {
        if self.0 >= METHODS {
            return OTHERS[self.0 - METHODS];
        }
        CallMethod::all().nth(self.0).unwrap_or_default().verb()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            requests: Box::new(std::array::from_fn(|_| std::array::from_fn(|_| <_>::default()))),
            errors: Mutex::default(),
            retries: std::array::from_fn(|_| AtomicU64::new(0)),
            connections: AtomicI64::new(0),
            turned_away: AtomicU64::new(0),
            without_tls: AtomicU64::new(0),
        }
    }
}

/// Counted as an open connection while it lives.
#[derive(Debug)]
pub struct Open<'a>(&'a Metrics);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    /// Counts a request that took so long until its answer began.
    pub fn request(&self, endpoint: Endpoint, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let us = took.as_micros() as u64;
        let distribution = &self.requests[endpoint.0][class];
        distribution.counts[BOUNDS_US.partition_point(|bound| *bound < us)].fetch_add(1, Relaxed);
        distribution.sum_us.fetch_add(us, Relaxed);
    }

    /// Counts an answer that was an error, by its name in the table of errors.
    pub fn error(&self, kind: &'static str) {
        *self.errors.lock().entry(kind).or_default() += 1;
    }

    /// Counts an attempt that failed and was followed by another.
    pub fn retry(&self, why: &ShardError) {
        let reason = match why {
            ShardError::NotLeader { .. } => 0,
            ShardError::NoReplica | ShardError::Unavailable { .. } => 1,
            ShardError::Unknown { .. } => 2,
            _ => 3,
        };
        self.retries[reason].fetch_add(1, Relaxed);
    }

    /// Counts a connection, open until the result is dropped.
    pub fn connection(&self, turned_away: bool) -> Open<'_> {
        self.connections.fetch_add(1, Relaxed);
        self.turned_away.fetch_add(turned_away.into(), Relaxed);
        Open(self)
    }

    /// Counts a connection on which no TLS could be agreed on.
    pub fn no_tls(&self) {
        self.without_tls.fetch_add(1, Relaxed);
    }

    /// Everything counted so far.
    pub fn families(&self) -> Vec<MetricFamily> {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let build = MetricFamily::gauge("ranch_router_build_info", "1, with the router's version.");
        let help = "Since the router started.";
        let uptime = MetricFamily::gauge("ranch_router_uptime_seconds", help);
        let mut all = vec![
            build.with(&version, 1.0),
            uptime.with(&[], self.started.elapsed().as_secs_f64()),
            self.requests(),
            self.errors(),
            self.retries(),
        ];
        let open = MetricFamily::gauge("ranch_http_connections", "Open client connections.");
        all.push(open.with(&[], self.connections.load(Relaxed) as f64));
        let name = "ranch_http_connections_turned_away_total";
        let away = MetricFamily::counter(name, "Connections answered 503, as there were too many.");
        all.push(away.with(&[], self.turned_away.load(Relaxed) as f64));
        let name = "ranch_http_tls_failures_total";
        let failed = MetricFamily::counter(name, "Connections on which no TLS was agreed on.");
        all.push(failed.with(&[], self.without_tls.load(Relaxed) as f64));
        all.extend(process::metrics("ranch_router_process"));
        all
    }

    fn requests(&self) -> MetricFamily {
        let help = "Requests by endpoint and class of status: how many, and how long until the \
                    answer began.";
        let mut family = MetricFamily::histogram("ranch_http_request_seconds", help);
        let bounds = BOUNDS_US.map(|us| us as f64 / 1e6);
        for (endpoint, classes) in self.requests.iter().enumerate() {
            for (class, distribution) in CLASSES.iter().zip(classes) {
                let counts = distribution.counts.each_ref().map(|count| count.load(Relaxed));
                if counts.iter().all(|count| *count == 0) {
                    continue;
                }
                let labels: [Label<'_>; 2] =
                    [("endpoint", Endpoint(endpoint).name()), ("status", class)];
                let sum = distribution.sum_us.load(Relaxed) as f64 / 1e6;
                family.push_distribution(&labels, &bounds, &counts, sum);
            }
        }
        family
    }

    fn errors(&self) -> MetricFamily {
        let help = "Answers that were errors, by kind as in the type of problem+json.";
        let mut family = MetricFamily::counter("ranch_http_errors_total", help);
        for (kind, count) in &*self.errors.lock() {
            family.push(&[("kind", kind)], *count as f64);
        }
        family
    }

    fn retries(&self) -> MetricFamily {
        let help = "Attempts at a shard that failed and were made again, by why.";
        let mut family = MetricFamily::counter("ranch_forward_retries_total", help);
        for (reason, count) in RETRIES.iter().zip(&self.retries) {
            family.push(&[("reason", reason)], count.load(Relaxed) as f64);
        }
        family
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_told_apart_by_their_verb() {
        for (path, name) in [
            ("/api/v2/select", "select"),
            ("/api/v2/read/1.1.1/1.1.1/1.1.1", "read"),
            ("/api/v2/admin/tenants/will/stats", "admin"),
            ("/api/v2/metrics", "metrics"),
            ("/health/ready", "health"),
            ("/api/v2/pmb-v1-secret", "other"),
            ("/", "other"),
        ] {
            assert_eq!(Endpoint::at(path).name(), name, "{path}");
        }
    }

    #[test]
    fn only_what_happened_is_shown() {
        let metrics = Metrics::default();
        let select = Endpoint::at("/api/v2/select");
        metrics.request(select, StatusCode::OK, Duration::from_micros(250));
        metrics.request(select, StatusCode::OK, Duration::from_mins(1));
        let family = metrics.requests();
        assert_eq!(family.metrics.len(), 1);
        assert_eq!(family.metrics[0].labels, ["endpoint", "select", "status", "2xx"]);
        let counts = &family.metrics[0].counts;
        assert_eq!((counts[0], counts[BUCKETS - 1], counts.iter().sum::<u64>()), (1, 1, 2));
    }
}
