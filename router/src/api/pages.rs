//! Walking over the scrolls of a phext page by page, and answers made while walking. Nothing of a
//! phext is held but the page at hand.
//!
//! Pages are read one after the other, so a walk during writes may show some of them and not
//! others; each scroll is shown as it was at one moment, and the order never breaks.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::header::HeaderValue;
use ranch_proto::schema::{
    GetScroll, ReadReply, ReadRequest, ScanScrolls, Scroll, TenantRecord, read_reply, read_request,
};
use ranch_proto::{Coordinate, Shards};

use crate::api::{Call, scrolls};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::{ForwardError, Home};
use crate::http::answer::{self, Answer, Pieces};

/// Where a request reads: a tenant's shard, and how fresh. Outlives the request's head, so that
/// answers can be made while they are sent.
pub struct Source<S> {
    app: Arc<App<S>>,
    tenant: String,
    shard: Home,
    stale: bool,
}

/// A walk over scrolls.
pub struct Pages<S> {
    source: Source<S>,
    scan: ScanScrolls,
    /// How many scrolls may still be shown; `None` for all.
    left: Option<u64>,
    ended: bool,
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

impl<S> Clone for Source<S> {
    fn clone(&self) -> Self {
        let Self { app, tenant, shard, stale } = self;
        Self { app: Arc::clone(app), tenant: tenant.clone(), shard: *shard, stale: *stale }
    }
}

impl<S: Shards> Source<S> {
    /// Where `call` reads.
    pub fn new(call: &Call<'_, S>, caller: &Caller) -> Result<Self, ApiError> {
        Ok(Self {
            app: Arc::clone(call.app),
            tenant: caller.tenant.clone(),
            shard: caller.shard,
            stale: scrolls::is_stale(call.query)?,
        })
    }

    /// A walk over what `scan` describes, showing at most `limit` scrolls.
    pub fn pages(&self, scan: ScanScrolls, limit: Option<u64>) -> Pages<S> {
        Pages { source: self.clone(), scan, left: limit, ended: false }
    }

    /// The scroll at an encoded coordinate, if there is one, and the log index a stale read
    /// reflects.
    pub async fn scroll(
        &self,
        get: GetScroll,
    ) -> Result<(Option<Scroll>, Option<u64>), ForwardError> {
        let reply = self.read(read_request::What::Get(get)).await?;
        match reply.what {
            Some(read_reply::What::Get(get)) => {
                Ok((get.scroll, self.stale.then_some(reply.applied)))
            }
            _ => Err(ForwardError::Garbled),
        }
    }

    async fn read(&self, what: read_request::What) -> Result<ReadReply, ForwardError> {
        let what = Some(what);
        let request = ReadRequest { tenant: self.tenant.clone(), stale: self.stale, what };
        self.app.forward.read(self.shard, request).await
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
        let source = Source {
            app: Arc::clone(app),
            tenant: tenant.id.clone(),
            shard: Home::from(tenant),
            stale: false,
        };
        source.pages(scan, None)
    }

    /// The next page; an empty one that is the last when the walk has ended.
    pub async fn next(&mut self) -> Result<Page, ForwardError> {
        if self.ended || self.left == Some(0) {
            return Ok(Page { last: true, ..Page::default() });
        }
        let mut scan = self.scan.clone();
        scan.limit = self.left.map_or(0, |left| u32::try_from(left).unwrap_or(u32::MAX));
        let reply = self.source.read(read_request::What::Scan(scan)).await?;
        let Some(read_reply::What::Scan(page)) = reply.what else {
            return Err(ForwardError::Garbled);
        };
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(page.scrolls.len() as u64);
        }
        let done = self.left == Some(0);
        self.ended = !page.more || done;
        // Without progress the walk would never end.
        if page.more && page.next_after <= self.scan.after {
            return Err(ForwardError::Garbled);
        }
        self.scan.after = page.next_after;
        Ok(Page {
            scrolls: page.scrolls,
            applied: self.source.stale.then_some(reply.applied),
            last: self.ended,
            cut: page.more && done,
        })
    }
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
