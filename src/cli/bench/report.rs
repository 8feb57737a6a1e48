//! What was measured, as a table or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::super::output;
use super::load::Tally;
use super::{BenchArgs, TargetKind};

/// Above rows that parts of a run are told in.
pub const ROW_HEADING: &str =
    "   FROM S            COUNT     PER S       P50       P99     P99.9  MAX (ms)\n";

/// The result of one run, or of a part of it.
#[derive(Debug, Serialize)]
pub struct Report {
    target: String,
    mode: String,
    clients: u32,
    size: u32,
    keys: u32,
    tenants: u32,
    /// Of a part, when it began, in seconds from the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_seconds: Option<f64>,
    /// How long it was, to a tenth.
    seconds: f64,
    /// Requests a second that were intended; absent in a closed loop.
    rate: Option<u32>,
    /// By kind of request.
    operations: BTreeMap<&'static str, Times>,
    failures: BTreeMap<String, u64>,
    /// Processor time that the machine of the clients lacked meanwhile, in milliseconds.
    stolen_ms: u64,
}

/// Times of one kind of request, in milliseconds.
#[derive(Debug, Serialize)]
struct Times {
    count: u64,
    per_second: f64,
    mean_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Report {
    /// What was measured in a run with these arguments, that took so long.
    pub fn new(args: &BenchArgs, took: Duration, tally: &Tally) -> Self {
        let target = match args.target {
            TargetKind::Ranch => format!("ranch {}", args.admin.url.url),
            TargetKind::Etcd => format!("etcd {}", args.etcd_url.join(",")),
        };
        let mode = args.mode.to_possible_value();
        let mode = mode.map(|mode| mode.get_name().to_owned()).unwrap_or_default();
        let all = [("read", &tally.reads), ("write", &tally.writes)];
        let seen = all.into_iter().filter(|(_, times)| !times.is_empty());
        Self {
            target,
            mode,
            clients: args.clients,
            size: args.size,
            keys: args.keys,
            tenants: args.tenants.unwrap_or(1),
            from_seconds: None,
            seconds: tenths(took),
            rate: args.rate,
            operations: seen.map(|(kind, times)| (kind, Times::new(times, took))).collect(),
            failures: tally.failures.clone(),
            stolen_ms: tally.stolen.as_millis() as u64,
        }
    }

    /// The same, as a part that began so long after the beginning.
    pub fn at(self, from: Duration) -> Self {
        Self { from_seconds: Some(tenths(from)), ..self }
    }

    /// A line for each kind of request, and for what failed.
    pub fn rows(&self) -> String {
        let from = self.from_seconds.unwrap_or_default();
        let mut rows = String::new();
        for (kind, times) in &self.operations {
            let Times { count, per_second, p50_ms, p99_ms, p999_ms, max_ms, .. } = times;
            // Writing to a text cannot fail.
            let _ = writeln!(
                rows,
                "{from:9} {kind:6} {count:9} {per_second:9.0} {p50_ms:9.2} {p99_ms:9.2} \
                 {p999_ms:9.2} {max_ms:9.2}"
            );
        }
        for (why, count) in &self.failures {
            let _ = writeln!(rows, "{from:9} FAILED {count} x {why}");
        }
        if let Some(note) = self.note_of_stolen() {
            let _ = writeln!(rows, "{from:9} {note}");
        }
        rows
    }

    /// What to bear in mind about requests that were slow.
    fn note_of_stolen(&self) -> Option<String> {
        let ms = self.stolen_ms;
        (ms > 0).then(|| format!("this machine was without a processor for {ms} ms (steal)"))
    }

    /// Requests that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.operations.values().map(|times| times.count).sum()
    }

    /// The failure seen most often.
    pub fn commonest_failure(&self) -> String {
        let commonest = self.failures.iter().max_by_key(|(_, count)| **count);
        commonest.map_or_else(|| "none at all".to_owned(), |(failure, _)| failure.clone())
    }

    /// A few lines for people.
    pub fn text(&self) -> String {
        let pace = self
            .rate
            .map_or_else(|| "closed loop".to_owned(), |rate| format!("open loop at {rate}/s"));
        let head = format!(
            "{}: {} of {} bytes, {} clients, {} tenant(s), {} scrolls, {pace}, {} s\n\n",
            self.target, self.mode, self.size, self.clients, self.tenants, self.keys, self.seconds
        );
        let heading =
            ["", "COUNT", "PER S", "MEAN", "P50", "P90", "P95", "P99", "P99.9", "MAX (ms)"];
        let heading = heading.map(str::to_owned).to_vec();
        let rows = self.operations.iter().map(|(kind, times)| times.row(kind));
        let table = output::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
        let failures = self.failures.iter();
        let mut failures: Vec<_> =
            failures.map(|(why, count)| format!("FAILED {count} x {why}")).collect();
        if failures.is_empty() {
            failures.push("no failures".to_owned());
        }
        failures.extend(self.note_of_stolen());
        format!("{head}{table}\n{}\n", failures.join("\n"))
    }
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

impl Times {
    fn new(times: &Histogram<u64>, took: Duration) -> Self {
        let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
        let mean_us = times.mean().round();
        Self {
            count: times.len(),
            per_second: times.len() as f64 / took.as_secs_f64(),
            mean_ms: mean_us / 1_000.0,
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: times.max() as f64 / 1_000.0,
        }
    }

    fn row(&self, kind: &str) -> Vec<String> {
        let mut row = vec![kind.to_owned(), self.count.to_string()];
        row.push(format!("{:.0}", self.per_second));
        let times = [self.mean_ms, self.p50_ms, self.p90_ms, self.p95_ms];
        let tail = [self.p99_ms, self.p999_ms, self.max_ms];
        row.extend(times.into_iter().chain(tail).map(|ms| format!("{ms:.2}")));
        row
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn times_are_in_milliseconds() {
        let mut tally = Tally::new();
        for us in 1..=1_000_u64 {
            tally.writes.record(us * 10).unwrap();
        }
        let times = Times::new(&tally.writes, Duration::from_secs(10));
        assert_eq!((times.count, times.per_second), (1_000, 100.0));
        assert!((times.p50_ms - 5.0).abs() < 0.02, "{}", times.p50_ms);
        assert!((times.p99_ms - 9.9).abs() < 0.02, "{}", times.p99_ms);
        assert!((times.max_ms - 10.0).abs() < 0.02, "{}", times.max_ms);
        assert_eq!(times.row("write")[..3], ["write", "1000", "100"]);
    }

    #[test]
    fn a_part_is_a_row_for_each_kind_below_the_heading() {
        let args = Args::parse_from(["bench", "--key", "k"]).bench;
        let mut tally = Tally::new();
        tally.writes.record(1_500).unwrap();
        tally.failures.insert("429 too many".to_owned(), 2);
        tally.stolen = Duration::from_millis(140);
        let report = Report::new(&args, Duration::from_secs(5), &tally);
        let rows = report.at(Duration::from_secs(10)).rows();
        let lines: Vec<_> = rows.lines().collect();
        assert_eq!(lines[0].len() + 1, ROW_HEADING.len(), "{rows}");
        assert!(lines[0].trim_start().starts_with("10 write"), "{rows}");
        assert_eq!(lines[1].trim_start(), "10 FAILED 2 x 429 too many");
        assert!(lines[2].ends_with("without a processor for 140 ms (steal)"), "{rows}");
    }

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        bench: BenchArgs,
    }
}
