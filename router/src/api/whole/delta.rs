//! `delta`: the scrolls that differ from what a client lists, as phext text, and a mark where it
//! lists one that is not stored.
//!
//! Headers are read first, page by page, and texts only of the scrolls that are sent, in runs of
//! neighbours. Two walks over the headers: one to know the size of the answer before its first
//! byte, one to make it. So little is held: a page of headers, and texts up to a budget.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesOrdered, StreamExt};
use hyper::body::Incoming;
use ranch_proto::schema::{ScanScrolls, Scroll};
use ranch_proto::{Coordinate, Shards};

use crate::api::pages::{Page, Pages};
use crate::api::source::Source;
use crate::api::whole::listing::{self, Comparison, Listing};
use crate::api::whole::text::{Size, Writer, numeric};
use crate::api::{Call, scrolls};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer, TEXT};
use crate::large::Share;

/// What stands where a listed scroll is not stored.
const MISSING: Bytes = Bytes::from_static(b"---sq:Scroll-Missing---");
/// Largest list, in bytes: a million lines.
const LIST_BYTES_MAX: u64 = 64 << 20;
/// Texts are asked for in runs of so many scrolls or bytes,
const RUN_SCROLLS: u64 = 256;
const RUN_BYTES: u64 = 512 << 10;
/// and so many runs, and bytes unless it is one scroll, may be on their way at once.
const RUNS_AT_ONCE: usize = 16;
const BYTES_AT_ONCE: u64 = 4 << 20;

/// Answers `delta`. Without a list everything differs, and the answer is that of `get`.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    phext: String,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let listing = Listing::parse(&listing::text(call, body, LIST_BYTES_MAX).await?)?;
    if listing.is_empty() {
        return super::get(call, caller, phext).await;
    }
    let source = Source::new(call, caller)?;
    let scan = ScanScrolls { phext, numeric_only: true, ..ScanScrolls::default() };
    let mut headers = source.pages(scan.clone(), None);
    let first = headers.next().await?;
    let mut measure = Measure {
        size: Size::new(call.app.options.export_max_bytes),
        comparison: Comparison::new(listing.clone()),
        listing: listing.clone(),
    };
    if first.last {
        measure.add(&first)?;
    } else {
        let mut headers = source.pages(scan.clone(), None);
        loop {
            let page = headers.next().await?;
            measure.add(&page)?;
            if page.last {
                break;
            }
        }
    }
    let applied = first.applied;
    let delta = Delta {
        source,
        scan,
        headers,
        page: Some(first),
        plan: Plan::new(listing),
        on_their_way: FuturesOrdered::new(),
        bytes: VecDeque::new(),
        at_hand: NOTHING,
        writer: Writer::new(),
    };
    let pieces = stream::try_unfold(delta, |mut delta| async move {
        Ok(delta.next().await?.map(|piece| (piece, delta)))
    });
    let mut answer = answer::pieces(TEXT, Box::pin(pieces));
    scrolls::mark_stale(&mut answer, applied);
    Ok(answer)
}

/// The first walk: how long the answer will be.
struct Measure {
    size: Size,
    comparison: Comparison,
    listing: Listing,
}

impl Measure {
    fn add(&mut self, page: &Page) -> Result<(), ApiError> {
        for scroll in &page.scrolls {
            let coordinate = numeric(scroll)?;
            let (missing, differs) = self.comparison.pass(coordinate, checksum(scroll)?);
            self.add_missing(missing)?;
            if differs {
                self.size.add(coordinate, scroll.length)?;
            }
        }
        if page.last {
            let rest = self.comparison.rest();
            self.add_missing(rest)?;
        }
        Ok(())
    }

    fn add_missing(&mut self, entries: Range<usize>) -> Result<(), ApiError> {
        let length = MISSING.len() as u64;
        entries.into_iter().try_for_each(|entry| {
            let coordinate = self.listing.coordinate(entry);
            self.size.add(coordinate, length)
        })
    }
}

fn checksum(scroll: &Scroll) -> Result<u128, ForwardError> {
    let bytes = <[u8; 16]>::try_from(&scroll.hash[..]).map_err(|_| ForwardError::Garbled)?;
    Ok(u128::from_be_bytes(bytes))
}

/// Some of the answer, to be fetched or made.
enum Segment {
    /// Entries of the list that are of no scroll.
    Missing(Range<usize>),
    Run(Run),
}

/// Neighbours whose texts are sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    /// Encoded coordinate they come after.
    after: Bytes,
    /// Encoded coordinate of the last of them.
    last: Bytes,
    scrolls: u64,
    bytes: u64,
}

/// The second walk: what is to be sent, in order.
struct Plan {
    listing: Listing,
    comparison: Comparison,
    segments: VecDeque<Segment>,
    /// Encoded coordinate up to which everything is planned.
    past: Bytes,
    /// Whether the last segment is a run that ended just before the next scroll.
    open: bool,
}

impl Plan {
    fn new(listing: Listing) -> Self {
        Self {
            comparison: Comparison::new(listing.clone()),
            listing,
            segments: VecDeque::new(),
            past: Bytes::new(),
            open: false,
        }
    }

    fn add(&mut self, page: Page) -> Result<(), ForwardError> {
        self.open = false;
        for scroll in page.scrolls {
            let checksum = checksum(&scroll)?;
            let (missing, differs) = self.comparison.pass(numeric(&scroll)?, checksum);
            self.add_missing(missing);
            if differs {
                self.add_scroll(&scroll);
            }
            self.open = differs;
            self.past = scroll.coordinate;
        }
        if page.last {
            let rest = self.comparison.rest();
            self.add_missing(rest);
        }
        Ok(())
    }

