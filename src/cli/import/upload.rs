//! Sends scrolls, several at a time, and checks afterwards that they are there.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use ranch_proto::{Coordinate, Pattern};
use tokio::sync::Semaphore;

use super::super::api::{PAGE, Page, Precondition, Scrolls};
use super::super::error::CliError;
use super::super::http::ClientError;
use super::super::scroll::coordinate_of;
use super::ImportError;
use super::source::Source;

/// Longest one scroll is tried while the ranch is unreachable or overloaded.
const TRY_MAX: Duration = Duration::from_mins(1);
/// Between attempts, doubling from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Most bytes of texts on their way at once, in units of [`UNIT_BYTES`].
const UNITS_MAX: u32 = 2 * 1024;
const UNIT_BYTES: usize = 64 << 10;

/// A scroll the ranch did not take.
pub struct Refusal {
    /// Why, with the coordinate.
    pub error: ClientError,
}

/// How an upload went.
#[derive(Default)]
pub struct Done {
    /// What the ranch acknowledged, ascending.
    pub stored: Vec<[u32; 9]>,
    /// What it refused.
    pub refused: Vec<Refusal>,
    /// Where it had another text already, which it keeps.
    pub kept: Vec<[u32; 9]>,
}

/// What became of one scroll.
enum Sent {
    Stored,
    /// Another text is there, and stays.
    Kept,
}

/// One phext on its way.
pub struct Upload<'a> {
    scrolls: &'a Scrolls,
    source: &'a Source,
    bar: ProgressBar,
    keeping: bool,
}

impl<'a> Upload<'a> {
    /// An upload that shows its progress on `bar`.
    pub fn new(scrolls: &'a Scrolls, source: &'a Source, bar: ProgressBar) -> Self {
        Self { scrolls, source, bar, keeping: false }
    }

    /// Keeps a scroll the ranch has already, whatever its text.
    pub fn keeping(self) -> Self {
        Self { keeping: true, ..self }
    }

    /// Sends every scroll. A refusal of one is noted and the others go on; what concerns all of
    /// them ends the upload.
    pub async fn run(&self, in_flight: usize) -> Result<Done, CliError> {
        let room = Semaphore::new(UNITS_MAX as usize);
        let sends = stream::iter(self.source.scrolls()?).then(|scroll| async {
            let (at, text) = scroll?;
            // Large ones wait here, so that few are in memory at once.
            let units = u32::try_from(text.len() / UNIT_BYTES).unwrap_or(UNITS_MAX);
            let held = room.acquire_many(units.min(UNITS_MAX)).await;
            Ok::<_, CliError>((at, text, held))
        });
        let sends = sends.map(|scroll| async {
            let (at, text, held) = scroll?;
            let sent = self.send(at, text).await;
            drop(held);
            Ok::<_, CliError>((at, sent))
        });
        let mut results = std::pin::pin!(sends.buffered(in_flight));
        let mut done = Done::default();
        while let Some(result) = results.next().await {
            let (at, sent) = result?;
            self.bar.inc(1);
            match sent {
                Ok(Sent::Stored) => done.stored.push(at),
                Ok(Sent::Kept) => done.kept.push(at),
                Err(error) if concerns_one(&error) => done.refused.push(Refusal { error }),
                Err(source) => {
                    let name = self.source.name.clone();
                    let (at, stored) = (Coordinate::Numeric(at), done.stored.len() as u64);
                    return Err(
                        ImportError::Stopped { name, at, stored, source: source.into() }.into()
                    );
                }
            }
        }
        Ok(done)
    }

    /// Stores one scroll, patiently: replacing a text by the same text again does no harm.
    async fn send(&self, at: [u32; 9], text: String) -> Result<Sent, ClientError> {
        let (at, text) = (Coordinate::Numeric(at), Bytes::from(text));
        let give_up = Instant::now() + TRY_MAX;
        let mut pause = PAUSE.0;
        loop {
            match self.send_once(&at, &text).await {
                Err(error) if error.is_passing() && Instant::now() < give_up => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                sent => return sent,
            }
        }
    }

