//! Metrics as Prometheus reads them (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;

use ranch_proto::schema::{Metric, MetricFamily, metric_family::Kind};

/// Families by name, put together from several sources.
#[derive(Debug, Default)]
pub struct Page {
    order: Vec<MetricFamily>,
    places: BTreeMap<String, usize>,
}

impl Page {
    /// Adds a family; metrics of one that is there already join it.
    pub fn add(&mut self, family: MetricFamily) {
        if let Some(place) = self.places.get(&family.name) {
            self.order[*place].metrics.extend(family.metrics);
            return;
        }
        self.places.insert(family.name.clone(), self.order.len());
        self.order.push(family);
    }

    /// Adds a node's families, each metric with a label that names the node.
    pub fn add_of_node(&mut self, node: &str, families: Vec<MetricFamily>) {
        for mut family in families {
            for metric in &mut family.metrics {
                metric.labels.splice(0..0, ["node".to_owned(), node.to_owned()]);
            }
            self.add(family);
        }
    }

    /// The text. Families without metrics are left out.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for family in self.order.iter().filter(|family| !family.metrics.is_empty()) {
            let kind = match family.kind() {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
                Kind::Histogram => "histogram",
            };
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(out, "# HELP {} {help}", family.name);
            let _ = writeln!(out, "# TYPE {} {kind}", family.name);
            for metric in &family.metrics {
                if family.kind() == Kind::Histogram {
                    distribution(&mut out, &family.name, metric);
                } else {
                    line(&mut out, &family.name, &metric.labels, metric.value);
                }
            }
        }
        out
    }
}

fn distribution(out: &mut String, name: &str, metric: &Metric) {
    let bucket = format!("{name}_bucket");
    let mut below = 0;
    let bounds = metric.bounds.iter().copied().chain([f64::INFINITY]);
    for (bound, count) in bounds.zip(&metric.counts) {
        below += count;
        let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
        let mut labels = metric.labels.clone();
        labels.extend(["le".to_owned(), bound]);
        line(out, &bucket, &labels, below as f64);
    }
    line(out, &format!("{name}_sum"), &metric.labels, metric.value);
    line(out, &format!("{name}_count"), &metric.labels, below as f64);
}

fn line(out: &mut String, name: &str, labels: &[String], value: f64) {
    out.push_str(name);
    let mut separator = '{';
    for pair in labels.chunks_exact(2) {
        let text = pair[1].replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(out, "{separator}{}=\"{text}\"", pair[0]);
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_this() {
        let mut page = Page::default();
        page.add(MetricFamily::gauge("up", "Whether\nit \\ is.").with(&[("a", "q\"\\\n")], 1.0));
        page.add(MetricFamily::counter("empty_total", "Nothing."));
        let mut took = MetricFamily::histogram("took_seconds", "How long.");
        took.push_distribution(&[], &[0.5, 1.0], &[2, 0, 1], 3.25);
        page.add_of_node("2", vec![took]);
        page.add_of_node("3", vec![MetricFamily::gauge("up", "").with(&[], 0.0)]);
        let expected = "\
# HELP up Whether\\nit \\\\ is.
# TYPE up gauge
up{a=\"q\\\"\\\\\\n\"} 1
up{node=\"3\"} 0
# HELP took_seconds How long.
# TYPE took_seconds histogram
took_seconds_bucket{node=\"2\",le=\"0.5\"} 2
took_seconds_bucket{node=\"2\",le=\"1\"} 2
took_seconds_bucket{node=\"2\",le=\"+Inf\"} 3
took_seconds_sum{node=\"2\"} 3.25
took_seconds_count{node=\"2\"} 3
";
        assert_eq!(page.render(), expected);
    }
}