    fn add_missing(&mut self, entries: Range<usize>) {
        if let Some(last) = entries.clone().last() {
            // A scroll that appears there by now must not come after its mark.
            self.past = Coordinate::Numeric(self.listing.coordinate(last)).to_key().into();
            self.open = false;
            self.segments.push_back(Segment::Missing(entries));
        }
    }

    fn add_scroll(&mut self, scroll: &Scroll) {
        match self.segments.back_mut() {
            Some(Segment::Run(run))
                if self.open
                    && run.scrolls < RUN_SCROLLS
                    && run.bytes + scroll.length <= RUN_BYTES =>
            {
                run.last = scroll.coordinate.clone();
                run.scrolls += 1;
                run.bytes += scroll.length;
            }
            _ => self.segments.push_back(Segment::Run(Run {
                after: self.past.clone(),
                last: scroll.coordinate.clone(),
                scrolls: 1,
                bytes: scroll.length,
            })),
        }
    }
}

/// A segment, fetched.
enum Part {
    Missing(Range<usize>),
    Scrolls {
        scrolls: std::vec::IntoIter<Scroll>,
        /// The memory that large ones among them take.
        _shares: Vec<Share>,
    },
}

const NOTHING: Part = Part::Missing(0..0);

/// The answer on its way out.
struct Delta<S> {
    source: Source<S>,
    scan: ScanScrolls,
    headers: Pages<S>,
    /// The page of headers to plan next; `None` when there is no more.
    page: Option<Page>,
    plan: Plan,
    on_their_way: FuturesOrdered<BoxFuture<'static, Result<Part, ForwardError>>>,
    /// How large those are.
    bytes: VecDeque<u64>,
    at_hand: Part,
    writer: Writer,
}

impl<S: Shards> Delta<S> {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When something cannot be read: the text ends there and must not be taken for whole.
    async fn next(&mut self) -> Result<Option<Bytes>, ForwardError> {
        let mut out = Vec::new();
        loop {
            if self.writer.advance(&mut out) {
                return Ok(Some(out.into()));
            }
            if let Some((coordinate, text)) = self.scroll_at_hand()? {
                self.writer.put(coordinate, text)?;
            } else if !self.fetch().await? {
                return Ok((!out.is_empty()).then(|| out.into()));
            }
        }
    }

    fn scroll_at_hand(&mut self) -> Result<Option<([u32; 9], Bytes)>, ForwardError> {
        Ok(match &mut self.at_hand {
            Part::Missing(entries) => {
                entries.next().map(|entry| (self.plan.listing.coordinate(entry), MISSING))
            }
            Part::Scrolls { scrolls, .. } => match scrolls.next() {
                Some(scroll) => Some((numeric(&scroll)?, scroll.text.unwrap_or_default())),
                None => None,
            },
        })
    }

    /// Puts the next segment at hand; false when there is none.
    async fn fetch(&mut self) -> Result<bool, ForwardError> {
        // What was at hand is written; its memory may be what the next one waits for.
        self.at_hand = NOTHING;
        loop {
            self.ask_ahead();
            if let Some(part) = self.on_their_way.next().await {
                self.bytes.pop_front();
                self.at_hand = part?;
                return Ok(true);
            }
            let Some(page) = self.page.take() else { return Ok(false) };
            if !page.last {
                self.page = Some(self.headers.next().await?);
            }
            self.plan.add(page)?;
        }
    }

    /// Asks for planned segments, as many as may be on their way.
    fn ask_ahead(&mut self) {
        while let Some(segment) = self.plan.segments.front() {
            let bytes = match segment {
                Segment::Missing(_) => 0,
                Segment::Run(run) => run.bytes,
            };
            let all = self.bytes.iter().sum::<u64>() + bytes;
            let waiting = self.on_their_way.len();
            if waiting > 0 && (waiting >= RUNS_AT_ONCE || all > BYTES_AT_ONCE) {
                return;
            }
            self.bytes.push_back(bytes);
            match self.plan.segments.pop_front() {
                Some(Segment::Run(run)) => {
                    let (source, scan) = (self.source.clone(), self.scan.clone());
                    self.on_their_way.push_back(Box::pin(texts(source, scan, run)));
                }
                Some(Segment::Missing(entries)) => {
                    let part = Ok(Part::Missing(entries));
                    self.on_their_way.push_back(Box::pin(std::future::ready(part)));
                }
                None => {}
            }
        }
    }
}

/// The scrolls of a run, with their texts, as they are by now.
async fn texts<S: Shards>(
    source: Source<S>,
    scan: ScanScrolls,
    run: Run,
) -> Result<Part, ForwardError> {
    let scan = ScanScrolls { after: run.after, texts: true, ..scan };
    let mut pages = source.pages(scan, Some(run.scrolls));
    let (mut found, mut shares) = (Vec::new(), Vec::new());
    loop {
        let page = pages.next().await?;
        shares.extend(pages.take_share());
        found.extend(page.scrolls.into_iter().filter(|scroll| scroll.coordinate <= run.last));
        if page.last {
            return Ok(Part::Scrolls { scrolls: found.into_iter(), _shares: shares });
        }
    }
}
