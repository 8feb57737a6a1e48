//! Latency over time as a picture: for each tenth of a second the fastest, the middle and the
//! slowest answer, failed requests as dots at the top, and the faults as shaded stripes with their
//! names, those that overlap one below the other.

use std::fmt::Write as _;

use crate::history::{Operation, Outcome};
use crate::verdict::Strike;

const WIDTH: f64 = 1_200.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
/// The scale is logarithmic, from a tenth of a millisecond to ten seconds.
const LEAST_US: f64 = 100.0;
const DECADES: i32 = 5;
const SLOT_US: u64 = 100_000;

/// The answers that came within one slot of time.
#[derive(Clone, Default)]
struct Slot {
    latencies_us: Vec<u64>,
    failed: u32,
}

/// An SVG picture of a run.
#[must_use]
pub fn svg(title: &str, history: &[Operation], strikes: &[Strike]) -> String {
    let slots = slots(history);
    let scale = Scale { slots: slots.len().max(1) as f64 };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"16\" font-size=\"13\">{}</text>\n",
        escaped(title)
    );
    for episode in strikes.chunk_by(|a, b| a.episode == b.episode) {
        for (lane, strike) in episode.iter().enumerate() {
            stripe(&mut out, &scale, strike, lane);
        }
    }
    axes(&mut out, &scale);
    for (at, slot) in slots.iter().enumerate() {
        bar(&mut out, &scale, at as f64, slot);
    }
    out.push_str("</svg>\n");
    out
}

struct Scale {
    slots: f64,
}

impl Scale {
    fn x(&self, slot: f64) -> f64 {
        LEFT + slot / self.slots * (WIDTH - LEFT - 10.0)
    }

    fn x_us(&self, us: u64) -> f64 {
        self.x(us as f64 / SLOT_US as f64)
    }

    fn y(latency_us: f64) -> f64 {
        let height = HEIGHT - TOP - BOTTOM;
        let decades = (latency_us.max(LEAST_US) / LEAST_US).log10();
        HEIGHT - BOTTOM - (decades / f64::from(DECADES)).min(1.0) * height
    }
}

fn slots(history: &[Operation]) -> Vec<Slot> {
    let mut slots = Vec::<Slot>::new();
    for operation in history {
        let end = operation.returned_us.unwrap_or(operation.invoked_us);
        let at = (end / SLOT_US) as usize;
        if slots.len() <= at {
            slots.resize(at + 1, Slot::default());
        }
        match operation.outcome {
            Outcome::Acked { .. } | Outcome::Seen { .. } | Outcome::Measured { .. } => {
                slots[at].latencies_us.push(end - operation.invoked_us);
            }
            Outcome::Refused { .. } | Outcome::Unknown { .. } => slots[at].failed += 1,
        }
    }
    for slot in &mut slots {
        slot.latencies_us.sort_unstable();
    }
    slots
}

// Writing to a String cannot fail, so the results of `write!` below say nothing.

fn stripe(out: &mut String, scale: &Scale, strike: &Strike, lane: usize) {
    let Strike { kind, target, nodes, began_us, healed_us, .. } = strike;
    let whole = strike.whole_us.unwrap_or(strike.calm_us);
    let height = HEIGHT - TOP - BOTTOM;
    for (from, to, colour) in
        [(*began_us, *healed_us, "#f8c9c4"), (*healed_us, whole.max(*healed_us), "#fdeeda")]
    {
        let (x, width) = (scale.x_us(from), scale.x_us(to) - scale.x_us(from));
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\" \
             fill=\"{colour}\" fill-opacity=\"0.6\">\
             <title>{kind:?} {target:?} {nodes:?}</title></rect>",
        );
    }
    let y = TOP + 16.0 + lane as f64 * 11.0;
    let x = scale.x_us(*began_us);
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"9\" fill=\"#8a3a30\">{kind:?}</text>"
    );
}

fn axes(out: &mut String, scale: &Scale) {
    for decade in 0..=DECADES {
        let us = LEAST_US * 10f64.powi(decade);
        let y = Scale::y(us);
        let label = if us < 1e6 { format!("{} ms", us / 1e3) } else { format!("{} s", us / 1e6) };
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"4\" y=\"{:.1}\">{label}</text>",
            WIDTH - 10.0,
            y + 4.0
        );
    }
    let seconds = scale.slots * SLOT_US as f64 / 1e6;
    for part in 0..=10 {
        let at = seconds * f64::from(part) / 10.0;
        let x = scale.x(at * 1e6 / SLOT_US as f64);
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{}\">{at:.0} s</text>", HEIGHT - 18.0);
    }
}

fn bar(out: &mut String, scale: &Scale, at: f64, slot: &Slot) {
    let x = scale.x(at + 0.5);
    let latencies = &slot.latencies_us;
    if let (Some(first), Some(last)) = (latencies.first(), latencies.last()) {
        let middle = latencies[latencies.len() / 2];
        let [low, mid, high] = [*first, middle, *last].map(|us| Scale::y(us as f64));
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{low:.1}\" x2=\"{x:.1}\" y2=\"{high:.1}\" \
             stroke=\"#9bb8d3\"/><circle cx=\"{x:.1}\" cy=\"{mid:.1}\" r=\"1\" fill=\"#1f5c99\"/>"
        );
    }
    if slot.failed > 0 {
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{}\" r=\"3\" fill=\"#c0392b\"><title>{} failed</title>\
             </circle>",
            TOP + 4.0,
            slot.failed
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{FaultKind, Target};
    use crate::history::Action;

    #[test]
    fn a_picture_shows_answers_failures_and_faults() {
        let operation = |at_us: u64, outcome| Operation {
            client: 1,
            tenant: "t".to_owned(),
            scroll: "s".to_owned(),
            action: Action::Append(at_us.to_string()),
            invoked_us: at_us,
            returned_us: Some(at_us + 1_500),
            outcome,
            batch: None,
        };
        let history = [
            operation(10, Outcome::Acked { revision: 1 }),
            operation(250_000, Outcome::Refused { status: 503 }),
        ];
        let strike = Strike {
            kind: FaultKind::Kill,
            target: Target::Leader,
            nodes: vec![2],
            began_us: 100_000,
            healed_us: 200_000,
            calm_us: 200_000,
            episode: 0,
            bites: None,
            whole_us: Some(300_000),
        };
        let picture = svg("a <b> & c", &history, &[strike]);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("a &lt;b> &amp; c"));
        assert!(picture.contains("<title>1 failed</title>"));
        assert!(picture.contains("<title>Kill Leader [2]</title>"));
        assert!(picture.contains(">Kill</text>"));
        assert_eq!(slots(&history).len(), 3);
        // A hundred times the least is two of five decades up.
        let up = (HEIGHT - BOTTOM - Scale::y(LEAST_US * 100.0)) / (HEIGHT - TOP - BOTTOM);
        assert!((up - 0.4).abs() < 1e-9);
    }
}
