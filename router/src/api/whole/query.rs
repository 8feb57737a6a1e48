//! `query`: the scrolls of a range of coordinates and of a set of them, as JSON in order. Of the
//! range those that are there; of the set all, with an empty text where there is none.
//!
//! Sentences of refusals are SQ's. Beyond SQ, coordinates may be named, and spelled in any way.

use std::iter::Peekable;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::stream;
use hyper::body::Incoming;
use ranch_proto::schema::{GetScroll, ScanScrolls, Scroll};
use ranch_proto::{Coordinate, Shards};

use crate::api::pages::{self, Pages};
use crate::api::source::Source;
use crate::api::whole::listing;
use crate::api::whole::text::PIECE_BYTES;
use crate::api::{Call, scrolls};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer, JSON};
use crate::http::params::Query;
use crate::large::Share;

/// Largest set, in bytes.
const SET_BYTES_MAX: u64 = 16 << 20;
/// Bytes of a range read at once: its end is found only by reading past it.
const PAGE_BYTES: u32 = 256 << 10;
/// Scrolls of a set read at once.
const SCROLLS_AT_ONCE: usize = 16;
/// Longest part of a request that is quoted in a refusal, in characters.
const QUOTED_MAX: usize = 80;

/// Answers `query`. The set is `set`, or the body where there is none.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    phext: String,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let body = listing::text(call, body, SET_BYTES_MAX).await?;
    let wanted = Wanted::parse(call.query, &body)?;
    let source = Source::new(call, caller)?;
    let mut results = Results {
        source,
        applied: None,
        phext,
        set: wanted.set.into_iter().peekable(),
        range: wanted.range.map(|(from, to)| Walk { from, to, pages: None }),
        left: wanted.limit,
        stage: Stage::Begin,
        share: None,
    };
    // The first piece is made before the status is decided.
    let first = results.next().await?;
    let applied = results.applied;
    let pieces = stream::try_unfold((first, results), |(first, mut results)| async move {
        let piece = if first.is_some() { first } else { results.next().await? };
        Ok(piece.map(|piece| (piece, (None, results))))
    });
    let mut answer = answer::pieces(JSON, Box::pin(pieces));
    scrolls::mark_stale(&mut answer, applied);
    Ok(answer)
}

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    range: Option<(Coordinate, Coordinate)>,
    /// In order, each once.
    set: Vec<Coordinate>,
    limit: Option<u64>,
}

impl Wanted {
    fn parse(query: &Query<'_>, body: &str) -> Result<Self, ApiError> {
        let given = |name| query.get(name).map(str::trim).filter(|value| !value.is_empty());
        let range = match (given("from"), given("to")) {
            (Some(from), Some(to)) => Some(range(from, to)?),
            (None, None) => None,
            _ => return Err(bad("a range needs both 'from' and 'to'".to_owned())),
        };
        let set = set(given("set").unwrap_or(body))?;
        if range.is_none() && set.is_empty() {
            let reason = "query needs a range (from + to) or a set of coordinates";
            return Err(bad(reason.to_owned()));
        }
        let limit = given("limit")
            .map(|text| text.parse().map_err(|_| bad(format!("invalid limit: {}", quoted(text)))));
        Ok(Self { range, set, limit: limit.transpose()? })
    }
}

fn range(from: &str, to: &str) -> Result<(Coordinate, Coordinate), ApiError> {
    let end = |name, text| {
        let reason = || bad(format!("invalid '{name}' coordinate: {}", quoted(text)));
        Coordinate::parse(text).map_err(|_| reason())
    };
    let (first, last) = (end("from", from)?, end("to", to)?);
    if first > last {
        let (from, to) = (quoted(from), quoted(to));
        return Err(bad(format!("'from' ({from}) is after 'to' ({to})")));
    }
    Ok((first, last))
}

/// Reads a set: coordinates parted by commas, line breaks or semicolons.
fn set(text: &str) -> Result<Vec<Coordinate>, ApiError> {
    let mut set = Vec::new();
    for item in text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty()) {
        // A semicolon parts coordinates, as in SQ, unless it parts the arms of one.
        let parts = item.split(';').map(str::trim).filter(|part| !part.is_empty());
        let parts: Result<Vec<_>, _> = parts.map(|p| Coordinate::parse(p).map_err(|_| p)).collect();
        match (parts, Coordinate::parse(item)) {
            (Ok(parts), _) => set.extend(parts),
            (Err(_), Ok(whole)) => set.push(whole),
            (Err(part), Err(_)) => {
                return Err(bad(format!("invalid coordinate in set: {}", quoted(part))));
            }
        }
    }
    set.sort_unstable();
    set.dedup();
    Ok(set)
}

