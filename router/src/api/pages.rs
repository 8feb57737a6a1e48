//! Walking over the scrolls of a phext page by page, and answers made while walking. Nothing of a
//! phext is held but the page at hand, and a large scroll makes a page of its own.
//!
//! Pages are read one after the other, so a walk during writes may show some of them and not
//! others; each scroll is shown as it was at one moment, and the order never breaks.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::header::HeaderValue;
use ranch_proto::schema::{ScanScrolls, Scroll, TenantRecord, read_reply, read_request};
use ranch_proto::value::parts_of;
use ranch_proto::{Coordinate, Shards};

use crate::api::source::Source;
use crate::api::{Call, scrolls};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer, Pieces};
use crate::large::Share;

/// A walk over scrolls.
pub struct Pages<S> {
    source: Source<S>,
    scan: ScanScrolls,
    /// How many scrolls may still be shown; `None` for all.
    left: Option<u64>,
    /// What the shard's last page has left to show.
    rest: std::vec::IntoIter<Scroll>,
    applied: Option<u64>,
    ended: bool,
    cut: bool,
    /// Memory for the large text of the page before, which is done with when the next is wanted.
    share: Option<Share>,
}

impl<S: Shards> Source<S> {
    /// A walk over what `scan` describes, showing at most `limit` scrolls.
    pub fn pages(&self, scan: ScanScrolls, limit: Option<u64>) -> Pages<S> {
        Pages {
            source: self.clone(),
            scan,
            left: limit,
            rest: Vec::new().into_iter(),
            applied: None,
            ended: limit == Some(0),
            cut: false,
            share: None,
        }
    }
}

impl<S: Shards> Pages<S> {
    /// A walk over what `scan` describes, showing at most `limit` scrolls.
    pub fn new(
        call: &Call<'_, S>,
        caller: &Caller,
        scan: ScanScrolls,
        limit: Option<u64>,
    ) -> Result<Self, ApiError> {
        Ok(Source::new(call, caller)?.pages(scan, limit))
    }

    /// A walk for an administrator over all that `scan` describes of a tenant.
    pub fn of_tenant(app: &Arc<App<S>>, tenant: &TenantRecord, scan: ScanScrolls) -> Self {
        Source::of_tenant(app, tenant).pages(scan, None)
    }

    /// The memory that the last page's large text takes, to be kept as long as the text.
    pub fn take_share(&mut self) -> Option<Share> {
        self.share.take()
    }

    /// The next page, which may be empty; an empty one that is the last when the walk has ended.
    pub async fn next(&mut self) -> Result<Page, ForwardError> {
        self.share = None;
        if self.rest.as_slice().is_empty() && !self.ended {
            self.fetch().await?;
        }
        let scrolls = match self.rest.as_slice().iter().position(|scroll| self.is_partial(scroll)) {
            None => std::mem::take(&mut self.rest).collect(),
            Some(0) => self.rest_of_first().await?,
            Some(small) => self.rest.by_ref().take(small).collect(),
        };
        let last = self.ended && self.rest.as_slice().is_empty();
        Ok(Page { scrolls, applied: self.applied, last, cut: last && self.cut })
    }

