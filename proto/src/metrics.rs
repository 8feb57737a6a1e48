//! Metrics as processes hand them to each other: families of numbers with labels, put together
//! here and written out by the router.

use crate::schema::metric_family::Kind;
use crate::schema::{Metric, MetricFamily};

/// A label's name and value.
pub type Label<'a> = (&'a str, &'a str);

impl MetricFamily {
    fn new(kind: Kind, name: &str, help: &str) -> Self {
        let metrics = Vec::new();
        Self { kind: kind.into(), name: name.to_owned(), help: help.to_owned(), metrics }
    }

    /// A family of values that go up and down.
    #[must_use]
    pub fn gauge(name: &str, help: &str) -> Self {
        Self::new(Kind::Gauge, name, help)
    }

    /// A family of values that only grow while their process lives.
    #[must_use]
    pub fn counter(name: &str, help: &str) -> Self {
        Self::new(Kind::Counter, name, help)
    }

    /// A family of distributions.
    #[must_use]
    pub fn histogram(name: &str, help: &str) -> Self {
        Self::new(Kind::Histogram, name, help)
    }

    /// Adds a value of a gauge or counter.
    pub fn push(&mut self, labels: &[Label<'_>], value: f64) {
        self.metrics.push(Metric { labels: flat(labels), value, ..Metric::default() });
    }

    /// Adds a distribution: `counts` has one more than `bounds`, for what is above them all, and
    /// is not cumulative.
    pub fn push_distribution(
        &mut self,
        labels: &[Label<'_>],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        debug_assert_eq!(bounds.len() + 1, counts.len(), "a count a bound and one for the rest");
        self.metrics.push(Metric {
            labels: flat(labels),
            value: sum,
            bounds: bounds.to_vec(),
            counts: counts.to_vec(),
        });
    }

    /// This family with one value more.
    #[must_use]
    pub fn with(mut self, labels: &[Label<'_>], value: f64) -> Self {
        self.push(labels, value);
        self
    }
}

fn flat(labels: &[Label<'_>]) -> Vec<String> {
    labels.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect()
}