fn bad(reason: String) -> ApiError {
    ApiError::BadQuery { reason }
}

/// What a client gave, cut where it is long, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for (index, character) in text.chars().enumerate() {
        match character {
            _ if index == QUOTED_MAX => return quoted + "…",
            control if control.is_control() => quoted.extend(control.escape_default()),
            other => quoted.push(other),
        }
    }
    quoted
}

/// A range being walked over.
struct Walk<S> {
    from: Coordinate,
    to: Coordinate,
    /// `None` before its first scroll.
    pages: Option<Pages<S>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    First,
    Others,
    Ended,
}

/// The answer on its way out.
struct Results<S> {
    source: Source<S>,
    /// The log index the first of several stale reads reflects.
    applied: Option<u64>,
    phext: String,
    /// What is left of the set.
    set: Peekable<std::vec::IntoIter<Coordinate>>,
    /// The range, until its end.
    range: Option<Walk<S>>,
    /// How many results may still be given; `None` for all.
    left: Option<u64>,
    stage: Stage,
    /// Memory for a large text of the piece before, which is sent when the next is wanted.
    share: Option<Share>,
}

impl<S: Shards> Results<S> {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ForwardError> {
        self.share = None;
        let mut out = Vec::new();
        if self.stage == Stage::Begin {
            out.push(b'[');
            self.stage = Stage::First;
        }
        while out.len() < PIECE_BYTES && self.stage != Stage::Ended {
            let before = self.before_range();
            if self.left == Some(0) || (before.is_empty() && self.range.is_none()) {
                out.push(b']');
                self.stage = Stage::Ended;
            } else if before.is_empty() {
                self.walk(&mut out).await?;
            } else {
                self.points(before, &mut out).await?;
            }
        }
        Ok((!out.is_empty()).then(|| out.into()))
    }

    /// Some coordinates of the set that come before what is left of the range.
    fn before_range(&mut self) -> Vec<Coordinate> {
        let most = self.left.unwrap_or(u64::MAX).min(SCROLLS_AT_ONCE as u64) as usize;
        let from = self.range.as_ref().filter(|walk| walk.pages.is_none()).map(|walk| &walk.from);
        if self.range.is_some() && from.is_none() {
            return Vec::new();
        }
        let mut before = Vec::new();
        while before.len() < most
            && let Some(next) = self.set.next_if(|next| from.is_none_or(|from| next < from))
        {
            before.push(next);
        }
        before
    }

    /// Coordinates of the set, with the scrolls at them.
    async fn points(
        &mut self,
        points: Vec<Coordinate>,
        out: &mut Vec<u8>,
    ) -> Result<(), ForwardError> {
        let scrolls = self.scrolls(&points).await?;
        let mut left = points.into_iter().zip(scrolls);
        while let Some((coordinate, scroll)) = left.next() {
            let large = scroll.as_ref().is_some_and(|scroll| scroll.parts > 0);
            let scroll = self.whole(scroll).await?;
            self.give(&coordinate, scroll.as_ref(), out)?;
            if large {
                // One is enough for a piece. The others are read anew when their turn comes.
                let others = left.map(|(coordinate, _)| coordinate);
                let set = std::mem::replace(&mut self.set, Vec::new().into_iter().peekable());
                self.set = others.chain(set).collect::<Vec<_>>().into_iter().peekable();
                return Ok(());
            }
        }
        Ok(())
    }

    /// A scroll with all of its text, in memory of which a share is kept until the next piece.
    async fn whole(&mut self, scroll: Option<Scroll>) -> Result<Option<Scroll>, ForwardError> {
        match scroll {
            Some(scroll) if scroll.parts > 0 => {
                let whole = self.source.whole(&self.phext, scroll).await?;
                Ok(whole.map(|whole| {
                    self.share = whole.share;
                    whole.scroll
                }))
            }
            small => Ok(small),
        }
    }