    async fn send_once(&self, at: &Coordinate, text: &Bytes) -> Result<Sent, ClientError> {
        let only_if = self.keeping.then_some(Precondition::Absent);
        match self.scrolls.write(at, text.clone(), only_if).await {
            Ok(_) => Ok(Sent::Stored),
            Err(error) if self.keeping && error.is_precondition() => {
                // Stored by an earlier run, as a rule.
                let same = self.scrolls.read(at).await?.is_some_and(|found| found == *text);
                Ok(if same { Sent::Stored } else { Sent::Kept })
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a refusal is about this scroll rather than about the key, the quota or the ranch.
fn concerns_one(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { status, .. }
        if matches!(status.as_u16(), 400 | 413 | 414 | 422 | 431))
}

/// Makes sure that everything stored is listed.
pub async fn verify(
    scrolls: &Scrolls,
    source: &Source,
    stored: &[[u32; 9]],
) -> Result<(), CliError> {
    let mut missing = Missing { expected: stored.iter().copied().peekable(), found: Vec::new() };
    let mut page = Page { limit: PAGE, ..Page::default() };
    loop {
        let text = scrolls.list(&Pattern::ALL, &page).await?;
        let text = String::from_utf8_lossy(&text);
        let listed = text.lines().filter_map(coordinate_of);
        listed.filter_map(numeric).for_each(|at| missing.listed(at));
        page.after = text.lines().last().and_then(coordinate_of).map(str::to_owned);
        // Named scrolls come last, and none of them was imported.
        let named = page.after.as_deref().is_some_and(|last| numeric(last).is_none());
        if named || (text.lines().count() as u64) < PAGE {
            break;
        }
    }
    let missing = missing.all();
    let Some(first) = missing.first() else { return Ok(()) };
    let (name, first) = (source.name.clone(), Coordinate::Numeric(*first));
    Err(ImportError::Missing { name, missing: missing.len() as u64, first }.into())
}

fn numeric(text: &str) -> Option<[u32; 9]> {
    Coordinate::parse(text).ok()?.numeric()
}

/// Finds what is expected and not listed; both come in ascending order.
struct Missing<I: Iterator<Item = [u32; 9]>> {
    expected: std::iter::Peekable<I>,
    found: Vec<[u32; 9]>,
}

impl<I: Iterator<Item = [u32; 9]>> Missing<I> {
    fn listed(&mut self, at: [u32; 9]) {
        while let Some(passed) = self.expected.next_if(|expected| *expected < at) {
            self.found.push(passed);
        }
        self.expected.next_if_eq(&at);
    }

    fn all(mut self) -> Vec<[u32; 9]> {
        self.found.extend(self.expected);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::scripted;
    use super::*;

    fn at(last: u32) -> [u32; 9] {
        [1, 1, 1, 1, 1, 1, 1, 1, last]
    }

    const STORED: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy";
    const TOO_LARGE: &str =
        "HTTP/1.1 413 Large\r\nconnection: close\r\ncontent-length: 9\r\n\r\ntoo large";
    const FULL: &str = "HTTP/1.1 507 Full\r\nconnection: close\r\ncontent-length: 5\r\n\r\nquota";

    async fn upload(answers: Vec<&'static str>) -> Result<Done, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.phext");
        std::fs::write(&path, "one\u{17}two").unwrap();
        let source = super::super::source::find(&path, None).unwrap().remove(0);
        let http = scripted::server(answers).await;
        let scrolls = Scrolls { http, phext: None, tenant: None };
        Upload::new(&scrolls, &source, ProgressBar::hidden()).run(1).await
    }

    #[tokio::test]
    async fn what_passes_is_waited_for_and_a_refused_scroll_is_named() {
        let done = upload(vec![BUSY, STORED, TOO_LARGE]).await.unwrap();
        assert_eq!(done.stored, [at(1)]);
        let refusal = done.refused[0].error.to_string();
        assert!(refusal.contains("1.1.1/1.1.1/1.1.2: 413 too large"), "{refusal}");
    }

    #[tokio::test]
    async fn what_concerns_all_ends_the_upload() {
        let error = upload(vec![STORED, FULL]).await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("stopped at 1.1.1/1.1.1/1.1.2"), "{error}");
        assert!(error.contains("at least 1 scrolls are stored"), "{error}");
        assert!(error.contains("507 quota"), "{error}");
    }

    #[test]
    fn missing_is_what_no_list_shows() {
        let missing = |expected: &[u32], listed: &[u32]| {
            let expected = expected.iter().map(|&n| at(n)).peekable();
            let mut missing = Missing { expected, found: Vec::new() };
            for &n in listed {
                missing.listed(at(n));
            }
            missing.all().iter().map(|at| at[8]).collect::<Vec<_>>()
        };
        assert!(missing(&[1, 3, 5], &[1, 2, 3, 4, 5, 6]).is_empty());
        assert_eq!(missing(&[1, 3, 5], &[2, 3]), [1, 5]);
        assert_eq!(missing(&[1], &[]), [1]);
        assert!(missing(&[], &[7]).is_empty());
    }
}
