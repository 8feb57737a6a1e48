//! What the nodes say in their logs, counted: some steps, such as the transfer of a snapshot,
//! leave no other trace a test could look for. Set `RANCH_TEST_LOG` to see the lines.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

static SNAPSHOTS: AtomicU64 = AtomicU64::new(0);
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Begins to listen. Harmless when repeated.
pub fn listen() {
    LazyLock::force(&BEGIN);
    // Refused when another test did so before, in the same process.
    let _ = tracing::subscriber::set_global_default(
        tracing_subscriber::registry()
            .with(Notices { shown: std::env::var_os("RANCH_TEST_LOG").is_some() }),
    );
}

/// How many snapshots have begun to be installed so far, in this process.
pub fn snapshots() -> u64 {
    SNAPSHOTS.load(Ordering::SeqCst)
}

struct Notices {
    shown: bool,
}

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || !metadata.target().starts_with("ranch_") {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        if line.message == "installing a snapshot" {
            SNAPSHOTS.fetch_add(1, Ordering::SeqCst);
        }
        if self.shown {
            let thread = std::thread::current();
            let (at, name) = (BEGIN.elapsed().as_millis(), thread.name().unwrap_or_default());
            eprintln!("{at:>6} {name} {}: {}{}", metadata.target(), line.message, line.rest);
        }
    }
}

#[derive(Default)]
struct Line {
    message: String,
    rest: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;

        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }
}