    /// Reads a page of the shard.
    async fn fetch(&mut self) -> Result<(), ForwardError> {
        let mut scan = self.scan.clone();
        scan.limit = self.left.map_or(0, |left| u32::try_from(left).unwrap_or(u32::MAX));
        let (Some(read_reply::What::Scan(page)), applied) =
            self.source.ask(read_request::What::Scan(scan)).await?
        else {
            return Err(ForwardError::Garbled);
        };
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(page.scrolls.len() as u64);
        }
        let done = self.left == Some(0);
        self.ended = !page.more || done;
        self.cut = page.more && done;
        // Without progress the walk would never end.
        if page.more && page.next_after <= self.scan.after {
            return Err(ForwardError::Garbled);
        }
        self.scan.after = page.next_after;
        self.applied = applied;
        self.rest = page.scrolls.into_iter();
        Ok(())
    }

    /// Whether a scroll is not all there that was asked for.
    fn is_partial(&self, scroll: &Scroll) -> bool {
        scroll.line_cut || (self.scan.texts && scroll.text.is_none())
    }

    /// The first scroll, made whole; none when it is gone by now.
    async fn rest_of_first(&mut self) -> Result<Vec<Scroll>, ForwardError> {
        let Some(scroll) = self.rest.next() else { return Ok(Vec::new()) };
        // A line that is cut does not say how many parts there are: the shard does.
        let parts = scroll.parts.max(parts_of(scroll.length)).max(1);
        let scroll = Scroll { parts, ..scroll };
        let Some(whole) = self.source.whole(&self.scan.phext, scroll).await? else {
            return Ok(Vec::new());
        };
        self.share = whole.share;
        let mut scroll = whole.scroll;
        if !self.scan.texts {
            let text = scroll.text.take().unwrap_or_default();
            let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let line = std::str::from_utf8(line).map_err(|_| ForwardError::Garbled)?;
            scroll.more_lines = line.len() < text.len();
            line.clone_into(&mut scroll.first_line);
        }
        Ok(vec![scroll])
    }
}

/// Some scrolls in order.
#[derive(Debug, Default)]
pub struct Page {
    /// The scrolls.
    pub scrolls: Vec<Scroll>,
    /// The log index a stale page reflects.
    pub applied: Option<u64>,
    /// No page follows.
    pub last: bool,
    /// There are more scrolls, but no more were asked for.
    pub cut: bool,
}

/// How scrolls are put into an answer.
pub trait Render: Send + 'static {
    /// What the answer begins with.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// One scroll.
    ///
    /// # Errors
    /// For a scroll that cannot be shown, which breaks the answer off.
    fn scroll(&mut self, scroll: &Scroll, out: &mut Vec<u8>) -> Result<(), ForwardError>;
    /// What the answer ends with; `cut` when there would be more.
    fn end(&mut self, cut: bool, out: &mut Vec<u8>);
}

/// An answer rendered page by page while it is sent. The first page is read before the status is
/// decided.
pub async fn answer<S: Shards>(
    mut pages: Pages<S>,
    content_type: HeaderValue,
    mut render: impl Render,
) -> Result<Answer, ApiError> {
    let first = pages.next().await?;
    let applied = first.applied;
    let mut start = Vec::new();
    render.begin(&mut start);
    let start = rendered(&mut render, &first, start)?;
    let mut answer = if first.last {
        answer::of(content_type, start)
    } else {
        answer::pieces(content_type, rest(start, pages, render))
    };
    scrolls::mark_stale(&mut answer, applied);
    Ok(answer)
}

/// The start that is at hand, then a piece a page.
fn rest<S: Shards>(start: Bytes, pages: Pages<S>, render: impl Render) -> Pieces {
    let state = (Some(start), Some((pages, render)));
    Box::pin(stream::try_unfold(state, |(start, walk)| async move {
        if let Some(start) = start {
            return Ok(Some((start, (None, walk))));
        }
        let Some((mut pages, mut render)) = walk else { return Ok(None) };
        let page = pages.next().await?;
        let piece = rendered(&mut render, &page, Vec::new())?;
        let walk = (!page.last).then_some((pages, render));
        Ok(Some((piece, (None, walk))))
    }))
}

fn rendered(
    render: &mut impl Render,
    page: &Page,
    mut out: Vec<u8>,
) -> Result<Bytes, ForwardError> {
    for scroll in &page.scrolls {
        render.scroll(scroll, &mut out)?;
    }
    if page.last {
        render.end(page.cut, &mut out);
    }
    Ok(out.into())
}

/// Where a scroll of a page is.
///
/// # Errors
/// [`ForwardError::Garbled`] for bytes that are no coordinate.
pub fn coordinate(scroll: &Scroll) -> Result<Coordinate, ForwardError> {
    Coordinate::from_key(&scroll.coordinate).map_err(|error| {
        tracing::error!(%error, "a shard listed something that is no coordinate");
        ForwardError::Garbled
    })
}