    /// The scrolls at some coordinates, read at once.
    async fn scrolls(
        &mut self,
        points: &[Coordinate],
    ) -> Result<Vec<Option<Scroll>>, ForwardError> {
        let mut reads = Vec::with_capacity(points.len());
        for coordinate in points {
            let phext = self.phext.clone();
            let get = GetScroll { phext, coordinate: coordinate.to_key().into() };
            let source = self.source.clone();
            reads.push(async move { source.scroll(get).await });
        }
        let mut scrolls = Vec::with_capacity(points.len());
        for (scroll, applied) in try_join_all(reads).await? {
            self.applied = self.applied.or(applied);
            scrolls.push(scroll);
        }
        Ok(scrolls)
    }

    /// Some of the range, and of the set what lies in it.
    async fn walk(&mut self, out: &mut Vec<u8>) -> Result<(), ForwardError> {
        let Some(mut walk) = self.range.take() else { return Ok(()) };
        let (scrolls, mut ended) = if let Some(pages) = &mut walk.pages {
            let page = pages.next().await?;
            (page.scrolls, page.last)
        } else {
            walk.pages = Some(self.pages(&walk));
            let first = self.scrolls(std::slice::from_ref(&walk.from)).await?;
            let first = self.whole(first.into_iter().flatten().next()).await?;
            (first.into_iter().collect(), walk.from == walk.to)
        };
        for scroll in scrolls {
            let coordinate = pages::coordinate(&scroll)?;
            if coordinate > walk.to {
                ended = true;
                break;
            }
            self.give_missing(|listed| *listed < coordinate, out)?;
            self.set.next_if_eq(&coordinate);
            self.give(&coordinate, Some(&scroll), out)?;
        }
        if ended {
            self.give_missing(|listed| *listed <= walk.to, out)?;
        } else {
            self.range = Some(walk);
        }
        Ok(())
    }

    /// What comes after the first scroll of a range, and not much more than that.
    fn pages(&self, walk: &Walk<S>) -> Pages<S> {
        let scan = ScanScrolls {
            phext: self.phext.clone(),
            after: walk.from.to_key().into(),
            pattern: common(&walk.from, &walk.to),
            numeric_only: walk.to.is_numeric(),
            max_bytes: PAGE_BYTES,
            texts: true,
            ..ScanScrolls::default()
        };
        self.source.pages(scan, self.left)
    }

    /// Coordinates of the set at which there is nothing.
    fn give_missing(
        &mut self,
        wanted: impl Fn(&Coordinate) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ForwardError> {
        while let Some(coordinate) = self.set.next_if(&wanted) {
            self.give(&coordinate, None, out)?;
        }
        Ok(())
    }

    /// One result, unless there were enough.
    fn give(
        &mut self,
        coordinate: &Coordinate,
        scroll: Option<&Scroll>,
        out: &mut Vec<u8>,
    ) -> Result<(), ForwardError> {
        match &mut self.left {
            Some(0) => return Ok(()),
            Some(left) => *left -= 1,
            None => {}
        }
        if self.stage == Stage::Others {
            out.push(b',');
        }
        self.stage = Stage::Others;
        let text = scroll.and_then(|scroll| scroll.text.as_deref()).unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| ForwardError::Garbled)?;
        // A coordinate has no character that JSON would escape.
        out.extend_from_slice(format!("{{\"coordinate\":\"{coordinate}\",\"scroll\":").as_bytes());
        serde_json::to_writer(&mut *out, text).map_err(|_| ForwardError::Garbled)?;
        out.push(b'}');
        Ok(())
    }
}

/// The pattern of the components with which all coordinates of a range begin; empty for none.
fn common(from: &Coordinate, to: &Coordinate) -> String {
    let (Some(from), Some(to)) = (from.numeric(), to.numeric()) else { return String::new() };
    let same = from.iter().zip(to).take_while(|(from, to)| *from == to).map(|(from, _)| from);
    let mut pattern = String::new();
    for (index, component) in same.enumerate() {
        match index {
            0 => {}
            3 | 6 => pattern.push('/'),
            _ => pattern.push('.'),
        }
        pattern.push_str(&component.to_string());
    }
    pattern
}

#[cfg(test)]
mod tests;
